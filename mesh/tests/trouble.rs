//! What a subscription does where the log does not answer, has lost something or was trimmed meanwhile, and where its database has.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // a test: a panic is its failure

#[path = "shared/reader.rs"]
mod reader;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use madang_mesh::{
    log::{Bounds, Entries, Entry, Error, Log, Position, sqlite::SqliteLog},
    registry::memory::MemoryRegistry,
    shard::Shard,
    subscription::{self, Config, HandleError, Handler, Lag},
};
use reader::{Gate, config, join, until};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// A log that this process is cut off from while it is told so, and that has lost what comes after a while.
struct CutOff {
    log: SqliteLog,
    is: AtomicBool,
    /// After so many entries.
    lost_after: usize,
    /// Before which position it is trimmed as it is read next; 0: not.
    trims: AtomicU64,
    /// How often who reads it is answered by a server that is behind.
    behind: AtomicU64,
}

impl CutOff {
    fn new(log: SqliteLog) -> Self {
        Self {
            log,
            is: AtomicBool::new(false),
            lost_after: usize::MAX,
            trims: AtomicU64::new(0),
            behind: AtomicU64::new(0),
        }
    }
}

#[async_trait]
impl Log for CutOff {
    async fn create(&self, shard: Shard) -> Result<(), Error> {
        self.log.create(shard).await
    }

    async fn append(&self, shard: Shard, payload: Bytes, expected: Option<Position>) -> Result<Position, Error> {
        self.log.append(shard, payload, expected).await
    }

    async fn bounds(&self, shard: Shard) -> Result<Bounds, Error> {
        if self.is.load(SeqCst) {
            return Err(Error::Unavailable("cut off".into()));
        }
        self.log.bounds(shard).await
    }

    async fn read(&self, shard: Shard, from: Position) -> Result<Entries, Error> {
        if self.behind.fetch_update(SeqCst, SeqCst, |times| times.checked_sub(1)).is_ok() {
            let missing = Error::Missing { wanted: from, first: 1, last: from.saturating_sub(3) };
            return Ok(stream::iter([Err(missing)]).boxed());
        }
        match self.trims.swap(0, SeqCst) {
            0 => {}
            before => self.log.trim(shard, before).await?,
        }
        let missing = Error::Missing { wanted: from + 2, first: 1, last: from };
        let lost = stream::iter([Err(missing)]).chain(stream::pending());
        Ok(self.log.read(shard, from).await?.take(self.lost_after).chain(lost).boxed())
    }

    async fn trim(&self, shard: Shard, before: Position) -> Result<(), Error> {
        self.log.trim(shard, before).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_cut_off_alone_gets_old_and_where_all_are_nobody_does() {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(CutOff::new(SqliteLog::open(folder.path()).unwrap()));
    let registry = Arc::new(MemoryRegistry::new());
    log.create(0).await.unwrap();
    log.append(0, Bytes::from_static(b"one"), None).await.unwrap();
    let (lag, drain, (hear, others_hear)) = (Lag::new(1), CancellationToken::new(), watch::channel(true));
    let gate = Arc::new(Gate { allowed: Semaphore::new(9), handled: AtomicU64::new(0) });
    let leases = join(1, &registry, &drain).await;
    let reading = Config { lag: lag.clone(), others_hear, ..config(1) };
    let running = tokio::spawn(subscription::run(reading, leases, log.clone(), registry, gate, drain.clone()));
    assert!(lag.fresh(0, Duration::from_secs(60)).await, "all is handled");
    log.is.store(true, SeqCst);
    until("it gets old", || lag.of(0) > Duration::from_secs(4)).await;
    hear.send_replace(false);
    until("it is as good as anybody", || lag.of(0) < Duration::from_secs(2)).await;
    drain.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_the_log_was_lost_is_handled() {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(CutOff { lost_after: 2, ..CutOff::new(SqliteLog::open(folder.path()).unwrap()) });
    let registry = Arc::new(MemoryRegistry::new());
    log.create(0).await.unwrap();
    for each in ["one", "two", "three"] {
        log.append(0, Bytes::from_static(each.as_bytes()), None).await.unwrap();
    }
    let (drain, gate) = (CancellationToken::new(), Gate { allowed: Semaphore::new(9), handled: AtomicU64::new(0) });
    let (leases, gate) = (join(1, &registry, &drain).await, Arc::new(gate));
    let running = tokio::spawn(subscription::run(config(64), leases, log, registry, gate.clone(), drain.clone()));
    until("what came is handled", || gate.handled.load(SeqCst) == 2).await;
    drain.cancel();
    running.await.unwrap();
}

/// Has written so many, and reads some of them again.
struct Again(Gate);

#[async_trait]
impl Handler for Again {
    async fn cursor(&self, shard: Shard) -> Result<Position, HandleError> {
        self.0.cursor(shard).await
    }

    async fn again_from(&self, _: Shard) -> Result<Position, HandleError> {
        Ok(0)
    }

    async fn handle(&self, shard: Shard, entries: &[Entry]) -> Result<(), HandleError> {
        self.0.handle(shard, entries).await
    }
}

/// Six are in the log, of which five are written, and are read again; where it is so.
async fn goes_on(log: CutOff) {
    let (log, registry) = (Arc::new(log), Arc::new(MemoryRegistry::new()));
    log.create(0).await.unwrap();
    for _ in 1..=6 {
        log.append(0, Bytes::from_static(b"some"), None).await.unwrap();
    }
    let drain = CancellationToken::new();
    let gate = Gate { allowed: Semaphore::new(99), handled: AtomicU64::new(5) };
    let (leases, again) = (join(1, &registry, &drain).await, Arc::new(Again(gate)));
    let running = tokio::spawn(subscription::run(config(1), leases, log, registry, again.clone(), drain.clone()));
    until("all is handled", || again.0.handled.load(SeqCst) == 6).await;
    drain.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_and_is_trimmed_as_it_is_read_again_is_not_missed() {
    let folder = tempfile::tempdir().unwrap();
    goes_on(CutOff { trims: AtomicU64::new(4), ..CutOff::new(SqliteLog::open(folder.path()).unwrap()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_seems_to_have_lost_its_end_is_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    goes_on(CutOff { behind: AtomicU64::new(3), ..CutOff::new(SqliteLog::open(folder.path()).unwrap()) }).await;
}

/// Loses what it was given once, and notices when it has looked for longer than there is between two entries.
#[derive(Default)]
struct Forgetful {
    handled: AtomicU64,
    read: AtomicU64,
}

#[async_trait]
impl Handler for Forgetful {
    async fn cursor(&self, _: Shard) -> Result<Position, HandleError> {
        Ok(self.handled.load(SeqCst))
    }

    async fn again_from(&self, _: Shard) -> Result<Position, HandleError> {
        self.read.fetch_add(1, SeqCst);
        Ok(0)
    }

    async fn handle(&self, _: Shard, entries: &[Entry]) -> Result<(), HandleError> {
        self.handled.fetch_max(entries.last().unwrap().position, SeqCst);
        Ok(())
    }

    async fn lost(&self, _: Shard) {
        match self.read.load(SeqCst) {
            1 => tokio::time::sleep(Duration::from_secs(2)).await,
            _ => std::future::pending().await,
        }
    }
}

/// What is read from it goes on from the first record that there is, as NATS has it where a reader was not heard of for long.
struct GoesOn(Arc<SqliteLog>);

#[async_trait]
impl Log for GoesOn {
    async fn create(&self, shard: Shard) -> Result<(), Error> {
        self.0.create(shard).await
    }

    async fn append(&self, shard: Shard, payload: Bytes, expected: Option<Position>) -> Result<Position, Error> {
        self.0.append(shard, payload, expected).await
    }

    async fn bounds(&self, shard: Shard) -> Result<Bounds, Error> {
        self.0.bounds(shard).await
    }

    async fn read(&self, shard: Shard, from: Position) -> Result<Entries, Error> {
        let entries = self.0.read(shard, from).await?;
        let read = move |(mut entries, log): (Entries, Arc<SqliteLog>)| async move {
            let mut next = entries.next().await?;
            if let Err(Error::Missing { first, .. }) = next {
                entries = log.read(shard, first).await.ok()?;
                next = entries.next().await?;
            }
            Some((next, (entries, log)))
        };
        Ok(stream::unfold((entries, self.0.clone()), read).boxed())
    }

    async fn trim(&self, shard: Shard, before: Position) -> Result<(), Error> {
        self.0.trim(shard, before).await
    }
}

/// Takes its time, and may miss what is trimmed meanwhile.
struct Slow {
    log: Arc<dyn Log>,
    begun: AtomicU64,
    gate: Gate,
}

#[async_trait]
impl Handler for Slow {
    async fn cursor(&self, shard: Shard) -> Result<Position, HandleError> {
        let first = self.log.bounds(shard).await.unwrap().first;
        Ok(self.gate.cursor(shard).await?.max(first - 1))
    }

    fn may_miss(&self) -> bool {
        true
    }

    async fn handle(&self, shard: Shard, entries: &[Entry]) -> Result<(), HandleError> {
        self.begun.fetch_add(1, SeqCst);
        self.gate.handle(shard, entries).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_is_read_again_while_more_comes() {
    let folder = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(folder.path()).unwrap());
    let registry = Arc::new(MemoryRegistry::new());
    log.create(0).await.unwrap();
    let drain = CancellationToken::new();
    let leases = join(1, &registry, &drain).await;
    let handler = Arc::new(Forgetful::default());
    let running =
        tokio::spawn(subscription::run(config(10), leases, log.clone(), registry, handler.clone(), drain.clone()));
    let writing = tokio::spawn(async move {
        loop {
            log.append(0, Bytes::from_static(b"more"), None).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    until("it is read again", || handler.read.load(SeqCst) == 2).await;
    writing.abort();
    drain.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_miss_what_is_trimmed_goes_on_behind_it() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [one, other] = folders.each_ref().map(|folder| Arc::new(SqliteLog::open(folder.path()).unwrap()));
    let logs: [Arc<dyn Log>; 2] = [one, Arc::new(GoesOn(other))];
    for log in logs {
        let (registry, drain) = (Arc::new(MemoryRegistry::new()), CancellationToken::new());
        let append = async || log.append(0, Bytes::from_static(b"some"), None).await.unwrap();
        append().await;
        let leases = join(1, &registry, &drain).await;
        let gate = Gate { allowed: Semaphore::new(0), handled: AtomicU64::new(0) };
        let slow = Arc::new(Slow { log: log.clone(), begun: AtomicU64::new(0), gate });
        let running =
            tokio::spawn(subscription::run(config(1), leases, log.clone(), registry, slow.clone(), drain.clone()));
        until("the first is being handled", || slow.begun.load(SeqCst) == 1).await;
        for _ in 2..=6 {
            append().await;
        }
        log.trim(0, 5).await.unwrap();
        slow.gate.allowed.add_permits(9);
        until("all there is was handled", || slow.gate.handled.load(SeqCst) == 6).await;
        assert_eq!(slow.begun.load(SeqCst), 3, "1, 5 and 6");
        drain.cancel();
        running.await.unwrap();
    }
}
