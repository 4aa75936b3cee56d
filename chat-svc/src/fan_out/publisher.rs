//! What sends to one destination: one publish in flight, in the order of the logs. What is sent again goes the same
//! way, so that it comes before what is newer.

use super::{Parcel, kept::Kept, progress::Progress};
use crate::inbox::Inbox;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use madang_mesh::{
    log::Position,
    shard::Shard,
    trace::{Kind, Span},
};
use madang_proto::log::v1::{Delivery, InboxBatch, InboxBeacon, SentPosition, SourcePosition};
use prost::Message as _;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;

/// The most bytes of one publish; what one commit has for a destination goes in one, and may exceed it. Homes see to it
/// that this is well below the 1 MiB that NATS takes (`home/batch.rs`).
const MAX_BYTES: usize = 512 << 10;
/// The first pause after a publish failed.
const FIRST: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(2);
/// How often a destination's inbox is told how far each source has come, also if nothing moves: whoever begins to read
/// it then knows of every source what comes next.
const MARK: Duration = Duration::from_secs(30);
/// How often it is told past the inbox.
const BEACON: Duration = Duration::from_secs(1);
/// For so long after it moved: a beacon may be lost.
const BEACON_FOR: Duration = Duration::from_secs(3);

/// What a destination's publisher shares with who asks it to send again.
pub(super) struct Lane {
    kept: Mutex<Kept>,
    /// From which position on, by source.
    again: Mutex<BTreeMap<Shard, Position>>,
    wake: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lane {
    pub fn new(destinations: u32) -> Self {
        Self { kept: Mutex::new(Kept::new(destinations)), again: Mutex::default(), wake: Notify::new() }
    }

    fn next_again(&self) -> Option<(Shard, Position)> {
        lock(&self.again).pop_first()
    }

    /// Sends all of a source after a position again; false if it is not all kept.
    pub fn rewind(&self, source: Shard, after: Position, sent: Position) -> bool {
        if after < sent && lock(&self.kept).after(source, after, sent).is_none() {
            return false;
        }
        let mut again = lock(&self.again);
        let from = again.entry(source).or_insert(after);
        *from = after.min(*from);
        self.wake.notify_one();
        true
    }
}

/// Sends to one destination.
pub(super) struct Publisher {
    pub inbox: Arc<dyn Inbox>,
    pub destination: Shard,
    pub process: String,
    pub progress: Arc<Mutex<Progress>>,
    pub lane: Arc<Lane>,
}

/// A publish that is being put together.
#[derive(Default)]
struct Gathered {
    batch: InboxBatch,
    bytes: usize,
}

impl Gathered {
    fn add(&mut self, parcel: Parcel, previous: Position) {
        self.bytes += parcel.bytes();
        let Parcel { shard, position, deliveries, .. } = parcel;
        let count = u32::try_from(deliveries.len()).unwrap_or(u32::MAX);
        self.batch.sources.push(SourcePosition { shard, previous, position, deliveries: count });
        self.batch.deliveries.extend(deliveries);
    }
}

/// Nothing but how far a source has come.
fn reached(shard: Shard, position: Position) -> Parcel {
    Parcel { shard, position, deliveries: Vec::new(), since: Instant::now() }
}

/// What traces show of the way from a commit to an inbox.
fn spans(parcels: &[Parcel], destination: Shard) -> Vec<Span> {
    let traced = |parcel: &Parcel| parcel.deliveries.iter().any(|delivery| !delivery.trace.is_empty());
    let of = |parcel: &Parcel, delivery: &Delivery| {
        let span = Span::of(&delivery.trace, "chat", "fan_out", Kind::Producer);
        let mut span = span.since(parcel.since.into_std());
        span.number("madang.shard", destination);
        span
    };
    let parcels = parcels.iter().filter(|parcel| traced(parcel));
    parcels.flat_map(|parcel| parcel.deliveries.iter().map(move |delivery| of(parcel, delivery))).collect()
}

impl Publisher {
    pub async fn run(self, parcels: mpsc::Receiver<Parcel>) {
        let mut mark = tokio::time::interval_at(Instant::now() + MARK, MARK);
        mark.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut parcels = std::pin::pin!(ReceiverStream::new(parcels).peekable());
        loop {
            tokio::select! {
                biased;
                () = self.lane.wake.notified() => self.again().await,
                _ = mark.tick() => self.mark().await,
                first = parcels.next() => {
                    let Some(first) = first else { return };
                    let mut bytes = first.bytes();
                    let mut waiting = vec![first];
                    while let Some(Some(next)) =
                        parcels.as_mut().next_if(|next| bytes + next.bytes() <= MAX_BYTES).now_or_never()
                    {
                        bytes += next.bytes();
                        waiting.push(next);
                    }
                    self.send(waiting).await;
                }
            }
        }
    }

    /// Sends what was committed.
    async fn send(&self, parcels: Vec<Parcel>) {
        let mut gathered = Gathered::default();
        // They end with the publish.
        let _spans = spans(&parcels, self.destination);
        {
            let progress = lock(&self.progress);
            let mut last: HashMap<Shard, Position> = HashMap::new();
            for parcel in parcels {
                let sent = || progress.sent(parcel.shard, self.destination);
                let previous = last.get(&parcel.shard).copied().unwrap_or_else(sent);
                // Else it has waited here since before another home was it, and sent it.
                if parcel.position > previous {
                    last.insert(parcel.shard, parcel.position);
                    gathered.add(parcel, previous);
                }
            }
        }
        if gathered.batch.sources.is_empty() {
            return;
        }
        let batch = self.publish(gathered).await;
        let mut deliveries = batch.deliveries.into_iter();
        let mut kept = lock(&self.lane.kept);
        let mut progress = lock(&self.progress);
        for SourcePosition { shard, previous, position, deliveries: count } in batch.sources {
            progress.published(shard, self.destination, position);
            let deliveries = deliveries.by_ref().take(count as usize).collect();
            kept.push(Parcel { shard, position, deliveries, since: Instant::now() }, previous);
        }
    }

    /// Sends again what was asked for; where there is nothing to send, says how far the source has come.
    async fn again(&self) {
        while let Some((source, after)) = self.lane.next_again() {
            let mut publishes = vec![Gathered::default()];
            {
                let sent = lock(&self.progress).sent(source, self.destination);
                let kept = lock(&self.lane.kept);
                // What is not kept any more is asked for again, and then refused.
                let mut previous = after;
                for each in kept.after(source, after, sent).unwrap_or_default() {
                    let is_full =
                        |gathered: &Gathered| gathered.bytes > 0 && gathered.bytes + each.parcel.bytes() > MAX_BYTES;
                    if publishes.last().is_some_and(is_full) {
                        publishes.push(Gathered::default());
                    }
                    if let Some(gathered) = publishes.last_mut() {
                        gathered.add(each.parcel.clone(), previous);
                    }
                    previous = each.parcel.position;
                }
                if after >= sent
                    && let Some(gathered) = publishes.last_mut()
                {
                    gathered.add(reached(source, sent), sent);
                }
            }
            for gathered in publishes.into_iter().filter(|gathered| !gathered.batch.sources.is_empty()) {
                self.publish(gathered).await;
            }
        }
    }

    /// Says of all sources how far they have come.
    async fn mark(&self) {
        lock(&self.lane.kept).tidy();
        let mut gathered = Gathered::default();
        for (shard, position) in lock(&self.progress).moved(self.destination, None) {
            gathered.add(reached(shard, position), position);
        }
        if !gathered.batch.sources.is_empty() {
            self.publish(gathered).await;
        }
    }

    /// Publishes, however long it takes: homes wait meanwhile. Gives back what was published.
    async fn publish(&self, gathered: Gathered) -> InboxBatch {
        let mut batch = gathered.batch;
        batch.process.clone_from(&self.process);
        let payload: Bytes = batch.encode_to_vec().into();
        let mut pause = FIRST;
        while let Err(error) = self.inbox.publish(self.destination, None, payload.clone()).await {
            tracing::warn!(shard = self.destination, %error, "an inbox took nothing; trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
        batch
    }
}

/// Tells the destinations how far the sources have come, while they move, for ever.
pub(super) async fn beacons(inbox: Arc<dyn Inbox>, destinations: u32, progress: Arc<Mutex<Progress>>) {
    let mut tick = tokio::time::interval(BEACON);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(since) = Instant::now().checked_sub(BEACON_FOR) else { continue };
        for destination in 0..destinations {
            let moved = lock(&progress).moved(destination, Some(since));
            if moved.is_empty() {
                continue;
            }
            let sources = moved.into_iter().map(|(shard, position)| SentPosition { shard, position }).collect();
            let payload = InboxBeacon { sources }.encode_to_vec().into();
            if let Err(error) = inbox.announce(destination, payload).await {
                tracing::debug!(shard = destination, %error, "a beacon was lost");
            }
        }
    }
}
