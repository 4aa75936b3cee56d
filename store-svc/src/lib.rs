//! store-svc: messages at rest. It reads every shard of the log, keeps each message as a row, and serves history.

pub mod messages;
pub mod projection;
pub mod rpc;

use madang_mesh::{
    clock,
    data::Data,
    lease,
    operations::Operations,
    process,
    secret::Secret,
    serve::Context,
    shard::Shard,
    subscription::{self, Lag},
};
use madang_proto::{
    group::v1::group_service_client::GroupServiceClient, store::v1::store_service_server::StoreServiceServer,
};
use messages::{
    Messages,
    cassandra::{self, CassandraMessages},
    sqlite::SqliteMessages,
};
use projection::Projection;
use rpc::{History, Pages, stream::CONSUMERS};
use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// The settings of a store-svc.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Config {
    /// The folder of the embedded store.
    #[arg(skip)]
    pub data: Option<PathBuf>,
    /// Nodes of the Cassandra cluster that keeps messages, HOST:PORT; without any, SQLite keeps them.
    #[arg(long, env = "MADANG_CASSANDRA", value_delimiter = ',')]
    pub cassandra: Vec<String>,
    /// The data centre of Cassandra whose nodes are asked.
    #[arg(long, env = "MADANG_CASSANDRA_DATACENTER", default_value = "datacenter1")]
    pub cassandra_datacenter: String,
    /// The keyspace in Cassandra; made if it is not there.
    #[arg(long, env = "MADANG_CASSANDRA_KEYSPACE", default_value = "madang")]
    pub cassandra_keyspace: String,
    /// How many replicas the keyspace has when it is made.
    #[arg(long, env = "MADANG_CASSANDRA_REPLICAS", default_value_t = 1)]
    pub cassandra_replicas: u32,
    /// How many days back `changes` reaches; older ones are refused, and the conversation is paged anew.
    #[arg(long, env = "MADANG_CHANGES_DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(30..))]
    pub changes_days: u32,
    /// How many days what happened is kept for who reads all conversations (`StreamEvents`), without texts.
    #[arg(long, env = "MADANG_EVENTS_DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    pub events_days: u32,
    /// The user in Cassandra, where it wants one.
    #[arg(long, env = "MADANG_CASSANDRA_USER", requires = "cassandra_password")]
    pub cassandra_user: Option<String>,
    /// The user's password.
    #[arg(long, env = "MADANG_CASSANDRA_PASSWORD", hide_env_values = true)]
    pub cassandra_password: Option<Secret>,
    /// The authorities of Cassandra's certificates, PEM, or `system`: those of this machine. With it, all is TLS. Read at start.
    #[arg(long, env = "MADANG_CASSANDRA_CA")]
    pub cassandra_ca: Option<PathBuf>,
    /// Of whom the certificates of its nodes are, where they are not of the nodes' addresses: one name for all.
    #[arg(long, env = "MADANG_CASSANDRA_NAME", requires = "cassandra_ca")]
    pub cassandra_name: Option<String>,
    /// A certificate to show to Cassandra, PEM.
    #[arg(long, env = "MADANG_CASSANDRA_CERT", requires = "cassandra_key")]
    pub cassandra_cert: Option<PathBuf>,
    /// Its key, PEM.
    #[arg(long, env = "MADANG_CASSANDRA_KEY", requires_all = ["cassandra_cert", "cassandra_ca"])]
    pub cassandra_key: Option<PathBuf>,
}

impl Config {
    /// How Cassandra is reached.
    fn options(self) -> cassandra::Options {
        cassandra::Options {
            nodes: self.cassandra,
            datacenter: self.cassandra_datacenter,
            keyspace: self.cassandra_keyspace,
            replicas: self.cassandra_replicas,
            credentials: self.cassandra_user.zip(self.cassandra_password),
            tls: self.cassandra_ca.map(|ca| cassandra::Tls {
                ca,
                name: self.cassandra_name,
                shown: self.cassandra_cert.zip(self.cassandra_key),
            }),
        }
    }

    async fn store(self, until: Instant) -> Result<Arc<dyn Messages>, Error> {
        if !self.cassandra.is_empty() {
            return Ok(Arc::new(CassandraMessages::reach(&self.options(), until).await?));
        }
        let folder = self.data.ok_or(Error::NoStore)?;
        Ok(Arc::new(SqliteMessages::open(&folder)?))
    }
}

/// A store-svc could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing says where messages are kept.
    #[error("store-svc needs a data folder or --cassandra")]
    NoStore,
    /// The store can't be opened.
    #[error("can't open the messages: {0}")]
    Store(#[from] messages::Error),
    /// An address of another service is none.
    #[error(transparent)]
    Address(#[from] madang_mesh::channel::InvalidAddress),
}

impl Error {
    /// Whether the database refuses who comes: then it does not help to wait.
    #[must_use]
    pub const fn denied(&self) -> bool {
        matches!(self, Self::Store(messages::Error::Denied(_)))
    }
}

/// A store-svc that is ready to run.
pub struct Service {
    context: Context,
    projection: Arc<Projection>,
    history: Arc<History>,
    events_days: u32,
}

/// To which cluster the keyspace belongs; nothing is changed.
pub async fn belongs(config: Config) -> Result<Data, Error> {
    Ok(cassandra::belongs::read(&config.options()).await?)
}

/// Makes the keyspace and the tables, where they are not there, and notes to which cluster they belong.
pub async fn prepare(config: Config, data: &str) -> Result<(), Error> {
    Ok(cassandra::belongs::write(&config.options(), data).await?)
}

/// Builds a store-svc.
pub async fn build(config: Config, context: Context) -> Result<Service, Error> {
    let (changes_days, events_days) = (config.changes_days, config.events_days);
    let store = config.store(context.until).await?;
    let projection = Arc::new(Projection::new(store.clone()));
    let group = GroupServiceClient::new(context.channels.get(&context.peers.group)?);
    let history = Arc::new(History {
        store,
        projection: projection.clone(),
        group,
        operations: Operations::new(context.channels.clone(), &context.peers.chat),
        settings: context.settings.clone(),
        log: context.log.clone(),
        consumers: Arc::new(Semaphore::new(CONSUMERS)),
        ending: CancellationToken::new(),
        lag: Lag::new(context.settings.shards),
        pages: Pages::default(),
        changes_days,
    });
    Ok(Service { context, projection, history, events_days })
}

/// How often it is looked for what is kept too long.
const TIDY: Duration = Duration::from_secs(20);

/// Lets go of what is kept too long of the shards that are read here, for ever.
async fn tidy(store: Arc<dyn Messages>, held: watch::Receiver<BTreeSet<Shard>>, days: u32) {
    let mut tick = tokio::time::interval(TIDY);
    loop {
        tick.tick().await;
        if let Err(error) = store.tidy().await {
            tracing::warn!(%error, "what was overwritten could not be cleared from the disk; trying again");
        }
        let before = clock::now_micros() - i64::from(days) * 24 * 3600 * 1_000_000;
        let shards = held.borrow().clone();
        for shard in shards {
            loop {
                match store.forget(shard, before).await {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        tracing::warn!(shard, %error, "what is kept too long could not be let go of; trying again");
                        break;
                    }
                }
            }
        }
    }
}

impl process::Service for Service {
    fn routes(&self) -> Routes {
        Routes::new(StoreServiceServer::from_arc(self.history.clone()))
    }

    async fn run(self, drain: CancellationToken) {
        let Context { process, address, settings, log, registry, .. } = self.context;
        let leave = CancellationToken::new();
        let wanted = lease::Config { group: "store".into(), process, address, shards: settings.shards };
        let leases = lease::join(wanted, registry.clone(), leave.clone()).await;
        let config = subscription::Config {
            group: "store".into(),
            max_batch: 64,
            linger: Duration::ZERO,
            lag: self.history.lag.clone(),
            others_hear: self.history.operations.homes().awake(),
        };
        let left = leases.clone();
        let tidying = tidy(self.history.store.clone(), leases.held.clone(), self.events_days);
        let ending = async {
            drain.cancelled().await;
            self.history.ending.cancel();
        };
        tokio::select! {
            ((), ()) = async {
                tokio::join!(subscription::run(config, leases, log, registry, self.projection, drain.clone()), ending)
            } => {}
            () = tidying => {}
        }
        leave.cancel();
        left.left().await;
    }
}
