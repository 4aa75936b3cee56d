//! group-svc: conversations and who is in them, as the log says. It decides only what needs the database; changes go
//! to the room's home, and count when this service's own reading of the log has brought them back.

pub mod projection;
pub mod rpc;
pub mod store;
pub mod token;

use madang_mesh::{
    lease,
    operations::Operations,
    postgres::Postgres,
    process,
    rate::Rate,
    secret::Secret,
    serve::Context,
    subscription::{self, Lag},
};
use madang_proto::{
    account::v1::account_service_client::AccountServiceClient, group::v1::group_service_server::GroupServiceServer,
};

use projection::Projection;
use rpc::{Groups, invites::TRIES};
use std::{path::PathBuf, sync::Arc, time::Duration};
use store::{GroupStore, postgres::PostgresGroups, sqlite::SqliteGroups};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// The settings of a group-svc.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Config {
    /// The folder of the embedded store.
    #[arg(skip)]
    pub data: Option<PathBuf>,
    /// The Postgres database that keeps groups, postgres://USER:PASSWORD@HOST:PORT/NAME; without it, SQLite keeps them.
    #[arg(long, env = "MADANG_GROUP_POSTGRES", hide_env_values = true)]
    pub group_postgres: Option<Secret>,
}

/// A group-svc could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing says where groups are kept.
    #[error("group-svc needs a database: --group-postgres")]
    NoStore,
    /// The store can't be opened.
    #[error("can't open the groups: {0}")]
    Store(#[from] store::Error),
    /// An address of another service is none.
    #[error(transparent)]
    Address(#[from] madang_mesh::channel::InvalidAddress),
}

/// A group-svc that is ready to run.
pub struct Service {
    context: Context,
    projection: Arc<Projection>,
    groups: Arc<Groups>,
}

/// Builds a group-svc.
pub async fn build(config: Config, context: Context) -> Result<Service, Error> {
    let store: Arc<dyn GroupStore> = match (&config.group_postgres, &config.data) {
        (Some(url), _) => {
            let reached = Postgres::reached(url, "Postgres (--group-postgres)", context.until).await;
            reached.map_err(store::Error::from)?;
            Arc::new(PostgresGroups::open(url).await?)
        }
        (None, Some(folder)) => Arc::new(SqliteGroups::open(folder)?),
        (None, None) => return Err(Error::NoStore),
    };
    let projection = Arc::new(Projection::new(store.clone()));
    let groups = Groups {
        store,
        projection: projection.clone(),
        account: AccountServiceClient::new(context.channels.get(&context.peers.account)?),
        operations: Operations::new(context.channels.clone(), &context.peers.chat),
        settings: context.settings.clone(),
        lag: Lag::new(context.settings.shards),
        tries: Rate::new(TRIES.0, TRIES.1),
    };
    Ok(Service { context, projection, groups: Arc::new(groups) })
}

impl process::Service for Service {
    fn routes(&self) -> Routes {
        Routes::new(GroupServiceServer::from_arc(self.groups.clone()))
    }

    async fn run(self, drain: CancellationToken) {
        let Context { process, address, settings, log, registry, .. } = self.context;
        let leave = CancellationToken::new();
        let wanted = lease::Config { group: "group".into(), process, address, shards: settings.shards };
        let leases = lease::join(wanted, registry.clone(), leave.clone()).await;
        let config = subscription::Config {
            group: "group".into(),
            max_batch: 256,
            linger: Duration::ZERO,
            lag: self.groups.lag.clone(),
            others_hear: self.groups.operations.homes().awake(),
        };
        let left = leases.clone();
        subscription::run(config, leases, log, registry, self.projection, drain).await;
        leave.cancel();
        left.left().await;
    }
}
