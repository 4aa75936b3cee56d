//! A cluster: every service as its own process would run it, joined by gRPC over loopback, on NATS, Cassandra and
//! Postgres. One at a time: streams and buckets in NATS have fixed names.

use crate::{backup::Keyspace, until};
use async_nats::jetstream;
use clap::{Args, Parser};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use futures_util::TryStreamExt;
use madang_chat::inbox::jetstream::JetStreamInbox;
use madang_client::{Format, Http, session::Options};
use madang_loadgen::people::Person;
use madang_mesh::{
    process::{self, Running},
    serve::{Context, free},
};
use madang_solo::{certs, services};
use std::{net::SocketAddr, path::PathBuf, sync::Arc};
use tokio::{
    runtime::Runtime,
    sync::{Mutex, MutexGuard},
};

/// Of a flag that is given twice the later one holds: a plan's is.
#[derive(Parser)]
#[command(args_override_self = true)]
struct Cli<T: Args> {
    #[command(flatten)]
    process: process::Args,
    #[command(flatten)]
    config: T,
}

/// The settings of a service that has none of its own.
#[derive(Args)]
struct Nothing {}

/// Services that a test may stop and start by themselves.
#[derive(Clone, Copy)]
enum Kind {
    Account,
    Chat,
    Group,
    Notify,
    Store,
}

/// Starts one.
async fn begin(kind: Kind, flags: Vec<String>) -> Running {
    match kind {
        Kind::Account => {
            let cli = parse::<madang_account::Config>(&flags);
            let build = async |context, _| madang_account::build(cli.config, context).await;
            process::start("account", cli.process, None, build).await.unwrap()
        }
        Kind::Chat => {
            let cli = parse::<madang_chat::Config>(&flags);
            let build = async |context: Context, nats| {
                let inbox = JetStreamInbox::new(nats, 1, context.settings.inbox_bytes);
                madang_chat::build(cli.config, context, Arc::new(inbox)).await
            };
            process::start("chat", cli.process, None, build).await.unwrap()
        }
        Kind::Group => {
            let cli = parse::<madang_group::Config>(&flags);
            let build = async |context, _| madang_group::build(cli.config, context).await;
            process::start("group", cli.process, None, build).await.unwrap()
        }
        Kind::Notify => {
            let cli = parse::<madang_notify::Config>(&flags);
            let build = async |context, _| madang_notify::build(cli.config, context).await;
            process::start("notify", cli.process, None, build).await.unwrap()
        }
        Kind::Store => {
            let cli = parse::<madang_store::Config>(&flags);
            let build = async |context, _| madang_store::build(cli.config, context).await;
            process::start("store", cli.process, None, build).await.unwrap()
        }
    }
}

/// A service in a runtime of its own, which can be killed.
pub struct Part {
    /// Where it serves gRPC: `http://HOST:PORT`; where there are certificates, it is TLS all the same.
    pub grpc: String,
    kind: Kind,
    /// What it was told.
    flags: Vec<String>,
    running: Running,
    runtime: Runtime,
}

/// A service that was stopped.
pub struct Stopped {
    kind: Kind,
    flags: Vec<String>,
}

impl Stopped {
    /// Starts it again; at the same address, if it was told one.
    pub async fn start(self) -> Part {
        Part::start(self.kind, self.flags).await
    }
}

impl Part {
    async fn start(kind: Kind, flags: Vec<String>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let running = runtime.spawn(begin(kind, flags.clone())).await.unwrap();
        Self { grpc: format!("http://{}", running.grpc), kind, flags, running, runtime }
    }

    /// Stops it as a roll-out does: its shards go to others first.
    pub async fn stop(self) -> Stopped {
        self.running.stop().await;
        self.runtime.shutdown_background();
        Stopped { kind: self.kind, flags: self.flags }
    }

    /// Stops it as a roll-out does, and starts another at the same address.
    pub async fn restart(self) -> Self {
        self.stop().await.start().await
    }

    /// Ends it as a crash does: between any two steps, with nothing said to anybody.
    pub fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// A gateway beside the others, in a runtime of its own, which can be killed.
pub struct Doomed {
    /// Its WebSocket door.
    pub url: String,
    _running: Running,
    runtime: Runtime,
}

impl Doomed {
    /// Ends it as a crash does: its sockets and streams break.
    pub fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// A cluster at work.
pub struct Cluster {
    /// The HTTP door.
    pub api: String,
    /// The WebSocket doors.
    pub gateways: Vec<String>,
    /// The homes.
    pub chats: Vec<Part>,
    /// Replicas of store-svc; the doors ask the first.
    pub stores: Vec<Part>,
    /// Replicas of group-svc; the doors and store-svc ask the first.
    pub groups: Vec<Part>,
    /// notify-svc; api asks the first.
    pub notifies: Vec<Part>,
    /// account-svc, of which there is one.
    pub accounts: Vec<Part>,
    /// Its database in Postgres.
    pub postgres: String,
    /// A node of Cassandra, and the keyspace there.
    pub cassandra: (String, String),
    gateway_flags: Vec<String>,
    store_flags: Vec<String>,
    notify_flags: Vec<String>,
    others: Vec<Running>,
    /// Until it has gone, the tests of this process start no other.
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::const_new(());

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests with `make test`"))
}

/// Makes a database in Postgres; gives its name, which is free for a keyspace as well, and its address.
pub async fn database() -> (String, String) {
    let name = format!("c{}", uuid::Uuid::new_v4().simple());
    let server = variable("MADANG_TEST_POSTGRES");
    let mut connection = AsyncPgConnection::establish(&server).await.unwrap();
    connection.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    let address = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
    (name, address)
}

/// Deletes what an earlier test left in NATS: other tests write other things under the same fixed names. What is killed may
/// still be at work, so a stream may be gone before it is its turn, or come again.
pub async fn forget(nats: &str) {
    let context = jetstream::new(async_nats::connect(nats).await.unwrap());
    until("no stream is left", async || {
        let names: Vec<String> = context.stream_names().try_collect().await.ok()?;
        for name in &names {
            let _ = context.delete_stream(name).await;
        }
        names.is_empty().then_some(())
    })
    .await;
}

/// Deletes what a cluster had in its databases: with the tables of all tests before, these would be slower with each. What
/// can't be deleted stays.
async fn clear(name: String) {
    let server = variable("MADANG_TEST_POSTGRES");
    if let Ok(mut connection) = AsyncPgConnection::establish(&server).await {
        let _ = connection.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
    }
    let _ = Keyspace { node: variable("MADANG_TEST_CASSANDRA"), name }.delete().await;
}

fn parse<T: Args>(flags: &[String]) -> Cli<T> {
    Cli::parse_from(std::iter::once(String::new()).chain(flags.iter().cloned()))
}

/// How many of what a cluster has, and over which addresses it reaches its backends.
#[derive(Clone)]
pub struct Plan {
    /// chat-svc.
    pub chats: usize,
    /// Gateways.
    pub gateways: usize,
    /// store-svc.
    pub stores: usize,
    /// group-svc.
    pub groups: usize,
    /// NATS, if it is another one than that of all tests, with nothing in it.
    pub nats: Option<String>,
    /// Cassandra, if by another way than straight.
    pub cassandra: Option<SocketAddr>,
    /// Postgres, likewise.
    pub postgres: Option<SocketAddr>,
    /// notify-svc.
    pub notifies: usize,
    /// What these are told beside the rest.
    pub push: Vec<String>,
    /// The services' certificates, if they have any: a folder of `madang certs`.
    pub certificates: Option<PathBuf>,
    /// What account-svc is told beside the rest.
    pub account: Vec<String>,
    /// What the homes are told beside the rest.
    pub chat: Vec<String>,
}

impl Plan {
    fn certificate_flags(&self, service: &str) -> Vec<String> {
        let files = self.certificates.iter().flat_map(|folder| certs::variables(folder, service));
        let flags = ["--tls-cert", "--tls-key", "--tls-ca"].map(str::to_owned);
        flags.into_iter().zip(files).flat_map(|(flag, (_, file))| [flag, file]).collect()
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            chats: 1,
            gateways: 1,
            stores: 1,
            groups: 1,
            cassandra: None,
            nats: None,
            postgres: None,
            notifies: 1,
            push: Vec::new(),
            certificates: None,
            account: Vec::new(),
            chat: Vec::new(),
        }
    }
}

impl Cluster {
    /// How a person's session connects, to one of the gateways by its number.
    #[must_use]
    pub fn options(&self, number: usize, person: &Person) -> Options {
        Options {
            http: Http::new(&self.api).unwrap(),
            gateways: vec![self.gateways[number % self.gateways.len()].clone()],
            tokens: person.tokens.clone(),
            device: person.device.clone(),
            source: None,
            format: Format::Protobuf,
            cursor: String::new(),
        }
    }

    /// Starts one with so many chat-svc and gateways, on databases of its own.
    pub async fn start(chats: usize, gateways: usize) -> Self {
        Self::with(Plan { chats, gateways, ..Plan::default() }).await
    }

    /// Starts one as planned, on databases of its own.
    pub async fn with(plan: Plan) -> Self {
        let Plan { chats, gateways, stores, groups, .. } = plan;
        let alone = ALONE.lock().await;
        madang_mesh::telemetry::init();
        let (name, postgres) = database().await;
        let postgres = plan.postgres.map_or(postgres.clone(), |way| {
            let user = postgres.rsplit_once('@').unwrap().0;
            format!("{user}@{way}/{name}")
        });
        let [store_at, group_at, account_at, notify_at] = [(); 4].map(|()| free().unwrap());
        let chat_at: Vec<_> = (0..chats).map(|_| free().unwrap()).collect();
        let scheme = services::scheme(plan.certificates.as_deref());
        let chat_urls = chat_at.iter().map(|address| format!("{scheme}://{address}")).collect::<Vec<_>>().join(",");
        let nats = plan.nats.clone().unwrap_or_else(|| variable("MADANG_TEST_NATS"));
        if plan.nats.is_none() {
            forget(&nats).await;
        }
        let common = |service: &str, grpc: Option<SocketAddr>, more: &[&str]| {
            let mut flags = vec!["--nats".to_owned(), nats.clone(), "--chat-url".to_owned(), chat_urls.clone()];
            let urls = [("store", store_at), ("group", group_at), ("account", account_at), ("notify", notify_at)];
            for (called, address) in urls {
                flags.extend([format!("--{called}-url"), format!("{scheme}://{address}")]);
            }
            flags.extend(plan.certificate_flags(service));
            if let Some(grpc) = grpc {
                flags.extend(["--grpc".to_owned(), grpc.to_string()]);
            }
            flags.extend(more.iter().map(ToString::to_string));
            flags
        };
        let cassandra = plan.cassandra.map_or_else(|| variable("MADANG_TEST_CASSANDRA"), |way| way.to_string());
        let mut flags = common("account", Some(account_at), &["--account-postgres", &postgres, "--argon2-kib", "8"]);
        flags.extend(plan.account.iter().cloned());
        let accounts = vec![Part::start(Kind::Account, flags).await];
        let store_flags = common("store", None, &["--cassandra", &cassandra, "--cassandra-keyspace", &name]);
        let group_flags = common("group", None, &["--group-postgres", &postgres]);
        let at = |flags: &[String], first: SocketAddr, number: usize| {
            let here = if number == 0 { Some(first) } else { None };
            flags.iter().cloned().chain(here.iter().flat_map(|here| ["--grpc".to_owned(), here.to_string()])).collect()
        };
        let mut replicas = [Vec::new(), Vec::new()];
        for number in 0..stores {
            replicas[0].push(Part::start(Kind::Store, at(&store_flags, store_at, number)).await);
        }
        for number in 0..groups {
            replicas[1].push(Part::start(Kind::Group, at(&group_flags, group_at, number)).await);
        }
        let [stores, groups] = replicas;
        let mut homes = Vec::new();
        for address in &chat_at {
            let flags =
                common("chat", Some(*address), &["--send-rate", "0"]).into_iter().chain(plan.chat.iter().cloned());
            homes.push(Part::start(Kind::Chat, flags.collect()).await);
        }
        let mut notify_flags = common("notify", None, &["--notify-postgres", &postgres, "--push-loopback"]);
        notify_flags.extend(plan.push.iter().cloned());
        let mut notifies = Vec::new();
        for number in 0..plan.notifies {
            notifies.push(Part::start(Kind::Notify, at(&notify_flags, notify_at, number)).await);
        }
        let any = Some("127.0.0.1:0".parse().unwrap());
        let gateway_flags = common("gateway", None, &["--send-rate", "0", "--drain-window", "0"]);
        let (mut doors, mut others) = (Vec::new(), Vec::new());
        for _ in 0..gateways {
            let cli = parse::<Nothing>(&gateway_flags);
            let build = async |context, _| madang_gateway::build(context).await;
            let running = process::start("gateway", cli.process, any, build).await.unwrap();
            doors.push(format!("http://{}", running.http.unwrap()));
            others.push(running);
        }
        let cli = parse::<Nothing>(&common("api", None, &[]));
        let build = async |context, _| madang_api::build(context).await;
        let running = process::start("api", cli.process, any, build).await.unwrap();
        let api = format!("http://{}", running.http.unwrap());
        others.push(running);
        let cassandra = (cassandra, name);
        Self {
            api,
            gateways: doors,
            chats: homes,
            stores,
            groups,
            notifies,
            accounts,
            notify_flags,
            postgres,
            cassandra,
            gateway_flags,
            store_flags,
            others,
            _alone: alone,
        }
    }

    /// Starts one more store-svc.
    pub async fn more_store(&mut self) {
        self.stores.push(Part::start(Kind::Store, self.store_flags.clone()).await);
    }

    /// Starts one more notify-svc.
    pub async fn more_notify(&mut self) {
        self.notifies.push(Part::start(Kind::Notify, self.notify_flags.clone()).await);
    }

    /// Starts one more gateway, to be killed.
    pub async fn doomed_gateway(&self) -> Doomed {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let cli = parse::<Nothing>(&self.gateway_flags);
        let started = runtime.spawn(async move {
            let any = Some("127.0.0.1:0".parse().unwrap());
            let build = async |context, _| madang_gateway::build(context).await;
            process::start("gateway", cli.process, any, build).await.unwrap()
        });
        let running = started.await.unwrap();
        Doomed { url: format!("http://{}", running.http.unwrap()), _running: running, runtime }
    }

    /// Stops store-svc and group-svc: what homes do from then on they do without the databases.
    pub async fn stop_readers(&mut self) {
        for part in self.stores.drain(..).chain(self.groups.drain(..)) {
            part.stop().await;
        }
    }

    /// Stops it: the doors first.
    pub async fn stop(self) {
        for running in self.others.into_iter().rev() {
            running.stop().await;
        }
        let services = self.chats.into_iter().chain(self.stores).chain(self.groups).chain(self.notifies);
        for part in services.chain(self.accounts) {
            part.stop().await;
        }
        clear(self.cassandra.1).await;
    }
}
