//! `madang serve`: every service in this process, on SQLite in one folder, on loopback.

use crate::token::Tokens;
use anyhow::Context as _;
use madang_mesh::{
    channel::Channels,
    door,
    grants::Grants,
    log::sqlite::SqliteLog,
    process::{self, GRACE, Service as _, described, health},
    registry::memory::MemoryRegistry,
    serve::{self, Context, Entrance, Peers},
    settings::Settings,
    telemetry,
    tls::{self, door::Certificate},
    vital::vital,
};
use madang_proto::access::Service;
use std::{
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// What `madang serve` is told.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where everything is kept; made if it is not there.
    #[arg(long, env = "MADANG_DATA", default_value = "./data")]
    pub data: PathBuf,
    /// Where client apps connect (HTTP and WebSocket).
    #[arg(long, env = "MADANG_HTTP", default_value = "127.0.0.1:8080")]
    pub http: SocketAddr,
    /// Where internal services connect (gRPC).
    #[arg(long, env = "MADANG_GRPC", default_value = "127.0.0.1:8081")]
    pub grpc: SocketAddr,
    /// Metrics, health, readiness.
    #[arg(long, env = "MADANG_ADMIN", default_value = "127.0.0.1:8082")]
    pub admin: SocketAddr,
    /// A file with settings: TOML, its keys the names of these flags.
    #[arg(long, env = "MADANG_CONFIG")]
    pub config: Option<PathBuf>,
    /// What this process tells of itself.
    #[command(flatten)]
    pub telemetry: telemetry::Args,
    /// The certificate of the door, if it is to speak TLS by itself.
    #[command(flatten)]
    pub certificate: tls::door::Args,
    /// What all services are told alike.
    #[command(flatten)]
    pub settings: Settings,
    /// Settings of the groups.
    #[command(flatten)]
    pub group: madang_group::Config,
    /// Settings of the message store.
    #[command(flatten)]
    pub store: madang_store::Config,
    /// Settings of the accounts.
    #[command(flatten)]
    pub account: madang_account::Config,
    /// Settings of the notifications.
    #[command(flatten)]
    pub notify: madang_notify::Config,
}

/// How long the homes may take to replay the log.
const HOMES: Duration = Duration::from_secs(60);
/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(2);

/// All of Madang, running.
pub struct Running {
    /// Where client apps connect.
    pub http: SocketAddr,
    /// Where internal services connect.
    pub grpc: SocketAddr,
    /// Metrics, health, readiness.
    pub admin: SocketAddr,
    /// In the order in which they end.
    phases: [(CancellationToken, JoinSet<()>); 4],
    /// How long each may take.
    patience: Duration,
}

fn folder(path: &Path) -> anyhow::Result<()> {
    let said = |error: std::io::Error| {
        anyhow::anyhow!("can't write to the folder {}: {error}; choose another with --data", path.display())
    };
    std::fs::create_dir_all(path).map_err(said)?;
    let probe = path.join(".writable");
    std::fs::write(&probe, b"").map_err(said)?;
    std::fs::remove_file(&probe).map_err(said)
}

/// Starts everything; fails before anything is served.
pub async fn start(mut args: Args) -> anyhow::Result<Running> {
    let (http, grpc, admin) = (serve::bind(args.http)?, serve::bind(args.grpc)?, serve::bind(args.admin)?);
    let addresses = (http.local_addr()?, grpc.local_addr()?, admin.local_addr()?);
    let certificate = Certificate::open(&args.certificate).await?;
    folder(&args.data)?;
    let log = SqliteLog::open(&args.data)?;
    let tokens = Tokens::open(&args.data)?;
    for data in [&mut args.store.data, &mut args.group.data, &mut args.account.data, &mut args.notify.data] {
        data.get_or_insert(args.data.clone());
    }
    let shards = args.settings.shards as usize;
    let (patience, [strangers, within]) = (args.settings.drain_window() + GRACE, process::doors(&args.settings));
    // Whoever has a token has it from who keeps the data.
    let grants = match args.settings.grants.clone() {
        grants if grants.is_empty() => Grants::all(),
        grants => Grants::new(grants),
    };
    let channels = Channels::new();
    let inside = |name: &str| format!("inproc://{name}");
    let context = Context {
        process: format!("solo-{}", uuid::Uuid::new_v4().simple()),
        address: inside("chat"),
        settings: args.settings,
        log: Arc::new(log),
        registry: Arc::new(MemoryRegistry::new()),
        channels: channels.clone(),
        peers: Peers {
            chat: inside("chat"),
            store: inside("store"),
            group: inside("group"),
            account: inside("account"),
            notify: inside("notify"),
        },
        until: Instant::now(),
    };
    let of = |service: Service| {
        let channels = channels.of(service);
        Context { address: inside(service.name()), channels, ..context.clone() }
    };
    let inbox = Arc::new(madang_chat::inbox::memory::MemoryInbox::new());
    let account = madang_account::build(args.account, of(Service::Account)).await?;
    let store = madang_store::build(args.store, of(Service::Store)).await?;
    let group = madang_group::build(args.group, of(Service::Group)).await?;
    let chat = madang_chat::Config { alone: true, ..madang_chat::Config::default() };
    let chat = madang_chat::build(chat, of(Service::Chat), inbox).await?;
    let notify = madang_notify::build(args.notify, of(Service::Notify)).await?;
    let gateway = madang_gateway::build(of(Service::Gateway)).await?;
    let api = madang_api::build(of(Service::Api)).await?;

    let [leaving, doors, services, transports] = [(); 4].map(|()| CancellationToken::new());
    let [mut departing, mut at_door, mut serving, mut carrying] = [(); 4].map(|()| JoinSet::new());
    let all = [
        ("account", account.routes()),
        ("store", store.routes()),
        ("group", group.routes()),
        ("chat", chat.routes()),
        ("notify", notify.routes()),
    ];
    let mut public = axum::Router::new();
    for (name, routes) in all {
        public = public.merge(routes.clone().into_axum_router().reset_fallback());
        carrying.spawn(report(name, serve::grpc(routes, None, Some(channels.listen(name)), transports.clone())));
    }
    let public = public.merge(described(Routes::default(), &Service::ALL).await?.into_axum_router().reset_fallback());
    let check = move |token: &str| tokens.check(token).map(str::to_owned);
    let entrance = Entrance::with_tokens(grpc, Arc::new(check), grants);
    carrying.spawn(report("grpc", serve::grpc(Routes::from(public), Some(entrance), None, transports.clone())));
    serving.spawn(vital("account", account.run(services.clone())));
    serving.spawn(vital("store", store.run(services.clone())));
    serving.spawn(vital("group", group.run(services.clone())));
    serving.spawn(vital("notify", notify.run(services.clone())));
    let homes = chat.homes();
    serving.spawn(vital("chat", chat.run(services.clone())));
    let router = gateway.door().unwrap_or_default().merge(api.door().unwrap_or_default());
    departing.spawn(vital("gateway", gateway.run(leaving.clone())));
    departing.spawn(vital("api", api.run(leaving.clone())));
    at_door.spawn(door::serve(http, router, strangers.secured(certificate), doors.clone()));
    carrying.spawn(door::serve(admin, health(leaving.clone()), within, transports.clone()));
    // Ready is who takes a message: every shard has its home.
    let all = async {
        while homes.count() < shards {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(HOMES, all).await.context("the homes did not come to serve; the log above says why")?;
    let (http, grpc, admin) = addresses;
    let phases = [(leaving, departing), (doors, at_door), (services, serving), (transports, carrying)];
    Ok(Running { http, grpc, admin, phases, patience })
}

impl Running {
    /// Stops: first the sockets are sent away, then the door closes, then the services end, then what carries their
    /// calls.
    pub async fn stop(self) {
        for (token, mut tasks) in self.phases {
            token.cancel();
            let ended = async { while tasks.join_next().await.is_some() {} };
            if tokio::time::timeout(self.patience, ended).await.is_err() {
                tracing::warn!("some tasks did not end in time and are cut off");
            }
        }
    }
}

async fn report(name: &'static str, serving: impl Future<Output = Result<(), tonic::transport::Error>>) {
    if let Err(error) = serving.await {
        tracing::error!(name, %error, "serving ended");
    }
}
