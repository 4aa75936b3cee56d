//! The binary of api: the door for HTTP.

use clap::Parser;
use madang_mesh::process;
use std::process::ExitCode;

/// Madang's api: the door for HTTP.
#[derive(Parser)]
#[command(name = "madang-api", version)]
struct Cli {
    #[command(flatten)]
    process: process::Args,
    /// Where client apps connect.
    #[arg(long, env = "MADANG_HTTP", default_value = "127.0.0.1:0")]
    http: std::net::SocketAddr,
    #[command(flatten)]
    config: madang_api::Config,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = cli.config;
    process::main("api", cli.process, Some(cli.http), async |context, _| madang_api::build(config, context).await).await
}
