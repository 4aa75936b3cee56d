//! What notify-svc keeps, in one SQLite file. Every commit is fsynced.

use super::{Error, Late, SHOWN_MS, Settled, Subscription, Subscriptions, Target, Where, number};
use async_trait::async_trait;
use madang_mesh::{log::Position, shard::Shard};
use madang_proto::{
    client::v1::DeviceKind,
    id::{ConversationId, DeviceId, SessionId, UserId},
    notify::v1::Provider,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::{
    collections::HashSet,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};
use uuid::Uuid;

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

/// Subscriptions and the rest, in SQLite.
#[derive(Clone)]
pub struct SqliteSubscriptions {
    connection: Arc<Mutex<Connection>>,
}

fn id<T: From<Uuid>>(row: &Row<'_>, name: &str) -> rusqlite::Result<T> {
    let bytes: [u8; 16] = row.get(name)?;
    Ok(Uuid::from_bytes(bytes).into())
}

fn subscription(row: &Row<'_>) -> rusqlite::Result<Subscription> {
    Ok(Subscription {
        id: id(row, "id")?,
        user: id(row, "user")?,
        device: id(row, "device")?,
        session: id(row, "session")?,
        kind: DeviceKind::try_from(row.get::<_, i32>("kind")?).unwrap_or_default(),
        target: Target {
            provider: Provider::try_from(row.get::<_, i32>("provider")?).unwrap_or_default(),
            address: row.get("address")?,
            secret: row.get("secret")?,
        },
        locale: row.get("locale")?,
        preview: row.get("preview")?,
        created_at: row.get("created_at")?,
    })
}

fn late(row: &Row<'_>) -> rusqlite::Result<Late> {
    let whom = (id(row, "user")?, id(row, "device")?, id(row, "conversation")?);
    let seq = row.get::<_, i64>("seq")?.unsigned_abs();
    let (shard, due_at, messages) = (row.get("shard")?, row.get("due_at")?, row.get("messages")?);
    let mentioned = row.get::<_, i64>("mentioned")?.unsigned_abs();
    Ok(Late { whom, seq, shard, due_at, messages, mentioned, push: row.get("push")? })
}

fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl SqliteSubscriptions {
    /// Opens the file in a folder.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let connection = Connection::open(folder.join("push.db"))?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
             CREATE TABLE IF NOT EXISTS subscription (
                 user BLOB NOT NULL, device BLOB NOT NULL, id BLOB NOT NULL UNIQUE, session BLOB NOT NULL,
                 kind INTEGER NOT NULL, provider INTEGER NOT NULL, address TEXT NOT NULL, place BLOB NOT NULL UNIQUE,
                 secret BLOB NOT NULL, locale TEXT NOT NULL, preview INTEGER NOT NULL, created_at INTEGER NOT NULL,
                 PRIMARY KEY (user, device)) WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS subscription_session ON subscription (session);
             CREATE TABLE IF NOT EXISTS late (
                 user BLOB NOT NULL, device BLOB NOT NULL, conversation BLOB NOT NULL, shard INTEGER NOT NULL,
                 due_at INTEGER NOT NULL, push BLOB NOT NULL, seq INTEGER NOT NULL DEFAULT 0,
                 messages INTEGER NOT NULL DEFAULT 1, mentioned INTEGER NOT NULL DEFAULT 0,
                 PRIMARY KEY (user, device, conversation)) WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS late_due ON late (shard, due_at);
             CREATE INDEX IF NOT EXISTS late_conversation ON late (conversation);
             CREATE TABLE IF NOT EXISTS shown (
                 user BLOB NOT NULL, device BLOB NOT NULL, conversation BLOB NOT NULL, seq INTEGER NOT NULL,
                 at INTEGER NOT NULL, PRIMARY KEY (user, device, conversation)) WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS shown_at ON shown (at);
             CREATE TABLE IF NOT EXISTS cursor (shard INTEGER PRIMARY KEY, position INTEGER NOT NULL);
             CREATE TABLE IF NOT EXISTS ended (one INTEGER PRIMARY KEY CHECK (one = 1), until INTEGER NOT NULL);
             CREATE TABLE IF NOT EXISTS key (one INTEGER PRIMARY KEY CHECK (one = 1), key BLOB NOT NULL);",
        )?;
        // Files of earlier versions lack them.
        for (column, before) in [("seq", 0), ("messages", 1), ("mentioned", 0)] {
            let known = "SELECT count(*) FROM pragma_table_info('late') WHERE name = ?1";
            if connection.query_row(known, [column], |row| row.get::<_, i64>(0))? == 0 {
                let add = format!("ALTER TABLE late ADD COLUMN {column} INTEGER NOT NULL DEFAULT {before}");
                connection.execute_batch(&add)?;
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

#[async_trait]
impl Subscriptions for SqliteSubscriptions {
    async fn key(&self, new: Vec<u8>) -> Result<Vec<u8>, Error> {
        self.run(move |connection| {
            connection.execute("INSERT OR IGNORE INTO key VALUES (1, ?1)", [new])?;
            connection.query_row("SELECT key FROM key", [], |row| row.get(0))
        })
        .await
    }

    async fn tidy(&self) -> Result<(), Error> {
        // How pages were is in the write-ahead log until that is emptied.
        self.run(|connection| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))).await
    }

    async fn put(&self, new: Subscription) -> Result<(), Error> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM subscription WHERE place = ?1", [new.target.place()])?;
            transaction.execute(
                "INSERT OR REPLACE INTO subscription VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                params![
                    new.user.bytes(),
                    new.device.bytes(),
                    new.id.as_bytes(),
                    new.session.bytes(),
                    i32::from(new.kind),
                    i32::from(new.target.provider),
                    new.target.address,
                    new.target.place(),
                    new.target.secret,
                    new.locale,
                    new.preview,
                    new.created_at
                ],
            )?;
            transaction.commit()
        })
        .await
    }

    async fn remove(&self, user: UserId, device: DeviceId) -> Result<(), Error> {
        let delete = "DELETE FROM subscription WHERE user = ?1 AND device = ?2";
        self.run(move |connection| connection.execute(delete, params![user.bytes(), device.bytes()]).map(drop)).await
    }

    async fn drop_one(&self, id: Uuid) -> Result<(), Error> {
        let delete = "DELETE FROM subscription WHERE id = ?1";
        self.run(move |connection| connection.execute(delete, [id.as_bytes()]).map(drop)).await
    }

    async fn end(&self, sessions: Vec<SessionId>) -> Result<(), Error> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let mut delete = transaction.prepare_cached("DELETE FROM subscription WHERE session = ?1")?;
            for session in sessions {
                delete.execute([session.bytes()])?;
            }
            drop(delete);
            transaction.commit()
        })
        .await
    }

    async fn of_users(&self, users: Vec<UserId>) -> Result<Vec<Subscription>, Error> {
        self.run(move |connection| {
            let mut select = connection.prepare_cached("SELECT * FROM subscription WHERE user = ?1")?;
            let mut found = Vec::new();
            for user in users {
                for each in select.query_map([user.bytes()], subscription)? {
                    found.push(each?);
                }
            }
            Ok(found)
        })
        .await
    }

    async fn sessions(&self, after: (Uuid, Uuid), limit: usize) -> Result<Vec<(UserId, DeviceId, SessionId)>, Error> {
        self.run(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT user, device, session FROM subscription WHERE (user, device) > (?1, ?2)
                 ORDER BY user, device LIMIT ?3",
            )?;
            let one = |row: &Row<'_>| Ok((id(row, "user")?, id(row, "device")?, id(row, "session")?));
            let (user, device) = after;
            select.query_map(params![user.as_bytes(), device.as_bytes(), limited(limit)], one)?.collect()
        })
        .await
    }

    async fn ended_until(&self) -> Result<i64, Error> {
        let select = "SELECT coalesce(max(until), 0) FROM ended";
        self.run(move |connection| connection.query_row(select, [], |row| row.get(0))).await
    }

    async fn set_ended_until(&self, until: i64) -> Result<(), Error> {
        let set = "INSERT INTO ended VALUES (1, ?1) ON CONFLICT DO UPDATE SET until = max(until, excluded.until)";
        self.run(move |connection| connection.execute(set, [until]).map(drop)).await
    }

    async fn cursor(&self, shard: Shard) -> Result<Position, Error> {
        self.run(move |connection| {
            let select = "SELECT position FROM cursor WHERE shard = ?1";
            let position = connection.query_row(select, [shard], |row| row.get::<_, i64>(0)).optional()?;
            Ok(position.unwrap_or(0).unsigned_abs())
        })
        .await
    }

    async fn save_cursor(&self, shard: Shard, position: Position) -> Result<(), Error> {
        let set = "INSERT INTO cursor VALUES (?1, ?2)
                   ON CONFLICT DO UPDATE SET position = max(position, excluded.position)";
        self.run(move |connection| connection.execute(set, params![shard, number(position)]).map(drop)).await
    }

    async fn due(
        &self,
        shard: Shard,
        until: i64,
        limit: usize,
        except: Vec<(UserId, DeviceId)>,
    ) -> Result<Vec<Late>, Error> {
        let except: HashSet<_> = except.into_iter().collect();
        self.run(move |connection| {
            let select = "SELECT * FROM late WHERE shard = ?1 AND due_at <= ?2 ORDER BY due_at";
            let mut select = connection.prepare_cached(select)?;
            let rows = select.query_map(params![shard, until], self::late)?;
            let wanted = |late: &Late| !except.contains(&(late.whom.0, late.whom.1));
            rows.filter(|late| late.as_ref().map_or(true, wanted)).take(limit).collect()
        })
        .await
    }

    async fn late_of(&self, shard: Shard, conversations: Vec<ConversationId>) -> Result<Vec<Late>, Error> {
        self.run(move |connection| {
            let mut select = connection.prepare_cached("SELECT * FROM late WHERE shard = ?1 AND conversation = ?2")?;
            let mut found = Vec::new();
            for conversation in conversations {
                for late in select.query_map(params![shard, conversation.bytes()], self::late)? {
                    found.push(late?);
                }
            }
            Ok(found)
        })
        .await
    }

    async fn change(&self, changes: Vec<(Late, Option<Vec<u8>>)>) -> Result<(), Error> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            for (Late { whom: (user, device, conversation), push, .. }, now) in changes {
                let (user, device, conversation) = (user.bytes(), device.bytes(), conversation.bytes());
                let change = "UPDATE late SET push = ?5
                              WHERE user = ?1 AND device = ?2 AND conversation = ?3 AND push = ?4";
                let forget = "DELETE FROM late WHERE user = ?1 AND device = ?2 AND conversation = ?3 AND push = ?4";
                match now {
                    Some(now) => {
                        transaction.prepare_cached(change)?.execute(params![user, device, conversation, push, now])?
                    }
                    None => transaction.prepare_cached(forget)?.execute(params![user, device, conversation, push])?,
                };
            }
            transaction.commit()
        })
        .await
    }

    async fn settle(&self, settled: Settled, now: i64) -> Result<(), Error> {
        let Settled { shown, cleared, done, dropped, late } = settled;
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let show = "INSERT INTO shown VALUES (?1, ?2, ?3, ?4, ?5)
                        ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq), at = excluded.at";
            for ((user, device, conversation), seq) in shown {
                let values = params![user.bytes(), device.bytes(), conversation.bytes(), number(seq), now];
                transaction.prepare_cached(show)?.execute(values)?;
            }
            let clear = "DELETE FROM shown WHERE user = ?1 AND device = ?2 AND conversation = ?3 AND seq <= ?4";
            let end = "DELETE FROM late WHERE user = ?1 AND device = ?2 AND conversation = ?3 AND seq <= ?4";
            let leave = "DELETE FROM late WHERE user = ?1 AND device = ?2 AND conversation = ?3 AND seq = ?4";
            let cleared = cleared.into_iter().map(|of| (clear, of));
            let done = done.into_iter().map(|of| (end, of));
            let dropped = dropped.into_iter().map(|of| (leave, of));
            for (delete, ((user, device, conversation), seq)) in cleared.chain(done).chain(dropped) {
                let values = params![user.bytes(), device.bytes(), conversation.bytes(), number(seq)];
                transaction.prepare_cached(delete)?.execute(values)?;
            }
            // As `stand_for` and `newest_mention` have it.
            let keep = "INSERT INTO late (user, device, conversation, shard, due_at, push, seq, messages, mentioned)
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                        ON CONFLICT DO UPDATE SET
                            shard = excluded.shard, due_at = excluded.due_at, push = excluded.push, seq = excluded.seq,
                            messages = CASE WHEN excluded.messages = 0 THEN 0
                                WHEN seq < excluded.seq THEN min(messages + excluded.messages, 2)
                                ELSE max(messages, excluded.messages) END,
                            mentioned = CASE WHEN excluded.messages = 0 THEN 0
                                ELSE max(mentioned, excluded.mentioned) END
                        WHERE seq <= excluded.seq";
            for Late { whom: (user, device, conversation), seq, shard, due_at, messages, mentioned, push } in
                late.into_values()
            {
                let (user, device, conversation) = (user.bytes(), device.bytes(), conversation.bytes());
                let (seq, mentioned) = (number(seq), number(mentioned));
                let values = params![user, device, conversation, shard, due_at, push, seq, messages, mentioned];
                transaction.prepare_cached(keep)?.execute(values)?;
            }
            transaction.execute("DELETE FROM shown WHERE at < ?1", [now - SHOWN_MS])?;
            transaction.commit()
        })
        .await
    }

    async fn showing(&self, read: Vec<(UserId, ConversationId, u64)>) -> Result<Vec<(Where, u64)>, Error> {
        self.run(move |connection| {
            let select = "SELECT device FROM shown WHERE user = ?1 AND conversation = ?2 AND seq <= ?3";
            let mut select = connection.prepare_cached(select)?;
            let mut found = Vec::new();
            for (user, conversation, seq) in read {
                let values = params![user.bytes(), conversation.bytes(), number(seq)];
                for device in select.query_map(values, |row| id(row, "device"))? {
                    found.push(((user, device?, conversation), seq));
                }
            }
            Ok(found)
        })
        .await
    }
}
