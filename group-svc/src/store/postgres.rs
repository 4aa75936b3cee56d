//! Conversations and members in Postgres, by diesel. A batch of the log is one transaction of a handful of statements:
//! heads and read numbers are written as arrays, only comings and goings one by one.

pub mod acquainted;
mod apply;
pub mod invites;
pub mod list;
mod memberships;

use super::{Access, Error, GroupStore, KEY_MS, Membership, Page, Wanted, number, settings};
use apply::Apply;
use async_trait::async_trait;
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Binary, Integer, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::{
    AsyncConnection, AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
        deadpool::{Object, Pool},
    },
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use madang_mesh::{log::Position, secret::Secret, shard::Shard};
use madang_proto::{
    group::v1::{RoomMember, RoomState},
    id::{ConversationId, UserId},
    log::v1::{LoggedEvent, MemberSettings},
};
use std::{collections::HashMap, time::Duration};
use uuid::Uuid;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");
/// Only one process migrates at a time: the number is any, the same for all.
const MIGRATION_LOCK: i64 = 0x6d61_6461_6e67;
/// Connections of a process.
const CONNECTIONS: usize = 16;
/// How long one is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a user, $1, has set of a conversation, $2.
pub const SETTINGS: &str = r#"SELECT m.settings, c.last_seq FROM member m JOIN conversation c USING (conversation)
WHERE m.conversation = $2 AND m."user" = $1"#;
/// The badge of a user, $1, at a time, $2, and in how many conversations they are.
pub const BADGE: &str = r#"SELECT coalesce(sum(greatest(c.last_seq - greatest(m.read_seq, m.floor_seq), 0))
    FILTER (WHERE coalesce(m.muted_until, 0) <= $2), 0)::BIGINT AS unread, count(*) AS count
FROM member m JOIN conversation c USING (conversation) WHERE m."user" = $1 AND m.left_revision = 0"#;

/// In how many conversations users, $1, are.
pub const COUNTS: &str = r#"SELECT "user", count(*) AS count FROM member
WHERE "user" = ANY($1) AND left_revision = 0 GROUP BY "user""#;

/// Conversations, in Postgres.
pub struct PostgresGroups {
    pool: Pool<AsyncPgConnection>,
}

impl From<diesel::result::Error> for Error {
    fn from(error: diesel::result::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

fn unavailable(error: impl std::fmt::Display) -> Error {
    Error::Unavailable(error.to_string())
}

#[derive(QueryableByName)]
struct Position64 {
    #[diesel(sql_type = BigInt)]
    position: i64,
}

#[derive(QueryableByName)]
struct ConversationRow {
    #[diesel(sql_type = SqlUuid)]
    conversation: Uuid,
    #[diesel(sql_type = Integer)]
    kind: i32,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    picture: String,
    #[diesel(sql_type = Text)]
    data: String,
    #[diesel(sql_type = Integer)]
    history: i32,
    #[diesel(sql_type = BigInt)]
    revision: i64,
    #[diesel(sql_type = BigInt)]
    last_seq: i64,
    #[diesel(sql_type = BigInt)]
    last_at: i64,
    #[diesel(sql_type = BigInt)]
    message_at: i64,
}

#[derive(QueryableByName)]
struct MemberRow {
    #[diesel(sql_type = SqlUuid)]
    conversation: Uuid,
    #[diesel(sql_type = SqlUuid)]
    user: Uuid,
    #[diesel(sql_type = Integer)]
    role: i32,
    #[diesel(sql_type = BigInt)]
    joined_revision: i64,
    #[diesel(sql_type = BigInt)]
    joined_seq: i64,
    #[diesel(sql_type = BigInt)]
    joined_at: i64,
    #[diesel(sql_type = BigInt)]
    left_revision: i64,
    #[diesel(sql_type = BigInt)]
    read_seq: i64,
    #[diesel(sql_type = Nullable<Binary>)]
    settings: Option<Vec<u8>>,
}

#[derive(QueryableByName)]
struct SettingsRow {
    #[diesel(sql_type = Nullable<Binary>)]
    settings: Option<Vec<u8>>,
    #[diesel(sql_type = BigInt)]
    last_seq: i64,
}

#[derive(QueryableByName)]
struct BadgeRow {
    #[diesel(sql_type = BigInt)]
    unread: i64,
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[derive(QueryableByName)]
struct CountRow {
    #[diesel(sql_type = SqlUuid)]
    user: Uuid,
    #[diesel(sql_type = BigInt)]
    count: i64,
}

fn uuid(bytes: &[u8]) -> Result<Uuid, Error> {
    Uuid::from_slice(bytes).map_err(|_| Error::Event("an id of it is no UUID"))
}

fn of(id: ConversationId) -> Uuid {
    Uuid::from_bytes(*id.bytes())
}

impl PostgresGroups {
    /// Connects, and brings the tables up to date.
    pub async fn open(url: &Secret) -> Result<Self, Error> {
        // In a task of its own: migrating blocks the one that it runs in.
        tokio::spawn(migrate(url.clone())).await.map_err(unavailable)??;
        let mut config = ManagerConfig::default();
        // Without a query for each use; a connection with an open transaction is still rejected.
        config.recycling_method = RecyclingMethod::Fast;
        config.custom_setup = Box::new(|url| Box::pin(establish(url)));
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config(url.reveal(), config);
        let pool = Pool::builder(manager).max_size(CONNECTIONS).build().map_err(unavailable)?;
        Ok(Self { pool })
    }

    async fn connection(&self) -> Result<Object<AsyncPgConnection>, Error> {
        let connection = tokio::time::timeout(PATIENCE, self.pool.get()).await;
        connection.map_err(|_| unavailable("Postgres has no connection free in time"))?.map_err(unavailable)
    }
}

/// What every connection is told. Everything is asked for by an index, of somebody's own: a table is never read whole, a
/// page that is not in memory costs what it costs on a disk without heads, and nothing is worth compiling. A
/// transaction whose owner has gone away in the middle ends: what it has locked is not locked until somebody happens to
/// get that connection.
const SETTINGS_OF_CONNECTION: &str = "SET enable_seqscan = off; SET random_page_cost = 1.1; SET jit = off;
    SET idle_in_transaction_session_timeout = 3000";

async fn establish(url: &str) -> diesel::ConnectionResult<AsyncPgConnection> {
    let mut connection = AsyncPgConnection::establish(url).await?;
    let set = connection.batch_execute(SETTINGS_OF_CONNECTION).await;
    set.map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

async fn migrate(url: Secret) -> Result<(), Error> {
    // Errors of the driver do not repeat the URL.
    let connect = AsyncPgConnection::establish(url.reveal());
    let mut connection =
        tokio::time::timeout(2 * PATIENCE, connect).await.map_err(unavailable)?.map_err(unavailable)?;
    sql_query("SELECT pg_advisory_lock($1)").bind::<BigInt, _>(MIGRATION_LOCK).execute(&mut connection).await?;
    // The lock ends with the connection.
    let mut harness = AsyncMigrationHarness::new(connection);
    harness.run_pending_migrations(MIGRATIONS).map_err(unavailable)?;
    Ok(())
}

#[async_trait]
impl GroupStore for PostgresGroups {
    async fn cursor(&self, shard: Shard) -> Result<Position, Error> {
        let rows: Vec<Position64> = sql_query("SELECT position FROM group_cursor WHERE shard = $1")
            .bind::<Integer, _>(i32::try_from(shard).unwrap_or(i32::MAX))
            .load(&mut self.connection().await?)
            .await?;
        Ok(rows.into_iter().next().map_or(0, |row| row.position.unsigned_abs()))
    }

    async fn apply(&self, shard: Shard, events: Vec<LoggedEvent>, position: Position) -> Result<(), Error> {
        let shard = i32::try_from(shard).unwrap_or(i32::MAX);
        let mut connection = self.connection().await?;
        let transaction = connection.transaction(async |connection| {
            sql_query("INSERT INTO group_cursor VALUES ($1, 0) ON CONFLICT DO NOTHING")
                .bind::<Integer, _>(shard)
                .execute(connection)
                .await?;
            // Held to the end: who has lost the shard and does not know it yet waits here, and then finds nothing to do.
            let rows: Vec<Position64> = sql_query("SELECT position FROM group_cursor WHERE shard = $1 FOR UPDATE")
                .bind::<Integer, _>(shard)
                .load(connection)
                .await?;
            if rows.into_iter().next().is_some_and(|row| row.position >= number(position)) {
                return Ok(());
            }
            let position = number(position);
            let mut apply = Apply { connection, shard, position, heads: HashMap::new(), marks: HashMap::new() };
            apply.load_heads(&events).await?;
            for event in &events {
                apply.event(event).await?;
            }
            apply.finish().await
        });
        transaction.await
    }

    async fn rooms(&self, ids: Vec<ConversationId>) -> Result<Vec<RoomState>, Error> {
        let ids: Vec<Uuid> = ids.into_iter().map(of).collect();
        let mut connection = self.connection().await?;
        // One statement's view of both tables, so that a room and its members are of the same revision.
        let (rows, members) = connection
            .build_transaction()
            .read_only()
            .repeatable_read()
            .run(async |connection| {
                let rows: Vec<ConversationRow> = sql_query("SELECT * FROM conversation WHERE conversation = ANY($1)")
                    .bind::<Array<SqlUuid>, _>(&ids)
                    .load(connection)
                    .await?;
                let members: Vec<MemberRow> =
                    sql_query(r#"SELECT * FROM member WHERE conversation = ANY($1) ORDER BY joined_revision, "user""#)
                        .bind::<Array<SqlUuid>, _>(&ids)
                        .load(connection)
                        .await?;
                Ok::<_, Error>((rows, members))
            })
            .await?;
        let mut by_room: HashMap<Uuid, Vec<RoomMember>> = HashMap::new();
        for row in members {
            by_room.entry(row.conversation).or_default().push(RoomMember {
                user: row.user.into_bytes().to_vec(),
                role: row.role,
                joined_revision: row.joined_revision.unsigned_abs(),
                joined_seq: row.joined_seq.unsigned_abs(),
                joined_at_micros: row.joined_at,
                left_revision: row.left_revision.unsigned_abs(),
                read_seq: row.read_seq.unsigned_abs(),
                settings: settings::read(row.settings),
            });
        }
        let mut rooms: HashMap<Uuid, RoomState> = HashMap::new();
        for row in rows {
            let state = RoomState {
                conversation: row.conversation.into_bytes().to_vec(),
                kind: row.kind,
                name: row.name,
                picture: row.picture,
                data: serde_json::from_str(&row.data).unwrap_or_default(),
                history: row.history,
                revision: row.revision.unsigned_abs(),
                last_seq: row.last_seq.unsigned_abs(),
                last_at_micros: row.last_at,
                message_at_micros: row.message_at,
                members: by_room.remove(&row.conversation).unwrap_or_default(),
            };
            rooms.insert(row.conversation, state);
        }
        // In the order asked for.
        Ok(ids.iter().filter_map(|id| rooms.remove(id)).collect())
    }

    async fn list(&self, wanted: Wanted) -> Result<Page, Error> {
        let mut connection = self.connection().await?;
        list::page(&mut connection, wanted).await
    }

    async fn access(&self, user: UserId, ids: Vec<ConversationId>) -> Result<Vec<Access>, Error> {
        let mut connection = self.connection().await?;
        list::access(&mut connection, user, ids).await
    }

    async fn settings(&self, user: UserId, id: ConversationId) -> Result<Option<(Option<MemberSettings>, u64)>, Error> {
        let rows: Vec<SettingsRow> = sql_query(SETTINGS)
            .bind::<SqlUuid, _>(Uuid::from_bytes(*user.bytes()))
            .bind::<SqlUuid, _>(of(id))
            .load(&mut self.connection().await?)
            .await?;
        let found = rows.into_iter().next();
        Ok(found.map(|row| (settings::read(row.settings), row.last_seq.unsigned_abs())))
    }

    async fn acquainted(&self, user: UserId, users: Vec<UserId>) -> Result<Vec<UserId>, Error> {
        let mut connection = self.connection().await?;
        acquainted::select(&mut connection, user, users).await
    }

    async fn badge(&self, user: UserId, now_ms: i64) -> Result<(u64, usize), Error> {
        let rows: Vec<BadgeRow> = sql_query(BADGE)
            .bind::<SqlUuid, _>(Uuid::from_bytes(*user.bytes()))
            .bind::<BigInt, _>(now_ms)
            .load(&mut self.connection().await?)
            .await?;
        let row = rows.into_iter().next();
        Ok(row.map_or((0, 0), |row| (row.unread.unsigned_abs(), usize::try_from(row.count).unwrap_or(usize::MAX))))
    }

    async fn counts(&self, users: Vec<UserId>) -> Result<HashMap<UserId, usize>, Error> {
        let rows: Vec<CountRow> = sql_query(COUNTS)
            .bind::<Array<SqlUuid>, _>(users.iter().map(|user| Uuid::from_bytes(*user.bytes())).collect::<Vec<_>>())
            .load(&mut self.connection().await?)
            .await?;
        Ok(rows.into_iter().map(|row| (row.user.into(), usize::try_from(row.count).unwrap_or(usize::MAX))).collect())
    }

    async fn memberships(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<Membership>, Error> {
        memberships::page(&mut *self.connection().await?, user, after, limit).await
    }

    async fn made(&self, user: UserId, key: String, new: ConversationId, now_ms: i64) -> Result<ConversationId, Error> {
        let user = Uuid::from_bytes(*user.bytes());
        let mut connection = self.connection().await?;
        sql_query("DELETE FROM made WHERE at < $1").bind::<BigInt, _>(now_ms - KEY_MS).execute(&mut connection).await?;
        let rows: Vec<MadeRow> = sql_query(
            r#"INSERT INTO made VALUES ($1, $2, $3, $4) ON CONFLICT ("user", key) DO UPDATE SET at = made.at
               RETURNING conversation"#,
        )
        .bind::<SqlUuid, _>(user)
        .bind::<Text, _>(key)
        .bind::<SqlUuid, _>(of(new))
        .bind::<BigInt, _>(now_ms)
        .load(&mut connection)
        .await?;
        rows.into_iter().next().map(|row| row.conversation.into()).ok_or_else(|| unavailable("an insert without a row"))
    }
}

#[derive(QueryableByName)]
struct MadeRow {
    #[diesel(sql_type = SqlUuid)]
    conversation: Uuid,
}
