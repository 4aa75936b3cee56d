//! Conversations and members in Postgres, by diesel. A batch of the log is one transaction of a handful of statements:
//! heads and read numbers are written as arrays, only comings and goings one by one.

pub mod acquainted;
mod apply;
pub mod comings;
pub mod invites;
pub mod list;
mod memberships;

use super::{
    Access, Error, Gone, GroupStore, Membership, Page, Wanted,
    keys::{Asked, KEY_MS, Made},
    number, settings,
};
use apply::Apply;
use async_trait::async_trait;
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use madang_mesh::{
    log::Position,
    postgres::{Belongs, Connection, Postgres, Unavailable},
    secret::Secret,
    shard::Shard,
};
use madang_proto::{
    group::v1::{RoomMember, RoomState},
    id::{ConversationId, UserId},
    log::v1::{LoggedEvent, MemberSettings},
};
use std::collections::HashMap;
use uuid::Uuid;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");
/// Where the tables say to which cluster they belong.
pub const BELONGS: Belongs = Belongs { table: "group_data", oldest: "conversation" };

/// Who is in conversations, $1, and who left them at a position, $2, or later; of these what they had set if $3.
pub const MEMBERS: &str = r#"SELECT conversation, "user", role, joined_revision, joined_seq, joined_at, left_revision, read_seq,
    CASE WHEN left_revision = 0 OR $3 THEN settings END AS settings
FROM member WHERE conversation = ANY($1) AND (left_revision = 0 OR left_position >= $2) ORDER BY joined_revision, "user""#;
/// What a user, $1, has set of a conversation, $2.
pub const SETTINGS: &str = r#"SELECT m.settings, c.last_seq FROM member m JOIN conversation c USING (conversation)
WHERE m.conversation = $2 AND m."user" = $1"#;
/// The badges of users, $1, at a time, $2.
pub const BADGES: &str = r#"SELECT m."user", coalesce(sum(greatest(c.last_seq - greatest(m.read_seq, m.floor_seq), 0))
    FILTER (WHERE coalesce(m.muted_until, 0) <= $2), 0)::BIGINT AS count
FROM member m JOIN conversation c USING (conversation) WHERE m."user" = ANY($1) AND m.left_revision = 0 GROUP BY m."user""#;

/// In how many conversations users, $1, are.
pub const COUNTS: &str = r#"SELECT "user", count(*) AS count FROM member
WHERE "user" = ANY($1) AND left_revision = 0 GROUP BY "user""#;

/// Conversations, in Postgres.
pub struct PostgresGroups {
    postgres: Postgres,
}

impl From<diesel::result::Error> for Error {
    fn from(error: diesel::result::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<Unavailable> for Error {
    fn from(error: Unavailable) -> Self {
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
        Ok(Self { postgres: Postgres::open(url, MIGRATIONS).await? })
    }

    async fn connection(&self) -> Result<Connection, Error> {
        Ok(self.postgres.connection().await?)
    }
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
            apply.hold_invites(&events).await?;
            apply.load_heads(&events).await?;
            for event in &events {
                apply.event(event).await?;
            }
            apply.finish().await
        });
        transaction.await
    }

    async fn rooms(&self, ids: Vec<ConversationId>, gone: Gone) -> Result<Vec<RoomState>, Error> {
        let ids: Vec<Uuid> = ids.into_iter().map(of).collect();
        let (left_from, whole) = gone.parts();
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
                let members: Vec<MemberRow> = sql_query(MEMBERS)
                    .bind::<Array<SqlUuid>, _>(&ids)
                    .bind::<BigInt, _>(left_from)
                    .bind::<Bool, _>(whole)
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

    async fn badges(&self, users: Vec<UserId>, now_ms: i64) -> Result<HashMap<UserId, u64>, Error> {
        let rows: Vec<CountRow> = sql_query(BADGES)
            .bind::<Array<SqlUuid>, _>(users.iter().map(|user| Uuid::from_bytes(*user.bytes())).collect::<Vec<_>>())
            .bind::<BigInt, _>(now_ms)
            .load(&mut self.connection().await?)
            .await?;
        Ok(rows.into_iter().map(|row| (row.user.into(), row.count.unsigned_abs())).collect())
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

    async fn made(&self, user: UserId, key: String, new: ConversationId, now_ms: i64) -> Result<Made, Error> {
        let user = Uuid::from_bytes(*user.bytes());
        let mut connection = self.connection().await?;
        sql_query("DELETE FROM made WHERE at < $1").bind::<BigInt, _>(now_ms - KEY_MS).execute(&mut connection).await?;
        let rows: Vec<MadeRow> = sql_query(
            r#"INSERT INTO made ("user", key, conversation, at) VALUES ($1, $2, $3, $4)
               ON CONFLICT ("user", key) DO UPDATE SET at = made.at RETURNING conversation, asked"#,
        )
        .bind::<SqlUuid, _>(user)
        .bind::<Text, _>(key)
        .bind::<SqlUuid, _>(of(new))
        .bind::<BigInt, _>(now_ms)
        .load(&mut connection)
        .await?;
        let made = rows.into_iter().next().map(|row| Made { id: row.conversation.into(), asked: row.asked });
        made.ok_or_else(|| unavailable("an insert without a row"))
    }

    async fn done(&self, user: UserId, key: String, asked: Asked) -> Result<(), Error> {
        done(&mut *self.connection().await?, user, key, asked).await.map(drop)
    }
}

#[derive(QueryableByName)]
struct MadeRow {
    #[diesel(sql_type = SqlUuid)]
    conversation: Uuid,
    #[diesel(sql_type = Nullable<Binary>)]
    asked: Option<Vec<u8>>,
}

/// What a key stands for is made; false: it was before, or the key is gone.
async fn done(connection: &mut AsyncPgConnection, user: UserId, key: String, asked: Asked) -> Result<bool, Error> {
    let first = sql_query(r#"UPDATE made SET asked = $3 WHERE "user" = $1 AND key = $2 AND asked IS NULL"#)
        .bind::<SqlUuid, _>(Uuid::from_bytes(*user.bytes()))
        .bind::<Text, _>(key)
        .bind::<Binary, _>(asked.to_vec())
        .execute(connection)
        .await?;
    Ok(first > 0)
}
