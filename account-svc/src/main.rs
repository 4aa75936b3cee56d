//! The binary of account-svc: people, their log-ins and their devices.

use clap::Parser;
use madang_mesh::process;
use std::process::ExitCode;

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
    let cli = Cli::parse();
    let config = cli.config;
    process::main("account", cli.process, None, async |context, _| madang_account::build(config, context).await).await
}
