//! How far behind the log what a service has written is: until when everything is proven to be written, by this
//! process's own monotonic clock. What nobody has proven yet is not fresh, and a process that was paused has to prove it
//! anew.

use crate::shard::Shard;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// Lists, `changes`, and the newest page of history are not shown if they are older: half of how far back a new
/// connection's events begin, so that the two overlap.
pub const STALE: Duration = Duration::from_secs(15);

type Proven = HashMap<Shard, Instant>;

/// How far behind the log a group of readers is, as far as this process knows: of the shards that it reads by itself, and
/// of those that others read.
#[derive(Debug, Clone)]
pub struct Lag {
    /// Until when all that came to a shard's log is proven to be written.
    proven: Arc<watch::Sender<Proven>>,
    shards: u32,
}

impl Lag {
    /// Of so many shards, of none of which anything is known.
    #[must_use]
    pub fn new(shards: u32) -> Self {
        Self { proven: Arc::default(), shards }
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> u32 {
        self.shards
    }

    /// How old what is written may be, of one shard; for ever while nothing is proven.
    #[must_use]
    pub fn of(&self, shard: Shard) -> Duration {
        age(&self.proven.borrow(), shard)
    }

    /// Of the shard that is furthest behind.
    #[must_use]
    pub fn worst(&self) -> Duration {
        worst(&self.proven.borrow(), self.shards)
    }

    /// Waits for a shard not to be [`STALE`]; whether it came to that in time.
    pub async fn fresh(&self, shard: Shard, patience: Duration) -> bool {
        self.wait(patience, |proven| age(proven, shard) <= STALE).await
    }

    /// Waits for no shard to be [`STALE`]; whether it came to that in time.
    pub async fn all_fresh(&self, patience: Duration) -> bool {
        self.wait(patience, |proven| worst(proven, self.shards) <= STALE).await
    }

    /// Waits for everything that came to any log before a moment to be written; whether it came to that in time.
    pub async fn all_reached(&self, moment: Instant, patience: Duration) -> bool {
        let reached = |proven: &Proven, shard| proven.get(&shard).is_some_and(|until| *until >= moment);
        self.wait(patience, |proven| (0..self.shards).all(|shard| reached(proven, shard))).await
    }

    async fn wait(&self, patience: Duration, fresh: impl FnMut(&Proven) -> bool) -> bool {
        let mut proven = self.proven.subscribe();
        matches!(tokio::time::timeout(patience, proven.wait_for(fresh)).await, Ok(Ok(_)))
    }

    /// Everything that came to a shard's log before this moment is written.
    pub(super) fn proven(&self, shard: Shard, until: Instant) {
        self.proven.send_if_modified(|proven| {
            let known = proven.entry(shard).or_insert(until);
            *known = until.max(*known);
            true
        });
    }
}

fn age(proven: &Proven, shard: Shard) -> Duration {
    proven.get(&shard).map_or(Duration::MAX, Instant::elapsed)
}

fn worst(proven: &Proven, shards: u32) -> Duration {
    (0..shards).map(|shard| age(proven, shard)).max().unwrap_or(Duration::ZERO)
}
