//! The binary of chat-svc: homes of rooms and of users.

use clap::Parser;
use madang_chat::inbox::jetstream::JetStreamInbox;
use madang_mesh::process;
use std::{process::ExitCode, sync::Arc};

/// Madang's chat-svc: homes of rooms and of users.
#[derive(Parser)]
#[command(name = "madang-chat", version)]
struct Cli {
    #[command(flatten)]
    process: process::Args,
    #[command(flatten)]
    config: madang_chat::Config,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = cli.config;
    let replicas = cli.process.nats_replicas;
    process::main("chat", cli.process, None, async |context, nats| {
        let inbox = Arc::new(JetStreamInbox::new(nats, replicas));
        madang_chat::build(config, context, inbox).await
    })
    .await
}
