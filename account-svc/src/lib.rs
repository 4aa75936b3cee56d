//! account-svc: people, their sessions and tokens. It owns what it keeps; nothing of it comes from the log.

pub mod accounts;
pub mod blocks;
pub mod deletions;
pub mod events;
pub mod forgetting;
pub mod form;
pub mod keys;
pub mod outside;
pub mod passwords;
pub mod pictures;
pub mod provider;
pub mod refreshes;
pub mod rpc;
pub mod store;
mod turns;

use accounts::Accounts;
use keys::Keys;
use madang_mesh::{
    channel::InvalidAddress, operations::Operations, postgres::Postgres, process, rate::Rate, secret::Secret,
    serve::Context,
};
use madang_proto::{
    account::v1::account_service_server::AccountServiceServer, group::v1::group_service_client::GroupServiceClient,
    store::v1::store_service_client::StoreServiceClient,
};
use passwords::Passwords;
use pictures::{MAX_BYTES, Pictures};
use provider::Provider;
use refreshes::Refreshes;
use std::{path::PathBuf, sync::Arc, time::Duration};
use store::{AccountStore, postgres::PostgresAccounts, sqlite::SqliteAccounts};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// How often the password of somebody who is logged in is checked: a second, and at once.
const CHECKS: (u32, u32) = (1, 10);

/// The settings of an account-svc.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Config {
    /// The folder of the embedded store.
    #[arg(skip)]
    pub data: Option<PathBuf>,
    /// The Postgres database that keeps accounts, postgres://USER:PASSWORD@HOST:PORT/NAME; without it, SQLite keeps them.
    #[arg(long, env = "MADANG_ACCOUNT_POSTGRES", hide_env_values = true)]
    pub account_postgres: Option<Secret>,
    /// How long an access token is good, in seconds; at most 900.
    #[arg(long, env = "MADANG_TOKEN_SECONDS", default_value_t = 900)]
    pub token_seconds: u32,
    /// How long a key signs tokens, in hours; the one before is known for half an hour more.
    #[arg(long, env = "MADANG_KEY_HOURS", default_value_t = 720, value_parser = clap::value_parser!(u32).range(1..))]
    pub key_hours: u32,
    /// What a password's hash costs, in KiB of memory.
    #[arg(long, env = "MADANG_ARGON2_KIB", default_value_t = 19_456)]
    pub argon2_kib: u32,
    /// Where pictures are kept: a folder that all account-svc share, or s3://BUCKET with the usual AWS_… variables.
    /// Embedded: a folder beside the accounts. Otherwise, without it, none are taken.
    #[arg(long, env = "MADANG_PICTURES")]
    pub pictures: Option<String>,
    /// An outside identity provider.
    #[command(flatten)]
    pub provider: provider::Config,
}

/// An account-svc could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing says where accounts are kept.
    #[error("account-svc needs a database: --account-postgres")]
    NoStore,
    /// The store can't be opened.
    #[error("can't open the accounts: {0}")]
    Store(#[from] store::Error),
    /// The place for pictures can't be used.
    #[error(transparent)]
    Pictures(#[from] pictures::Unusable),
    /// The outside identity provider can't be used.
    #[error(transparent)]
    Provider(#[from] provider::Unusable),
    /// An address of another service is none.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// The cost is none that argon2 takes.
    #[error("--argon2-kib {0} is not a cost that argon2 takes (8 to 1048576)")]
    Cost(u32),
}

/// An account-svc that is ready to run.
pub struct Service {
    accounts: Arc<Accounts>,
}

/// Builds an account-svc.
pub async fn build(config: Config, context: Context) -> Result<Service, Error> {
    let store: Arc<dyn AccountStore> = match (&config.account_postgres, &config.data) {
        (Some(url), _) => {
            let reached = Postgres::reached(url, "Postgres (--account-postgres)", context.until).await;
            reached.map_err(store::Error::from)?;
            Arc::new(PostgresAccounts::open(url).await?)
        }
        (None, Some(folder)) => Arc::new(SqliteAccounts::open(folder)?),
        (None, None) => return Err(Error::NoStore),
    };
    let keys = Keys::open(store.clone(), Duration::from_secs(3600 * u64::from(config.key_hours))).await?;
    let passwords = Passwords::new(config.argon2_kib).ok_or(Error::Cost(config.argon2_kib))?;
    let beside = || config.data.as_ref().map(|folder| folder.join("pictures").to_string_lossy().into_owned());
    let place = config.pictures.or_else(beside);
    let accounts = Accounts {
        store,
        passwords,
        pictures: place.as_deref().map(Pictures::open).transpose()?,
        keys,
        refreshes: Refreshes::default(),
        checks: Rate::new(CHECKS.0, CHECKS.1),
        provider: Provider::open(&config.provider, &context.settings.token_issuer)?,
        group: GroupServiceClient::new(context.channels.get(&context.peers.group)?),
        messages: StoreServiceClient::new(context.channels.get(&context.peers.store)?),
        telling: Arc::new(Semaphore::new(events::AT_ONCE)),
        operations: Operations::new(context.channels.clone(), &context.peers.chat),
        issuer: context.settings.token_issuer,
        max_devices: context.settings.max_devices as usize,
        seconds: config.token_seconds.min(900),
    };
    Ok(Service { accounts: Arc::new(accounts) })
}

impl process::Service for Service {
    fn routes(&self) -> Routes {
        // A picture and its frame.
        let largest = MAX_BYTES + (64 << 10);
        Routes::new(AccountServiceServer::from_arc(self.accounts.clone()).max_decoding_message_size(largest))
    }

    async fn run(self, drain: CancellationToken) {
        let accounts = self.accounts;
        let (telling, cleaning) = (accounts.tell_forgotten(drain.clone()), accounts.clean_up(drain.clone()));
        let forgetting = accounts.forget(drain.clone());
        let provider = async {
            if let Some(provider) = &accounts.provider {
                provider.follow(drain.clone()).await;
            }
        };
        tokio::join!(telling, cleaning, forgetting, provider, accounts.keys.follow(drain.clone()));
    }
}
