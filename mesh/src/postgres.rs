//! How a service reaches its tables in Postgres: brought up to date by one process at a time, then by a few connections
//! that are all told the same. Plain, or over TLS where the address says so (see `postgres/secure.rs`).

mod belongs;
mod secure;

use crate::{again, secret::Secret};
pub use belongs::Belongs;
use diesel::{ConnectionError, ConnectionResult, sql_query, sql_types::BigInt};
use diesel_async::{
    AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _,
    pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod, deadpool},
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _};
use secure::Target;
use std::{fmt::Display, time::Duration};
use tokio::time::{Instant, timeout};
use tokio_postgres::{Config, NoTls, error::SqlState};

/// Only one process migrates at a time: the number is any, the same for all, since services may share a database.
const MIGRATION_LOCK: i64 = 0x6d61_6461_6e67;
/// Connections of a service's process.
const CONNECTIONS: usize = 16;
/// How long one is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// A server that vanishes without a word, its machine with it, is noticed like this: what was sent to it is not taken for
/// so long ([`Config::tcp_user_timeout`]), or, where it is an answer that is waited for, it does not answer three probes of the
/// connection, five seconds apart, after ten of silence. Linux itself takes a quarter of an hour, and two hours.
const UNANSWERED: Duration = Duration::from_secs(15);
/// See there.
const SILENT: Duration = Duration::from_secs(10);
/// See there.
const PROBE: Duration = Duration::from_secs(5);
/// See there.
const PROBES: u32 = 3;
/// What every connection is told. Everything is asked for by an index, of somebody's own: a table is never read whole, nor
/// an index to join a part of it, as merge and hash joins do. A page that is not in memory costs what it costs on a disk
/// without heads, and nothing is worth compiling. A transaction whose owner has gone away in the middle ends: what it has
/// locked is not locked until somebody happens to get that connection. docs/postgres.md has the plans that come of it.
const SETTINGS: &str = "SET enable_seqscan = off; SET enable_mergejoin = off; SET enable_hashjoin = off; SET random_page_cost = 1.1; SET jit = off;
    SET idle_in_transaction_session_timeout = 3000";

/// A connection that goes back when it is dropped; one with an open transaction is closed instead.
pub type Connection = deadpool::Object<AsyncPgConnection>;

/// Postgres can't be reached, or does not do what it should. Never with its URL.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Unavailable {
    why: String,
    /// It refuses who comes: waiting does not help.
    pub denied: bool,
    /// What it is reached by is wrong: not even another answer of the server would help.
    wrong: bool,
}

fn unavailable(error: impl Display) -> Unavailable {
    Unavailable { why: error.to_string(), denied: false, wrong: false }
}

fn wrong(error: impl Display) -> Unavailable {
    Unavailable { wrong: true, ..unavailable(error) }
}

/// The connections of a service.
pub struct Postgres {
    pool: deadpool::Pool<AsyncPgConnection>,
}

impl Postgres {
    /// Tries to reach the server until then, for a service that begins before it; also where it lets nobody in: it may be
    /// told of a new password after this process is. `what`: how it is named to operators.
    pub async fn reached(url: &Secret, what: &str, until: Instant) -> Result<(), Unavailable> {
        let reach = async || timeout(2 * PATIENCE, connect(url.reveal())).await.map_err(unavailable)?;
        again::until(until, what, |error: &Unavailable| !error.wrong, reach).await?;
        Ok(())
    }

    /// Connects, and brings the tables up to date.
    pub async fn open(url: &Secret, migrations: EmbeddedMigrations) -> Result<Self, Unavailable> {
        // In a task of its own: migrating blocks the one that it runs in.
        tokio::spawn(migrate(url.clone(), migrations)).await.map_err(unavailable)??;
        let mut config = ManagerConfig::default();
        // Without a query for each use; a connection with an open transaction is still rejected.
        config.recycling_method = RecyclingMethod::Fast;
        config.custom_setup = Box::new(|url| Box::pin(establish(url)));
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config(url.reveal(), config);
        let pool = deadpool::Pool::builder(manager).max_size(CONNECTIONS).build().map_err(unavailable)?;
        Ok(Self { pool })
    }

    /// A connection, once one is free: within three seconds, or not.
    pub async fn connection(&self) -> Result<Connection, Unavailable> {
        let connection = timeout(PATIENCE, self.pool.get()).await;
        connection.map_err(|_| unavailable("Postgres has no connection free in time"))?.map_err(unavailable)
    }
}

/// What goes wrong does not repeat the URL.
async fn connect(url: &str) -> Result<AsyncPgConnection, Unavailable> {
    let Target { url, tls } = Target::parse(url)?;
    let config = noticing(url.parse::<Config>().map_err(wrong)?);
    let connection = match tls {
        None => {
            let (client, connection) = config.connect(NoTls).await.map_err(refused)?;
            AsyncPgConnection::try_from_client_and_connection(client, connection).await
        }
        Some(tls) => {
            let (client, connection) = config.connect(tls).await.map_err(refused)?;
            AsyncPgConnection::try_from_client_and_connection(client, connection).await
        }
    };
    connection.map_err(unavailable)
}

/// Such a connection notices that the server has vanished; what the URL says of that holds.
fn noticing(mut config: Config) -> Config {
    let default = Config::new();
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNANSWERED);
    }
    if config.get_keepalives_idle() == default.get_keepalives_idle() {
        config.keepalives_idle(SILENT);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(PROBE);
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(PROBES);
    }
    config
}

fn refused(error: tokio_postgres::Error) -> Unavailable {
    // The driver says that it was TLS, or Postgres; its cause says what was wrong.
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    let code = error.code();
    let denied = [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION];
    if code.is_some_and(|code| denied.contains(code)) {
        let why = format!("it does not let the user of its address in{cause}; check user and password there");
        return Unavailable { why, denied: true, wrong: false };
    }
    unavailable(format!("{error}{cause}"))
}

async fn establish(url: &str) -> ConnectionResult<AsyncPgConnection> {
    let bad = |error: Unavailable| ConnectionError::BadConnection(error.to_string());
    let mut connection = connect(url).await.map_err(bad)?;
    let set = connection.batch_execute(SETTINGS).await;
    set.map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

async fn migrate(url: Secret, migrations: EmbeddedMigrations) -> Result<(), Unavailable> {
    let connected = timeout(2 * PATIENCE, connect(url.reveal())).await;
    let mut connection = connected.map_err(unavailable)??;
    let lock = sql_query("SELECT pg_advisory_lock($1)").bind::<BigInt, _>(MIGRATION_LOCK);
    lock.execute(&mut connection).await.map_err(unavailable)?;
    // The lock ends with the connection.
    AsyncMigrationHarness::new(connection).run_pending_migrations(migrations).map_err(unavailable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_vanishes_is_noticed_unless_the_address_says_otherwise() {
        let of = |url: &str| {
            let config = noticing(url.parse().unwrap());
            let keep =
                (config.get_keepalives_idle(), config.get_keepalives_interval(), config.get_keepalives_retries());
            (config.get_tcp_user_timeout().copied(), keep)
        };
        let keep = (SILENT, Some(PROBE), Some(PROBES));
        assert_eq!(of("postgres://u@h/d"), (Some(UNANSWERED), keep));
        let own = "postgres://u@h/d?tcp_user_timeout=7&keepalives_idle=8&keepalives_interval=9&keepalives_retries=1";
        let seconds = Duration::from_secs;
        assert_eq!(of(own), (Some(seconds(7)), (seconds(8), Some(seconds(9)), Some(1))));
    }
}
