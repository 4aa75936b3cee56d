//! A subscription says how far behind it is, and that it has caught up; gathers what comes together; and gives shards away.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // a test: a panic is its failure

#[path = "shared/reader.rs"]
mod reader;

use async_trait::async_trait;
use bytes::Bytes;
use madang_mesh::{
    lease::Leases,
    log::{Entry, Log, Position, sqlite::SqliteLog},
    registry::memory::MemoryRegistry,
    shard::Shard,
    subscription::{self, Config, HandleError, Handler, Lag},
};
use reader::{Gate, PATIENCE, config, join, until};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// On the same database as another, and given no shard to read.
struct Elsewhere {
    gate: Arc<Gate>,
    begun: AtomicBool,
}

#[async_trait]
impl Handler for Elsewhere {
    async fn cursor(&self, _: Shard) -> Result<Position, HandleError> {
        self.begun.store(true, SeqCst);
        Ok(0)
    }

    async fn saved(&self, shard: Shard) -> Result<Position, HandleError> {
        self.gate.cursor(shard).await
    }

    async fn handle(&self, _: Shard, _: &[Entry]) -> Result<(), HandleError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_how_far_behind_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(folder.path()).unwrap());
    let registry = Arc::new(MemoryRegistry::new());
    log.create(0).await.unwrap();
    log.append(0, Bytes::from_static(b"one"), None).await.unwrap();
    log.append(0, Bytes::from_static(b"two"), None).await.unwrap();

    let (lag, drain) = (Lag::new(1), CancellationToken::new());
    let gate = Arc::new(Gate { allowed: Semaphore::new(0), handled: AtomicU64::new(0) });
    let leases = join(1, &registry, &drain).await;
    let reading = Config { lag: lag.clone(), ..config(1) };
    let running =
        tokio::spawn(subscription::run(reading, leases, log.clone(), registry.clone(), gate.clone(), drain.clone()));

    assert_eq!(lag.of(0), Duration::MAX, "what nobody has looked at is not fresh");
    gate.allowed.add_permits(1);
    until("one is handled", || gate.handled.load(SeqCst) == 1).await;
    assert_eq!(lag.of(0), Duration::MAX, "the other still waits");
    assert!(!lag.fresh(0, Duration::from_millis(100)).await);
    gate.allowed.add_permits(1);
    assert!(lag.fresh(0, PATIENCE).await, "all is handled");

    // Another replica, which reads nothing: it knows from what the reader publishes.
    let of_other = Lag::new(1);
    let leases = Leases::none();
    let not_reading = Config { lag: of_other.clone(), ..config(1) };
    let elsewhere = Arc::new(Elsewhere { gate: gate.clone(), begun: AtomicBool::new(false) });
    let other = subscription::run(not_reading, leases, log.clone(), registry, elsewhere.clone(), drain.clone());
    let other = tokio::spawn(other);
    assert!(of_other.fresh(0, PATIENCE).await);
    // What comes now is not handled: from then on, nothing more is proven.
    log.append(0, Bytes::from_static(b"three"), None).await.unwrap();
    let waits = async {
        // A proof that was under way may still come in.
        while lag.of(0) < Duration::from_secs(3) || of_other.of(0) < Duration::from_secs(3) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.unwrap();
    gate.allowed.add_permits(100);
    let proven = async {
        while lag.of(0) > Duration::from_secs(2) || of_other.of(0) > Duration::from_secs(2) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, proven).await.unwrap();
    other.abort();
    assert!(!elsewhere.begun.load(SeqCst), "who reads a shard begins by asking for its cursor, and nobody else does");
    assert_eq!(gate.handled.load(SeqCst), 3);
    drain.cancel();
    running.await.unwrap();
}

/// Remembers how many entries each batch had.
#[derive(Default)]
struct Batches(Mutex<Vec<usize>>);

impl Batches {
    fn sizes(&self) -> Vec<usize> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl Handler for Batches {
    async fn cursor(&self, _: Shard) -> Result<Position, HandleError> {
        Ok(0)
    }

    async fn handle(&self, _: Shard, entries: &[Entry]) -> Result<(), HandleError> {
        self.0.lock().unwrap().push(entries.len());
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_soon_after_a_batch_is_gathered_and_what_comes_after_a_rest_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(folder.path()).unwrap());
    let registry = Arc::new(MemoryRegistry::new());
    log.create(0).await.unwrap();
    let (drain, batches) = (CancellationToken::new(), Arc::new(Batches::default()));
    let leases = join(1, &registry, &drain).await;
    // Longer than a machine that is busy with other things takes for the two that follow.
    let linger = Duration::from_secs(12);
    let reading = Config { linger, ..config(64) };
    let running =
        tokio::spawn(subscription::run(reading, leases, log.clone(), registry, batches.clone(), drain.clone()));

    let began = Instant::now();
    log.append(0, Bytes::from_static(b"one"), None).await.unwrap();
    until("the first is handled", || batches.sizes() == [1]).await;
    let first = began.elapsed();
    log.append(0, Bytes::from_static(b"two"), None).await.unwrap();
    log.append(0, Bytes::from_static(b"three"), None).await.unwrap();
    until("all are handled", || batches.sizes().iter().sum::<usize>() == 3).await;
    assert_eq!(batches.sizes(), [1, 2], "the first after {first:?}");
    drain.cancel();
    running.await.unwrap();
}

/// Waits for others in everything that it is asked, until it is told that its shards go elsewhere.
struct Waits {
    leaving: CancellationToken,
    handling: AtomicU64,
    released: tokio::sync::Barrier,
}

#[async_trait]
impl Handler for Waits {
    async fn cursor(&self, _: Shard) -> Result<Position, HandleError> {
        Ok(0)
    }

    async fn handle(&self, _: Shard, _: &[Entry]) -> Result<(), HandleError> {
        self.handling.fetch_add(1, SeqCst);
        self.leaving.cancelled().await;
        Err(HandleError::Retry("it goes elsewhere".into()))
    }

    fn leaving(&self, _: Shard) {
        self.leaving.cancel();
    }

    async fn released(&self, _: Shard) {
        self.released.wait().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_lost_waits_neither_for_what_is_being_handled_nor_for_other_shards() {
    let folder = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(folder.path()).unwrap());
    let registry = Arc::new(MemoryRegistry::new());
    for shard in 0..2 {
        log.create(shard).await.unwrap();
        log.append(shard, Bytes::from_static(b"one"), None).await.unwrap();
    }
    let drain = CancellationToken::new();
    let leases = join(2, &registry, &drain).await;
    let reading = Config { lag: Lag::new(2), ..config(1) };
    let waits = Arc::new(Waits {
        leaving: CancellationToken::new(),
        handling: AtomicU64::new(0),
        released: tokio::sync::Barrier::new(2),
    });
    let running = tokio::spawn(subscription::run(reading, leases, log, registry, waits.clone(), drain.clone()));
    until("both are being handled", || waits.handling.load(SeqCst) == 2).await;
    drain.cancel();
    tokio::time::timeout(PATIENCE, running).await.expect("nothing is waited for").unwrap();
}
