//! The binary of account-svc: people, their log-ins and their devices.

use clap::Parser;
use madang_mesh::{process, settings};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: process::Allocator = process::Allocator;

/// Madang's account-svc: people, their log-ins and their devices.
#[derive(Parser)]
#[command(name = "madang-account", version)]
struct Cli {
    #[command(flatten)]
    process: process::Args,
    #[command(flatten)]
    config: madang_account::Config,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = settings::parse::<Cli>();
    let config = cli.config;
    process::main("account", cli.process, None, async |context, _| madang_account::build(config, context).await).await
}
