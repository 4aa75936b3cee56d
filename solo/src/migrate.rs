//! `madang migrate`: makes what a cluster needs before its services start: the streams and the bucket in NATS, the
//! keyspace and tables in Cassandra, the tables in Postgres. What is there is left as it is, so it may run again, and twice
//! at once. It refuses another number of shards than the data has: nothing would be found where it is; other replicas or
//! placements of streams than they have: nobody would know that they are not what was asked for; and a NATS that has no
//! room for all streams: users of some shards could not connect. And NATS and databases that are not of one cluster: each
//! of two would write a part of the shards into its own databases.

mod data;
mod streams;

use anyhow::{Context as _, anyhow, ensure};
use madang_account::store::postgres::PostgresAccounts;
use madang_chat::inbox::jetstream::JetStreamInbox;
use madang_group::store::postgres::PostgresGroups;
use madang_mesh::{
    again::until, log::jetstream::JetStreamLog, process, registry::jetstream::JetStreamRegistry, secret::Secret,
    settings::Settings, streams::There,
};
use madang_notify::store::postgres::PostgresSubscriptions;
use std::{fmt::Display, path::PathBuf, time::Duration};
use tokio::time::Instant;

const NATS: &str = "the streams in NATS";
const GROUP: &str = "Postgres (--group-postgres)";
const ACCOUNT: &str = "Postgres (--account-postgres)";
const NOTIFY: &str = "Postgres (--notify-postgres)";
const CASSANDRA: &str = "Cassandra (--cassandra)";

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
    /// Take databases that are empty for this cluster's, though its log was written: to be filled from a back-up.
    #[arg(long, env = "MADANG_ADOPT")]
    adopt: bool,
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
    let connect = async || process::connect("migrate", &args.nats, &args.nats_tls).await;
    let client = tried(end, "NATS", |error| !matches!(error, process::Error::Denied(_)), connect).await?;
    let open = async || JetStreamRegistry::open(client.clone(), replicas).await;
    let registry = again(end, "the bucket in NATS", open).await?;
    let log = JetStreamLog::new(client.clone(), replicas, args.log_bytes).on_servers_with(args.nats_tags.clone());
    let (group, account, notify) = postgres(&args)?;
    args.settings.fit(args.log_bytes).map_err(anyhow::Error::msg)?;
    ensure!(!args.store.cassandra.is_empty(), "where are the messages? --cassandra");
    let context = madang_mesh::streams::on(client.clone());
    let before = again(end, NATS, async || There::ask(&context).await).await?;
    let places = places(&args, end, &registry, before.written()).await?;
    // Refused before anything is made.
    places.word(args.adopt)?;

    let inbox = JetStreamInbox::new(client, replicas, args.settings.inbox_bytes);
    let wanted = (0..shards).map(|shard| log.config(shard)).chain((0..shards).map(|shard| inbox.config(shard)));
    let wanted: Vec<_> = wanted.collect();
    let tags = &args.nats_tags;
    let all = streams::Streams { end, context, registry: &registry, before, wanted: &wanted, shards, replicas, tags };
    all.make().await?;
    let data = places.note(end, &registry, args.adopt).await?;
    tracing::info!(shards, replicas, data, "the log and the inboxes are there");

    again(end, GROUP, async || PostgresGroups::open(group).await).await?;
    again(end, GROUP, async || madang_group::store::postgres::BELONGS.write(group, &data).await).await?;
    again(end, ACCOUNT, async || PostgresAccounts::open(account).await).await?;
    again(end, ACCOUNT, async || madang_account::store::postgres::BELONGS.write(account, &data).await).await?;
    if let Some(url) = notify {
        again(end, NOTIFY, async || PostgresSubscriptions::open(url).await).await?;
        again(end, NOTIFY, async || madang_notify::store::postgres::BELONGS.write(url, &data).await).await?;
    }
    tracing::info!("Postgres is up to date");

    again(end, CASSANDRA, async || madang_store::prepare(args.store.clone(), &data).await).await?;
    tracing::info!("Cassandra is up to date");
    Ok(())
}

/// Where Postgres is: for groups, accounts and, as a cluster may be without them, notifications.
fn postgres(args: &Args) -> anyhow::Result<(&Secret, &Secret, Option<&Secret>)> {
    let group = args.group.group_postgres.as_ref().context("where are the groups? --group-postgres")?;
    let account = args.account.account_postgres.as_ref().context("where are the accounts? --account-postgres")?;
    Ok((group, account, args.notify.notify_postgres.as_ref()))
}

/// What each place says of whose data it has; nothing is changed.
async fn places(
    args: &Args,
    end: Instant,
    registry: &JetStreamRegistry,
    written: bool,
) -> anyhow::Result<data::Places> {
    let (group, account, notify) = postgres(args)?;
    let nats = again(end, "the bucket in NATS", async || data::read(registry).await).await?;
    let mut databases = Vec::new();
    let mut add = |what, data, optional| databases.push(data::Place { what, data, optional });
    let read = async || madang_group::store::postgres::BELONGS.read(group).await;
    add(GROUP, tried(end, GROUP, |error| !error.denied, read).await?, false);
    let read = async || madang_account::store::postgres::BELONGS.read(account).await;
    add(ACCOUNT, tried(end, ACCOUNT, |error| !error.denied, read).await?, false);
    if let Some(url) = notify {
        let read = async || madang_notify::store::postgres::BELONGS.read(url).await;
        add(NOTIFY, tried(end, NOTIFY, |error| !error.denied, read).await?, true);
    }
    let read = async || madang_store::belongs(args.store.clone()).await;
    add(CASSANDRA, tried(end, CASSANDRA, |error| !error.denied(), read).await?, false);
    Ok(data::Places { nats, written, databases })
}

/// Tries until the end.
async fn again<T, E: Display>(end: Instant, what: &str, attempt: impl AsyncFn() -> Result<T, E>) -> anyhow::Result<T> {
    tried(end, what, |_| true, attempt).await
}

/// Tries until the end, or until what goes wrong does not pass.
async fn tried<T, E: Display>(
    end: Instant,
    what: &str,
    passes: impl Fn(&E) -> bool,
    attempt: impl AsyncFn() -> Result<T, E>,
) -> anyhow::Result<T> {
    until(end, what, passes, || attempt()).await.map_err(|error| anyhow!("{what}: {error}"))
}
