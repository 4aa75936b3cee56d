//! How every service reads the log: lease the shards of its group, read each in order from its own cursor, check that
//! positions are contiguous, handle in batches, save a cursor that can only grow. No acks, no redelivery.

use crate::{
    clock::now_micros,
    lease::Leases,
    log::{self, Entry, Log, Position},
    metrics,
    registry::Registry,
    shard::Shard,
};
use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt};
use prometheus::IntGaugeVec;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::task::JoinHandle;
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

    /// From which position on to read again when a shard is gained: the cursor, or an earlier position where the
    /// database's acknowledgement is not an fsync. What the log does not hold any more is not read again.
    async fn again_from(&self, shard: Shard) -> Result<Position, HandleError> {
        self.cursor(shard).await
    }

    /// Handles entries, in order, and saves the cursor of the last of them: together with its effects where the
    /// database can, else after them. May see entries again that it has handled.
    async fn handle(&self, shard: Shard, entries: &[Entry]) -> Result<(), HandleError>;

    /// The shard went to another process: forget what is kept in memory for it.
    async fn released(&self, _shard: Shard) {}
}

/// Lists, and the newest page of history, are not shown if they are older: half of how far back a new connection's
/// events begin, so that the two overlap.
pub const STALE: Duration = Duration::from_secs(15);

/// How far behind the log what a service has written is, as far as this process knows: it knows of the shards that it
/// reads.
#[derive(Debug, Clone, Default)]
pub struct Lag {
    /// When the oldest record that is not written yet came to the log, microseconds since 1970; or since when it is not
    /// known what has come.
    since: Arc<Mutex<HashMap<Shard, i64>>>,
}

impl Lag {
    /// Of one shard.
    #[must_use]
    pub fn of(&self, shard: Shard) -> Duration {
        self.lock().get(&shard).map_or(Duration::ZERO, |since| age(*since))
    }

    /// Of the shard that is furthest behind.
    #[must_use]
    pub fn worst(&self) -> Duration {
        self.lock().values().min().map_or(Duration::ZERO, |since| age(*since))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Shard, i64>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nothing_is_known(&self, shard: Shard) {
        self.lock().entry(shard).or_insert_with(now_micros);
    }

    fn has_come(&self, shard: Shard, at_micros: i64) {
        self.lock().insert(shard, at_micros);
    }

    fn all_is_written(&self, shard: Shard) {
        self.lock().remove(&shard);
    }
}

fn age(since_micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(now_micros() - since_micros).unwrap_or(0))
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
    /// Where it is said how far behind it is.
    pub lag: Lag,
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
    let reader = Arc::new(Reader { config, log, registry, handler });
    let mut held = leases.held;
    let mut running: HashMap<Shard, (CancellationToken, JoinHandle<()>)> = HashMap::new();
    loop {
        let now = if drain.is_cancelled() { BTreeSet::new() } else { held.borrow_and_update().clone() };
        let lost: Vec<_> = running.keys().filter(|shard| !now.contains(shard)).copied().collect();
        for shard in lost {
            if let Some((cancel, task)) = running.remove(&shard) {
                cancel.cancel();
                if task.await.is_err() {
                    tracing::error!(shard, group = reader.config.group, "a reader of the log has panicked");
                }
                reader.handler.released(shard).await;
                reader.config.lag.all_is_written(shard);
            }
        }
        if drain.is_cancelled() {
            return;
        }
        for shard in now {
            running.entry(shard).or_insert_with(|| {
                let cancel = drain.child_token();
                (cancel.clone(), tokio::spawn(reader.clone().shard(shard, cancel)))
            });
        }
        tokio::select! {
            changed = held.changed() => if changed.is_err() { drain.cancelled().await },
            () = drain.cancelled() => {}
        }
    }
}

/// The first pause after a failure; it doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause between tries.
const LONGEST: Duration = Duration::from_secs(5);
/// How often progress is published, while it moves.
const PROGRESS: Duration = Duration::from_secs(1);

static LAG: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "How long the oldest record of the log has waited that this reader has not written, in seconds.";
    metrics::gauges("madang_subscription_lag_seconds", help, &["group", "shard"])
});

struct Reader {
    config: Config,
    log: Arc<dyn Log>,
    registry: Arc<dyn Registry>,
    handler: Arc<dyn Handler>,
}

/// How reading a shard ended.
enum End {
    /// Something does not answer: again, from the cursor.
    Again(String),
    /// A reader never skips: it stops here.
    Stop(String),
}

impl Reader {
    async fn shard(self: Arc<Self>, shard: Shard, cancel: CancellationToken) {
        let mut pause = FIRST;
        loop {
            self.config.lag.nothing_is_known(shard);
            // Never cut off within a batch: the handler's effects and its cursor belong together.
            let end = match self.read(shard, &cancel, &mut pause).await {
                Ok(()) => return,
                Err(end) => end,
            };
            let group = &self.config.group;
            match end {
                End::Again(why) => tracing::warn!(shard, group, why, "reading the log failed; trying again"),
                End::Stop(why) => {
                    tracing::error!(
                        shard,
                        group,
                        why,
                        "reading the log has stopped: nothing is skipped; see to it, then restart"
                    );
                    return cancel.cancelled().await;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST),
                () = cancel.cancelled() => return,
            }
        }
    }

    async fn read(&self, shard: Shard, cancel: &CancellationToken, pause: &mut Duration) -> Result<(), End> {
        let failed = |error: log::Error| match error {
            log::Error::Missing { .. } => End::Stop(error.to_string()),
            other => End::Again(other.to_string()),
        };
        self.log.create(shard).await.map_err(failed)?;
        let handled = self.handler.cursor(shard).await.map_err(End::from)?;
        let mut published = None;
        self.publish(shard, handled, &mut published).await;
        let again_from = self.handler.again_from(shard).await.map_err(End::from)?;
        let log::Bounds { first, mut last, .. } = self.log.bounds(shard).await.map_err(failed)?;
        let mut cursor = again_from.max(first.saturating_sub(1)).min(handled);
        let mut entries = self.log.read(shard, cursor + 1).await.map_err(failed)?;
        let mut progress = tokio::time::interval(PROGRESS);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                _ = progress.tick() => {
                    self.publish(shard, cursor, &mut published).await;
                    match self.log.bounds(shard).await {
                        Ok(bounds) => last = bounds.last,
                        Err(error) => tracing::debug!(shard, %error, "the log does not say where it ends"),
                    }
                    let seconds = i64::try_from(self.config.lag.of(shard).as_secs()).unwrap_or(i64::MAX);
                    LAG.with_label_values(&[&self.config.group, &shard.to_string()]).set(seconds);
                    // Nothing handled since the last look, and there is something: it has waited at least so long.
                    if cursor >= last { self.config.lag.all_is_written(shard) } else { self.config.lag.nothing_is_known(shard) }
                    continue;
                }
                entry = entries.next() => batch.push(entry.ok_or_else(|| End::Again("the log ended".into()))?.map_err(failed)?),
            }
            self.gather(&mut entries, &mut batch).await.map_err(failed)?;
            for entry in &batch {
                cursor += 1;
                if entry.position != cursor {
                    return Err(End::Stop(format!("position {cursor} is missing: the log gave {}", entry.position)));
                }
            }
            let newest = batch.last().map_or(0, |entry| entry.at_micros);
            self.handler.handle(shard, &batch).await.map_err(End::from)?;
            if cursor < last {
                self.config.lag.has_come(shard, newest);
            } else {
                self.config.lag.all_is_written(shard);
            }
            batch.clear();
            *pause = FIRST;
        }
    }

    /// Takes what has come already, and what comes within the linger.
    async fn gather(&self, entries: &mut log::Entries, batch: &mut Vec<Entry>) -> Result<(), log::Error> {
        let end = tokio::time::Instant::now() + self.config.linger;
        while batch.len() < self.config.max_batch {
            let next = match entries.next().now_or_never() {
                Some(next) => next,
                None if self.config.linger.is_zero() => return Ok(()),
                None => match tokio::time::timeout_at(end, entries.next()).await {
                    Ok(next) => next,
                    Err(_) => return Ok(()),
                },
            };
            match next {
                Some(entry) => batch.push(entry?),
                None => return Ok(()),
            }
        }
        Ok(())
    }

    async fn publish(&self, shard: Shard, cursor: Position, published: &mut Option<Position>) {
        if *published == Some(cursor) {
            return;
        }
        let key = format!("progress.{}.{shard}", self.config.group);
        match self.registry.put(&key, cursor.to_string().into()).await {
            Ok(_) => *published = Some(cursor),
            Err(error) => tracing::warn!(shard, %error, "progress could not be published"),
        }
    }
}

impl From<HandleError> for End {
    fn from(error: HandleError) -> Self {
        match error {
            HandleError::Retry(why) => Self::Again(why),
            HandleError::Stop(why) => Self::Stop(why),
        }
    }
}
