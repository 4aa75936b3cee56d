//! notify-svc: notifications of those who were not reached. So far it keeps where devices are notified; sending follows.

pub mod address;
pub mod ends;
pub mod form;
pub mod rpc;
pub mod store;
pub mod vapid;

use ends::Ends;
use madang_mesh::{process, secret::Secret, serve::Context};
use madang_proto::{
    account::v1::account_service_client::AccountServiceClient, notify::v1::notify_service_server::NotifyServiceServer,
};
use rpc::Rpc;
use std::{path::PathBuf, sync::Arc};
use store::{Subscriptions, postgres::PostgresSubscriptions, sqlite::SqliteSubscriptions};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use vapid::Vapid;

/// The settings of a notify-svc.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Config {
    /// The folder of the embedded store.
    #[arg(skip)]
    pub data: Option<PathBuf>,
    /// The Postgres database that keeps push subscriptions, postgres://USER:PASSWORD@HOST:PORT/NAME; without it, SQLite
    /// keeps them.
    #[arg(long, env = "MADANG_NOTIFY_POSTGRES", hide_env_values = true)]
    pub notify_postgres: Option<Secret>,
    /// Where push services may complain about this deployment (VAPID's `sub`): mailto:… or https://…; some take nothing
    /// without it.
    #[arg(long, env = "MADANG_PUSH_CONTACT")]
    pub push_contact: Option<String>,
    /// Lets push endpoints be on this machine: for tests.
    #[arg(long, env = "MADANG_PUSH_LOOPBACK", hide = true)]
    pub push_loopback: bool,
}

/// A notify-svc could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing says where subscriptions are kept.
    #[error("notify-svc needs a database: --notify-postgres")]
    NoStore,
    /// The store can't be opened.
    #[error("can't open the push subscriptions: {0}")]
    Store(#[from] store::Error),
    /// The key can't be made or used.
    #[error("the key that pushes are signed with: {0}")]
    Key(#[from] vapid::BadKey),
    /// An address of another service is none.
    #[error(transparent)]
    Address(#[from] madang_mesh::channel::InvalidAddress),
}

/// A notify-svc that is ready to run.
pub struct Service {
    rpc: Arc<Rpc>,
    ends: Ends,
}

/// Builds a notify-svc.
pub async fn build(config: Config, context: Context) -> Result<Service, Error> {
    let store: Arc<dyn Subscriptions> = match (&config.notify_postgres, &config.data) {
        (Some(url), _) => Arc::new(PostgresSubscriptions::open(url).await?),
        (None, Some(folder)) => Arc::new(SqliteSubscriptions::open(folder)?),
        (None, None) => return Err(Error::NoStore),
    };
    let key = store.key(vapid::generate()?).await?;
    let vapid = Arc::new(Vapid::new(&key, config.push_contact)?);
    let account = AccountServiceClient::new(context.channels.get(&context.peers.account)?);
    let ends = Ends { store: store.clone(), account: account.clone() };
    let rpc = Arc::new(Rpc { store, account, vapid, loopback: config.push_loopback });
    Ok(Service { rpc, ends })
}

impl process::Service for Service {
    fn routes(&self) -> Routes {
        Routes::new(NotifyServiceServer::from_arc(self.rpc.clone()))
    }

    async fn run(self, drain: CancellationToken) {
        self.ends.run(drain).await;
    }
}
