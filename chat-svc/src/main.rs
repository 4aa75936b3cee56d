//! The binary of chat-svc: homes of rooms and of users.

use clap::Parser;
use madang_chat::inbox::jetstream::JetStreamInbox;
use madang_mesh::{process, settings};
use std::{process::ExitCode, sync::Arc};

#[global_allocator]
static ALLOCATOR: process::Allocator = process::Allocator;

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
    let cli = settings::parse::<Cli>();
    let replicas = cli.process.nats_replicas;
    process::main("chat", cli.process, None, async |context, nats| {
        let inbox = Arc::new(JetStreamInbox::new(nats, replicas, context.settings.inbox_bytes));
        madang_chat::build(cli.config, context, inbox).await
    })
    .await
}
