//! A service as a process of its own: what it is told, and the one order in which it starts and stops. Bind, reach
//! NATS, build, say that it is ready, serve, drain.

use crate::{
    again,
    channel::Channels,
    door::{self, Door},
    grants::Grants,
    log::jetstream::JetStreamLog,
    metrics,
    registry::{Registry, jetstream::JetStreamRegistry},
    secret::Secret,
    serve::{self, Context, Entrance, Peers},
    settings::Settings,
    telemetry,
    tls::{self, Tls, door::Certificate},
    vital::vital,
};
use async_nats::{ConnectErrorKind, ServerAddr};
use axum::{Router, http::StatusCode, routing::get};
use madang_proto::access::{self, Service as Name};
use percent_encoding::percent_decode_str;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::{
    future::Future, io::Write as _, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration,
};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// The allocator of every binary. Measured against glibc's: 1.6 to 1.8 times the messages a second.
pub use tikv_jemallocator::Jemalloc as Allocator;

/// How long a stop may take before what is left is cut off.
pub const GRACE: Duration = Duration::from_secs(10);
/// How long reaching NATS may take.
const CONNECT: Duration = Duration::from_secs(10);
/// For how long a service tries to, and then to reach its database, before it ends. After a cold start of everything they come late:
/// whoever ended at once would be started again after ever longer pauses, on Kubernetes up to five minutes, with them there. Less than the 120 s that a
/// start-up probe of the chart gives.
const REACH: Duration = Duration::from_secs(100);
const _: () = assert!(REACH.as_secs() + CONNECT.as_secs() < 120);

/// How often it is looked whether a NATS server still answers; one that does not for three times as long is left for
/// another. By default that takes minutes, in which a process has no leases and reads nothing.
const PING: Duration = Duration::from_secs(2);

/// TLS to NATS, whose addresses are then `tls://HOST:PORT`.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub struct NatsTls {
    /// The authorities of NATS's certificates, PEM; without it those of this machine.
    #[arg(long, env = "MADANG_NATS_CA")]
    pub nats_ca: Option<PathBuf>,
    /// A certificate to show to NATS, PEM.
    #[arg(long, env = "MADANG_NATS_CERT", requires = "nats_key")]
    pub nats_cert: Option<PathBuf>,
    /// Its key, PEM.
    #[arg(long, env = "MADANG_NATS_KEY", requires = "nats_cert")]
    pub nats_key: Option<PathBuf>,
}

/// What every service is told.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// A file with settings: TOML, its keys the names of these flags.
    #[arg(long, env = "MADANG_CONFIG")]
    pub config: Option<PathBuf>,
    /// NATS servers, HOST:PORT, separated by commas; JetStream must be enabled, with `sync_interval: always`.
    #[arg(long, env = "MADANG_NATS", default_value = "127.0.0.1:4222")]
    pub nats: Secret,
    /// TLS to them.
    #[command(flatten)]
    pub nats_tls: NatsTls,
    /// How many replicas streams and buckets in NATS have.
    #[arg(long, env = "MADANG_NATS_REPLICAS", default_value_t = 1)]
    pub nats_replicas: usize,
    /// How many bytes a shard's log may take, at most.
    #[arg(long, env = "MADANG_LOG_BYTES", default_value_t = 2 << 30)]
    pub log_bytes: i64,
    /// On which NATS servers streams are made: such as have all of these tags, separated by commas; none: any.
    #[arg(long, env = "MADANG_NATS_TAGS", value_delimiter = ',')]
    pub nats_tags: Vec<String>,
    /// Where this process serves gRPC.
    #[arg(long, env = "MADANG_GRPC", default_value = "127.0.0.1:0")]
    pub grpc: SocketAddr,
    /// Health, readiness and metrics of this process.
    #[arg(long, env = "MADANG_ADMIN", default_value = "127.0.0.1:0")]
    pub admin: SocketAddr,
    /// Where others reach this process's gRPC; by default http:// (https:// with certificates) and what `--grpc` came to.
    #[arg(long, env = "MADANG_ADVERTISE")]
    pub advertise: Option<String>,
    /// Where any chat-svc is reached; or several, separated by commas.
    #[arg(long, env = "MADANG_CHAT_URL", default_value = "http://127.0.0.1:7001")]
    pub chat_url: String,
    /// Where store-svc is reached.
    #[arg(long, env = "MADANG_STORE_URL", default_value = "http://127.0.0.1:7002")]
    pub store_url: String,
    /// Where group-svc is reached.
    #[arg(long, env = "MADANG_GROUP_URL", default_value = "http://127.0.0.1:7003")]
    pub group_url: String,
    /// Where account-svc is reached.
    #[arg(long, env = "MADANG_ACCOUNT_URL", default_value = "http://127.0.0.1:7004")]
    pub account_url: String,
    /// Where notify-svc is reached.
    #[arg(long, env = "MADANG_NOTIFY_URL", default_value = "http://127.0.0.1:7005")]
    pub notify_url: String,
    /// Certificates between services.
    #[command(flatten)]
    pub tls: tls::Args,
    /// What this process tells of itself.
    #[command(flatten)]
    pub telemetry: telemetry::Args,
    /// The certificate of the public door, for a service that has one.
    #[command(flatten)]
    pub certificate: tls::door::Args,
    /// What all services are told alike.
    #[command(flatten)]
    pub settings: Settings,
}

/// A service that was built.
pub trait Service: Send + 'static {
    /// Its gRPC services.
    fn routes(&self) -> Routes {
        Routes::default()
    }

    /// Its public door, if it has one.
    fn door(&self) -> Option<Router> {
        None
    }

    /// Serves until `drain`, and finishes what is in flight.
    fn run(self, drain: CancellationToken) -> impl Future<Output = ()> + Send;
}

/// Why a process could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port is taken, or an address is none of this machine's.
    #[error(transparent)]
    Bind(#[from] std::io::Error),
    /// Certificates can't be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// NATS can't be reached.
    #[error("can't reach NATS (--nats): {0}")]
    Nats(String),
    /// NATS refuses who comes: waiting does not help.
    #[error(
        "NATS does not let the user of --nats in ({0}): check user and password, or token, in its address, or the certificate"
    )]
    Denied(String),
    /// Everything would be looked for where it is not.
    #[error("the data in NATS is laid out for {there} shards, not for {wanted}: set --shards {there}")]
    Shards {
        /// As `madang migrate` has laid it out.
        there: String,
        /// As this process is told.
        wanted: u32,
    },
    /// The log is too small for what is to be kept of it.
    #[error("{0}")]
    Log(String),
    /// The service can't be built.
    #[error(transparent)]
    Build(#[from] Box<dyn std::error::Error + Send + Sync>),
    /// There can be no such collector.
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
}

/// As many files and sockets as this process may have, also for what it starts: shells often allow 1,024.
pub fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Then fewer connections are taken, as before.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Runs a service until it is told to stop: what the binaries of all services do. `http`: where its public door is, if
/// it has one.
pub async fn main<S, E>(
    name: &str,
    args: Args,
    http: Option<SocketAddr>,
    build: impl AsyncFnOnce(Context, async_nats::Client) -> Result<S, E>,
) -> ExitCode
where
    S: Service,
    E: std::error::Error + Send + Sync + 'static,
{
    raise_file_limit();
    let started = async {
        let telemetry = telemetry::start(name, &args.telemetry)?;
        // Who is told to stop meanwhile, stops: as the first process of a container it would else not hear of it.
        let running = tokio::select! {
            running = start(name, args, http, build) => running?,
            () = telemetry::shutdown_signal() => return Ok(None),
        };
        let mut out = std::io::stdout();
        for (what, address) in [("grpc", Some(running.grpc)), ("admin", Some(running.admin)), ("http", running.http)] {
            if let Some(address) = address {
                writeln!(out, "{what} {address}")?;
            }
        }
        out.flush()?;
        Ok::<_, Error>(Some((running, telemetry)))
    };
    match started.await {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some((running, telemetry))) => {
            telemetry::shutdown_signal().await;
            running.stop().await;
            telemetry.stop().await;
            ExitCode::SUCCESS
        }
        Err(error) => {
            // Nobody is left to be told if this can't be written.
            let _ = writeln!(std::io::stderr(), "{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A service at work.
pub struct Running {
    /// Where it serves gRPC.
    pub grpc: SocketAddr,
    /// Health and readiness.
    pub admin: SocketAddr,
    /// Its public door, if it has one.
    pub http: Option<SocketAddr>,
    doors: CancellationToken,
    services: CancellationToken,
    transports: CancellationToken,
    tasks: [JoinSet<()>; 3],
    /// How long the service may take to drain.
    patience: Duration,
}

impl Running {
    /// Stops it: first the service drains, whose door says so to who comes meanwhile; then the door closes, then what
    /// carries its calls.
    pub async fn stop(self) {
        let Self { services, doors, transports, tasks: [serving, at_door, carrying], patience, .. } = self;
        let phases = [(services, serving, patience), (doors, at_door, GRACE), (transports, carrying, GRACE)];
        for (token, mut tasks, patience) in phases {
            token.cancel();
            let ended = async { while tasks.join_next().await.is_some() {} };
            if tokio::time::timeout(patience, ended).await.is_err() {
                tracing::warn!("some tasks did not end in time and are cut off");
            }
        }
    }
}

/// Where the registry has the number of shards that the data was laid out for, once `madang migrate` has run.
pub const SHARDS: &str = "layout.shards";

/// Nobody starts on data that was laid out for another number of shards, whatever made it start so.
async fn check_shards(registry: &dyn Registry, wanted: u32) -> Result<(), Error> {
    let there = registry.get(SHARDS).await.map_err(|error| Error::Nats(error.to_string()))?;
    match there.and_then(|item| item.value) {
        Some(there) if *there != *wanted.to_string().as_bytes() => {
            Err(Error::Shards { there: String::from_utf8_lossy(&there).into_owned(), wanted })
        }
        _ => Ok(()),
    }
}

/// What NATS has to take at once, as it does where nothing else is configured: batches stay below half of it, and what a
/// single large event adds.
const MAX_PAYLOAD: usize = 1 << 20;

/// Connects to NATS, which shows the connection under this name.
pub async fn connect(name: &str, servers: &Secret, tls: &NatsTls) -> Result<async_nats::Client, Error> {
    let servers: Vec<&str> = servers.reveal().split(',').map(str::trim).collect();
    let wrong = |error: std::io::Error| Error::Nats(error.to_string());
    let addresses: Vec<ServerAddr> =
        servers.iter().map(|server| server.parse()).collect::<Result<_, _>>().map_err(wrong)?;
    let mut options = async_nats::ConnectOptions::new().name(name).ping_interval(PING);
    // The driver makes nothing of them by itself. They are of all servers: the cluster tells of others without any.
    if let Some(server) = addresses.iter().find(|server| server.has_user_pass()) {
        let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = server.username().map(plain).unwrap_or_default();
        options = match server.password() {
            Some(password) => options.user_and_password(user, plain(password)),
            None => options.token(user),
        };
    }
    if let Some(ca) = &tls.nats_ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let (Some(cert), Some(key)) = (&tls.nats_cert, &tls.nats_key) {
        options = options.add_client_certificate(cert.clone(), key.clone());
    }
    // What one server tells of others is reached like it.
    if servers.iter().any(|server| server.starts_with("tls://")) {
        options = options.require_tls(true);
    }
    let client = tokio::time::timeout(CONNECT, options.connect(addresses)).await;
    let client = client.map_err(|_| Error::Nats("no answer".into()))?.map_err(|error| match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            Error::Denied(error.kind().to_string())
        }
        _ => Error::Nats(error.to_string()),
    })?;
    let takes = client.server_info().max_payload;
    if takes < MAX_PAYLOAD {
        return Err(Error::Nats(format!(
            "it takes messages of {takes} bytes: set its max_payload to {MAX_PAYLOAD} or more"
        )));
    }
    Ok(client)
}

/// Starts a service; fails before anything is served.
pub async fn start<S, E>(
    name: &str,
    args: Args,
    http: Option<SocketAddr>,
    build: impl AsyncFnOnce(Context, async_nats::Client) -> Result<S, E>,
) -> Result<Running, Error>
where
    S: Service,
    E: std::error::Error + Send + Sync + 'static,
{
    let (grpc, admin) = (serve::bind(args.grpc)?, serve::bind(args.admin)?);
    let http = http.map(serve::bind).transpose()?;
    let served = Name::ALL.into_iter().find(|service| service.name() == name);
    let tls = match served {
        Some(service) => Tls::open(&args.tls, service).await?,
        None => None,
    };
    if tls.is_none() {
        tracing::warn!(
            "calls between services are neither encrypted nor checked: whoever reaches this network may make any (--tls-cert)"
        );
    }
    let certificate = Certificate::open(&args.certificate).await?;
    args.settings.fit(args.log_bytes).map_err(Error::Log)?;
    let reach = || {
        let (servers, tls, replicas) = (args.nats.clone(), args.nats_tls.clone(), args.nats_replicas);
        async move {
            let client = connect(name, &servers, &tls).await?;
            let registry = JetStreamRegistry::open(client.clone(), replicas).await;
            Ok::<_, Error>((client, registry.map_err(|error| Error::Nats(error.to_string()))?))
        }
    };
    // Also where NATS lets nobody in: it may be told of a new password after this process is.
    let until = Instant::now() + REACH;
    let (client, registry) = again::until(until, "NATS", |_| true, reach).await?;
    check_shards(&registry, args.settings.shards).await?;
    let (patience, [public, within]) = (args.settings.drain_window() + GRACE, doors(&args.settings));
    let scheme = if tls.is_some() { "https" } else { "http" };
    let peers = Peers {
        chat: args.chat_url,
        store: args.store_url,
        group: args.group_url,
        account: args.account_url,
        notify: args.notify_url,
    };
    let grants = Grants::new(args.settings.grants.clone());
    let context = Context {
        process: format!("{name}-{}", uuid::Uuid::new_v4().simple()),
        address: args.advertise.unwrap_or(format!("{scheme}://{}", grpc.local_addr()?)),
        settings: args.settings,
        log: Arc::new(
            JetStreamLog::new(client.clone(), args.nats_replicas, args.log_bytes).on_servers_with(args.nats_tags),
        ),
        registry: Arc::new(registry),
        channels: Channels::secured(tls.clone(), &peers),
        peers,
        until,
    };
    let service = build(context, client).await.map_err(|error| Error::Build(error.into()))?;

    let (doors, services, transports) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let [mut serving, mut at_door, mut carrying] = [JoinSet::new(), JoinSet::new(), JoinSet::new()];
    let addresses = (grpc.local_addr()?, admin.local_addr()?);
    let mut http_at = None;
    let grpc = Entrance::secured(grpc, tls, grants);
    let routes = described(service.routes(), served.as_slice()).await.map_err(|error| Error::Build(error.into()))?;
    carrying.spawn({
        let transports = transports.clone();
        async move {
            if let Err(error) = serve::grpc(routes, Some(grpc), None, transports).await {
                tracing::error!(%error, "serving gRPC ended");
            }
        }
    });
    carrying.spawn(door::serve(admin, health(services.clone()), within, transports.clone()));
    if let (Some(listener), Some(router)) = (http, service.door()) {
        http_at = Some(listener.local_addr()?);
        at_door.spawn(door::serve(listener, router, public.secured(certificate), doors.clone()));
    }
    serving.spawn(vital("the service", service.run(services.clone())));
    let ((grpc, admin), http, tasks) = (addresses, http_at, [serving, at_door, carrying]);
    Ok(Running { grpc, admin, http, doors, services, transports, tasks, patience })
}

/// The limits of a process's public door, and of its admin port.
#[must_use]
pub fn doors(settings: &Settings) -> [Door; 2] {
    [Door::new(settings), Door::within()]
}

/// What every process serves besides; empty: the whole.
const OPEN: [&str; 4] =
    ["", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

/// The names of a service's gRPC services, as often as they have methods.
fn services(of: Name) -> impl Iterator<Item = String> {
    let package = format!("madang.{}.v1.", of.name());
    access::table().filter_map(move |path| {
        let (service, _) = path.strip_prefix('/')?.split_once('/')?;
        service.starts_with(&package).then(|| service.to_owned())
    })
}

/// Adds health and reflection, which are open to all: probes and tools have no token. `of`: whose routes these are, since
/// health may be asked about the whole, or about one service by its name.
pub async fn described(routes: Routes, of: &[Name]) -> Result<Routes, tonic_reflection::server::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let all = of.iter().flat_map(|name| services(*name)).chain(OPEN.map(String::from));
    for service in all {
        reporter.set_service_status(service, tonic_health::ServingStatus::Serving).await;
    }
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(madang_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(routes.add_service(health).add_service(builder().build_v1()?).add_service(builder().build_v1alpha()?))
}

/// The admin port: whether the process lives, whether it wants work, and what it counts.
pub fn health(draining: CancellationToken) -> Router {
    let ready = move || {
        let draining = draining.is_cancelled();
        async move { if draining { (StatusCode::SERVICE_UNAVAILABLE, "draining\n") } else { (StatusCode::OK, "ready\n") } }
    };
    let metrics = || async { ([("content-type", "text/plain; version=0.0.4")], metrics::text()) };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::memory::MemoryRegistry;
    use tonic::Code;
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

    #[tokio::test]
    async fn nobody_starts_on_data_of_another_number_of_shards() {
        let registry = MemoryRegistry::new();
        assert!(check_shards(&registry, 64).await.is_ok(), "nothing is laid out yet");
        registry.compare_and_set(SHARDS, "64".into(), 0).await.unwrap();
        assert!(check_shards(&registry, 64).await.is_ok());
        let refused = check_shards(&registry, 6).await.unwrap_err().to_string();
        assert!(refused.contains("laid out for 64 shards, not for 6: set --shards 64"), "{refused}");
    }

    #[tokio::test]
    async fn health_is_answered_for_every_service_that_is_served() {
        let mut health = HealthClient::new(described(Routes::default(), &[Name::Chat]).await.unwrap());
        for (service, served) in [
            ("", true),
            ("madang.chat.v1.ChatService", true),
            ("madang.chat.v1.HomeService", true),
            ("grpc.health.v1.Health", true),
            ("madang.store.v1.StoreService", false),
            ("madang.chat.v1", false),
        ] {
            let request = HealthCheckRequest { service: service.into() };
            let answer = health.check(request).await.map(|answer| answer.into_inner().status());
            let expected = if served { Ok(ServingStatus::Serving) } else { Err(Code::NotFound) };
            assert_eq!(answer.map_err(|status| status.code()), expected, "{service}");
        }
    }
}
