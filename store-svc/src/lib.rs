//! store-svc: messages at rest. It reads every shard of the log, keeps each message as a row, and serves history.
//!
//! So far it has its embedded store (SQLite) only.

pub mod messages;
pub mod projection;
pub mod rpc;

use madang_mesh::{lease, serve::Context, subscription};
use madang_proto::{
    group::v1::group_service_client::GroupServiceClient, store::v1::store_service_server::StoreServiceServer,
};
use messages::SqliteMessages;
use projection::Projection;
use rpc::History;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// The settings of a store-svc.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub struct Config {
    /// The folder of the embedded store.
    #[arg(skip)]
    pub data: Option<PathBuf>,
}

/// A store-svc could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing says where messages are kept.
    #[error("store-svc needs a data folder")]
    NoStore,
    /// The store can't be opened.
    #[error("can't open the messages: {0}")]
    Store(#[from] messages::Error),
    /// An address of another service is none.
    #[error(transparent)]
    Address(#[from] madang_mesh::channel::InvalidAddress),
}

/// A store-svc that is ready to run.
pub struct Service {
    context: Context,
    projection: Arc<Projection>,
    history: Arc<History>,
}

/// Builds a store-svc.
pub async fn build(config: Config, context: Context) -> Result<Service, Error> {
    let store = SqliteMessages::open(&config.data.ok_or(Error::NoStore)?)?;
    let projection = Arc::new(Projection::new(store.clone()));
    let group = GroupServiceClient::new(context.channels.get(&context.peers.group)?);
    let history = Arc::new(History { store, projection: projection.clone(), group, shards: context.shards });
    Ok(Service { context, projection, history })
}

impl Service {
    /// Its gRPC service.
    #[must_use]
    pub fn routes(&self) -> Routes {
        Routes::new(StoreServiceServer::from_arc(self.history.clone()))
    }

    /// Reads the log until `drain`.
    pub async fn run(self, drain: CancellationToken) {
        let Context { process, address, shards, log, registry, .. } = self.context;
        let leave = CancellationToken::new();
        let wanted = lease::Config { group: "store".into(), process, address, shards };
        let leases = lease::join(wanted, registry.clone(), leave.clone()).await;
        let config = subscription::Config { group: "store".into(), max_batch: 64, linger: Duration::ZERO };
        subscription::run(config, leases, log, registry, self.projection, drain).await;
        leave.cancel();
    }
}
