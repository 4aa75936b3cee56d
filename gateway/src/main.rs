//! The binary of gateway: the door for WebSockets.

use clap::Parser;
use madang_mesh::{process, settings};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: process::Allocator = process::Allocator;

/// Madang's gateway: the door for WebSockets.
#[derive(Parser)]
#[command(name = "madang-gateway", version)]
struct Cli {
    #[command(flatten)]
    process: process::Args,
    /// Where client apps connect.
    #[arg(long, env = "MADANG_HTTP", default_value = "127.0.0.1:0")]
    http: std::net::SocketAddr,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = settings::parse::<Cli>();
    process::main("gateway", cli.process, Some(cli.http), async |context, _| madang_gateway::build(context).await).await
}
