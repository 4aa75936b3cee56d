//! The binary of group-svc: who is in which conversation: reads the log, writes Postgres, serves lists and members.

use clap::Parser;
use madang_mesh::{process, settings};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: process::Allocator = process::Allocator;

/// Madang's group-svc: who is in which conversation: reads the log, writes Postgres, serves lists and members.
#[derive(Parser)]
#[command(name = "madang-group", version)]
struct Cli {
    #[command(flatten)]
    process: process::Args,
    #[command(flatten)]
    config: madang_group::Config,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = settings::parse::<Cli>();
    let config = cli.config;
    process::main("group", cli.process, None, async |context, _| madang_group::build(config, context).await).await
}
