//! Messages in one SQLite file: a row for each message, one for each notice, and the cursors that say how much of the
//! log they hold. It may fall back after a power cut: the log replays what is missing, and every write is idempotent.

mod change;
mod feed;

use super::{Changes, Entry, Error, Head, Loaded, Messages, NOTICES, Since, feed::Kept, number, whole};
use async_trait::async_trait;
use madang_mesh::{log::Position, shard::Shard};
use madang_proto::{
    client::v1::{Event, Message},
    id::ConversationId,
    store::v1::ClientIdUse,
};
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Semaphore;

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

fn ended<E>(_: E) -> Error {
    Error::Unavailable("the store's task ended".into())
}

/// How many read at once, each by a connection of their own.
const READERS: usize = 32;

/// The messages, in SQLite: one writer, and readers of their own.
#[derive(Clone)]
pub struct SqliteMessages {
    writer: Arc<Mutex<Connection>>,
    readers: Arc<Mutex<Vec<Connection>>>,
    places: Arc<Semaphore>,
    file: PathBuf,
}

impl SqliteMessages {
    /// Opens the file in a folder.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let file = folder.join("messages.db");
        let connection = Connection::open(&file)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON;
             CREATE TABLE IF NOT EXISTS message (
                 conversation BLOB, seq INTEGER, revision INTEGER NOT NULL, at_micros INTEGER NOT NULL,
                 used BLOB NOT NULL, body BLOB NOT NULL, changed_micros INTEGER,
                 PRIMARY KEY (conversation, seq)) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS reaction (
                 conversation BLOB, seq INTEGER, user BLOB, emoji TEXT, began INTEGER NOT NULL,
                 PRIMARY KEY (conversation, seq, user, emoji)) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS change (
                 conversation BLOB, revision INTEGER, at_micros INTEGER NOT NULL, used BLOB NOT NULL,
                 PRIMARY KEY (conversation, revision)) WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS message_revision ON message (conversation, revision);
             CREATE TABLE IF NOT EXISTS notice (
                 conversation BLOB, revision INTEGER, last_seq INTEGER NOT NULL, body BLOB NOT NULL,
                 PRIMARY KEY (conversation, revision)) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS head (conversation BLOB PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS feed (
                 shard INTEGER, position INTEGER, at_micros INTEGER NOT NULL, events BLOB NOT NULL,
                 PRIMARY KEY (shard, position)) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS cursor (shard INTEGER PRIMARY KEY, position INTEGER NOT NULL);",
        )?;
        // As it was before messages could be changed.
        let known = "SELECT count(*) FROM pragma_table_info('message') WHERE name = 'changed_micros'";
        if connection.query_row(known, [], |row| row.get::<_, i64>(0))? == 0 {
            connection.execute_batch("ALTER TABLE message ADD COLUMN changed_micros INTEGER")?;
        }
        Ok(Self {
            writer: Arc::new(Mutex::new(connection)),
            readers: Arc::default(),
            places: Arc::new(Semaphore::new(READERS)),
            file,
        })
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let writer = self.writer.clone();
        let run = move || work(&mut writer.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(run).await.map_err(ended)?
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (readers, file) = (self.readers.clone(), self.file.clone());
        let place = self.places.clone().acquire_owned().await.map_err(ended)?;
        let run = move || {
            let _place = place;
            let idle = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match idle {
                Some(connection) => connection,
                None => Connection::open(file)?,
            };
            let result = work(&connection);
            readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            result
        };
        tokio::task::spawn_blocking(run).await.map_err(ended)?
    }
}

#[async_trait]
impl Messages for SqliteMessages {
    async fn cursor(&self, shard: Shard) -> Result<Position, Error> {
        self.read(move |connection| {
            let select = "SELECT position FROM cursor WHERE shard = ?1";
            let position: Option<i64> = connection.query_row(select, [shard], |row| row.get(0)).optional()?;
            Ok(position.unwrap_or(0).unsigned_abs())
        })
        .await
    }

    async fn again_from(&self, shard: Shard) -> Result<Position, Error> {
        // A file that has fallen back has fallen back with its cursor.
        self.cursor(shard).await
    }

    async fn apply(&self, shard: Shard, entries: Vec<Entry>, position: Position) -> Result<(), Error> {
        self.write(move |connection| {
            let transaction = connection.transaction()?;
            {
                // One that is there may have been changed since.
                let mut message = transaction.prepare_cached(
                    "INSERT INTO message (conversation, seq, revision, at_micros, used, body)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
                )?;
                let mut notice = transaction.prepare_cached("INSERT OR REPLACE INTO notice VALUES (?1, ?2, ?3, ?4)")?;
                let mut head = transaction.prepare_cached(
                    "INSERT INTO head VALUES (?1, ?2) ON CONFLICT DO UPDATE SET revision = max(revision, ?2)",
                )?;
                let mut record =
                    transaction.prepare_cached("INSERT INTO feed VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING")?;
                let mut heads = std::collections::HashMap::new();
                for entry in entries {
                    let (conversation, revision) = match entry {
                        Entry::Message { conversation, message: row, used } => {
                            let (seq, revision) = (number(row.seq), number(row.revision));
                            let (body, used_row) = (row.encode_to_vec(), used.encode_to_vec());
                            message.execute(params![
                                conversation.bytes(),
                                seq,
                                revision,
                                used.at_micros,
                                used_row,
                                body
                            ])?;
                            (conversation, row.revision)
                        }
                        Entry::Notice { conversation, event } => {
                            let (revision, last_seq) = (number(event.revision), number(event.last_seq));
                            notice.execute(params![conversation.bytes(), revision, last_seq, event.encode_to_vec()])?;
                            (conversation, event.revision)
                        }
                        Entry::Change { conversation, used, change: what, .. } => {
                            change::apply(&transaction, conversation, &used, &what)?;
                            (conversation, used.revision)
                        }
                        Entry::Record(Kept { position, at_micros, events }) => {
                            record.execute(params![shard, number(position), at_micros, events])?;
                            continue;
                        }
                        Entry::Other { conversation, revision, .. } => (conversation, revision),
                    };
                    heads.insert(conversation, revision);
                }
                for (conversation, revision) in heads {
                    head.execute(params![conversation.bytes(), number(revision)])?;
                }
            }
            transaction.execute(
                "INSERT INTO cursor VALUES (?1, ?2) ON CONFLICT DO UPDATE SET position = max(position, ?2)",
                params![shard, number(position)],
            )?;
            Ok(transaction.commit()?)
        })
        .await
    }

    async fn tidy(&self) -> Result<(), Error> {
        // Pages are overwritten (`secure_delete`); how they were is in the write-ahead log until that is emptied.
        self.write(|connection| Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)).await
    }

    async fn head(&self, conversation: ConversationId) -> Result<Head, Error> {
        Ok(self.heads(vec![conversation]).await?.pop().unwrap_or_default())
    }

    async fn heads(&self, conversations: Vec<ConversationId>) -> Result<Vec<Head>, Error> {
        self.read(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT revision, coalesce((SELECT max(seq) FROM message WHERE conversation = ?1), 0)
                 FROM head WHERE conversation = ?1",
            )?;
            let row = |row: &rusqlite::Row<'_>| {
                let (revision, last_seq) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?);
                Ok(Head { revision: revision.unsigned_abs(), last_seq: last_seq.unsigned_abs() })
            };
            let mut heads = Vec::with_capacity(conversations.len());
            for conversation in conversations {
                heads.push(select.query_row([conversation.bytes()], row).optional()?.unwrap_or_default());
            }
            Ok(heads)
        })
        .await
    }

    async fn page(
        &self,
        conversation: ConversationId,
        low: u64,
        high: u64,
        limit: usize,
        newest: bool,
    ) -> Result<Vec<Message>, Error> {
        self.read(move |connection| {
            let order = if newest { "DESC" } else { "ASC" };
            let select = format!(
                "SELECT body FROM message WHERE conversation = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq {order} LIMIT ?4"
            );
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let bodies: Vec<Vec<u8>> = connection
                .prepare_cached(&select)?
                .query_map(params![conversation.bytes(), number(low), number(high), limit], body)?
                .collect::<Result<_, _>>()?;
            let mut messages = bodies.iter().map(|body| Message::decode(&body[..])).collect::<Result<Vec<_>, _>>()?;
            if newest {
                messages.reverse();
            }
            let first = if newest { messages.first().map_or(0, |message| message.seq) } else { low.max(1) };
            whole(conversation, &messages, first)?;
            Ok(messages)
        })
        .await
    }

    async fn changes(&self, conversation: ConversationId, since: Since) -> Result<Option<Changes>, Error> {
        self.read(move |connection| change::since(connection, conversation, since)).await
    }

    async fn load(&self, conversation: ConversationId, seq: u64) -> Result<Option<Loaded>, Error> {
        self.read(move |connection| change::load(connection, conversation, seq)).await
    }

    async fn reacted(
        &self,
        conversation: ConversationId,
        user: Vec<u8>,
        seqs: Vec<u64>,
    ) -> Result<HashSet<(u64, String)>, Error> {
        self.read(move |connection| change::reacted(connection, conversation, &user, &seqs)).await
    }

    async fn messages(&self, wanted: Vec<(ConversationId, u64)>) -> Result<Vec<(ConversationId, Message)>, Error> {
        self.read(move |connection| {
            let mut select =
                connection.prepare_cached("SELECT body FROM message WHERE conversation = ?1 AND seq = ?2")?;
            let mut found = Vec::with_capacity(wanted.len());
            for (conversation, seq) in wanted {
                let row = select.query_row(params![conversation.bytes(), number(seq)], body).optional()?;
                if let Some(row) = row {
                    found.push((conversation, Message::decode(&row[..])?));
                }
            }
            Ok(found)
        })
        .await
    }

    async fn notices(
        &self,
        conversation: ConversationId,
        seqs: (u64, u64),
        revisions: (u64, u64),
    ) -> Result<Vec<Event>, Error> {
        self.read(move |connection| {
            let bodies: Vec<Vec<u8>> = connection
                .prepare_cached(
                    "SELECT body FROM notice WHERE conversation = ?1 AND last_seq BETWEEN ?2 AND ?3
                     AND revision BETWEEN ?4 AND ?5 ORDER BY revision LIMIT ?6",
                )?
                .query_map(
                    params![
                        conversation.bytes(),
                        number(seqs.0),
                        number(seqs.1),
                        number(revisions.0),
                        number(revisions.1),
                        i64::try_from(NOTICES).unwrap_or(i64::MAX)
                    ],
                    body,
                )?
                .collect::<Result<_, _>>()?;
            Ok(bodies.iter().map(|body| Event::decode(&body[..])).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn uses(
        &self,
        conversation: ConversationId,
        since_micros: i64,
        limit: usize,
    ) -> Result<Vec<ClientIdUse>, Error> {
        self.read(move |connection| {
            let mut uses = Vec::new();
            for select in [
                "SELECT at_micros, used FROM message WHERE conversation = ?1 ORDER BY seq DESC",
                "SELECT at_micros, used FROM change WHERE conversation = ?1 ORDER BY revision DESC",
            ] {
                let mut select = connection.prepare_cached(select)?;
                let mut rows = select.query([conversation.bytes()])?;
                while let Some(row) = rows.next()?
                    && row.get::<_, i64>(0)? >= since_micros
                    && uses.len() < limit
                {
                    uses.push(ClientIdUse::decode(&row.get::<_, Vec<u8>>(1)?[..])?);
                }
            }
            Ok(uses)
        })
        .await
    }
}

fn body(row: &Row<'_>) -> rusqlite::Result<Vec<u8>> {
    row.get(0)
}
