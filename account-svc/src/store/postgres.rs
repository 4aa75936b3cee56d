//! The accounts in Postgres, by diesel. Several processes share them: what must not be done twice is done under a lock
//! on its row.

mod blocks;
mod deletions;
mod keys;
mod schema;

use super::{AccountStore, Begun, Change, Error, Family, KEEP_MS, Session};
use async_trait::async_trait;
use diesel::{
    ExpressionMethods, Insertable, OptionalExtension, QueryDsl, Queryable, Selectable, SelectableHelper,
    result::{DatabaseErrorKind, Error as DieselError},
    sql_query,
    sql_types::BigInt,
};
use diesel_async::{
    AsyncConnection, AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
        deadpool::{Object, Pool},
    },
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use madang_mesh::secret::Secret;
use madang_proto::{
    client::v1::{Device, User, UserKind},
    id::{SessionId, UserId},
};
use schema::{account, ended, refresh, session};
use std::{collections::HashMap, time::Duration};
use uuid::Uuid;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");
/// Only one process migrates at a time: the number is any, the same for all.
const MIGRATION_LOCK: i64 = 0x6d61_6461_6e68;
/// Connections of a process.
const CONNECTIONS: usize = 16;
/// How long one is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = account)]
struct AccountRow {
    user: Uuid,
    handle: String,
    name: String,
    status_message: String,
    password: String,
    created_at: i64,
    picture: String,
    deleted_at: i64,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = session)]
struct SessionRow {
    id: Uuid,
    user: Uuid,
    device: String,
    kind: i32,
    name: String,
    app: String,
    created_at: i64,
    used_at: i64,
}

impl From<AccountRow> for User {
    fn from(row: AccountRow) -> Self {
        let user = UserId::from(row.user).to_string();
        if row.deleted_at != 0 {
            return Self { user, deleted: true, ..Self::default() };
        }
        Self {
            user,
            handle: row.handle,
            name: row.name,
            status_message: row.status_message,
            picture: row.picture,
            kind: UserKind::Person.into(),
            deleted: false,
        }
    }
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        Self {
            id: row.id.into(),
            user: row.user.into(),
            device: Device { id: row.device, kind: row.kind, name: row.name, app: row.app },
            created_at: row.created_at,
            used_at: row.used_at,
        }
    }
}

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        Self(error.to_string())
    }
}

fn unavailable(error: impl std::fmt::Display) -> Error {
    Error(error.to_string())
}

fn person(id: UserId) -> Uuid {
    Uuid::from_bytes(*id.bytes())
}

fn log_in(id: SessionId) -> Uuid {
    Uuid::from_bytes(*id.bytes())
}

/// An account that was not deleted.
#[diesel::dsl::auto_type]
fn there(id: UserId) -> _ {
    let id: Uuid = person(id);
    account::table.find(id).filter(account::deleted_at.eq(0_i64))
}

/// The accounts, in Postgres.
pub struct PostgresAccounts {
    pool: Pool<AsyncPgConnection>,
}

impl PostgresAccounts {
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

/// What every connection is told, as group-svc's are (docs/postgres.md): nothing is read whole, and a transaction whose
/// owner has gone away in the middle ends.
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
    AsyncMigrationHarness::new(connection).run_pending_migrations(MIGRATIONS).map_err(unavailable)?;
    Ok(())
}

/// Their refresh tokens have gone with them.
async fn note_end(connection: &mut AsyncPgConnection, gone: &[Uuid], now: i64) -> Result<(), DieselError> {
    if gone.is_empty() {
        return Ok(());
    }
    diesel::delete(ended::table.filter(ended::at.lt(now - KEEP_MS))).execute(connection).await?;
    let rows: Vec<_> = gone.iter().map(|id| (ended::session.eq(*id), ended::at.eq(now))).collect();
    diesel::insert_into(ended::table).values(rows).on_conflict_do_nothing().execute(connection).await?;
    Ok(())
}

#[async_trait]
impl AccountStore for PostgresAccounts {
    async fn create(&self, id: UserId, handle: String, name: String, password: String, at: i64) -> Result<bool, Error> {
        let (status_message, picture, user, deleted_at) = (String::new(), String::new(), person(id), 0);
        let row = AccountRow { user, handle, name, status_message, password, created_at: at, picture, deleted_at };
        let insert = diesel::insert_into(account::table).values(row).on_conflict_do_nothing();
        Ok(insert.execute(&mut self.connection().await?).await? == 1)
    }

    async fn by_handle(&self, handle: String) -> Result<Option<(User, String)>, Error> {
        let there = account::table.filter(account::handle.eq(handle)).filter(account::deleted_at.eq(0));
        let select = there.select(AccountRow::as_select());
        let row = select.first(&mut self.connection().await?).await.optional()?;
        Ok(row.map(|mut row: AccountRow| {
            let password = std::mem::take(&mut row.password);
            (row.into(), password)
        }))
    }

    async fn by_ids(&self, ids: Vec<UserId>) -> Result<Vec<User>, Error> {
        let wanted: Vec<Uuid> = ids.iter().map(|id| person(*id)).collect();
        let select = account::table.filter(account::user.eq_any(&wanted)).select(AccountRow::as_select());
        let rows: Vec<AccountRow> = select.load(&mut self.connection().await?).await?;
        let mut found: HashMap<Uuid, User> = rows.into_iter().map(|row| (row.user, row.into())).collect();
        Ok(wanted.iter().filter_map(|id| found.remove(id)).collect())
    }

    async fn update(&self, id: UserId, change: Change) -> Result<Option<User>, Error> {
        let mut connection = self.connection().await?;
        let nothing = change == Change::default();
        let Change { handle, name, status, picture } = change;
        if nothing {
            let row = there(id).select(AccountRow::as_select());
            return Ok(row.first(&mut connection).await.optional()?.map(User::from));
        }
        let changed = diesel::update(there(id))
            .set((
                handle.map(|handle| account::handle.eq(handle)),
                name.map(|name| account::name.eq(name)),
                status.map(|status| account::status_message.eq(status)),
                picture.map(|picture| account::picture.eq(picture)),
            ))
            .returning(AccountRow::as_returning())
            .get_result(&mut connection)
            .await
            .optional();
        match changed {
            Err(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => Ok(None),
            other => Ok(other?.map(User::from)),
        }
    }

    async fn password(&self, id: UserId) -> Result<Option<String>, Error> {
        let select = there(id).select(account::password);
        Ok(select.first(&mut self.connection().await?).await.optional()?)
    }

    async fn set_password(
        &self,
        id: UserId,
        password: String,
        keep: Option<SessionId>,
        now: i64,
    ) -> Result<bool, Error> {
        let transaction = async |connection: &mut Object<AsyncPgConnection>| {
            let set = diesel::update(there(id)).set(account::password.eq(&password)).execute(connection).await?;
            let kept = keep.map_or(Uuid::nil(), log_in);
            let others = session::table.filter(session::user.eq(person(id))).filter(session::id.ne(kept));
            let gone: Vec<Uuid> = diesel::delete(others).returning(session::id).get_results(connection).await?;
            note_end(connection, &gone, now).await?;
            Ok::<_, DieselError>(set > 0)
        };
        Ok(self.connection().await?.transaction(transaction).await?)
    }

    async fn begin(&self, new: Session, hash: [u8; 32], most: usize) -> Result<Begun, Error> {
        let row = SessionRow {
            id: log_in(new.id),
            user: person(new.user),
            device: new.device.id,
            kind: new.device.kind,
            name: new.device.name,
            app: new.device.app,
            created_at: new.created_at,
            used_at: new.used_at,
        };
        let (id, user) = (row.id, row.user);
        let transaction = async |connection: &mut Object<AsyncPgConnection>| {
            // Two log-ins of one user at once are counted one after the other.
            let lock = there(new.user).select(account::suspended).for_update();
            match lock.first(connection).await.optional()? {
                None => return Ok(Begun::NoAccount),
                Some(true) => return Ok(Begun::Suspended),
                Some(false) => {}
            }
            let all = session::table.filter(session::user.eq(user)).select(session::id).limit(1);
            let others = all.first::<Uuid>(connection).await.optional()?.is_some();
            let same = session::table.filter(session::user.eq(user)).filter(session::device.eq(&row.device));
            let mut gone: Vec<Uuid> = diesel::delete(same).returning(session::id).get_results(connection).await?;
            diesel::insert_into(session::table).values(&row).execute(connection).await?;
            let too_many: Vec<Uuid> = session::table
                .filter(session::user.eq(user))
                .order((session::used_at.desc(), session::id.desc()))
                .offset(i64::try_from(most).unwrap_or(i64::MAX))
                .select(session::id)
                .load(connection)
                .await?;
            diesel::delete(session::table.filter(session::id.eq_any(&too_many))).execute(connection).await?;
            gone.extend(too_many);
            note_end(connection, &gone, row.created_at).await?;
            diesel::insert_into(refresh::table)
                .values((
                    refresh::hash.eq(&hash[..]),
                    refresh::session.eq(id),
                    refresh::current.eq(true),
                    refresh::next_used_at.eq(0),
                ))
                .execute(connection)
                .await?;
            Ok::<_, DieselError>(Begun::Yes(others))
        };
        Ok(self.connection().await?.transaction(transaction).await?)
    }

    async fn family(&self, hash: [u8; 32]) -> Result<Option<Family>, Error> {
        let select = refresh::table.inner_join(session::table).filter(refresh::hash.eq(&hash[..])).select((
            SessionRow::as_select(),
            refresh::current,
            refresh::next_used_at,
        ));
        let found: Option<(SessionRow, bool, i64)> = select.first(&mut self.connection().await?).await.optional()?;
        Ok(found.map(|(row, current, next_used_at)| Family { session: row.into(), current, next_used_at }))
    }

    async fn rotate(&self, id: SessionId, used: [u8; 32], next: [u8; 32], now: i64) -> Result<(), Error> {
        let id = log_in(id);
        let transaction = async |connection: &mut Object<AsyncPgConnection>| {
            let lock = session::table.find(id).select(session::id).for_update();
            if lock.first::<Uuid>(connection).await.optional()?.is_none() {
                return Ok(());
            }
            let before = refresh::table
                .filter(refresh::session.eq(id))
                .filter(refresh::hash.ne(&used[..]))
                .filter(refresh::current.eq(false))
                .filter(refresh::next_used_at.eq(0));
            diesel::update(before).set(refresh::next_used_at.eq(now)).execute(connection).await?;
            let all = refresh::table.filter(refresh::session.eq(id));
            diesel::update(all).set(refresh::current.eq(false)).execute(connection).await?;
            diesel::insert_into(refresh::table)
                .values((
                    refresh::hash.eq(&next[..]),
                    refresh::session.eq(id),
                    refresh::current.eq(true),
                    refresh::next_used_at.eq(0),
                ))
                .execute(connection)
                .await?;
            diesel::update(session::table.find(id)).set(session::used_at.eq(now)).execute(connection).await?;
            Ok::<_, DieselError>(())
        };
        Ok(self.connection().await?.transaction(transaction).await?)
    }

    async fn end(&self, user: Option<UserId>, id: SessionId, now: i64) -> Result<(), Error> {
        let transaction = async |connection: &mut Object<AsyncPgConnection>| {
            let one = session::table.find(log_in(id));
            let gone: Vec<Uuid> = match user {
                Some(user) => {
                    let own = diesel::delete(one.filter(session::user.eq(person(user))));
                    own.returning(session::id).get_results(connection).await?
                }
                None => diesel::delete(one).returning(session::id).get_results(connection).await?,
            };
            note_end(connection, &gone, now).await
        };
        Ok(self.connection().await?.transaction(transaction).await?)
    }

    async fn sessions(&self, user: UserId) -> Result<Vec<Session>, Error> {
        let select = session::table
            .filter(session::user.eq(person(user)))
            .order(session::used_at.desc())
            .select(SessionRow::as_select());
        let rows: Vec<SessionRow> = select.load(&mut self.connection().await?).await?;
        Ok(rows.into_iter().map(Session::from).collect())
    }

    async fn ended(&self, since: i64, limit: usize) -> Result<Vec<(SessionId, i64)>, Error> {
        let select = ended::table
            .filter(ended::at.ge(since))
            .order(ended::at)
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .select((ended::session, ended::at));
        let rows: Vec<(Uuid, i64)> = select.load(&mut self.connection().await?).await?;
        Ok(rows.into_iter().map(|(id, at)| (id.into(), at)).collect())
    }
}
