//! The binary of gateway: the door for WebSockets.

use clap::Parser;
use madang_mesh::process;
use std::process::ExitCode;

/// Madang's gateway: the door for WebSockets.
#[derive(Parser)]
#[command(name = "madang-gateway", version)]
struct Cli {
    #[command(flatten)]
    process: process::Args,
    /// Where client apps connect.
    #[arg(long, env = "MADANG_HTTP", default_value = "127.0.0.1:0")]
    http: std::net::SocketAddr,
    #[command(flatten)]
    config: madang_gateway::Config,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = cli.config;
    process::main("gateway", cli.process, Some(cli.http), async |context, _| {
        madang_gateway::build(config, context).await
    })
    .await
}
