//! `madang service NAME`: one service as this process, just as its own binary runs it. An image carries one program, and
//! its arguments say which service it is.

use clap::Subcommand;
use madang_chat::inbox::jetstream::JetStreamInbox;
use madang_mesh::{process, serve::Context};
use std::{net::SocketAddr, process::ExitCode, sync::Arc};

/// Which service, and what it is told.
#[derive(Debug, Subcommand)]
pub enum Args {
    /// Homes of rooms and of users.
    Chat(Keeper<madang_chat::Config>),
    /// The door for WebSockets.
    Gateway(Door),
    /// The door for HTTP.
    Api(Door),
    /// Messages at rest.
    Store(Keeper<madang_store::Config>),
    /// Who is in which conversation.
    Group(Keeper<madang_group::Config>),
    /// People, their log-ins and their devices.
    Account(Keeper<madang_account::Config>),
    /// Notifications of those who were not reached.
    Notify(Keeper<madang_notify::Config>),
}

/// A service with a public door.
#[derive(Debug, clap::Args)]
pub struct Door {
    #[command(flatten)]
    process: process::Args,
    /// Where client apps connect.
    #[arg(long, env = "MADANG_HTTP", default_value = "127.0.0.1:0")]
    http: SocketAddr,
}

/// A service with settings of its own.
#[derive(Debug, clap::Args)]
pub struct Keeper<C: clap::Args> {
    #[command(flatten)]
    process: process::Args,
    #[command(flatten)]
    config: C,
}

/// Runs it until it is told to stop.
pub async fn run(args: Args) -> ExitCode {
    match args {
        Args::Chat(Keeper { process, config }) => {
            let replicas = process.nats_replicas;
            let build = async |context: Context, nats| {
                let inbox = Arc::new(JetStreamInbox::new(nats, replicas, context.settings.inbox_bytes));
                madang_chat::build(config, context, inbox).await
            };
            process::main("chat", process, None, build).await
        }
        Args::Gateway(Door { process, http }) => {
            process::main("gateway", process, Some(http), async |context, _| madang_gateway::build(context).await).await
        }
        Args::Api(Door { process, http }) => {
            process::main("api", process, Some(http), async |context, _| madang_api::build(context).await).await
        }
        Args::Store(Keeper { process, config }) => {
            process::main("store", process, None, async |context, _| madang_store::build(config, context).await).await
        }
        Args::Group(Keeper { process, config }) => {
            process::main("group", process, None, async |context, _| madang_group::build(config, context).await).await
        }
        Args::Account(Keeper { process, config }) => {
            process::main("account", process, None, async |context, _| madang_account::build(config, context).await)
                .await
        }
        Args::Notify(Keeper { process, config }) => {
            process::main("notify", process, None, async |context, _| madang_notify::build(config, context).await).await
        }
    }
}
