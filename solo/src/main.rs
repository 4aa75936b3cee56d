//! The command `madang`.

use clap::{Parser, Subcommand};
use madang_mesh::telemetry;
use madang_solo::{serve, token::Tokens};
use std::{io::Write as _, path::PathBuf, process::ExitCode};

/// A chat backend: streaming chat over WebSocket, HTTP and gRPC.
#[derive(Parser)]
#[command(name = "madang", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything in this process, on SQLite in one folder.
    Serve(Box<serve::Args>),
    /// Tokens of internal services, for the gRPC port.
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Print a service's token.
    Create {
        /// The service's name.
        #[arg(long)]
        service: String,
        /// The data folder of `madang serve`.
        #[arg(long, env = "MADANG_DATA", default_value = "./data")]
        data: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    telemetry::init();
    match run(Cli::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "madang: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match command {
        Command::Serve(args) => {
            let running = serve::start(*args).await?;
            writeln!(out, "http {}\ngrpc {}\nadmin {}", running.http, running.grpc, running.admin)?;
            out.flush()?;
            telemetry::shutdown_signal().await;
            running.stop().await;
        }
        Command::Token(TokenCommand::Create { service, data }) => {
            std::fs::create_dir_all(&data)?;
            writeln!(out, "{}", Tokens::open(&data)?.make(&service))?;
        }
    }
    Ok(())
}
