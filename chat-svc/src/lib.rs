//! chat-svc: homes of rooms, which number what is said, and homes of users, which hold their connections.
//!
//! What comes in: trunks of gateways, operations of other homes and of group-svc. What goes out: records to the log,
//! events to the inboxes, frames to the gateways. What always holds: nothing is answered before the log has it.

pub mod ask;
pub mod connection;
pub mod content;
pub mod cursor;
pub mod event;
pub mod fan_out;
pub mod home;
pub mod homes;
pub mod inbox;
pub mod notices;
pub mod presence;
mod rates;
pub mod refusals;
pub mod retry;
pub mod room;
pub mod router;
pub mod rpc;
pub mod shelf;
pub mod typing;

use connection::Connections;
use fan_out::FanOut;
use home::{Sources, World};
use homes::Homes;
use inbox::Inbox;
use madang_mesh::{
    channel::{Channels, InvalidAddress},
    lease::{self, Leases},
    metrics, process,
    serve::Context,
    shard::ShardMap,
};
use madang_proto::{
    account::v1::account_service_client::AccountServiceClient,
    chat::v1::{chat_service_server::ChatServiceServer, home_service_server::HomeServiceServer},
    group::v1::group_service_client::GroupServiceClient,
    record,
    store::v1::store_service_client::StoreServiceClient,
};
use presence::Presences;
use prometheus::IntGauge;
use router::Router;
use rpc::Rpc;
use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// The largest gRPC message that is taken: batches of frames and events.
const MAX_GRPC: usize = 16 << 20;
/// The largest answer with rooms: one alone may be that large, since what people have set for themselves (4 KiB) stays when they
/// leave.
const MAX_ROOM: usize = 256 << 20;

/// How long a process that stops waits for what its homes left to be fetched.
const FETCHED: Duration = Duration::from_secs(3);

/// The settings of a chat-svc.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Config {
    /// The format of the records that it writes to the log: a newer one only once no version runs any more that can't read it.
    #[arg(long, env = "MADANG_LOG_FORMAT", default_value_t = record::USUAL, value_parser = record::written)]
    pub log_format: u32,
    /// The only gateway that there is runs in this process, and ends with it.
    #[arg(skip)]
    pub alone: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { log_format: record::USUAL, alone: false }
    }
}

/// A chat-svc could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address of another service is none.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
}

static SHARDS: LazyLock<IntGauge> =
    LazyLock::new(|| metrics::gauge("madang_chat_shards", "How many shards there are, as this process was told."));

/// A chat-svc that is ready to run.
pub struct Service {
    rpc: Rpc,
    world: World,
    leases: Leases,
    channels: Channels,
    /// Ends the taking part in leases: the homes end, and their shards are given away.
    leave: CancellationToken,
    drain: CancellationToken,
}

/// Builds a chat-svc on its ports and joins the leases; `inbox` is where its users' events go.
pub async fn build(config: Config, context: Context, inbox: Arc<dyn Inbox>) -> Result<Service, Error> {
    let channel = |address: &str| context.channels.get(address);
    let sources = home::Services {
        group: GroupServiceClient::new(channel(&context.peers.group)?).max_decoding_message_size(MAX_ROOM),
        store: StoreServiceClient::new(channel(&context.peers.store)?).max_decoding_message_size(MAX_GRPC),
        account: AccountServiceClient::new(channel(&context.peers.account)?),
    };
    Ok(build_on(config, context, inbox, Arc::new(sources)).await)
}

/// The same, where the databases are reached by another way than their services.
pub async fn build_on(config: Config, context: Context, inbox: Arc<dyn Inbox>, sources: Arc<dyn Sources>) -> Service {
    let Config { log_format: format, alone } = config;
    let settings = &context.settings;
    let (leave, drain) = (CancellationToken::new(), CancellationToken::new());
    let wanted = lease::Config {
        group: "chat".into(),
        process: context.process.clone(),
        address: context.address.clone(),
        shards: settings.shards,
    };
    let leases = lease::join(wanted, context.registry.clone(), leave.clone()).await;
    SHARDS.set(settings.shards.into());
    let fan_out = FanOut::spawn(inbox.clone(), settings.shards, context.process.clone(), drain.clone());
    let homes = Homes::default();
    let (map, process) = (leases.map.clone(), context.process.clone());
    let peers = connection::Peers {
        fan_out: fan_out.clone(),
        map: map.clone(),
        process: process.clone(),
        channels: context.channels.clone(),
        registry: context.registry.clone(),
    };
    let config =
        connection::Config { shards: settings.shards, devices: settings.max_devices, tail_bytes: settings.tail_bytes };
    let presences = Presences::new(presence::Ways {
        map: map.clone(),
        process: process.clone(),
        channels: context.channels.clone(),
        sources: sources.clone(),
        shards: settings.shards,
        alone,
    });
    tokio::spawn(presences.clone().run(drain.clone()));
    let (held, board) = (leases.held.clone(), presences.board());
    let connections = Connections::spawn(inbox.clone(), Arc::new(peers), config, board, held, drain.clone());
    let notices = notices::Notices::new(connections.clone(), map.clone(), process.clone(), context.channels.clone());
    let router =
        Router::new(homes.clone(), map.clone(), process.clone(), context.channels.clone(), settings.max_message_bytes);
    let world = World {
        log: context.log,
        registry: context.registry,
        fan_out,
        typing: typing::Typing::new(notices.clone(), sources.clone()),
        notices,
        sources,
        process,
        format,
        limits: room::Limits { members: settings.max_members as usize },
        memory: home::Memory::new(settings.room_bytes),
        lag_bytes: settings.lag_bytes,
        tenure: leases.tenure(),
    };
    let (fan_out, typing, channels) = (world.fan_out.clone(), world.typing.clone(), context.channels);
    let rates = Arc::new(rates::Rates::new(settings.send_rate, settings.send_burst));
    let tenure = leases.tenure();
    let drained = drain.clone();
    let rpc = Rpc { router, homes, connections, presences, fan_out, inbox, typing, rates, map, drain: drained, tenure };
    Service { rpc, world, leases, channels, leave, drain }
}

impl Service {
    /// The homes of this process, which come to serve once it runs.
    #[must_use]
    pub fn homes(&self) -> Homes {
        self.rpc.homes.clone()
    }

    /// The way to every room's home, as its RPCs take it.
    #[must_use]
    pub fn router(&self) -> Router {
        self.rpc.router.clone()
    }

    /// The connections of the users whose home this process is.
    #[must_use]
    pub fn connections(&self) -> Connections {
        self.rpc.connections.clone()
    }

    /// Who is home of which shard, as this process tells the gateways.
    #[must_use]
    pub fn map(&self) -> watch::Receiver<ShardMap> {
        self.rpc.map.clone()
    }
}

impl process::Service for Service {
    fn routes(&self) -> Routes {
        let chat = ChatServiceServer::new(self.rpc.clone()).max_decoding_message_size(MAX_GRPC);
        let home = HomeServiceServer::new(self.rpc.clone()).max_decoding_message_size(MAX_GRPC);
        Routes::new(chat).add_service(home)
    }

    async fn run(self, drain: CancellationToken) {
        let homes = self.rpc.homes.clone();
        // Each shard is given away as soon as its home has stopped, and what it left is fetched from here.
        let leaving = async {
            drain.cancelled().await;
            self.leave.cancel();
            self.leases.left().await;
        };
        tokio::join!(homes.clone().run(self.leases.clone(), self.world, self.channels, drain.clone()), leaving);
        if self.leases.others() > 0 && tokio::time::timeout(FETCHED, homes.shelf().emptied()).await.is_err() {
            tracing::info!("not all that homes left here was fetched: others replay the log");
        }
        self.drain.cancel();
    }
}
