//! The fan-out: from committed events to the inboxes of their recipients. One publish per destination shard is in
//! flight; what gathers meanwhile goes in the next one. What was sent lately is kept, so that a destination that has
//! missed something gets it again, in order; and each destination is told once a second what it should have.

mod kept;
mod progress;
mod publisher;

use crate::inbox::Inbox;
use bytes::Bytes;
use madang_mesh::{
    log::Position,
    metrics,
    shard::{Shard, shard_of},
    vital::vital,
};
use madang_proto::{
    id::UserId,
    log::v1::{Delivery, FanOutPosition},
};
use progress::Progress;
use publisher::{Lane, Publisher};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

/// How many commits wait for a destination at most; then homes wait.
const QUEUE: usize = 256;
/// How long a home that begins waits for inboxes at most.
const PUBLISHED: Duration = Duration::from_secs(1);

/// What a home has committed: one log record.
pub struct Committed {
    /// Of which shard.
    pub shard: Shard,
    /// Where it is in the shard's log.
    pub position: Position,
    /// Its events, in order.
    pub deliveries: Vec<Outgoing>,
}

/// An event on its way.
pub struct Outgoing {
    /// An encoded client event without a cursor.
    pub event: Bytes,
    /// Who gets it.
    pub recipients: Arc<[UserId]>,
    /// The trace that it belongs to, if it is sampled, as in its record.
    pub trace: Bytes,
}

/// What one commit has for one destination.
#[derive(Clone)]
struct Parcel {
    shard: Shard,
    position: Position,
    deliveries: Vec<Delivery>,
    /// When it was committed.
    since: Instant,
}

impl Parcel {
    fn bytes(&self) -> usize {
        self.deliveries.iter().map(|delivery| delivery.event.len() + delivery.users.len() + 16).sum()
    }
}

/// What comes of asking a source for what a destination has missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewound {
    /// The log position of the newest that was sent to the destination; 0: nothing ever was.
    pub sent: Position,
    /// It is on its way again. Otherwise it is not kept any more.
    pub again: bool,
}

/// A handle to the fan-out of this process.
#[derive(Clone)]
pub struct FanOut {
    lanes: Arc<[(mpsc::Sender<Parcel>, Arc<Lane>)]>,
    inbox: Arc<dyn Inbox>,
    since: Arc<tokio::sync::Mutex<Option<Since>>>,
    progress: Arc<Mutex<Progress>>,
    /// The recipients of a room by shard, for rooms that spoke lately.
    split: Arc<Mutex<HashMap<usize, Split>>>,
}

/// Since when the inboxes have what was sent to them, and when they said so.
type Since = (Instant, Arc<[i64]>);

/// Recipients, split by destination; the list is kept so that its address stays its own.
struct Split {
    recipients: Arc<[UserId]>,
    by_shard: Arc<[(Shard, Bytes)]>,
}

/// How many splits are kept.
const SPLITS: usize = 4096;

impl FanOut {
    /// Starts one task for each destination.
    #[must_use]
    pub fn spawn(inbox: Arc<dyn Inbox>, shards: u32, process: String, cancel: CancellationToken) -> Self {
        let progress: Arc<Mutex<Progress>> = Arc::default();
        let start = |destination| {
            let (sender, receiver) = mpsc::channel(QUEUE);
            metrics::queue("fan_out", "commits on the way to the inbox of a shard", &sender);
            let lane = Arc::new(Lane::new(shards));
            let task = Publisher {
                inbox: inbox.clone(),
                destination,
                process: process.clone(),
                progress: progress.clone(),
                lane: lane.clone(),
            };
            let cancel = cancel.clone();
            let publishing = async move { cancel.run_until_cancelled(task.run(receiver)).await };
            tokio::spawn(vital("a publisher to inboxes", publishing));
            (sender, lane)
        };
        let lanes = (0..shards).map(start).collect();
        let beacons = publisher::beacons(inbox.clone(), shards, progress.clone());
        tokio::spawn(vital("beacons", async move { cancel.run_until_cancelled(beacons).await }));
        Self { lanes, inbox, since: Arc::default(), progress, split: Arc::default() }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn split(&self, recipients: &Arc<[UserId]>) -> Arc<[(Shard, Bytes)]> {
        let key = recipients.as_ptr() as usize;
        let mut splits = self.split.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(split) = splits.get(&key)
            && Arc::ptr_eq(&split.recipients, recipients)
        {
            return split.by_shard.clone();
        }
        let mut by_shard: HashMap<Shard, Vec<u8>> = HashMap::new();
        let count = u32::try_from(self.lanes.len()).unwrap_or(1);
        for user in recipients.iter() {
            by_shard.entry(shard_of(user.bytes(), count)).or_default().extend_from_slice(user.bytes());
        }
        let by_shard: Arc<[_]> = by_shard.into_iter().map(|(shard, users)| (shard, users.into())).collect();
        if splits.len() >= SPLITS {
            splits.clear();
        }
        splits.insert(key, Split { recipients: recipients.clone(), by_shard: by_shard.clone() });
        by_shard
    }

    /// Goes on where the shard's home before this one had come to, as the log says: with each destination, whose commits
    /// up to there are passed over. What follows up to the marker is given by the new home at once.
    pub fn resume(&self, shard: Shard, reached: &[FanOutPosition], marker: Position) {
        self.begin(shard, reached, marker);
        self.serve(shard);
    }

    /// The same for a home that replays the log: what is to be sent again is given before anybody can ask what there is.
    pub async fn catch_up(&self, shard: Shard, reached: &[FanOutPosition], marker: Position, commits: Vec<Committed>) {
        self.begin(shard, reached, marker);
        let last = commits.last().map_or(0, |commit| commit.position);
        for committed in commits {
            self.committed(committed).await;
        }
        let since = Instant::now();
        while self.lowest(shard) < last && since.elapsed() < PUBLISHED {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.serve(shard);
    }

    fn begin(&self, shard: Shard, reached: &[FanOutPosition], marker: Position) {
        self.progress().resume(shard, reached, marker);
    }

    fn serve(&self, shard: Shard) {
        self.progress().serving.insert(shard);
    }

    /// Since when each destination's inbox has what was sent to it, microseconds since 1970; 0: for long, or that can't be said.
    pub async fn inboxes_since(&self) -> Arc<[i64]> {
        // All homes of a process ask as they begin, mostly at once.
        let mut known = self.since.lock().await;
        if let Some((at, since)) = &*known
            && at.elapsed() < PUBLISHED
        {
            return since.clone();
        }
        let since = |shard| async move {
            let asked = tokio::time::timeout(PUBLISHED, self.inbox.since(shard)).await;
            asked.ok().and_then(Result::ok).unwrap_or(0)
        };
        let shards = 0..u32::try_from(self.lanes.len()).unwrap_or(0);
        let since: Arc<[i64]> = futures_util::future::join_all(shards.map(since)).await.into();
        *known = Some((Instant::now(), since.clone()));
        since
    }

    /// The shard's home is not here any more: nobody is told how far it has come.
    pub fn ended(&self, shard: Shard) {
        self.progress().serving.remove(&shard);
    }

    /// How far a source shard has come with a destination; with `after`, all after that log position is sent again, in
    /// order, or at least what there is to have is said. None if its home is not here.
    #[must_use]
    pub fn rewind(&self, source: Shard, destination: Shard, after: Option<Position>) -> Option<Rewound> {
        let (_, lane) = self.lanes.get(destination as usize)?;
        let sent = {
            let progress = self.progress();
            if !progress.serving.contains(&source) {
                return None;
            }
            progress.sent(source, destination)
        };
        Some(Rewound { sent, again: lane.rewind(source, after.unwrap_or(sent), sent) })
    }

    /// Takes a commit; waits while a destination has too much to do. In the order of the log, for each shard.
    pub async fn committed(&self, committed: Committed) {
        let Committed { shard, position, deliveries } = committed;
        let mut parcels: HashMap<Shard, Vec<Delivery>> = HashMap::new();
        for Outgoing { event, recipients, trace } in deliveries {
            for (destination, users) in self.split(&recipients).iter() {
                parcels.entry(*destination).or_default().push(Delivery {
                    event: event.clone(),
                    users: users.clone(),
                    trace: trace.clone(),
                });
            }
        }
        {
            let mut progress = self.progress();
            progress.committed(shard, position, &mut parcels);
        }
        let since = Instant::now();
        for (destination, deliveries) in parcels {
            if let Some((sender, _)) = self.lanes.get(destination as usize) {
                // A task that is gone was cancelled: the process stops.
                let _ = sender.send(Parcel { shard, position, deliveries, since }).await;
            }
        }
    }

    /// How far the fan-out of a shard has come with each destination, for the head of its next record.
    #[must_use]
    pub fn positions(&self, source: Shard) -> Vec<FanOutPosition> {
        let progress = self.progress();
        let of = |shard| FanOutPosition {
            shard,
            position: progress.reached(source, shard),
            sent: progress.sent(source, shard),
        };
        (0..u32::try_from(self.lanes.len()).unwrap_or(0)).map(of).collect()
    }

    /// Up to where everything of a shard has been published.
    #[must_use]
    pub fn lowest(&self, source: Shard) -> Position {
        self.positions(source).iter().map(|each| each.position).min().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
