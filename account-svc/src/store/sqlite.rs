//! What account-svc keeps, in one SQLite file. Every commit is fsynced: an account that was answered is there.

mod blocks;
mod deletions;
mod gone;
mod keys;
mod outside;
mod requests;

use super::{AccountStore, Begun, Change, Error, KEEP_MS, KEPT_TOKENS, NewAccount, Renewed, Session, tidies};
use async_trait::async_trait;
use madang_proto::{
    client::v1::{Device, User},
    id::{SessionId, UserId},
};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

/// The accounts, in SQLite.
#[derive(Clone)]
pub struct SqliteAccounts {
    connection: Arc<Mutex<Connection>>,
}

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    let id: [u8; 16] = row.get("user")?;
    let id = UserId::from(uuid::Uuid::from_bytes(id)).to_string();
    if row.get::<_, i64>("deleted_at")? != 0 {
        return Ok(User { user: id, deleted: true, ..User::default() });
    }
    Ok(User {
        user: id,
        handle: row.get("handle")?,
        name: row.get("name")?,
        status_message: row.get("status_message")?,
        picture: row.get("picture")?,
        kind: row.get("user_kind")?,
        deleted: false,
    })
}

fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    let (id, user): ([u8; 16], [u8; 16]) = (row.get("session")?, row.get("user")?);
    Ok(Session {
        id: uuid::Uuid::from_bytes(id).into(),
        user: uuid::Uuid::from_bytes(user).into(),
        device: Device { id: row.get("device")?, kind: row.get("kind")?, name: row.get("name")?, app: row.get("app")? },
        created_at: row.get("created_at")?,
        used_at: row.get("used_at")?,
    })
}

impl SqliteAccounts {
    /// Opens the file in a folder.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let connection = Connection::open(folder.join("accounts.db"))?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             CREATE TABLE IF NOT EXISTS account (
                 user BLOB PRIMARY KEY, handle TEXT NOT NULL UNIQUE, name TEXT NOT NULL, status_message TEXT NOT NULL,
                 password TEXT NOT NULL, created_at INTEGER NOT NULL) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS session (
                 session BLOB PRIMARY KEY, user BLOB NOT NULL, device TEXT NOT NULL, kind INTEGER NOT NULL,
                 name TEXT NOT NULL, app TEXT NOT NULL, created_at INTEGER NOT NULL, used_at INTEGER NOT NULL) WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS session_user ON session (user);
             CREATE TABLE IF NOT EXISTS refresh (
                 hash BLOB PRIMARY KEY, session BLOB NOT NULL REFERENCES session ON DELETE CASCADE,
                 current INTEGER NOT NULL, next_used_at INTEGER NOT NULL) WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS refresh_session ON refresh (session);
             CREATE TABLE IF NOT EXISTS ended (session BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS ended_at ON ended (at);
             CREATE TABLE IF NOT EXISTS signing_key (kid TEXT PRIMARY KEY, seed BLOB NOT NULL);",
        )?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version < 1 {
            let change = "ALTER TABLE account ADD COLUMN picture TEXT NOT NULL DEFAULT ''; PRAGMA user_version = 1;";
            connection.execute_batch(&format!("BEGIN; {change} COMMIT;"))?;
        }
        for (number, tables) in [
            (2, blocks::TABLES),
            (3, deletions::TABLES),
            (4, keys::TABLES),
            (5, outside::TABLES),
            (6, requests::TABLES),
            (7, "ALTER TABLE account ADD COLUMN user_kind INTEGER NOT NULL DEFAULT 1;"),
            (8, gone::TABLES),
        ] {
            if version < number {
                let change = format!("BEGIN; {tables} PRAGMA user_version = {number}; COMMIT;");
                connection.execute_batch(&change)?;
            }
        }
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let connection = self.connection.clone();
        let run = move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(tokio::task::spawn_blocking(run).await.map_err(|_| Error("the store's task ended".into()))??)
    }
}

/// Ends the sessions that fulfil a condition; their refresh tokens go with them.
fn end(transaction: &Connection, which: &str, values: &[&dyn ToSql], now: i64) -> rusqlite::Result<()> {
    let mut delete = transaction.prepare_cached(&format!("DELETE FROM session WHERE {which} RETURNING session"))?;
    let ended: Vec<[u8; 16]> = delete.query_map(values, |row| row.get(0))?.collect::<Result<_, _>>()?;
    if !ended.is_empty() {
        transaction.execute("DELETE FROM ended WHERE at < ?1", [now - KEEP_MS])?;
    }
    for session in ended {
        transaction.execute("INSERT OR IGNORE INTO ended VALUES (?1, ?2)", params![session, now])?;
        transaction.execute("UPDATE outside SET ended_at = ?2 WHERE session = ?1", params![session, now])?;
    }
    Ok(())
}

/// Adds a session, and ends those that give way to it; whether there were others.
fn open(transaction: &Connection, new: &Session, most: usize) -> rusqlite::Result<bool> {
    let (user, device) = (new.user.bytes(), &new.device);
    let others = "SELECT EXISTS (SELECT 1 FROM session WHERE user = ?1)";
    let others = transaction.query_row(others, [user], |row| row.get(0))?;
    let same = "user = ?1 AND device = ?2";
    end(transaction, same, params![user, device.id], new.created_at)?;
    transaction.execute(
        "INSERT INTO session VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![new.id.bytes(), user, device.id, device.kind, device.name, device.app, new.created_at, new.used_at],
    )?;
    // Those that began a moment later may have been quicker: it gives way to none of them.
    let unused = "session IN (SELECT session FROM session WHERE user = ?1 AND session != ?3
                  ORDER BY used_at DESC, session DESC LIMIT -1 OFFSET ?2)";
    let others_kept = i64::try_from(most.saturating_sub(1)).unwrap_or(i64::MAX);
    end(transaction, unused, params![user, others_kept, new.id.bytes()], new.created_at)?;
    Ok(others)
}

#[async_trait]
impl AccountStore for SqliteAccounts {
    async fn create(&self, new: NewAccount) -> Result<bool, Error> {
        let NewAccount { id, handle, name, password, kind, at } = new;
        self.run(move |connection| {
            connection
                .execute(
                    "INSERT OR IGNORE INTO account (user, handle, name, status_message, password, created_at, user_kind)
                     VALUES (?1, ?2, ?3, '', ?4, ?5, ?6)",
                    params![id.bytes(), handle, name, password, at, i32::from(kind)],
                )
                .map(|made| made == 1)
        })
        .await
    }

    async fn by_handle(&self, handle: String) -> Result<Option<(User, String)>, Error> {
        self.run(move |connection| {
            connection
                .query_row("SELECT * FROM account WHERE handle = ?1 AND deleted_at = 0", [handle], |row| {
                    Ok((user(row)?, row.get("password")?))
                })
                .optional()
        })
        .await
    }

    async fn by_ids(&self, ids: Vec<UserId>) -> Result<Vec<User>, Error> {
        self.run(move |connection| {
            let mut select = connection.prepare_cached("SELECT * FROM account WHERE user = ?1")?;
            let found = ids.iter().map(|id| select.query_row([id.bytes()], user).optional());
            found.filter_map(Result::transpose).collect()
        })
        .await
    }

    async fn update(&self, id: UserId, change: Change) -> Result<Option<(User, String)>, Error> {
        self.run(move |connection| {
            let Change { handle, name, status, picture } = change;
            let transaction = connection.transaction()?;
            let select = "SELECT * FROM account WHERE user = ?1";
            let before: Option<User> = transaction.query_row(select, [id.bytes()], user).optional()?;
            let changed = transaction.execute(
                "UPDATE OR IGNORE account SET handle = coalesce(?2, handle), name = coalesce(?3, name),
                 status_message = coalesce(?4, status_message), picture = coalesce(?5, picture)
                 WHERE user = ?1 AND deleted_at = 0",
                params![id.bytes(), handle, name, status, picture],
            )?;
            if changed == 0 {
                return Ok(None);
            }
            let now = transaction.query_row(select, [id.bytes()], user)?;
            transaction.commit()?;
            let before = before.map(|before| before.picture).filter(|before| *before != now.picture);
            Ok(Some((now, before.unwrap_or_default())))
        })
        .await
    }

    async fn password(&self, id: UserId) -> Result<Option<String>, Error> {
        let select = "SELECT password FROM account WHERE user = ?1 AND deleted_at = 0";
        self.run(move |connection| connection.query_row(select, [id.bytes()], |row| row.get(0)).optional()).await
    }

    async fn set_password(
        &self,
        id: UserId,
        password: String,
        was: Option<String>,
        keep: Option<SessionId>,
        now: i64,
    ) -> Result<bool, Error> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let set = "UPDATE account SET password = ?2
                       WHERE user = ?1 AND deleted_at = 0 AND (?3 IS NULL OR password = ?3)";
            if transaction.execute(set, params![id.bytes(), password, was])? == 0 {
                return Ok(false);
            }
            let keep = keep.map(|keep| keep.bytes().to_vec()).unwrap_or_default();
            end(&transaction, "user = ?1 AND session != ?2", params![id.bytes(), keep], now)?;
            transaction.commit()?;
            Ok(true)
        })
        .await
    }

    async fn begin(
        &self,
        new: Session,
        refresh: [u8; 32],
        most: usize,
        checked: Option<String>,
    ) -> Result<Begun, Error> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let account = "SELECT suspended FROM account
                           WHERE user = ?1 AND deleted_at = 0 AND (?2 IS NULL OR password = ?2)";
            match transaction.query_row(account, params![new.user.bytes(), checked], |row| row.get(0)).optional()? {
                None => return Ok(Begun::NoAccount),
                Some(true) => return Ok(Begun::Suspended),
                Some(false) => {}
            }
            let others = open(&transaction, &new, most)?;
            transaction.execute("INSERT INTO refresh VALUES (?1, ?2, 1, 0)", params![refresh, new.id.bytes()])?;
            transaction.commit()?;
            Ok(Begun::Yes(others))
        })
        .await
    }

    async fn renew(&self, used: [u8; 32], next: [u8; 32], grace: i64, now: i64) -> Result<Renewed, Error> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let select = "SELECT session.*, current OR next_used_at = 0 OR next_used_at >= ?2 AS good
                          FROM refresh JOIN session USING (session) WHERE hash = ?1";
            let family = |row: &Row<'_>| Ok((session(row)?, row.get("good")?));
            let of = match transaction.query_row(select, params![used, now - grace], family).optional()? {
                None => return Ok(Renewed::Unknown),
                Some((of, false)) => return Ok(Renewed::Late(of)),
                Some((of, true)) => of,
            };
            let id = of.id.bytes();
            transaction.execute(
                "UPDATE refresh SET current = 0, next_used_at = iif(hash != ?2 AND current = 0, ?3, next_used_at)
                 WHERE session = ?1 AND next_used_at = 0",
                params![id, used, now],
            )?;
            transaction.execute("INSERT INTO refresh VALUES (?1, ?2, 1, 0)", params![next, id])?;
            transaction.execute("UPDATE session SET used_at = ?2 WHERE session = ?1", params![id, now])?;
            if tidies(next) {
                transaction.execute(
                    "DELETE FROM refresh WHERE hash IN (
                         SELECT hash FROM refresh WHERE session = ?1 AND next_used_at > 0 AND next_used_at < ?2
                         ORDER BY next_used_at DESC LIMIT 10000 OFFSET ?3)",
                    params![id, now - grace, KEPT_TOKENS],
                )?;
            }
            let whose = "SELECT * FROM account WHERE user = ?1";
            let whose = transaction.query_row(whose, [of.user.bytes()], user)?;
            transaction.commit()?;
            Ok(Renewed::Next(Session { used_at: now, ..of }, whose))
        })
        .await
    }

    async fn end(&self, user: Option<UserId>, session: SessionId, now: i64) -> Result<(), Error> {
        self.run(move |connection| {
            let user = user.map(|user| user.bytes().to_vec());
            let transaction = connection.transaction()?;
            let one = "session = ?1 AND user = coalesce(?2, user)";
            end(&transaction, one, params![session.bytes(), user], now)?;
            transaction.commit()
        })
        .await
    }

    async fn sessions(&self, user: UserId) -> Result<Vec<Session>, Error> {
        self.run(move |connection| {
            let mut select =
                connection.prepare_cached("SELECT * FROM session WHERE user = ?1 ORDER BY used_at DESC")?;
            select.query_map([user.bytes()], session)?.collect()
        })
        .await
    }

    async fn ended(&self, since: i64, limit: usize) -> Result<Vec<(SessionId, i64)>, Error> {
        self.run(move |connection| {
            let mut select =
                connection.prepare_cached("SELECT session, at FROM ended WHERE at >= ?1 ORDER BY at LIMIT ?2")?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let one = |row: &Row<'_>| Ok((uuid::Uuid::from_bytes(row.get(0)?).into(), row.get(1)?));
            select.query_map([since, limit], one)?.collect()
        })
        .await
    }
}
