//! The binary of notify-svc: notifications of those who were not reached.

use clap::Parser;
use madang_mesh::{process, settings};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: process::Allocator = process::Allocator;

/// Madang's notify-svc: notifications of those who were not reached: reads the log, calls push services.
#[derive(Parser)]
#[command(name = "madang-notify", version)]
struct Cli {
    #[command(flatten)]
    process: process::Args,
    #[command(flatten)]
    config: madang_notify::Config,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = settings::parse::<Cli>();
    let config = cli.config;
    process::main("notify", cli.process, None, async |context, _| madang_notify::build(config, context).await).await
}
