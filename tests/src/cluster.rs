//! A cluster: every service as its own process would run it, joined by gRPC over loopback, on NATS, Cassandra and
//! Postgres. One at a time: streams and buckets in NATS have fixed names.

use async_nats::jetstream;
use clap::{Args, Parser};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use futures_util::TryStreamExt;
use madang_chat::inbox::jetstream::JetStreamInbox;
use madang_mesh::{
    process::{self, Running},
    serve::free,
};
use std::{net::SocketAddr, sync::Arc};
use tokio::runtime::Runtime;

#[derive(Parser)]
struct Cli<T: Args> {
    #[command(flatten)]
    process: process::Args,
    #[command(flatten)]
    config: T,
}

/// The settings of a service that has none of its own.
#[derive(Args)]
struct Nothing {}

/// A chat-svc, in a runtime of its own, which can be killed.
pub struct Chat {
    running: Running,
    runtime: Runtime,
}

impl Chat {
    async fn start(flags: Vec<String>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let started = runtime.spawn(async move {
            let cli = parse::<Nothing>(&flags);
            let build = async |context, nats| madang_chat::build(context, Arc::new(JetStreamInbox::new(nats, 1))).await;
            process::start("chat", cli.process, None, build).await.unwrap()
        });
        Self { running: started.await.unwrap(), runtime }
    }

    /// Stops it as a roll-out does: its shards go to others first.
    pub async fn stop(self) {
        self.running.stop().await;
        self.runtime.shutdown_background();
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
    pub chats: Vec<Chat>,
    /// Its database in Postgres.
    pub postgres: String,
    /// A node of Cassandra, and the keyspace there.
    pub cassandra: (String, String),
    gateway_flags: Vec<String>,
    others: Vec<Running>,
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests with `make test`"))
}

/// Deletes what an earlier test left in NATS: other tests write other things under the same fixed names.
async fn forget(nats: &str) {
    let context = jetstream::new(async_nats::connect(nats).await.unwrap());
    let names: Vec<String> = context.stream_names().try_collect().await.unwrap();
    for name in names {
        context.delete_stream(name).await.unwrap();
    }
}

fn parse<T: Args>(flags: &[String]) -> Cli<T> {
    Cli::parse_from(std::iter::once(String::new()).chain(flags.iter().cloned()))
}

impl Cluster {
    /// Starts one with so many chat-svc and gateways, on databases of its own.
    pub async fn start(chats: usize, gateways: usize) -> Self {
        madang_mesh::telemetry::init();
        let name = format!("c{}", uuid::Uuid::new_v4().simple());
        let server = variable("MADANG_TEST_POSTGRES");
        let mut connection = AsyncPgConnection::establish(&server).await.unwrap();
        connection.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let postgres = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
        let [store_at, group_at, account_at] = [free().unwrap(), free().unwrap(), free().unwrap()];
        let chat_at: Vec<_> = (0..chats).map(|_| free().unwrap()).collect();
        let chat_urls = chat_at.iter().map(|address| format!("http://{address}")).collect::<Vec<_>>().join(",");
        let nats = variable("MADANG_TEST_NATS");
        forget(&nats).await;
        let common = |grpc: Option<SocketAddr>, more: &[&str]| {
            let mut flags = vec!["--nats".to_owned(), nats.clone(), "--chat-url".to_owned(), chat_urls.clone()];
            let urls = [("store", store_at), ("group", group_at), ("account", account_at)];
            for (service, address) in urls {
                flags.extend([format!("--{service}-url"), format!("http://{address}")]);
            }
            if let Some(grpc) = grpc {
                flags.extend(["--grpc".to_owned(), grpc.to_string()]);
            }
            flags.extend(more.iter().map(ToString::to_string));
            flags
        };
        let cassandra = variable("MADANG_TEST_CASSANDRA");
        let mut others = Vec::new();
        let more = ["--account-postgres", &postgres, "--argon2-kib", "8"];
        let cli = parse::<madang_account::Config>(&common(Some(account_at), &more));
        let build = async |context, _| madang_account::build(cli.config, context).await;
        others.push(process::start("account", cli.process, None, build).await.unwrap());
        let more = ["--cassandra", &cassandra, "--cassandra-keyspace", &name];
        let cli = parse::<madang_store::Config>(&common(Some(store_at), &more));
        let build = async |context, _| madang_store::build(cli.config, context).await;
        others.push(process::start("store", cli.process, None, build).await.unwrap());
        let cli = parse::<madang_group::Config>(&common(Some(group_at), &["--group-postgres", &postgres]));
        let build = async |context, _| madang_group::build(cli.config, context).await;
        others.push(process::start("group", cli.process, None, build).await.unwrap());
        let mut homes = Vec::new();
        for address in &chat_at {
            homes.push(Chat::start(common(Some(*address), &[])).await);
        }
        let any = Some("127.0.0.1:0".parse().unwrap());
        let gateway_flags = common(None, &["--send-rate", "0", "--drain-window", "0"]);
        let mut doors = Vec::new();
        for _ in 0..gateways {
            let cli = parse::<Nothing>(&gateway_flags);
            let build = async |context, _| madang_gateway::build(context).await;
            let running = process::start("gateway", cli.process, any, build).await.unwrap();
            doors.push(format!("http://{}", running.http.unwrap()));
            others.push(running);
        }
        let cli = parse::<Nothing>(&common(None, &[]));
        let build = async |context, _| madang_api::build(context).await;
        let running = process::start("api", cli.process, any, build).await.unwrap();
        let api = format!("http://{}", running.http.unwrap());
        others.push(running);
        let cassandra = (cassandra, name);
        Self { api, gateways: doors, chats: homes, postgres, cassandra, gateway_flags, others }
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

    /// Stops it: the doors first.
    pub async fn stop(self) {
        for running in self.others.into_iter().rev() {
            running.stop().await;
        }
        for chat in self.chats {
            chat.stop().await;
        }
    }
}
