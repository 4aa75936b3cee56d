//! A subscription says how far behind it is, and that it has caught up.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // a test: a panic is its failure

use async_trait::async_trait;
use bytes::Bytes;
use madang_mesh::{
    lease::{self, Config as Lease},
    log::{Entry, Log, Position, sqlite::SqliteLog},
    registry::memory::MemoryRegistry,
    shard::Shard,
    subscription::{self, Config, HandleError, Handler, Lag},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Handles so many batches as it is allowed to.
struct Gate {
    allowed: Semaphore,
    handled: AtomicU64,
}

#[async_trait]
impl Handler for Gate {
    async fn cursor(&self, _: Shard) -> Result<Position, HandleError> {
        Ok(self.handled.load(SeqCst))
    }

    async fn handle(&self, _: Shard, entries: &[Entry]) -> Result<(), HandleError> {
        self.allowed.acquire().await.unwrap().forget();
        self.handled.store(entries.last().unwrap().position, SeqCst);
        Ok(())
    }
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let wait = async {
        while !is() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect(what);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_how_far_behind_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(folder.path()).unwrap());
    let registry = Arc::new(MemoryRegistry::new());
    log.create(0).await.unwrap();
    log.append(0, Bytes::from_static(b"one"), None).await.unwrap();
    log.append(0, Bytes::from_static(b"two"), None).await.unwrap();

    let (lag, drain) = (Lag::default(), CancellationToken::new());
    let gate = Arc::new(Gate { allowed: Semaphore::new(0), handled: AtomicU64::new(0) });
    let wanted = Lease { group: "test".into(), process: "one".into(), address: String::new(), shards: 1 };
    let leases = lease::join(wanted, registry.clone(), drain.clone()).await;
    let config = Config { group: "test".into(), max_batch: 1, linger: Duration::ZERO, lag: lag.clone() };
    let running = tokio::spawn(subscription::run(config, leases, log.clone(), registry, gate.clone(), drain.clone()));

    until("what waits is counted", || lag.of(0) > Duration::from_millis(50)).await;
    assert_eq!(lag.of(1), Duration::ZERO);
    gate.allowed.add_permits(1);
    until("one is handled", || gate.handled.load(SeqCst) == 1).await;
    until("the other still waits", || lag.worst() > Duration::from_millis(50)).await;
    gate.allowed.add_permits(100);
    until("all is handled", || lag.worst() == Duration::ZERO).await;
    assert_eq!(gate.handled.load(SeqCst), 2);
    drain.cancel();
    running.await.unwrap();
}
