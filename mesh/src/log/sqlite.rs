//! The log in one SQLite file: one writer thread commits what has gathered from all shards in one transaction, so that
//! one fsync serves them all. Readers at the tail are served from memory.

use super::{Bounds, Entries, Entry, Error, Log, Position};
use crate::{clock::now_micros, metrics, refused::Said, shard::Shard};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use rusqlite::{Connection, OptionalExtension, params};
use std::{
    collections::{HashMap, VecDeque},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use tokio::sync::{mpsc, oneshot, watch};

/// How many requests wait for the writer at most.
const QUEUE: usize = 1024;
/// How many entries of a shard stay in memory for its readers, at most.
const TAIL_ENTRIES: usize = 4096;
/// How many bytes of them, at most.
const TAIL_BYTES: usize = 16 << 20;
/// How many entries are read from the file at once, for readers far behind.
const CHUNK: u32 = 256;

/// How often what was trimmed could not be taken off the disk.
static UNTRUNCATED: Mutex<Said> = Mutex::new(Said::new());

/// The log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("another process uses the folder {0}: stop it, or choose another folder")]
    InUse(PathBuf),
    /// SQLite says no.
    #[error("can't open the log in {0}: {1}")]
    Sqlite(PathBuf, rusqlite::Error),
}

enum Request {
    Append {
        shard: Shard,
        payload: Bytes,
        expected: Option<Position>,
        answer: oneshot::Sender<Result<Position, Error>>,
    },
    Trim {
        shard: Shard,
        before: Position,
        answer: oneshot::Sender<Result<(), Error>>,
    },
}

#[derive(Default)]
struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
    first: Position,
    kept_bytes: u64,
}

struct ShardTail {
    last: watch::Sender<Position>,
    tail: Mutex<Tail>,
}

#[derive(Clone)]
struct Shared {
    file: PathBuf,
    shards: Arc<Mutex<HashMap<Shard, Arc<ShardTail>>>>,
}

/// The log of all shards, in one file.
pub struct SqliteLog {
    shared: Shared,
    requests: mpsc::Sender<Request>,
}

fn unavailable(error: &rusqlite::Error) -> Error {
    Error::Unavailable(error.to_string())
}

fn number(position: Position) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

impl Shared {
    fn shard(&self, shard: Shard) -> Arc<ShardTail> {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = || {
            let tail = Mutex::new(Tail { first: 1, ..Tail::default() });
            Arc::new(ShardTail { last: watch::Sender::new(0), tail })
        };
        shards.entry(shard).or_insert_with(empty).clone()
    }
}

impl ShardTail {
    fn tail(&self) -> std::sync::MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SqliteLog {
    /// Opens the log of a folder, for this process alone.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let file = folder.join("log.db");
        let said = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                OpenError::InUse(folder.to_owned())
            }
            _ => OpenError::Sqlite(folder.to_owned(), error),
        };
        let lock = lock(folder).map_err(|_| OpenError::InUse(folder.to_owned()))?;
        let connection = Connection::open(&file).map_err(said)?;
        let shared = Shared { file, shards: Arc::default() };
        prepare(&connection, &shared).map_err(said)?;
        let (requests, receiver) = mpsc::channel(QUEUE);
        metrics::queue("log_appends", "what is to be appended to the SQLite log, or trimmed", &requests);
        let writer = shared.clone();
        std::thread::spawn(move || {
            write(connection, receiver, &writer);
            drop(lock);
        });
        Ok(Self { shared, requests })
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Request) -> Result<T, Error> {
        let (answer, receiver) = oneshot::channel();
        let gone = || Error::Unavailable("the log's writer has stopped".into());
        self.requests.send(request(answer)).await.map_err(|_| gone())?;
        receiver.await.map_err(|_| Error::Unknown("the log's writer has stopped".into()))?
    }
}

/// Holds the folder for this process; the file stays, the lock goes with the process.
fn lock(folder: &Path) -> std::io::Result<std::fs::File> {
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    file.try_lock()?;
    Ok(file)
}

fn prepare(connection: &Connection, shared: &Shared) -> rusqlite::Result<()> {
    // FULL: with WAL, every commit is fsynced. That is what an acknowledgement rests on.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA auto_vacuum = NONE; PRAGMA secure_delete = ON; PRAGMA busy_timeout = 2000;
         CREATE TABLE IF NOT EXISTS record (
             shard INTEGER NOT NULL, position INTEGER NOT NULL, at_micros INTEGER NOT NULL, payload BLOB NOT NULL,
             PRIMARY KEY (shard, position)) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS head (shard INTEGER PRIMARY KEY, last INTEGER NOT NULL);",
    )?;
    let mut heads = connection.prepare("SELECT shard, last FROM head")?;
    let mut bounds = connection.prepare(
        "SELECT coalesce(min(position), ?2 + 1), coalesce(sum(length(payload)), 0) FROM record WHERE shard = ?1",
    )?;
    for row in heads.query_map([], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, i64>(1)?)))? {
        let (shard, last) = row?;
        let (first, bytes): (i64, i64) =
            bounds.query_row(params![shard, last], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let entry = shared.shard(shard);
        entry.last.send_replace(last.unsigned_abs());
        let mut tail = entry.tail();
        (tail.first, tail.kept_bytes) = (first.unsigned_abs(), bytes.unsigned_abs());
    }
    Ok(())
}

/// The writer: takes what has gathered, commits it once, then answers.
fn write(mut connection: Connection, mut requests: mpsc::Receiver<Request>, shared: &Shared) {
    while let Some(first) = requests.blocking_recv() {
        let mut gathered = vec![first];
        while gathered.len() < QUEUE
            && let Ok(next) = requests.try_recv()
        {
            gathered.push(next);
        }
        if let Err(error) = commit(&mut connection, &mut gathered, shared, truncate) {
            tracing::error!(%error, "the log could not be written");
            for request in gathered {
                match request {
                    Request::Append { answer, .. } => drop(answer.send(Err(unavailable(&error)))),
                    Request::Trim { answer, .. } => drop(answer.send(Err(unavailable(&error)))),
                }
            }
        }
    }
}

/// What of it is over in the file of what was written last goes. A reader in its way is waited for by the next.
fn truncate(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// Writes what has gathered, and answers it. An error: nothing of it is there.
fn commit(
    connection: &mut Connection,
    gathered: &mut Vec<Request>,
    shared: &Shared,
    truncate: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let mut lasts: HashMap<Shard, Position> = HashMap::new();
    let mut written: Vec<Option<(Shard, Entry)>> = Vec::with_capacity(gathered.len());
    let mut freed = VecDeque::new();
    {
        let mut insert = transaction.prepare_cached("INSERT INTO record VALUES (?1, ?2, ?3, ?4)")?;
        let mut head =
            transaction.prepare_cached("INSERT INTO head VALUES (?1, ?2) ON CONFLICT DO UPDATE SET last = ?2")?;
        let mut sum = transaction.prepare_cached(
            "SELECT coalesce(sum(length(payload)), 0) FROM record WHERE shard = ?1 AND position < ?2",
        )?;
        let mut trim = transaction.prepare_cached("DELETE FROM record WHERE shard = ?1 AND position < ?2")?;
        for request in &*gathered {
            match request {
                Request::Append { shard, payload, expected, .. } => {
                    let last = lasts.entry(*shard).or_insert_with(|| *shared.shard(*shard).last.borrow());
                    if expected.is_some_and(|expected| expected != *last) {
                        written.push(None);
                        continue;
                    }
                    *last += 1;
                    let at_micros = now_micros();
                    insert.execute(params![shard, number(*last), at_micros, &payload[..]])?;
                    written.push(Some((*shard, Entry { position: *last, at_micros, payload: payload.clone() })));
                }
                Request::Trim { shard, before, .. } => {
                    let bytes: i64 = sum.query_row(params![shard, number(*before)], |row| row.get(0))?;
                    trim.execute(params![shard, number(*before)])?;
                    freed.push_back(bytes.unsigned_abs());
                    written.push(None);
                }
            }
        }
        for (shard, last) in &lasts {
            head.execute(params![shard, number(*last)])?;
        }
    }
    transaction.commit()?;
    if gathered.iter().any(|request| matches!(request, Request::Trim { .. })) {
        // What was trimmed is to be gone from the disk, also from the file of what was written last. It is committed by now,
        // whatever becomes of that: the next one does it.
        if let Err(error) = truncate(connection)
            && let Some(times) = UNTRUNCATED.lock().unwrap_or_else(PoisonError::into_inner).due(Instant::now())
        {
            tracing::error!(%error, times, "what was trimmed from the log is not gone from the disk yet");
        }
    }
    for (request, entry) in gathered.drain(..).zip(written) {
        match (request, entry) {
            (Request::Append { answer, .. }, Some((shard, entry))) => {
                let position = entry.position;
                publish(&shared.shard(shard), entry);
                drop(answer.send(Ok(position)));
            }
            (Request::Append { answer, expected, .. }, None) => {
                drop(answer.send(Err(Error::Conflict { expected: expected.unwrap_or(0) })));
            }
            (Request::Trim { shard, before, answer }, _) => {
                forget(&shared.shard(shard), before, freed.pop_front().unwrap_or_default());
                drop(answer.send(Ok(())));
            }
        }
    }
    Ok(())
}

fn publish(shard: &ShardTail, entry: Entry) {
    let position = entry.position;
    {
        let mut tail = shard.tail();
        tail.bytes += entry.payload.len();
        tail.kept_bytes += entry.payload.len() as u64;
        tail.entries.push_back(entry);
        while tail.entries.len() > TAIL_ENTRIES || tail.bytes > TAIL_BYTES {
            let Some(oldest) = tail.entries.pop_front() else { break };
            tail.bytes -= oldest.payload.len();
        }
    }
    shard.last.send_replace(position);
}

fn forget(shard: &ShardTail, before: Position, bytes: u64) {
    let last = *shard.last.borrow();
    let mut tail = shard.tail();
    tail.kept_bytes = tail.kept_bytes.saturating_sub(bytes);
    tail.first = tail.first.max(before.min(last + 1));
    while tail.entries.front().is_some_and(|entry| entry.position < before) {
        let Some(oldest) = tail.entries.pop_front() else { break };
        tail.bytes -= oldest.payload.len();
    }
}

#[async_trait]
impl Log for SqliteLog {
    async fn create(&self, shard: Shard) -> Result<(), Error> {
        self.shared.shard(shard);
        Ok(())
    }

    async fn append(&self, shard: Shard, payload: Bytes, expected: Option<Position>) -> Result<Position, Error> {
        self.ask(|answer| Request::Append { shard, payload, expected, answer }).await
    }

    async fn bounds(&self, shard: Shard) -> Result<Bounds, Error> {
        let entry = self.shared.shard(shard);
        let last = *entry.last.borrow();
        let tail = entry.tail();
        Ok(Bounds { first: tail.first, last, bytes: tail.kept_bytes })
    }

    async fn read(&self, shard: Shard, from: Position) -> Result<Entries, Error> {
        let state =
            Reader { shared: self.shared.clone(), entry: self.shared.shard(shard), shard, next: from, ended: false };
        let chunks = stream::unfold(state, |mut reader| async move {
            if reader.ended {
                return None;
            }
            let chunk = match reader.chunk().await {
                Ok(entries) => entries.into_iter().map(Ok).collect(),
                Err(error) => {
                    reader.ended = true;
                    vec![Err(error)]
                }
            };
            Some((stream::iter(chunk), reader))
        });
        Ok(chunks.flatten().boxed())
    }

    async fn trim(&self, shard: Shard, before: Position) -> Result<(), Error> {
        self.ask(|answer| Request::Trim { shard, before, answer }).await
    }
}

struct Reader {
    shared: Shared,
    entry: Arc<ShardTail>,
    shard: Shard,
    next: Position,
    ended: bool,
}

impl Reader {
    /// The next entries: waits for the first of them.
    async fn chunk(&mut self) -> Result<Vec<Entry>, Error> {
        let mut last = self.entry.last.subscribe();
        let (first, newest) = (self.entry.tail().first, *last.borrow());
        if self.next < first || self.next > newest + 1 {
            return Err(Error::Missing { wanted: self.next, first, last: newest });
        }
        let newest = match last.wait_for(|last| *last >= self.next).await {
            Ok(last) => *last,
            Err(_) => return Err(Error::Unavailable("the log was closed".into())),
        };
        let cached = self.cached();
        let mut entries = if cached.is_empty() { self.stored().await? } else { cached };
        // What is there already and not said to be is not given out: it would look as if the log had lost what comes before its end.
        entries.truncate(usize::try_from(newest + 1 - self.next).unwrap_or(usize::MAX));
        match entries.last() {
            Some(newest) => self.next = newest.position + 1,
            None => {
                let (first, last) = (self.entry.tail().first, *self.entry.last.borrow());
                return Err(Error::Missing { wanted: self.next, first, last });
            }
        }
        Ok(entries)
    }

    fn cached(&self) -> Vec<Entry> {
        let tail = self.entry.tail();
        let Some(oldest) = tail.entries.front().map(|entry| entry.position) else { return Vec::new() };
        match self.next.checked_sub(oldest).and_then(|skip| usize::try_from(skip).ok()) {
            Some(skip) => tail.entries.iter().skip(skip).take(CHUNK as usize).cloned().collect(),
            None => Vec::new(),
        }
    }

    async fn stored(&self) -> Result<Vec<Entry>, Error> {
        let (file, shard, next) = (self.shared.file.clone(), self.shard, self.next);
        let read = move || -> rusqlite::Result<Vec<Entry>> {
            let connection = Connection::open(file)?;
            connection.busy_timeout(std::time::Duration::from_secs(2))?;
            let first = connection
                .query_row(
                    "SELECT position FROM record WHERE shard = ?1 AND position = ?2",
                    params![shard, number(next)],
                    |_| Ok(()),
                )
                .optional()?;
            if first.is_none() {
                return Ok(Vec::new());
            }
            let mut select = connection.prepare(
                "SELECT position, at_micros, payload FROM record WHERE shard = ?1 AND position >= ?2 ORDER BY position LIMIT ?3",
            )?;
            let rows = select.query_map(params![shard, number(next), CHUNK], |row| {
                let payload: Vec<u8> = row.get(2)?;
                Ok(Entry {
                    position: row.get::<_, i64>(0)?.unsigned_abs(),
                    at_micros: row.get(1)?,
                    payload: payload.into(),
                })
            })?;
            rows.collect()
        };
        let read = tokio::task::spawn_blocking(read).await.map_err(|error| Error::Unavailable(error.to_string()))?;
        read.map_err(|error| unavailable(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn append(requests: &mut Vec<Request>, payload: &'static str) -> oneshot::Receiver<Result<Position, Error>> {
        let (answer, receiver) = oneshot::channel();
        requests.push(Request::Append { shard: 0, payload: payload.into(), expected: None, answer });
        receiver
    }

    /// As where the disk is full.
    fn fails(_: &Connection) -> rusqlite::Result<()> {
        Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), None))
    }

    fn log(folder: &Path) -> (Connection, Shared) {
        let file = folder.join("log.db");
        let (connection, shared) = (Connection::open(&file).unwrap(), Shared { file, shards: Arc::default() });
        prepare(&connection, &shared).unwrap();
        (connection, shared)
    }

    /// A writer that is held up before it says what it has written.
    #[tokio::test]
    async fn what_is_not_said_to_be_there_yet_is_not_read_and_not_missing() {
        for cached in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let (mut connection, shared) = log(folder.path());
            let mut gathered = Vec::new();
            drop(append(&mut gathered, "first"));
            commit(&mut connection, &mut gathered, &shared, truncate).unwrap();
            let shard = shared.shard(0);
            connection.execute("INSERT INTO record VALUES (0, 2, 7, CAST('second' AS BLOB))", []).unwrap();
            let second = Entry { position: 2, at_micros: 7, payload: "second".into() };
            if cached {
                shard.tail().entries.push_back(second);
            } else {
                shard.tail().entries.clear();
            }
            let mut reader = Reader { shared: shared.clone(), entry: shard.clone(), shard: 0, next: 1, ended: false };
            let positions = |entries: Vec<Entry>| entries.iter().map(|entry| entry.position).collect::<Vec<_>>();
            assert_eq!(positions(reader.chunk().await.unwrap()), [1], "{cached}");
            assert!(reader.chunk().now_or_never().is_none(), "{cached}: it is waited for");
            shard.last.send_replace(2);
            assert_eq!(positions(reader.chunk().await.unwrap()), [2], "{cached}");
        }
    }

    #[test]
    fn what_is_committed_is_answered_so_also_where_the_disk_can_not_be_tidied() {
        let folder = tempfile::tempdir().unwrap();
        let (mut connection, shared) = log(folder.path());
        let mut gathered = Vec::new();
        let first = append(&mut gathered, "first");
        let (answer, trimmed) = oneshot::channel();
        gathered.push(Request::Trim { shard: 0, before: 1, answer });
        commit(&mut connection, &mut gathered, &shared, fails).unwrap();
        assert!(matches!(first.blocking_recv(), Ok(Ok(1))));
        assert!(matches!(trimmed.blocking_recv(), Ok(Ok(()))));
        let second = append(&mut gathered, "second");
        commit(&mut connection, &mut gathered, &shared, truncate).unwrap();
        assert!(matches!(second.blocking_recv(), Ok(Ok(2))), "it goes on behind what is there");
    }
}
