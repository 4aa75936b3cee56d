//! What notify-svc keeps, in Postgres, by diesel. Several processes share it.

mod schema;

use super::{Error, Late, SHOWN_MS, Settled, Subscription, Subscriptions, Target, Where, number};
use async_trait::async_trait;
use diesel::{
    BoolExpressionMethods, ExpressionMethods, Insertable, OptionalExtension, QueryDsl, Queryable, QueryableByName,
    Selectable, SelectableHelper,
    dsl::sql,
    query_dsl::methods::FilterDsl,
    result::Error as DieselError,
    sql_query,
    sql_types::{Array, BigInt, Bool, Integer, Uuid as SqlUuid},
    upsert::excluded,
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
    client::v1::DeviceKind,
    id::{ConversationId, DeviceId, SessionId, UserId},
    notify::v1::Provider,
};
use schema::{push_cursor, push_ended, push_key, push_late, push_shown, push_subscription};
use uuid::Uuid;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");
/// Where the tables say to which cluster they belong.
pub const BELONGS: Belongs = Belongs { table: "notify_data", oldest: "push_key" };
/// How many rows one statement writes at most: its parameters are limited.
const ROWS: usize = 5_000;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = push_subscription)]
struct SubscriptionRow {
    user: Uuid,
    device: Uuid,
    id: Uuid,
    session: Uuid,
    kind: i32,
    provider: i32,
    address: String,
    place: Vec<u8>,
    secret: Vec<u8>,
    locale: String,
    preview: bool,
    created_at: i64,
}

#[derive(Queryable, QueryableByName, Selectable, Insertable)]
#[diesel(table_name = push_late)]
struct LateRow {
    user: Uuid,
    device: Uuid,
    conversation: Uuid,
    shard: i32,
    due_at: i64,
    push: Vec<u8>,
    seq: i64,
    messages: i32,
    mentioned: i64,
}

impl From<SubscriptionRow> for Subscription {
    fn from(row: SubscriptionRow) -> Self {
        let provider = Provider::try_from(row.provider).unwrap_or_default();
        Self {
            id: row.id,
            user: row.user.into(),
            device: row.device.into(),
            session: row.session.into(),
            kind: DeviceKind::try_from(row.kind).unwrap_or_default(),
            target: Target { provider, address: row.address, secret: row.secret },
            locale: row.locale,
            preview: row.preview,
            created_at: row.created_at,
        }
    }
}

impl From<Late> for LateRow {
    fn from(late: Late) -> Self {
        let (user, device, conversation) = late.whom;
        Self {
            user: user.uuid(),
            device: device.uuid(),
            conversation: conversation.uuid(),
            shard: place(late.shard),
            due_at: late.due_at,
            push: late.push,
            seq: number(late.seq),
            messages: late.messages.cast_signed(),
            mentioned: number(late.mentioned),
        }
    }
}

impl From<LateRow> for Late {
    fn from(row: LateRow) -> Self {
        let whom = (row.user.into(), row.device.into(), row.conversation.into());
        let (seq, mentioned) = (row.seq.unsigned_abs(), row.mentioned.unsigned_abs());
        let (shard, messages) = (row.shard.unsigned_abs(), row.messages.cast_unsigned());
        Self { whom, seq, shard, due_at: row.due_at, messages, mentioned, push: row.push }
    }
}

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        Self(error.to_string())
    }
}

impl From<Unavailable> for Error {
    fn from(error: Unavailable) -> Self {
        Self(error.to_string())
    }
}

fn place(shard: Shard) -> i32 {
    i32::try_from(shard).unwrap_or(i32::MAX)
}

/// What stands for a place or a device among the database's locks.
fn lock(bytes: &[u8]) -> i64 {
    bytes.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes))
}

const DUE: &str = r#"SELECT l.* FROM push_late l WHERE l.shard = $1 AND l.due_at <= $2 AND NOT EXISTS
    (SELECT FROM unnest($4, $5) AS d("user", device) WHERE l."user" = d."user" AND l.device = d.device)
    ORDER BY l.due_at LIMIT $3"#;
const CLEAR: &str = r#"DELETE FROM push_shown s USING unnest($1, $2, $3, $4) AS d("user", device, conversation, seq)
    WHERE s."user" = d."user" AND s.device = d.device AND s.conversation = d.conversation AND s.seq <= d.seq"#;
const DONE: &str = r#"DELETE FROM push_late l USING unnest($1, $2, $3, $4) AS d("user", device, conversation, seq)
    WHERE l."user" = d."user" AND l.device = d.device AND l.conversation = d.conversation AND l.seq <= d.seq"#;
const DROP: &str = r#"DELETE FROM push_late l USING unnest($1, $2, $3, $4) AS d("user", device, conversation, seq)
    WHERE l."user" = d."user" AND l.device = d.device AND l.conversation = d.conversation AND l.seq = d.seq"#;
/// As [`super::stand_for`] has it.
const STANDS_FOR: &str = "CASE WHEN excluded.messages = 0 THEN 0
    WHEN push_late.seq < excluded.seq THEN least(push_late.messages + excluded.messages, 2)
    ELSE greatest(push_late.messages, excluded.messages) END";
/// As [`super::newest_mention`] has it.
const MENTIONED: &str =
    "CASE WHEN excluded.messages = 0 THEN 0 ELSE greatest(push_late.mentioned, excluded.mentioned) END";
const SHOWING: &str = r#"SELECT s."user", s.device, s.conversation, d.seq FROM push_shown s
    JOIN unnest($1, $2, $3) AS d("user", conversation, seq)
    ON s."user" = d."user" AND s.conversation = d.conversation AND s.seq <= d.seq"#;

#[derive(Insertable)]
#[diesel(table_name = push_shown)]
struct NewShown {
    user: Uuid,
    device: Uuid,
    conversation: Uuid,
    seq: i64,
    at: i64,
}

fn shown_row((user, device, conversation): Where, seq: u64, at: i64) -> NewShown {
    let (user, device, conversation) = (user.uuid(), device.uuid(), conversation.uuid());
    NewShown { user, device, conversation, seq: number(seq), at }
}

#[derive(QueryableByName)]
struct ShownRow {
    #[diesel(sql_type = SqlUuid)]
    user: Uuid,
    #[diesel(sql_type = SqlUuid)]
    device: Uuid,
    #[diesel(sql_type = SqlUuid)]
    conversation: Uuid,
    #[diesel(sql_type = BigInt)]
    seq: i64,
}

/// Subscriptions and the rest, in Postgres.
pub struct PostgresSubscriptions {
    postgres: Postgres,
}

impl PostgresSubscriptions {
    /// Connects, and brings the tables up to date.
    pub async fn open(url: &Secret) -> Result<Self, Error> {
        Ok(Self { postgres: Postgres::open(url, MIGRATIONS).await? })
    }

    async fn connection(&self) -> Result<Connection, Error> {
        Ok(self.postgres.connection().await?)
    }
}

#[async_trait]
impl Subscriptions for PostgresSubscriptions {
    async fn key(&self, new: Vec<u8>) -> Result<Vec<u8>, Error> {
        let mut connection = self.connection().await?;
        let row = (push_key::one.eq(true), push_key::key.eq(new));
        let insert = diesel::insert_into(push_key::table).values(row).on_conflict_do_nothing();
        insert.execute(&mut connection).await?;
        Ok(push_key::table.select(push_key::key).first(&mut connection).await?)
    }

    async fn put(&self, new: Subscription) -> Result<(), Error> {
        let row = SubscriptionRow {
            user: new.user.uuid(),
            device: new.device.uuid(),
            id: new.id,
            session: new.session.uuid(),
            kind: new.kind.into(),
            provider: new.target.provider.into(),
            place: new.target.place().to_vec(),
            address: new.target.address,
            secret: new.target.secret,
            locale: new.locale,
            preview: new.preview,
            created_at: new.created_at,
        };
        let transaction = async |connection: &mut Connection| {
            // Two who register at once, at one place or one device, come one after the other: the last one stays.
            for lock in [lock(&row.place), lock(row.device.as_bytes())] {
                sql_query("SELECT pg_advisory_xact_lock($1)").bind::<BigInt, _>(lock).execute(connection).await?;
            }
            let (user, device) = (push_subscription::user.eq(row.user), push_subscription::device.eq(row.device));
            let before = push_subscription::place.eq(&row.place).or(user.and(device));
            diesel::delete(FilterDsl::filter(push_subscription::table, before)).execute(connection).await?;
            diesel::insert_into(push_subscription::table).values(&row).execute(connection).await?;
            Ok::<_, DieselError>(())
        };
        Ok(self.connection().await?.transaction(transaction).await?)
    }

    async fn remove(&self, user: UserId, device: DeviceId) -> Result<(), Error> {
        let delete = diesel::delete(push_subscription::table.find((user.uuid(), device.uuid())));
        delete.execute(&mut self.connection().await?).await?;
        Ok(())
    }

    async fn drop_one(&self, id: Uuid) -> Result<(), Error> {
        let delete = diesel::delete(FilterDsl::filter(push_subscription::table, push_subscription::id.eq(id)));
        delete.execute(&mut self.connection().await?).await?;
        Ok(())
    }

    async fn end(&self, sessions: Vec<SessionId>) -> Result<(), Error> {
        let ids: Vec<Uuid> = sessions.iter().map(SessionId::uuid).collect();
        let of = push_subscription::session.eq_any(ids);
        diesel::delete(FilterDsl::filter(push_subscription::table, of)).execute(&mut self.connection().await?).await?;
        Ok(())
    }

    async fn of_users(&self, users: Vec<UserId>) -> Result<Vec<Subscription>, Error> {
        let ids: Vec<Uuid> = users.iter().map(UserId::uuid).collect();
        let select = FilterDsl::filter(push_subscription::table, push_subscription::user.eq_any(ids));
        let rows: Vec<SubscriptionRow> =
            select.select(SubscriptionRow::as_select()).load(&mut self.connection().await?).await?;
        Ok(rows.into_iter().map(Subscription::from).collect())
    }

    async fn sessions(&self, after: (Uuid, Uuid), limit: usize) -> Result<Vec<(UserId, DeviceId, SessionId)>, Error> {
        use push_subscription::{self as of, table};
        // As a row, which the index finds; written out with OR, each page reads it from its beginning.
        let after =
            sql::<Bool>(r#"("user", device) > ("#).bind::<SqlUuid, _>(after.0).sql(", ").bind::<SqlUuid, _>(after.1);
        let after = after.sql(")");
        let select = FilterDsl::filter(table, after).order((of::user, of::device));
        let select = select.select((of::user, of::device, of::session));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<(Uuid, Uuid, Uuid)> = select.limit(limit).load(&mut self.connection().await?).await?;
        Ok(rows.into_iter().map(|(user, device, session)| (user.into(), device.into(), session.into())).collect())
    }

    async fn ended_until(&self) -> Result<i64, Error> {
        let select = push_ended::table.select(push_ended::until);
        Ok(select.first(&mut self.connection().await?).await.optional()?.unwrap_or(0))
    }

    async fn set_ended_until(&self, until: i64) -> Result<(), Error> {
        let insert = diesel::insert_into(push_ended::table);
        let set = insert
            .values((push_ended::one.eq(true), push_ended::until.eq(until)))
            .on_conflict(push_ended::one)
            .do_update()
            .set(push_ended::until.eq(excluded(push_ended::until)));
        FilterDsl::filter(set, push_ended::until.lt(until)).execute(&mut self.connection().await?).await?;
        Ok(())
    }

    async fn cursor(&self, shard: Shard) -> Result<Position, Error> {
        let select = push_cursor::table.find(place(shard)).select(push_cursor::position);
        let position: Option<i64> = select.first(&mut self.connection().await?).await.optional()?;
        Ok(position.unwrap_or(0).unsigned_abs())
    }

    async fn save_cursor(&self, shard: Shard, position: Position) -> Result<(), Error> {
        let insert = diesel::insert_into(push_cursor::table);
        let set = insert
            .values((push_cursor::shard.eq(place(shard)), push_cursor::position.eq(number(position))))
            .on_conflict(push_cursor::shard)
            .do_update()
            .set(push_cursor::position.eq(excluded(push_cursor::position)));
        let grows = push_cursor::position.lt(number(position));
        FilterDsl::filter(set, grows).execute(&mut self.connection().await?).await?;
        Ok(())
    }

    async fn due(
        &self,
        shard: Shard,
        until: i64,
        limit: usize,
        except: Vec<(UserId, DeviceId)>,
    ) -> Result<Vec<Late>, Error> {
        let (users, devices): (Vec<_>, Vec<_>) =
            except.into_iter().map(|(user, device)| (user.uuid(), device.uuid())).unzip();
        let rows: Vec<LateRow> = sql_query(DUE)
            .bind::<Integer, _>(place(shard))
            .bind::<BigInt, _>(until)
            .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind::<Array<SqlUuid>, _>(users)
            .bind::<Array<SqlUuid>, _>(devices)
            .load(&mut self.connection().await?)
            .await?;
        Ok(rows.into_iter().map(Late::from).collect())
    }

    async fn late_of(&self, shard: Shard, conversations: Vec<ConversationId>) -> Result<Vec<Late>, Error> {
        let conversations: Vec<Uuid> = conversations.iter().map(ConversationId::uuid).collect();
        let which = push_late::shard.eq(place(shard)).and(push_late::conversation.eq_any(conversations));
        let select = FilterDsl::filter(push_late::table, which).select(LateRow::as_select());
        let rows: Vec<LateRow> = select.load(&mut self.connection().await?).await?;
        Ok(rows.into_iter().map(Late::from).collect())
    }

    async fn change(&self, changes: Vec<(Late, Option<Vec<u8>>)>) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let transaction = async |connection: &mut Connection| {
            for (Late { whom: (user, device, conversation), push, .. }, now) in changes {
                let whom = (push_late::user.eq(user.uuid()))
                    .and(push_late::device.eq(device.uuid()))
                    .and(push_late::conversation.eq(conversation.uuid()));
                let which = FilterDsl::filter(push_late::table, whom.and(push_late::push.eq(push)));
                match now {
                    Some(now) => diesel::update(which).set(push_late::push.eq(now)).execute(connection).await?,
                    None => diesel::delete(which).execute(connection).await?,
                };
            }
            Ok(())
        };
        self.connection().await?.transaction(transaction).await
    }

    async fn settle(&self, settled: Settled, now: i64) -> Result<(), Error> {
        let Settled { shown, cleared, done, dropped, late } = settled;
        let shown: Vec<_> = shown.into_iter().map(|(whom, seq)| shown_row(whom, seq, now)).collect();
        let keep: Vec<LateRow> = late.into_values().map(LateRow::from).collect();
        let transaction = async |connection: &mut Connection| {
            for rows in shown.chunks(ROWS) {
                let set = diesel::insert_into(push_shown::table)
                    .values(rows)
                    .on_conflict((push_shown::user, push_shown::device, push_shown::conversation))
                    .do_update()
                    .set((push_shown::seq.eq(excluded(push_shown::seq)), push_shown::at.eq(now)));
                // A process that has lost the shard may be the last to say what it was told.
                FilterDsl::filter(set, push_shown::seq.le(excluded(push_shown::seq))).execute(connection).await?;
            }
            delete(connection, CLEAR, cleared.into_iter().collect()).await?;
            delete(connection, DONE, done.into_iter().collect()).await?;
            delete(connection, DROP, dropped.into_iter().collect()).await?;
            for rows in keep.chunks(ROWS) {
                let set = diesel::insert_into(push_late::table)
                    .values(rows)
                    .on_conflict((push_late::user, push_late::device, push_late::conversation))
                    .do_update()
                    .set((
                        push_late::shard.eq(excluded(push_late::shard)),
                        push_late::due_at.eq(excluded(push_late::due_at)),
                        push_late::push.eq(excluded(push_late::push)),
                        push_late::seq.eq(excluded(push_late::seq)),
                        push_late::messages.eq(sql::<Integer>(STANDS_FOR)),
                        push_late::mentioned.eq(sql::<BigInt>(MENTIONED)),
                    ));
                FilterDsl::filter(set, push_late::seq.le(excluded(push_late::seq))).execute(connection).await?;
            }
            let old = push_shown::at.lt(now - SHOWN_MS);
            diesel::delete(FilterDsl::filter(push_shown::table, old)).execute(connection).await
        };
        self.connection().await?.transaction(transaction).await?;
        Ok(())
    }

    async fn showing(&self, read: Vec<(UserId, ConversationId, u64)>) -> Result<Vec<(Where, u64)>, Error> {
        if read.is_empty() {
            return Ok(Vec::new());
        }
        let column = |of: fn(&(UserId, ConversationId, u64)) -> Uuid| read.iter().map(of).collect::<Vec<_>>();
        let rows: Vec<ShownRow> = sql_query(SHOWING)
            .bind::<Array<SqlUuid>, _>(column(|(user, ..)| user.uuid()))
            .bind::<Array<SqlUuid>, _>(column(|(_, conversation, _)| conversation.uuid()))
            .bind::<Array<BigInt>, _>(read.iter().map(|(.., seq)| number(*seq)).collect::<Vec<_>>())
            .load(&mut self.connection().await?)
            .await?;
        let of =
            |row: ShownRow| ((row.user.into(), row.device.into(), row.conversation.into()), row.seq.unsigned_abs());
        Ok(rows.into_iter().map(of).collect())
    }
}

/// Deletes rows of places, in one statement.
async fn delete(connection: &mut AsyncPgConnection, statement: &str, of: Vec<(Where, u64)>) -> Result<(), DieselError> {
    if of.is_empty() {
        return Ok(());
    }
    let column = |part: fn(&Where) -> Uuid| of.iter().map(|(whom, _)| part(whom)).collect::<Vec<_>>();
    sql_query(statement)
        .bind::<Array<SqlUuid>, _>(column(|whom| whom.0.uuid()))
        .bind::<Array<SqlUuid>, _>(column(|whom| whom.1.uuid()))
        .bind::<Array<SqlUuid>, _>(column(|whom| whom.2.uuid()))
        .bind::<Array<BigInt>, _>(of.iter().map(|(_, seq)| number(*seq)).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}
