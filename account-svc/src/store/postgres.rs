//! The accounts in Postgres, by diesel. Several processes share them: what must not be done twice is done under a lock
//! on its row.

mod blocks;
mod deletions;
mod gone;
mod keys;
mod outside;
mod refreshing;
mod requests;
mod schema;

use super::{AccountStore, Begun, Change, Error, KEEP_MS, NewAccount, Renewed, Session};
use async_trait::async_trait;
use diesel::{
    ExpressionMethods, Insertable, OptionalExtension, QueryDsl, Queryable, Selectable, SelectableHelper,
    result::{DatabaseErrorKind, Error as DieselError},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use madang_mesh::{
    postgres::{Belongs, Connection, Postgres, Unavailable},
    secret::Secret,
};
use madang_proto::{
    client::v1::{Device, User},
    id::{SessionId, UserId},
};
use schema::{account, ended, outside as outside_log_in, refresh, session};
use std::collections::HashMap;
use uuid::Uuid;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");
/// Where the tables say to which cluster they belong.
pub const BELONGS: Belongs = Belongs { table: "account_data", oldest: "account" };

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
    user_kind: i32,
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
            kind: row.user_kind,
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

impl From<Session> for SessionRow {
    fn from(session: Session) -> Self {
        Self {
            id: log_in(session.id),
            user: person(session.user),
            device: session.device.id,
            kind: session.device.kind,
            name: session.device.name,
            app: session.device.app,
            created_at: session.created_at,
            used_at: session.used_at,
        }
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
    postgres: Postgres,
}

impl PostgresAccounts {
    /// Connects, and brings the tables up to date.
    pub async fn open(url: &Secret) -> Result<Self, Error> {
        Ok(Self { postgres: Postgres::open(url, MIGRATIONS).await? })
    }

    async fn connection(&self) -> Result<Connection, Error> {
        Ok(self.postgres.connection().await?)
    }
}

/// Their refresh tokens have gone with them.
async fn note_end(connection: &mut AsyncPgConnection, gone: &[Uuid], now: i64) -> Result<(), DieselError> {
    if gone.is_empty() {
        return Ok(());
    }
    diesel::delete(ended::table.filter(ended::at.lt(now - KEEP_MS))).execute(connection).await?;
    let rows: Vec<_> = gone.iter().map(|id| (ended::session.eq(*id), ended::at.eq(now))).collect();
    diesel::insert_into(ended::table).values(rows).on_conflict_do_nothing().execute(connection).await?;
    let log_ins = outside_log_in::table.filter(outside_log_in::session.eq_any(gone));
    diesel::update(log_ins).set(outside_log_in::ended_at.eq(now)).execute(connection).await?;
    Ok(())
}

/// Ends a device's sessions but one.
async fn end_same(
    connection: &mut AsyncPgConnection,
    user: Uuid,
    device: &str,
    but: Uuid,
) -> Result<Vec<Uuid>, DieselError> {
    let same = session::table.filter(session::user.eq(user)).filter(session::device.eq(device));
    diesel::delete(same.filter(session::id.ne(but))).returning(session::id).get_results(connection).await
}

/// Adds a session, and ends those that give way to it; whether there were others.
async fn open(connection: &mut AsyncPgConnection, row: &SessionRow, most: usize) -> Result<bool, DieselError> {
    let all = session::table.filter(session::user.eq(row.user)).select(session::id).limit(1);
    let others = all.first::<Uuid>(connection).await.optional()?.is_some();
    let mut gone = end_same(connection, row.user, &row.device, row.id).await?;
    diesel::insert_into(session::table).values(row).execute(connection).await?;
    let too_many: Vec<Uuid> = session::table
        .filter(session::user.eq(row.user))
        // Those that began a moment later may have been quicker: it gives way to none of them.
        .filter(session::id.ne(row.id))
        .order((session::used_at.desc(), session::id.desc()))
        .offset(i64::try_from(most.saturating_sub(1)).unwrap_or(i64::MAX))
        .select(session::id)
        .load(connection)
        .await?;
    diesel::delete(session::table.filter(session::id.eq_any(&too_many))).execute(connection).await?;
    gone.extend(too_many);
    note_end(connection, &gone, row.created_at).await?;
    Ok(others)
}

#[async_trait]
impl AccountStore for PostgresAccounts {
    async fn create(&self, new: NewAccount) -> Result<bool, Error> {
        let NewAccount { id, handle, name, password, kind, at: created_at } = new;
        let (user, user_kind, deleted_at) = (person(id), kind.into(), 0);
        let (status_message, picture) = (String::new(), String::new());
        let row =
            AccountRow { user, handle, name, status_message, password, created_at, picture, deleted_at, user_kind };
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

    async fn update(&self, id: UserId, change: Change) -> Result<Option<(User, String)>, Error> {
        let nothing = change == Change::default();
        let Change { handle, name, status, picture } = change;
        let transaction = async |connection: &mut Connection| {
            if nothing {
                let row = there(id).select(AccountRow::as_select()).first(connection).await.optional()?;
                return Ok(row.map(|row: AccountRow| (row.into(), String::new())));
            }
            let shown = match &picture {
                // Two who change it at once do so one after the other.
                Some(_) => there(id).select(account::picture).for_update().first(connection).await.optional()?,
                None => None,
            };
            let changed = diesel::update(there(id))
                .set((
                    handle.map(|handle| account::handle.eq(handle)),
                    name.map(|name| account::name.eq(name)),
                    status.map(|status| account::status_message.eq(status)),
                    picture.map(|picture| account::picture.eq(picture)),
                ))
                .returning(AccountRow::as_returning());
            let now: Option<AccountRow> = changed.get_result(connection).await.optional()?;
            Ok::<_, DieselError>(now.map(|now| {
                let before = shown.filter(|shown: &String| *shown != now.picture);
                (now.into(), before.unwrap_or_default())
            }))
        };
        match self.connection().await?.transaction(transaction).await {
            Err(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => Ok(None),
            other => Ok(other?),
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
        was: Option<String>,
        keep: Option<SessionId>,
        now: i64,
    ) -> Result<bool, Error> {
        let transaction = async |connection: &mut Connection| {
            let is = there(id).select(account::password).for_update();
            let is: Option<String> = is.first(connection).await.optional()?;
            if is.is_none() || was.is_some() && was != is {
                return Ok(false);
            }
            diesel::update(there(id)).set(account::password.eq(&password)).execute(connection).await?;
            let kept = keep.map_or(Uuid::nil(), log_in);
            let others = session::table.filter(session::user.eq(person(id))).filter(session::id.ne(kept));
            let gone: Vec<Uuid> = diesel::delete(others).returning(session::id).get_results(connection).await?;
            note_end(connection, &gone, now).await?;
            Ok::<_, DieselError>(true)
        };
        Ok(self.connection().await?.transaction(transaction).await?)
    }

    async fn begin(&self, new: Session, hash: [u8; 32], most: usize, checked: Option<String>) -> Result<Begun, Error> {
        let row = SessionRow::from(new);
        let (id, user) = (row.id, row.user);
        let transaction = async |connection: &mut Connection| {
            // Two log-ins of one user at once are counted one after the other.
            let lock = there(user.into()).select((account::suspended, account::password)).for_update();
            match lock.first::<(bool, String)>(connection).await.optional()? {
                None => return Ok(Begun::NoAccount),
                Some((_, password)) if checked.is_some_and(|checked| checked != password) => {
                    return Ok(Begun::NoAccount);
                }
                Some((true, _)) => return Ok(Begun::Suspended),
                Some((false, _)) => {}
            }
            let others = open(connection, &row, most).await?;
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

    async fn renew(&self, used: [u8; 32], next: [u8; 32], grace: i64, now: i64) -> Result<Renewed, Error> {
        let mut connection = self.connection().await?;
        Ok(refreshing::renew(&mut connection, used, next, grace, now).await?)
    }

    async fn end(&self, user: Option<UserId>, id: SessionId, now: i64) -> Result<(), Error> {
        let transaction = async |connection: &mut Connection| {
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
