//! How every service reads the log: lease the shards of its group, read each in order from its own cursor, check that
//! positions are contiguous, handle in batches, save a cursor that can only grow. No acks, no redelivery.

use crate::{
    lease::Leases,
    log::{Entry, Log, Position},
    registry::Registry,
    shard::Shard,
};
use async_trait::async_trait;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Why a handler could not handle a batch.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// Later perhaps: the same batch comes again, with growing pauses.
    #[error("{0}")]
    Retry(String),
    /// A record that it can't read: the shard stops, loudly. A reader never skips.
    #[error("{0}")]
    Stop(String),
}

/// What a service does with the log.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// The position up to which (included) it has handled this shard; 0: nothing. Asked when a shard is gained.
    async fn cursor(&self, shard: Shard) -> Result<Position, HandleError>;

    /// Handles entries, in order, and saves the cursor of the last of them: together with its effects where the
    /// database can, else after them. May see entries again that it has handled.
    async fn handle(&self, shard: Shard, entries: &[Entry]) -> Result<(), HandleError>;

    /// The shard went to another process: forget what is kept in memory for it.
    async fn released(&self, _shard: Shard) {}
}

/// How a subscription runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// The group: the key of its leases and of its progress.
    pub group: String,
    /// How many entries go to [`Handler::handle`] at most.
    pub max_batch: usize,
    /// How long an entry may wait for others.
    pub linger: Duration,
}

/// Reads every shard that the leases give, until `drain` is cancelled. Publishes its progress once a second, while it
/// moves, as `progress.<group>.<shard>` = the position in decimal.
pub async fn run(
    config: Config,
    leases: Leases,
    log: Arc<dyn Log>,
    registry: Arc<dyn Registry>,
    handler: Arc<dyn Handler>,
    drain: CancellationToken,
) {
    let _ = (config, leases, log, registry, handler, drain);
    unimplemented!("in this change")
}
