//! How every service reads the log: lease the shards of its group, read each in order from its own cursor, check that
//! positions are contiguous, handle in batches, save a cursor that can only grow. No acks, no redelivery.

mod lag;
mod look;
mod written;

pub use lag::{Lag, STALE};
pub use written::{Looks, Written};

use crate::{
    lease::Leases,
    log::{self, Entry, Log, Position},
    metrics,
    registry::Registry,
    shard::Shard,
    vital::vital,
};
use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, future::join_all};
use prometheus::{IntCounter, IntGaugeVec};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
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

    /// The same as its database has it, of any shard: asking begins nothing.
    async fn saved(&self, shard: Shard) -> Result<Position, HandleError> {
        self.cursor(shard).await
    }

    /// From which position on to read again when a shard is gained: the cursor, or an earlier position where the
    /// database's acknowledgement is not an fsync. What the log does not hold any more is not read again.
    async fn again_from(&self, shard: Shard) -> Result<Position, HandleError> {
        self.cursor(shard).await
    }

    /// Handles entries, in order, and saves the cursor of the last of them: together with its effects where the
    /// database can, else after them. May see entries again that it has handled.
    async fn handle(&self, shard: Shard, entries: &[Entry]) -> Result<(), HandleError>;

    /// Whether it goes on without what was trimmed before it had read that: it is asked for its cursor again then, and says one
    /// from which there is everything. For anybody else a position that is missing is a log that was lost: what they have
    /// not read is not trimmed.
    fn may_miss(&self) -> bool {
        false
    }

    /// Completes when what the database had acknowledged may be lost all the same (a node of it has returned): the shard
    /// is read again then, from [`Handler::again_from`], which takes note of it.
    async fn lost(&self, _shard: Shard) {
        std::future::pending().await
    }

    /// The shard is lost: what is being handled is ended as soon as it can be, also without success, where it waits for others.
    fn leaving(&self, _shard: Shard) {}

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
    /// How long after a batch the next one is begun at the earliest: what comes meanwhile is handled together, while an
    /// entry that comes after a rest waits for nobody. Most of a batch's cost to a database is the batch, not its rows.
    pub linger: Duration,
    /// Where it is said how far behind it is.
    pub lag: Lag,
    /// Whether others hear of the log, as [`Homes::awake`](crate::homes::Homes::awake) has it: then it is this process that is
    /// cut off where the log does not answer it, and what it shows gets old.
    pub others_hear: watch::Receiver<bool>,
}

/// Reads every shard that the leases give, until `drain` is cancelled. Publishes its progress once a second, while it
/// moves, as `progress.<group>.<shard>` = the position in decimal, and looks at that of the shards that others read.
pub async fn run(
    config: Config,
    leases: Leases,
    log: Arc<dyn Log>,
    registry: Arc<dyn Registry>,
    handler: Arc<dyn Handler>,
    drain: CancellationToken,
) {
    let reader = Arc::new(Reader { config, log, registry, handler, reached: Mutex::default() });
    let mut held = leases.held.clone();
    let looking = tokio::spawn(vital("the look at the log", look::look(reader.clone())));
    let mut running: HashMap<Shard, (CancellationToken, JoinHandle<()>)> = HashMap::new();
    loop {
        let now = if drain.is_cancelled() { BTreeSet::new() } else { held.borrow_and_update().clone() };
        let lost = running.extract_if(|shard, _| !now.contains(shard));
        // Each is given away as soon as it can be, whatever holds up the others.
        let ends = lost.map(|(shard, (cancel, task))| {
            cancel.cancel();
            reader.handler.leaving(shard);
            let (reader, leases) = (&reader, &leases);
            async move {
                // It does not panic, and nobody aborts it.
                drop(task.await);
                reader.lock().remove(&shard);
                reader.handler.released(shard).await;
                leases.end(shard);
            }
        });
        join_all(ends.collect::<Vec<_>>()).await;
        if drain.is_cancelled() {
            looking.abort();
            return;
        }
        for shard in now {
            running.entry(shard).or_insert_with(|| {
                leases.begin(shard);
                let cancel = drain.child_token();
                (cancel.clone(), tokio::spawn(vital("a reader of the log", reader.clone().shard(shard, cancel))))
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
/// How often it is published though it stands still: who has lost the shard and did not know it yet may have written an
/// older one over it.
const REMIND: Duration = Duration::from_secs(10);

static LAG: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "How long the oldest record of the log has waited that this reader has not written, in seconds.";
    metrics::gauges("madang_subscription_lag_seconds", help, &["group", "shard"])
});
static AGAIN: LazyLock<IntCounter> = LazyLock::new(|| {
    let help = "How often a shard was read again, since the database may have lost what it had acknowledged.";
    metrics::counter("madang_subscription_read_again_total", help)
});

struct Reader {
    config: Config,
    log: Arc<dyn Log>,
    registry: Arc<dyn Registry>,
    handler: Arc<dyn Handler>,
    /// Up to where the shards that are read here are written.
    reached: Mutex<HashMap<Shard, Position>>,
}

/// How long a log may end before what was read of it, before it counts as lost: while a stream has no leader, a server that
/// is behind may answer for it.
const GONE: Duration = Duration::from_secs(60);

/// How often reading a shard was tried in vain, until something was handled.
struct Tries {
    pause: Duration,
    /// Since when the log ends before what was read.
    gone: Option<Instant>,
}

/// How reading a shard ended.
enum End {
    /// Something does not answer: again, from the cursor.
    Again(String),
    /// The log ends before what was read of it: again, for a while.
    Gone(String),
    /// A reader never skips: it stops here.
    Stop(String),
}

impl Reader {
    fn lock(&self) -> MutexGuard<'_, HashMap<Shard, Position>> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to where a shard that is read here is written.
    fn reached(&self, shard: Shard) -> Option<Position> {
        self.lock().get(&shard).copied()
    }

    async fn shard(self: Arc<Self>, shard: Shard, cancel: CancellationToken) {
        let mut tries = Tries { pause: FIRST, gone: None };
        loop {
            // Never cut off within a batch: the handler's effects and its cursor belong together.
            let end = match self.read(shard, &cancel, &mut tries).await {
                Ok(()) => return,
                Err(end) => end,
            };
            if cancel.is_cancelled() {
                return;
            }
            let group = &self.config.group;
            let end = match end {
                End::Gone(why) if tries.gone.get_or_insert_with(Instant::now).elapsed() > GONE => End::Stop(why),
                other => other,
            };
            match end {
                End::Again(why) | End::Gone(why) => {
                    tracing::warn!(shard, group, why, "reading the log failed; trying again");
                }
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
                () = tokio::time::sleep(tries.pause) => tries.pause = (tries.pause * 2).min(LONGEST),
                () = cancel.cancelled() => return,
            }
        }
    }

    async fn read(&self, shard: Shard, cancel: &CancellationToken, tries: &mut Tries) -> Result<(), End> {
        self.log.create(shard).await.map_err(|error| End::Again(error.to_string()))?;
        let handled = self.handler.cursor(shard).await.map_err(End::from)?;
        let mut published = None;
        self.publish(shard, handled, &mut published).await;
        let failed = |error: log::Error| match error {
            log::Error::Missing { wanted, last, .. } if wanted > last => End::Gone(error.to_string()),
            log::Error::Missing { wanted, .. } if self.may_miss(wanted, handled) => End::Again(error.to_string()),
            log::Error::Missing { .. } => End::Stop(error.to_string()),
            other => End::Again(other.to_string()),
        };
        let again_from = self.handler.again_from(shard).await.map_err(End::from)?;
        self.lock().insert(shard, handled);
        let log::Bounds { first, .. } = self.log.bounds(shard).await.map_err(failed)?;
        let mut cursor = again_from.max(first.saturating_sub(1)).min(handled);
        let mut entries = self.log.read(shard, cursor + 1).await.map_err(failed)?;
        let mut progress = tokio::time::interval(PROGRESS);
        let mut batch = Vec::new();
        let mut next = Instant::now();
        // One for all of it: it may take longer than there is between two entries.
        let lost = self.handler.lost(shard);
        tokio::pin!(lost);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                () = &mut lost => {
                    AGAIN.inc();
                    return Err(End::Again("the database may have lost what it had acknowledged".into()));
                }
                _ = progress.tick() => {
                    self.publish(shard, cursor.max(handled), &mut published).await;
                    continue;
                }
                entry = entries.next() => batch.push(entry.ok_or_else(|| End::Again("the log ended".into()))?.map_err(failed)?),
            }
            // What came before something went wrong is handled all the same.
            let gathered = self.gather(&mut entries, &mut batch, next).await;
            next = Instant::now() + self.config.linger;
            for entry in &batch {
                cursor += 1;
                if entry.position != cursor {
                    let why = format!("position {cursor} is missing: the log gave {}", entry.position);
                    let trimmed =
                        self.may_miss(cursor, handled) && self.log.bounds(shard).await.map_err(failed)?.first > cursor;
                    return Err(if trimmed { End::Again(why) } else { End::Stop(why) });
                }
            }
            self.handler.handle(shard, &batch).await.map_err(End::from)?;
            self.lock().insert(shard, cursor.max(handled));
            batch.clear();
            *tries = Tries { pause: FIRST, gone: None };
            gathered.map_err(failed)?;
        }
    }

    /// Whether it goes on without a position that was trimmed: it may in any case, or that was written before, and is only read
    /// once more.
    fn may_miss(&self, position: Position, handled: Position) -> bool {
        position <= handled || self.handler.may_miss()
    }

    /// Takes what has come already, and what comes until then.
    async fn gather(
        &self,
        entries: &mut log::Entries,
        batch: &mut Vec<Entry>,
        until: Instant,
    ) -> Result<(), log::Error> {
        while batch.len() < self.config.max_batch {
            let next = match entries.next().now_or_never() {
                Some(next) => next,
                None if until <= Instant::now() => return Ok(()),
                None => match tokio::time::timeout_at(until, entries.next()).await {
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

    async fn publish(&self, shard: Shard, cursor: Position, published: &mut Option<(Position, Instant)>) {
        if published.is_some_and(|(position, at)| position == cursor && at.elapsed() < REMIND) {
            return;
        }
        match self.registry.put(&progress_key(&self.config.group, shard), cursor.to_string().into()).await {
            Ok(_) => *published = Some((cursor, Instant::now())),
            Err(error) => tracing::warn!(shard, %error, "progress could not be published"),
        }
    }
}

fn progress_key(group: &str, shard: Shard) -> String {
    format!("progress.{group}.{shard}")
}

impl From<HandleError> for End {
    fn from(error: HandleError) -> Self {
        match error {
            HandleError::Retry(why) => Self::Again(why),
            HandleError::Stop(why) => Self::Stop(why),
        }
    }
}
