//! The tables, and what is asked of them. Each is named with its keyspace: `USE` holds for one connection of a pool only.

use super::{CassandraSession, Error, Options, PATIENCE, late};
use cdrs_tokio::query::PreparedQuery;
use tokio::time::timeout;

/// The tables, without `CREATE TABLE IF NOT EXISTS` and their keyspace.
const TABLES: [&str; 10] = [
    "message (conversation blob, bucket int, seq bigint, at_micros bigint, used blob, body blob, reactions blob,
     changed bigint, changed_micros bigint,
     PRIMARY KEY ((conversation, bucket), seq)) WITH CLUSTERING ORDER BY (seq DESC)
     AND compaction = {'class': 'UnifiedCompactionStrategy', 'scaling_parameters': 'T4'}",
    "reaction (conversation blob, bucket int, seq bigint, user blob, emoji text, began bigint,
     PRIMARY KEY ((conversation, bucket), seq, user, emoji))",
    "change (conversation blob, bucket int, revision bigint, seq bigint, at_micros bigint, used blob,
     PRIMARY KEY ((conversation, bucket), revision))",
    "notice (conversation blob, bucket int, last_seq bigint, revision bigint, body blob,
     PRIMARY KEY ((conversation, bucket), last_seq, revision))",
    "head (conversation blob PRIMARY KEY, revision bigint, last_seq bigint)",
    "waymark (conversation blob, bucket int, revision bigint, last_seq bigint, at_micros bigint,
     PRIMARY KEY ((conversation, bucket), revision))",
    "cursor (shard int PRIMARY KEY, position bigint, synced bigint)",
    "feed (shard int, bucket int, position bigint, at_micros bigint, events blob,
     PRIMARY KEY ((shard, bucket), position))",
    "feed_begin (shard int PRIMARY KEY, position bigint)",
    "layout (name text PRIMARY KEY, value text)",
];

/// The statements, prepared.
pub(super) struct Statements {
    pub insert_message: PreparedQuery,
    pub edit_message: PreparedQuery,
    pub count_reactions: PreparedQuery,
    pub amend_message: PreparedQuery,
    pub delete_message: PreparedQuery,
    pub insert_reaction: PreparedQuery,
    pub delete_reaction: PreparedQuery,
    pub delete_reactions: PreparedQuery,
    pub insert_change: PreparedQuery,
    pub insert_notice: PreparedQuery,
    pub insert_head: PreparedQuery,
    pub insert_waymark: PreparedQuery,
    pub insert_cursor: PreparedQuery,
    pub insert_record: PreparedQuery,
    pub insert_feed_begin: PreparedQuery,
    pub delete_records: PreparedQuery,
    pub records: PreparedQuery,
    pub newest_record: PreparedQuery,
    pub feed_begin: PreparedQuery,
    pub cursors: PreparedQuery,
    pub cursor: PreparedQuery,
    pub head: PreparedQuery,
    pub heads: PreparedQuery,
    pub range: PreparedQuery,
    pub one: PreparedQuery,
    pub changes: PreparedQuery,
    pub change_uses: PreparedQuery,
    pub reactions: PreparedQuery,
    pub own_reactions: PreparedQuery,
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
        // As it was before messages could be changed.
        let columns = "(reactions blob, changed bigint, changed_micros bigint)";
        session.query(format!("ALTER TABLE \"{keyspace}\".message ADD IF NOT EXISTS {columns}")).await?;
        Ok::<_, Error>(())
    };
    timeout(6 * PATIENCE, run).await.map_err(late)?
}

impl Statements {
    /// Prepares them.
    pub async fn prepare(session: &CassandraSession, keyspace: &str) -> Result<Self, Error> {
        let part = "WHERE conversation = ? AND bucket = ?";
        let table = |name: &str| format!("\"{keyspace}\".{name}");
        let (message, notice, head, cursor) = (table("message"), table("notice"), table("head"), table("cursor"));
        let (waymark, reaction, change) = (table("waymark"), table("reaction"), table("change"));
        let (feed, feed_begin) = (table("feed"), table("feed_begin"));
        let whole = "used, body, reactions, changed, changed_micros";
        let set = "SET {}changed = ?, changed_micros = ? WHERE conversation = ? AND bucket = ? AND seq = ?";
        let update = |cells: &str| format!("UPDATE {message} USING TIMESTAMP ? {}", set.replace("{}", cells));
        let drop = format!("DELETE FROM {reaction} USING TIMESTAMP ? {part} AND seq = ?");
        let all = async {
            Ok::<_, Error>(Self {
                insert_message: session
                    .prepare(format!(
                        "INSERT INTO {message} (conversation, bucket, seq, at_micros, used, body)
                         VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
                    ))
                    .await?,
                edit_message: session.prepare(update("body = ?, ")).await?,
                count_reactions: session.prepare(update("reactions = ?, ")).await?,
                amend_message: session.prepare(update("body = ?, reactions = ?, ")).await?,
                delete_message: session.prepare(update("reactions = null, body = ?, ")).await?,
                insert_reaction: session
                    .prepare(format!(
                        "INSERT INTO {reaction} (conversation, bucket, seq, user, emoji, began)
                         VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
                    ))
                    .await?,
                delete_reaction: session.prepare(format!("{drop} AND user = ? AND emoji = ?")).await?,
                delete_reactions: session.prepare(drop).await?,
                insert_change: session
                    .prepare(format!(
                        "INSERT INTO {change} (conversation, bucket, revision, seq, at_micros, used)
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
                insert_record: session
                    .prepare(format!(
                        "INSERT INTO {feed} (shard, bucket, position, at_micros, events) VALUES (?, ?, ?, ?, ?)
                         USING TIMESTAMP ?"
                    ))
                    .await?,
                insert_feed_begin: session
                    .prepare(format!("INSERT INTO {feed_begin} (shard, position) VALUES (?, ?) USING TIMESTAMP ?"))
                    .await?,
                delete_records: session
                    .prepare(format!("DELETE FROM {feed} USING TIMESTAMP ? WHERE shard = ? AND bucket = ?"))
                    .await?,
                records: session
                    .prepare(format!(
                        "SELECT position, at_micros, events FROM {feed}
                         WHERE shard = ? AND bucket = ? AND position > ? AND position <= ? LIMIT ?"
                    ))
                    .await?,
                newest_record: session
                    .prepare(format!(
                        "SELECT at_micros FROM {feed} WHERE shard = ? AND bucket = ? ORDER BY position DESC LIMIT 1"
                    ))
                    .await?,
                feed_begin: session.prepare(format!("SELECT position FROM {feed_begin} WHERE shard = ?")).await?,
                cursors: session.prepare(format!("SELECT shard, position FROM {cursor} WHERE shard IN ?")).await?,
                cursor: session.prepare(format!("SELECT position, synced FROM {cursor} WHERE shard = ?")).await?,
                head: session.prepare(format!("SELECT revision, last_seq FROM {head} WHERE conversation = ?")).await?,
                heads: session
                    .prepare(format!("SELECT conversation, revision, last_seq FROM {head} WHERE conversation IN ?"))
                    .await?,
                range: session
                    .prepare(format!(
                        "SELECT {whole} FROM {message} {part} AND seq >= ? AND seq <= ? ORDER BY seq DESC LIMIT ?"
                    ))
                    .await?,
                one: session.prepare(format!("SELECT {whole} FROM {message} {part} AND seq = ?")).await?,
                changes: session
                    .prepare(format!(
                        "SELECT revision, seq FROM {change} {part} AND revision > ? AND revision <= ? LIMIT ?"
                    ))
                    .await?,
                change_uses: session
                    .prepare(format!(
                        "SELECT revision, at_micros, used FROM {change} {part} AND revision > ? AND revision <= ?
                         ORDER BY revision DESC LIMIT ?"
                    ))
                    .await?,
                reactions: session
                    .prepare(format!("SELECT user, emoji, began FROM {reaction} {part} AND seq = ?"))
                    .await?,
                own_reactions: session
                    .prepare(format!("SELECT seq, emoji FROM {reaction} {part} AND seq IN ? AND user = ?"))
                    .await?,
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
