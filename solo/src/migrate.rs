//! `madang migrate`: makes what a cluster needs before its services start: the streams and the bucket in NATS, the
//! keyspace and tables in Cassandra, the tables in Postgres. What is there is left as it is, so it may run again, and twice
//! at once. It refuses another number of shards than the data has: nothing would be found where it is; other replicas or
//! placements of streams than they have: nobody would know that they are not what was asked for; and a NATS that has no
//! room for all streams: users of some shards could not connect.

mod streams;

use anyhow::{Context as _, bail, ensure};
use madang_account::store::postgres::PostgresAccounts;
use madang_chat::inbox::jetstream::JetStreamInbox;
use madang_group::store::postgres::PostgresGroups;
use madang_mesh::{
    log::jetstream::JetStreamLog, process, registry::jetstream::JetStreamRegistry, secret::Secret, settings::Settings,
};
use madang_notify::store::postgres::PostgresSubscriptions;
use std::{
    fmt::Display,
    path::PathBuf,
    time::{Duration, Instant},
};

/// How long between tries.
const AGAIN: Duration = Duration::from_secs(2);

/// What `madang migrate` is told: of what services are told, what concerns the outside.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A file with settings: TOML, its keys the names of these flags.
    #[arg(long, env = "MADANG_CONFIG")]
    config: Option<PathBuf>,
    /// NATS servers, HOST:PORT, separated by commas.
    #[arg(long, env = "MADANG_NATS", default_value = "127.0.0.1:4222")]
    nats: Secret,
    #[command(flatten)]
    nats_tls: process::NatsTls,
    /// How many replicas streams and buckets in NATS have.
    #[arg(long, env = "MADANG_NATS_REPLICAS", default_value_t = 1)]
    nats_replicas: usize,
    /// On which NATS servers streams are made: such as have all of these tags, separated by commas; none: any.
    #[arg(long, env = "MADANG_NATS_TAGS", value_delimiter = ',')]
    nats_tags: Vec<String>,
    /// How many bytes a shard's log may take, at most.
    #[arg(long, env = "MADANG_LOG_BYTES", default_value_t = 2 << 30)]
    log_bytes: i64,
    /// For how many seconds to try again what can't be reached yet.
    #[arg(long, env = "MADANG_WAIT", default_value_t = 0)]
    wait: u64,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    store: madang_store::Config,
    #[command(flatten)]
    group: madang_group::Config,
    #[command(flatten)]
    account: madang_account::Config,
    #[command(flatten)]
    notify: madang_notify::Config,
}

/// Makes all of it; says what it did.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_secs(args.wait);
    let (shards, replicas) = (args.settings.shards, args.nats_replicas);
    let client = again(end, "NATS", async || process::connect("migrate", &args.nats, &args.nats_tls).await).await?;
    let open = async || JetStreamRegistry::open(client.clone(), replicas).await;
    let registry = again(end, "the bucket in NATS", open).await?;
    let log = JetStreamLog::new(client.clone(), replicas, args.log_bytes).on_servers_with(args.nats_tags.clone());
    let inbox = JetStreamInbox::new(client.clone(), replicas);
    let wanted = (0..shards).map(|shard| log.config(shard)).chain((0..shards).map(|shard| inbox.config(shard)));
    let wanted: Vec<_> = wanted.collect();
    let tags = &args.nats_tags;
    let context = madang_mesh::streams::on(client);
    let all =
        streams::Streams { end, context, registry: &registry, log: &log, wanted: &wanted, shards, replicas, tags };
    all.make().await?;
    tracing::info!(shards, replicas, "the log and the inboxes are there");

    let url = args.group.group_postgres.as_ref().context("where are the groups? --group-postgres")?;
    again(end, "Postgres (--group-postgres)", async || PostgresGroups::open(url).await).await?;
    let url = args.account.account_postgres.as_ref().context("where are the accounts? --account-postgres")?;
    again(end, "Postgres (--account-postgres)", async || PostgresAccounts::open(url).await).await?;
    // A cluster may be without notifications.
    if let Some(url) = &args.notify.notify_postgres {
        again(end, "Postgres (--notify-postgres)", async || PostgresSubscriptions::open(url).await).await?;
    }
    tracing::info!("Postgres is up to date");

    ensure!(!args.store.cassandra.is_empty(), "where are the messages? --cassandra");
    again(end, "Cassandra (--cassandra)", async || madang_store::prepare(args.store.clone()).await).await?;
    tracing::info!("Cassandra is up to date");
    Ok(())
}

/// Tries until the end.
async fn again<T, E: Display>(
    end: Instant,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> anyhow::Result<T> {
    loop {
        match attempt().await {
            Ok(made) => return Ok(made),
            Err(error) if Instant::now() >= end => bail!("{what}: {error}"),
            Err(error) => tracing::info!(what, %error, "not yet; trying again"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}
