//! The binary of store-svc: messages at rest: reads the log, writes Cassandra, serves history.

use clap::Parser;
use madang_mesh::{process, settings};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: process::Allocator = process::Allocator;

/// Madang's store-svc: messages at rest: reads the log, writes Cassandra, serves history.
#[derive(Parser)]
#[command(name = "madang-store", version)]
struct Cli {
    #[command(flatten)]
    process: process::Args,
    #[command(flatten)]
    config: madang_store::Config,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = settings::parse::<Cli>();
    let config = cli.config;
    process::main("store", cli.process, None, async |context, _| madang_store::build(config, context).await).await
}
