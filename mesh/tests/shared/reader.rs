//! What tests of subscriptions share: a process that reads alone, and what handles so much as it is let.

use async_trait::async_trait;
use madang_mesh::{
    lease::{self, Config as Lease, Leases},
    log::{Entry, Position},
    registry::memory::MemoryRegistry,
    shard::Shard,
    subscription::{Config, HandleError, Handler, Lag},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Handles so many batches as it is allowed to.
pub struct Gate {
    pub allowed: Semaphore,
    pub handled: AtomicU64,
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

/// A process that reads alone, batches of at most so many entries.
pub fn config(max_batch: usize) -> Config {
    let (lag, others_hear) = (Lag::new(1), watch::channel(false).1);
    Config { group: "test".into(), max_batch, linger: Duration::ZERO, lag, others_hear }
}

/// Its leases, of so many shards.
pub async fn join(shards: u32, registry: &Arc<MemoryRegistry>, drain: &CancellationToken) -> Leases {
    let wanted = Lease { group: "test".into(), process: "one".into(), address: String::new(), shards };
    lease::join(wanted, registry.clone(), drain.clone()).await
}

pub async fn until(what: &str, is: impl Fn() -> bool) {
    let wait = async {
        while !is() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect(what);
}
