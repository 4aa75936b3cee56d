//! The tables, and what is asked of them. Each is named with its keyspace: `USE` holds for one connection of a pool only.

use super::{CassandraSession, Error, Options, PATIENCE, late};
use cdrs_tokio::query::PreparedQuery;
use tokio::time::timeout;

/// The tables, without `CREATE TABLE IF NOT EXISTS` and their keyspace.
const TABLES: [&str; 5] = [
    "message (conversation blob, bucket int, seq bigint, at_micros bigint, used blob, body blob,
     PRIMARY KEY ((conversation, bucket), seq)) WITH CLUSTERING ORDER BY (seq DESC)
     AND compaction = {'class': 'UnifiedCompactionStrategy', 'scaling_parameters': 'T4'}",
    "notice (conversation blob, bucket int, last_seq bigint, revision bigint, body blob,
     PRIMARY KEY ((conversation, bucket), last_seq, revision))",
    "head (conversation blob PRIMARY KEY, revision bigint, last_seq bigint)",
    "waymark (conversation blob, bucket int, revision bigint, last_seq bigint, at_micros bigint,
     PRIMARY KEY ((conversation, bucket), revision))",
    "cursor (shard int PRIMARY KEY, position bigint, synced bigint)",
];

/// The statements, prepared.
pub(super) struct Statements {
    pub insert_message: PreparedQuery,
    pub insert_notice: PreparedQuery,
    pub insert_head: PreparedQuery,
    pub insert_waymark: PreparedQuery,
    pub insert_cursor: PreparedQuery,
    pub cursor: PreparedQuery,
    pub head: PreparedQuery,
    pub range: PreparedQuery,
    pub one: PreparedQuery,
    pub waymarks: PreparedQuery,
    pub notices: PreparedQuery,
    pub uses: PreparedQuery,
}

/// Makes what is missing of keyspace and tables.
pub(super) async fn prepare_keyspace(session: &CassandraSession, options: &Options) -> Result<(), Error> {
    let Options { keyspace, datacenter, replicas, .. } = options;
    let word = |text: &str| {
        !text.is_empty() && text.len() <= 48 && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
    };
    if !word(keyspace) || !word(datacenter) {
        let why = format!("`{keyspace}` or `{datacenter}` is no name: letters, digits, _ and - only");
        return Err(Error::Unavailable(why));
    }
    let create = format!(
        "CREATE KEYSPACE IF NOT EXISTS \"{keyspace}\" WITH replication =
         {{'class': 'NetworkTopologyStrategy', '{datacenter}': {replicas}}}"
    );
    let run = async {
        session.query(create).await?;
        for table in TABLES {
            // Several processes may begin at once.
            session.query(format!("CREATE TABLE IF NOT EXISTS \"{keyspace}\".{table}")).await?;
        }
        Ok::<_, Error>(())
    };
    timeout(6 * PATIENCE, run).await.map_err(late)?
}

impl Statements {
    /// Prepares them.
    pub async fn prepare(session: &CassandraSession, keyspace: &str) -> Result<Self, Error> {
        let table = |name: &str| format!("\"{keyspace}\".{name}");
        let (message, notice, head, cursor) = (table("message"), table("notice"), table("head"), table("cursor"));
        let waymark = table("waymark");
        let part = "WHERE conversation = ? AND bucket = ?";
        let all = async {
            Ok::<_, Error>(Self {
                insert_message: session
                    .prepare(format!(
                        "INSERT INTO {message} (conversation, bucket, seq, at_micros, used, body)
                         VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
                    ))
                    .await?,
                insert_notice: session
                    .prepare(format!(
                        "INSERT INTO {notice} (conversation, bucket, last_seq, revision, body)
                         VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?"
                    ))
                    .await?,
                insert_head: session
                    .prepare(format!(
                        "INSERT INTO {head} (conversation, revision, last_seq) VALUES (?, ?, ?) USING TIMESTAMP ?"
                    ))
                    .await?,
                insert_waymark: session
                    .prepare(format!(
                        "INSERT INTO {waymark} (conversation, bucket, revision, last_seq, at_micros)
                         VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?"
                    ))
                    .await?,
                insert_cursor: session
                    .prepare(format!(
                        "INSERT INTO {cursor} (shard, position, synced) VALUES (?, ?, ?) USING TIMESTAMP ?"
                    ))
                    .await?,
                cursor: session.prepare(format!("SELECT position, synced FROM {cursor} WHERE shard = ?")).await?,
                head: session.prepare(format!("SELECT revision, last_seq FROM {head} WHERE conversation = ?")).await?,
                range: session
                    .prepare(format!(
                        "SELECT body FROM {message} {part} AND seq >= ? AND seq <= ? ORDER BY seq DESC LIMIT ?"
                    ))
                    .await?,
                one: session.prepare(format!("SELECT body FROM {message} {part} AND seq = ?")).await?,
                waymarks: session
                    .prepare(format!(
                        "SELECT revision, last_seq, at_micros FROM {waymark} {part} AND revision >= ? AND revision <= ? LIMIT ?"
                    ))
                    .await?,
                notices: session
                    .prepare(format!(
                        "SELECT last_seq, revision, body FROM {notice} {part}
                         AND (last_seq, revision) > (?, ?) AND (last_seq) <= (?) LIMIT ?"
                    ))
                    .await?,
                uses: session
                    .prepare(format!(
                        "SELECT seq, at_micros, used FROM {message} {part} AND seq <= ? ORDER BY seq DESC LIMIT ?"
                    ))
                    .await?,
            })
        };
        timeout(2 * PATIENCE, all).await.map_err(late)?
    }
}
