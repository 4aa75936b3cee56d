//! The fan-out: from committed events to the inboxes of their recipients. One publish per destination shard is in
//! flight; what gathers meanwhile goes in the next one.

use crate::inbox::Inbox;
use bytes::Bytes;
use madang_mesh::{
    log::Position,
    shard::{Shard, shard_of},
};
use madang_proto::{
    id::UserId,
    log::v1::{Delivery, FanOutPosition, InboxBatch, SourcePosition},
};
use prost::Message as _;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How many commits wait for a destination at most; then homes wait.
const QUEUE: usize = 256;
/// The most bytes of one publish; one event may exceed it.
const MAX_BYTES: usize = 512 << 10;
/// The first pause after a publish failed.
const FIRST: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(2);

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
}

/// What one commit has for one destination.
struct Parcel {
    shard: Shard,
    position: Position,
    deliveries: Vec<Delivery>,
}

/// How far the fan-out has come: published, and given to it, by (source, destination).
#[derive(Default)]
struct Progress {
    published: HashMap<(Shard, Shard), Position>,
    /// What was published last, as the destination knows it.
    sent: HashMap<(Shard, Shard), Position>,
    given: HashMap<(Shard, Shard), Position>,
    newest: HashMap<Shard, Position>,
}

/// A handle to the fan-out of this process.
#[derive(Clone)]
pub struct FanOut {
    destinations: Arc<[mpsc::Sender<Parcel>]>,
    progress: Arc<Mutex<Progress>>,
    /// The recipients of a room by shard, for rooms that spoke lately.
    split: Arc<Mutex<HashMap<usize, Split>>>,
}

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
            let task =
                Publisher { inbox: inbox.clone(), destination, process: process.clone(), progress: progress.clone() };
            let cancel = cancel.clone();
            tokio::spawn(async move { cancel.run_until_cancelled(task.run(receiver)).await });
            sender
        };
        Self { destinations: (0..shards).map(start).collect(), progress, split: Arc::default() }
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
        let count = u32::try_from(self.destinations.len()).unwrap_or(1);
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
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.newest.insert(shard, marker);
        for each in reached {
            let published = progress.published.entry((shard, each.shard)).or_default();
            *published = each.position.max(*published);
            let sent = progress.sent.entry((shard, each.shard)).or_default();
            *sent = each.sent.max(*sent);
        }
    }

    /// Takes a commit; waits while a destination has too much to do. In the order of the log, for each shard.
    pub async fn committed(&self, committed: Committed) {
        let Committed { shard, position, deliveries } = committed;
        let mut parcels: HashMap<Shard, Vec<Delivery>> = HashMap::new();
        for Outgoing { event, recipients } in deliveries {
            for (destination, users) in self.split(&recipients).iter() {
                parcels.entry(*destination).or_default().push(Delivery { event: event.clone(), users: users.clone() });
            }
        }
        {
            let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
            let newest = progress.newest.entry(shard).or_default();
            *newest = position.max(*newest);
            // What a home before this one has published is not published again.
            parcels.retain(|destination, _| {
                progress.published.get(&(shard, *destination)).is_none_or(|published| *published < position)
            });
            for destination in parcels.keys() {
                progress.given.insert((shard, *destination), position);
            }
        }
        for (destination, deliveries) in parcels {
            if let Some(sender) = self.destinations.get(destination as usize) {
                // A task that is gone was cancelled: the process stops.
                let _ = sender.send(Parcel { shard, position, deliveries }).await;
            }
        }
    }

    /// How far the fan-out of a shard has come with each destination, for the head of its next record.
    #[must_use]
    pub fn positions(&self, source: Shard) -> Vec<FanOutPosition> {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let destinations = 0..u32::try_from(self.destinations.len()).unwrap_or(0);
        let sent = |shard| progress.sent.get(&(source, shard)).copied().unwrap_or(0);
        let of = |shard| FanOutPosition { shard, position: progress.reached(source, shard), sent: sent(shard) };
        destinations.map(of).collect()
    }

    /// Up to where everything of a shard has been published.
    #[must_use]
    pub fn lowest(&self, source: Shard) -> Position {
        self.positions(source).iter().map(|each| each.position).min().unwrap_or(0)
    }
}

impl Progress {
    fn reached(&self, source: Shard, destination: Shard) -> Position {
        let key = (source, destination);
        let published = self.published.get(&key).copied().unwrap_or(0);
        // With nothing on its way, all that was committed is behind.
        if self.given.get(&key).copied().unwrap_or(0) <= published {
            self.newest.get(&source).copied().unwrap_or(0)
        } else {
            published
        }
    }
}

struct Publisher {
    inbox: Arc<dyn Inbox>,
    destination: Shard,
    process: String,
    progress: Arc<Mutex<Progress>>,
}

impl Publisher {
    async fn run(self, mut parcels: mpsc::Receiver<Parcel>) {
        while let Some(first) = parcels.recv().await {
            let mut gathered = vec![first];
            let mut bytes = size(&gathered[0]);
            while bytes < MAX_BYTES
                && let Ok(next) = parcels.try_recv()
            {
                bytes += size(&next);
                gathered.push(next);
            }
            let mut sources: HashMap<Shard, Position> = HashMap::new();
            let mut batch = InboxBatch { process: self.process.clone(), ..InboxBatch::default() };
            for parcel in gathered {
                sources.insert(parcel.shard, parcel.position);
                batch.deliveries.extend(parcel.deliveries);
            }
            {
                let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
                let source = |(shard, position): (&Shard, &Position)| {
                    let previous = progress.sent.get(&(*shard, self.destination)).copied().unwrap_or(0);
                    SourcePosition { shard: *shard, previous, position: *position }
                };
                batch.sources = sources.iter().map(source).collect();
            }
            self.publish(batch.encode_to_vec().into()).await;
            let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
            for (source, position) in sources {
                progress.published.insert((source, self.destination), position);
                progress.sent.insert((source, self.destination), position);
            }
        }
    }

    /// Publishes, however long it takes: homes wait meanwhile.
    async fn publish(&self, payload: Bytes) {
        let mut pause = FIRST;
        while let Err(error) = self.inbox.publish(self.destination, None, payload.clone()).await {
            tracing::warn!(shard = self.destination, %error, "an inbox took nothing; trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
    }
}

fn size(parcel: &Parcel) -> usize {
    parcel.deliveries.iter().map(|delivery| delivery.event.len() + delivery.users.len() + 16).sum()
}
