//! Conversations and members in Postgres, by diesel. A batch of the log is one transaction of a handful of statements:
//! heads and read numbers are written as arrays, only comings and goings one by one.

use super::{Error, GroupStore, Head, KEY_MS, Listed, Place, number};
use async_trait::async_trait;
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Integer, Text, Uuid as SqlUuid},
};
use diesel_async::{
    AsyncConnection, AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl,
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
    log::v1::{JoinedUser, LoggedEvent, logged_event::Body},
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
struct HeadRow {
    #[diesel(sql_type = SqlUuid)]
    conversation: Uuid,
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
}

#[derive(QueryableByName)]
struct ListedRow {
    #[diesel(sql_type = SqlUuid)]
    conversation: Uuid,
    #[diesel(sql_type = BigInt)]
    activity: i64,
}

#[derive(QueryableByName)]
struct BadgeRow {
    #[diesel(sql_type = BigInt)]
    unread: i64,
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
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config(url.reveal(), config);
        let pool = Pool::builder(manager).max_size(CONNECTIONS).build().map_err(unavailable)?;
        Ok(Self { pool })
    }

    async fn connection(&self) -> Result<Object<AsyncPgConnection>, Error> {
        let connection = tokio::time::timeout(PATIENCE, self.pool.get()).await;
        connection.map_err(|_| unavailable("Postgres has no connection free in time"))?.map_err(unavailable)
    }
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

/// One batch at work.
struct Apply<'a> {
    connection: &'a mut AsyncPgConnection,
    shard: i32,
    heads: HashMap<ConversationId, Head>,
    marks: HashMap<(Uuid, Uuid), u64>,
}

impl Apply<'_> {
    async fn load_heads(&mut self, events: &[LoggedEvent]) -> Result<(), Error> {
        let mut ids = Vec::new();
        for event in events {
            let id = ConversationId::from_slice(&event.conversation);
            let id = id.map_err(|_| Error::Event("it names no conversation"))?;
            if self.heads.insert(id, Head::default()).is_none() {
                ids.push(of(id));
            }
        }
        let rows: Vec<HeadRow> = sql_query(
            "SELECT conversation, revision, last_seq, last_at, message_at FROM conversation WHERE conversation = ANY($1)",
        )
        .bind::<Array<SqlUuid>, _>(ids)
        .load(self.connection)
        .await?;
        for row in rows {
            let head = Head {
                revision: row.revision.unsigned_abs(),
                last_seq: row.last_seq.unsigned_abs(),
                last_at: row.last_at,
                message_at: row.message_at,
            };
            self.heads.insert(row.conversation.into(), head);
        }
        Ok(())
    }

    async fn event(&mut self, event: &LoggedEvent) -> Result<(), Error> {
        let id = ConversationId::from_slice(&event.conversation);
        let id = id.map_err(|_| Error::Event("it names no conversation"))?;
        let head = self.heads.entry(id).or_default();
        if !head.take(id, event)? {
            return Ok(());
        }
        let c = of(id);
        match &event.body {
            Some(Body::Message(_)) => {
                head.message_at = event.at_micros;
                self.marks.insert((c, uuid(&event.actor)?), event.last_seq);
            }
            Some(Body::Created(created)) => {
                let data = serde_json::to_string(&created.data).unwrap_or_default();
                sql_query("INSERT INTO conversation VALUES ($1, $2, $3, $4, '', $5, $6, $7, 0, $8, 0)")
                    .bind::<SqlUuid, _>(c)
                    .bind::<Integer, _>(self.shard)
                    .bind::<Integer, _>(created.kind)
                    .bind::<Text, _>(&created.name)
                    .bind::<Text, _>(data)
                    .bind::<Integer, _>(created.history)
                    .bind::<BigInt, _>(number(event.revision))
                    .bind::<BigInt, _>(event.at_micros)
                    .execute(self.connection)
                    .await?;
                self.join(c, event, &created.members).await?;
            }
            Some(Body::Joined(joined)) => self.join(c, event, &joined.members).await?,
            Some(Body::Left(left)) => {
                let users = left.users.iter().map(|user| uuid(user)).collect::<Result<Vec<_>, _>>()?;
                sql_query(r#"UPDATE member SET left_revision = $3 WHERE conversation = $1 AND "user" = ANY($2)"#)
                    .bind::<SqlUuid, _>(c)
                    .bind::<Array<SqlUuid>, _>(users)
                    .bind::<BigInt, _>(number(event.revision))
                    .execute(self.connection)
                    .await?;
            }
            Some(Body::Role(set)) => {
                sql_query(r#"UPDATE member SET role = $3 WHERE conversation = $1 AND "user" = $2"#)
                    .bind::<SqlUuid, _>(c)
                    .bind::<SqlUuid, _>(uuid(&set.user)?)
                    .bind::<Integer, _>(set.role)
                    .execute(self.connection)
                    .await?;
            }
            Some(Body::Changed(changed)) => {
                let data = serde_json::to_string(&changed.data).unwrap_or_default();
                sql_query("UPDATE conversation SET name = $2, picture = $3, data = $4 WHERE conversation = $1")
                    .bind::<SqlUuid, _>(c)
                    .bind::<Text, _>(&changed.name)
                    .bind::<Text, _>(&changed.picture)
                    .bind::<Text, _>(data)
                    .execute(self.connection)
                    .await?;
            }
            Some(Body::Read(read)) => {
                for mark in &read.marks {
                    let known = self.marks.entry((c, uuid(&mark.user)?)).or_default();
                    *known = mark.seq.max(*known);
                }
            }
            Some(Body::Edited(_) | Body::Deleted(_) | Body::Reacted(_)) | None => {}
        }
        Ok(())
    }

    async fn join(&mut self, c: Uuid, event: &LoggedEvent, members: &[JoinedUser]) -> Result<(), Error> {
        let users = members.iter().map(|member| uuid(&member.user)).collect::<Result<Vec<_>, _>>()?;
        let roles: Vec<i32> = members.iter().map(|member| member.role).collect();
        sql_query(
            r#"INSERT INTO member SELECT $1, u, r, $4, $5, $6, 0, $5 FROM UNNEST($2, $3) AS new (u, r)
               ON CONFLICT (conversation, "user") DO UPDATE SET role = excluded.role, joined_revision = $4,
               joined_seq = $5, joined_at = $6, left_revision = 0, read_seq = greatest(member.read_seq, $5)"#,
        )
        .bind::<SqlUuid, _>(c)
        .bind::<Array<SqlUuid>, _>(users)
        .bind::<Array<Integer>, _>(roles)
        .bind::<BigInt, _>(number(event.revision))
        .bind::<BigInt, _>(number(event.last_seq))
        .bind::<BigInt, _>(event.at_micros)
        .execute(self.connection)
        .await?;
        Ok(())
    }

    async fn finish(self, position: Position) -> Result<(), Error> {
        let Self { connection, shard, heads, marks } = self;
        let column = |of: fn(&Head) -> i64| heads.values().map(of).collect::<Vec<_>>();
        sql_query(
            "UPDATE conversation SET revision = h.r, last_seq = h.s, last_at = h.a, message_at = h.m
             FROM UNNEST($1, $2, $3, $4, $5) AS h (c, r, s, a, m) WHERE conversation = h.c",
        )
        .bind::<Array<SqlUuid>, _>(heads.keys().map(|id| of(*id)).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(column(|head| number(head.revision)))
        .bind::<Array<BigInt>, _>(column(|head| number(head.last_seq)))
        .bind::<Array<BigInt>, _>(column(|head| head.last_at))
        .bind::<Array<BigInt>, _>(column(|head| head.message_at))
        .execute(connection)
        .await?;
        if !marks.is_empty() {
            sql_query(
                r#"UPDATE member SET read_seq = m.s FROM UNNEST($1, $2, $3) AS m (c, u, s)
                   WHERE conversation = m.c AND "user" = m.u AND read_seq < m.s"#,
            )
            .bind::<Array<SqlUuid>, _>(marks.keys().map(|(c, _)| *c).collect::<Vec<_>>())
            .bind::<Array<SqlUuid>, _>(marks.keys().map(|(_, user)| *user).collect::<Vec<_>>())
            .bind::<Array<BigInt>, _>(marks.values().map(|seq| number(*seq)).collect::<Vec<_>>())
            .execute(connection)
            .await?;
        }
        sql_query("UPDATE group_cursor SET position = $2 WHERE shard = $1 AND position < $2")
            .bind::<Integer, _>(shard)
            .bind::<BigInt, _>(number(position))
            .execute(connection)
            .await?;
        Ok(())
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
            let mut apply = Apply { connection, shard, heads: HashMap::new(), marks: HashMap::new() };
            apply.load_heads(&events).await?;
            for event in &events {
                apply.event(event).await?;
            }
            apply.finish(position).await
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

    async fn list(&self, user: UserId, after: Option<Place>, limit: usize) -> Result<Vec<Listed>, Error> {
        let (at, id) = after.unwrap_or((i64::MAX, vec![0; 16]));
        let rows: Vec<ListedRow> = sql_query(
            r#"SELECT conversation, activity FROM (
                   SELECT c.conversation, greatest(c.message_at, m.joined_at) AS activity
                   FROM member m JOIN conversation c USING (conversation) WHERE m."user" = $1 AND m.left_revision = 0) l
               WHERE activity < $2 OR (activity = $2 AND conversation > $3)
               ORDER BY activity DESC, conversation LIMIT $4"#,
        )
        .bind::<SqlUuid, _>(Uuid::from_bytes(*user.bytes()))
        .bind::<BigInt, _>(at)
        .bind::<SqlUuid, _>(Uuid::from_slice(&id).unwrap_or_default())
        .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
        .load(&mut self.connection().await?)
        .await?;
        let listed = |row: ListedRow| Listed { conversation: row.conversation.into(), activity_micros: row.activity };
        Ok(rows.into_iter().map(listed).collect())
    }

    async fn badge(&self, user: UserId) -> Result<(u64, usize), Error> {
        let rows: Vec<BadgeRow> = sql_query(
            r#"SELECT coalesce(sum(greatest(c.last_seq - m.read_seq, 0)), 0)::BIGINT AS unread, count(*) AS count
               FROM member m JOIN conversation c USING (conversation) WHERE m."user" = $1 AND m.left_revision = 0"#,
        )
        .bind::<SqlUuid, _>(Uuid::from_bytes(*user.bytes()))
        .load(&mut self.connection().await?)
        .await?;
        let row = rows.into_iter().next();
        Ok(row.map_or((0, 0), |row| (row.unread.unsigned_abs(), usize::try_from(row.count).unwrap_or(usize::MAX))))
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
