//! notify-svc: notifications of those who were not reached. It reads the log like any other service, unknown to who
//! writes it: waits a moment, asks what nobody's device has shown to have, and has push services tell the rest.

pub mod address;
pub mod amended;
pub mod audience;
mod backoff;
pub mod config;
pub mod encryption;
pub mod ends;
pub mod form;
pub mod http;
pub mod marks;
pub mod notice;
pub mod provider;
pub mod reader;
pub mod reports;
pub mod rpc;
pub mod sender;
pub mod store;
pub mod ticket;
pub mod vapid;
pub mod words;

pub use config::{Config, Error};

use audience::Audience;
use ends::Ends;
use madang_mesh::{
    homes::Homes,
    lease,
    postgres::Postgres,
    process,
    serve::Context,
    subscription::{self, Lag},
};
use madang_proto::{
    account::v1::account_service_client::AccountServiceClient, group::v1::group_service_client::GroupServiceClient,
    notify::v1::notify_service_server::NotifyServiceServer,
};
use reader::Reader;
use reports::Reports;
use rpc::Rpc;
use sender::Sender;
use std::{sync::Arc, time::Duration};
use store::{Subscriptions, postgres::PostgresSubscriptions, sqlite::SqliteSubscriptions};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use vapid::Vapid;

/// The largest gRPC message that is taken: rooms with their members.
const MAX_GRPC: usize = 64 << 20;

/// A notify-svc that is ready to run.
pub struct Service {
    context: Context,
    rpc: Arc<Rpc>,
    reader: Arc<Reader>,
    ends: Ends,
}

/// How often what was overwritten is cleared from the disk: what a kept push shows may have been taken back.
const TIDY: Duration = Duration::from_secs(20);

async fn tidy(store: Arc<dyn Subscriptions>, drain: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(TIDY) => {}
            () = drain.cancelled() => return,
        }
        if let Err(error) = store.tidy().await {
            tracing::warn!(%error, "what was overwritten could not be cleared from the disk; trying again");
        }
    }
}

/// Builds a notify-svc.
pub async fn build(config: Config, context: Context) -> Result<Service, Error> {
    let store: Arc<dyn Subscriptions> = match (&config.notify_postgres, &config.data) {
        (Some(url), _) => {
            let reached = Postgres::reached(url, "Postgres (--notify-postgres)", context.until).await;
            reached.map_err(store::Error::from)?;
            Arc::new(PostgresSubscriptions::open(url).await?)
        }
        (None, Some(folder)) => Arc::new(SqliteSubscriptions::open(folder)?),
        (None, None) => return Err(Error::NoStore),
    };
    let key = store.key(vapid::generate()?).await?;
    let vapid = Arc::new(Vapid::new(&key, config.push_contact.clone())?);
    let providers = config.providers(&vapid)?;
    let account = AccountServiceClient::new(context.channels.get(&context.peers.account)?);
    let group =
        GroupServiceClient::new(context.channels.get(&context.peers.group)?).max_decoding_message_size(MAX_GRPC);
    let homes = Homes::follow(context.channels.clone(), &context.peers.chat);
    let reports = Arc::<Reports>::default();
    let audience = Audience::new(store.clone(), group, account.clone(), homes, context.channels.clone());
    let audience = Arc::new(audience);
    let sender = Sender::spawn(store.clone(), providers.clone(), audience.clone(), reports.clone());
    let wait = Duration::from_millis(config.push_wait_ms);
    let log = context.log.clone();
    let reader = Reader::new(store.clone(), log, audience, sender.clone(), reports.clone(), wait);
    let ends = Ends { store: store.clone(), account: account.clone() };
    let rpc = Rpc { store, account, vapid, providers, sender, reports, loopback: config.push_loopback };
    Ok(Service { context, rpc: Arc::new(rpc), reader: Arc::new(reader), ends })
}

impl process::Service for Service {
    fn routes(&self) -> Routes {
        Routes::new(NotifyServiceServer::from_arc(self.rpc.clone()))
    }

    async fn run(self, drain: CancellationToken) {
        let Context { process, address, settings, log, registry, .. } = self.context;
        let leave = CancellationToken::new();
        let wanted = lease::Config { group: "notify".into(), process, address, shards: settings.shards };
        let leases = lease::join(wanted, registry.clone(), leave.clone()).await;
        let config = subscription::Config {
            group: "notify".into(),
            max_batch: 256,
            linger: Duration::ZERO,
            lag: Lag::new(settings.shards),
            // Nobody is shown anything by this.
            others_hear: watch::channel(false).1,
        };
        tokio::spawn(tidy(self.ends.store.clone(), drain.clone()));
        tokio::spawn(self.ends.run(drain.clone()));
        let left = leases.clone();
        subscription::run(config, leases, log, registry, self.reader, drain).await;
        leave.cancel();
        left.left().await;
    }
}
