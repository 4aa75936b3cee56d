//! The command `madang`.

use clap::{Parser, Subcommand};
use madang_loadgen::{bench, replay};
use madang_mesh::{process, settings, telemetry};
use madang_solo::{certs, chat, dev, migrate, serve, service, token::Tokens, torture};
use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
};

#[global_allocator]
static ALLOCATOR: process::Allocator = process::Allocator;

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
    /// Run every service as a process of its own, on a real nats-server, Postgres and Cassandra.
    Dev(dev::Args),
    /// Run one service as this process.
    #[command(subcommand)]
    Service(Box<service::Args>),
    /// Make what a cluster needs in NATS, Cassandra and Postgres; what is there stays.
    Migrate(Box<migrate::Args>),
    /// Talk in this terminal.
    Chat(chat::Args),
    /// Replay conversations through the public doors, and check every delivery and every history.
    Replay(replay::Args),
    /// Load a server, and measure it.
    Bench(bench::Args),
    /// Break a cluster in every way while people talk on it, and judge what they were told.
    Torture(torture::Args),
    /// Make an authority and a certificate for each service, for development and tests.
    Certs(certs::Args),
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
async fn main() -> std::process::ExitCode {
    process::raise_file_limit();
    let command = match settings::parse::<Cli>().command {
        Command::Service(args) => return service::run(*args).await,
        command => command,
    };
    if !matches!(command, Command::Serve(_)) {
        telemetry::init();
    }
    match run(command).await {
        Ok(true) => std::process::ExitCode::SUCCESS,
        Ok(false) => std::process::ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "madang: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// False: what was measured is not as it should be, which has been said.
async fn run(command: Command) -> anyhow::Result<bool> {
    let mut out = std::io::stdout();
    match command {
        Command::Serve(args) => {
            let telemetry = telemetry::start("serve", &args.telemetry)?;
            let running = serve::start(*args).await?;
            let ready = format!("http {}\ngrpc {}\nadmin {}\n", running.http, running.grpc, running.admin);
            out.write_all(ready.as_bytes())?;
            out.flush()?;
            if std::io::stderr().is_terminal() {
                let hint = "two people talk in two more terminals: madang chat --as ann --to bob, madang chat --as bob --to ann";
                writeln!(
                    std::io::stderr(),
                    "{hint} (each --as signs up on first use; --server http://{})",
                    running.http
                )?;
            }
            telemetry::shutdown_signal().await;
            running.stop().await;
            telemetry.stop().await;
        }
        Command::Token(TokenCommand::Create { service, data }) => {
            std::fs::create_dir_all(&data)?;
            writeln!(out, "{}", Tokens::open(&data)?.make(&service))?;
        }
        // It has an exit code of its own, and was run before.
        Command::Service(_) => {}
        Command::Certs(args) => certs::run(&args)?,
        Command::Migrate(args) => migrate::run(*args).await?,
        Command::Dev(args) => return dev::run(args).await,
        Command::Torture(args) => return torture::run(args).await,
        Command::Chat(args) => chat::run(args).await?,
        Command::Replay(args) => return Ok(replay::run(args).await?),
        Command::Bench(args) => return Ok(bench::run(args).await?),
    }
    Ok(true)
}
