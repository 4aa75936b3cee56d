//! Trunks: one stream to each chat-svc process that is home of somebody here. A reader never stops reading: what it
//! reads goes into bounded outboxes.

use crate::{
    outbox::{self, Out, Outbox},
    refusals,
};
use bytes::Bytes;
use futures_util::StreamExt;
use madang_mesh::{
    channel::Channels,
    homes::Homes,
    metrics,
    shard::Home,
    trace::{Context, Kind, Span},
};
use madang_proto::{
    chat::v1::{
        ClosedReason, ConnectRequest, Upstream, chat_service_client::ChatServiceClient, downstream::Item, upstream,
    },
    id::UserId,
};
use prost::Message as _;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;

/// How many items wait for a trunk at most; a frame more is refused.
const QUEUE: usize = 8192;
/// How many bytes of them.
const QUEUE_BYTES: usize = 32 << 20;
/// Of the room that is left in a trunk, for frames and for bytes, a socket may have this part waiting. So one that asks
/// without waiting leaves most of it to the others, and however many do, whoever has little there is still taken.
const SHARE: usize = 8;
/// How many items one gRPC message carries at most.
const BATCH: usize = 512;
/// After so many bytes a gRPC message takes no further item: over its reader's limit the whole trunk would end.
const BATCH_BYTES: usize = 256 << 10;
/// How long between tries to reach chat-svc.
const AGAIN: Duration = Duration::from_millis(100);
/// How long a chat-svc may take to open a trunk.
const PATIENCE: Duration = Duration::from_secs(2);
/// The largest gRPC message that is taken.
const MAX_GRPC: usize = 16 << 20;

type Outboxes = Arc<Mutex<HashMap<u64, Arc<Outbox>>>>;

/// How many frames of a socket wait for its trunk, and how many bytes.
#[derive(Default)]
struct Share {
    frames: AtomicUsize,
    bytes: AtomicUsize,
}

impl Share {
    fn has_too_much(&self, (frames, bytes): (usize, usize)) -> bool {
        self.frames.load(Ordering::Relaxed) * SHARE > frames || self.bytes.load(Ordering::Relaxed) * SHARE > bytes
    }
}

/// Something that waits for a trunk.
struct Waiting {
    item: Upstream,
    bytes: usize,
    /// Of whose share it is, if it is a frame.
    share: Option<Arc<Share>>,
}

impl Waiting {
    fn of(item: Upstream, bytes: usize, share: Option<Arc<Share>>) -> Self {
        if let Some(share) = &share {
            share.frames.fetch_add(1, Ordering::Relaxed);
            share.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        Self { item, bytes, share }
    }

    /// It waits no more.
    fn take(self) -> Upstream {
        if let Some(share) = self.share {
            share.frames.fetch_sub(1, Ordering::Relaxed);
            share.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        }
        self.item
    }
}

/// A trunk to one process.
#[derive(Clone)]
struct Trunk {
    items: mpsc::Sender<Waiting>,
    /// How many bytes wait.
    waiting: Arc<AtomicUsize>,
    outboxes: Outboxes,
}

/// The trunks of this gateway.
#[derive(Clone)]
pub struct Trunks {
    channels: Channels,
    homes: Homes,
    open: Arc<Mutex<HashMap<String, Trunk>>>,
    bounds: (usize, usize),
}

/// A connection's way to its home: one generation of it.
pub struct Link {
    /// What comes from the home.
    pub outbox: Arc<Outbox>,
    number: u64,
    trunk: Trunk,
    share: Arc<Share>,
}

/// For how long a hello that waits for a home is the device's last word.
const FRESH: Duration = Duration::from_secs(1);

static NEXT: AtomicU64 = AtomicU64::new(1);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Trunks {
    /// Finds homes by way of any chat-svc; outboxes have these bounds (frames, bytes).
    #[must_use]
    pub fn spawn(channels: Channels, chat: &str, frames: usize, bytes: usize) -> Self {
        let homes = Homes::follow(channels.clone(), chat);
        Self { channels, homes, open: Arc::default(), bounds: (frames, bytes) }
    }

    /// A link to the user's home, once there is one. The first item on it must be `open`.
    pub async fn link(&self, user: UserId, mut open: upstream::Item) -> Link {
        let begun = Instant::now();
        loop {
            let home = self.homes.wait_for(user.bytes()).await;
            if let upstream::Item::Open(open) = &mut open {
                // Meanwhile the device may have said hello by another network: then that one stays.
                open.again |= begun.elapsed() > FRESH;
            }
            if let Some(link) = self.try_link(&home, open.clone()).await {
                return link;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn try_link(&self, home: &Home, open: upstream::Item) -> Option<Link> {
        let trunk = {
            let mut all = lock(&self.open);
            all.retain(|_, trunk| !trunk.items.is_closed());
            match all.get(&home.address) {
                Some(trunk) => trunk.clone(),
                None => {
                    let (items, receiver) = mpsc::channel(QUEUE);
                    metrics::queue("trunk", "frames of clients on the way to a chat-svc", &items);
                    let trunk = Trunk { items, waiting: Arc::default(), outboxes: Arc::default() };
                    all.insert(home.address.clone(), trunk.clone());
                    let queue = Queue { items: receiver, waiting: trunk.waiting.clone() };
                    tokio::spawn(carry(self.channels.clone(), home.address.clone(), queue, trunk.outboxes.clone()));
                    trunk
                }
            }
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let outbox = Arc::new(Outbox::new(self.bounds.0, self.bounds.1));
        lock(&trunk.outboxes).insert(number, outbox.clone());
        let link = Link { outbox, number, trunk, share: Arc::default() };
        link.send(open).await.then_some(link)
    }
}

impl Trunk {
    /// Puts an item in that is no frame, waiting for room; false: nobody takes from it any more.
    async fn send(&self, item: Upstream) -> bool {
        let bytes = item.encoded_len();
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        self.items.send(Waiting::of(item, bytes, None)).await.is_ok()
    }

    /// Puts an item in, or gives it back where the queue is full. The bounds of bytes and of shares are for frames: what
    /// opens and closes is small, and matters.
    #[allow(clippy::result_large_err)] // the item goes back whole, to wait
    fn try_send(&self, item: Upstream, share: &Arc<Share>) -> Result<(), Upstream> {
        let (bytes, frame) = (item.encoded_len(), matches!(item.item, Some(upstream::Item::Frame(_))));
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let left = (self.items.capacity(), QUEUE_BYTES.saturating_sub(before));
        let full = if frame && share.has_too_much(left) {
            refusals::TRUNK_SHARE.count();
            Err(item)
        } else if frame && before + bytes > QUEUE_BYTES {
            refusals::TRUNK.count();
            Err(item)
        } else {
            match self.items.try_send(Waiting::of(item, bytes, frame.then(|| share.clone()))) {
                Err(mpsc::error::TrySendError::Full(waiting)) => {
                    if frame {
                        refusals::TRUNK.count();
                    }
                    Err(waiting.take())
                }
                _ => Ok(()),
            }
        };
        if full.is_err() {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
        full
    }
}

impl Link {
    async fn send(&self, item: upstream::Item) -> bool {
        self.trunk.send(Upstream { connection: self.number, item: Some(item), trace: Bytes::new() }).await
    }

    /// Sends something to the home; false: the trunk is full, or has too much of this socket, so the home takes nothing at
    /// the moment. One that is gone says so in the outbox. `trace`: what it belongs to.
    #[must_use]
    pub fn try_send(&self, item: upstream::Item, trace: Option<Context>) -> bool {
        let trace = trace.map(|context| context.bytes()).unwrap_or_default();
        self.trunk.try_send(Upstream { connection: self.number, item: Some(item), trace }, &self.share).is_ok()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        lock(&self.trunk.outboxes).remove(&self.number);
        let close = upstream::Item::Close(madang_proto::chat::v1::CloseConnection {});
        let item = Upstream { connection: self.number, item: Some(close), trace: Bytes::new() };
        // Full is rare and matters: the home would keep a connection that is not there.
        if let Err(item) = self.trunk.try_send(item, &self.share) {
            let trunk = self.trunk.clone();
            tokio::spawn(async move { trunk.send(item).await });
        }
    }
}

/// Carries a trunk until its stream ends; then tells all its connections.
async fn carry(channels: Channels, address: String, items: Queue, outboxes: Outboxes) {
    let (sender, receiver) = mpsc::channel(4);
    let gather = tokio::spawn(gather(items, sender));
    if let Ok(channel) = channels.get(&address) {
        let mut client = ChatServiceClient::new(channel).max_decoding_message_size(MAX_GRPC);
        let opened = tokio::time::timeout(PATIENCE, client.connect(ReceiverStream::new(receiver))).await;
        let late = || tonic::Status::unavailable("it does not answer");
        match opened.unwrap_or_else(|_| Err(late())) {
            Ok(responses) => {
                let mut responses = responses.into_inner();
                while let Some(Ok(response)) = responses.next().await {
                    dispatch(response.items, &outboxes);
                }
            }
            Err(status) => tracing::warn!(%address, %status, "a chat-svc can't be reached"),
        }
    }
    gather.abort();
    // The receiver is dropped with the task: nobody links to this trunk any more.
    let _ = gather.await;
    for (_, outbox) in lock(&outboxes).drain() {
        outbox.push(Out::Closed(ClosedReason::Unavailable), "");
    }
}

/// What waits for a trunk, as its carrier sees it.
struct Queue {
    items: mpsc::Receiver<Waiting>,
    waiting: Arc<AtomicUsize>,
}

async fn gather(mut queue: Queue, requests: mpsc::Sender<ConnectRequest>) {
    while let Some(first) = queue.items.recv().await {
        let (mut bytes, mut batch) = (first.bytes, vec![first.take()]);
        while batch.len() < BATCH
            && bytes < BATCH_BYTES
            && let Ok(item) = queue.items.try_recv()
        {
            bytes += item.bytes;
            batch.push(item.take());
        }
        queue.waiting.fetch_sub(bytes, Ordering::Relaxed);
        if requests.send(ConnectRequest { items: batch }).await.is_err() {
            return;
        }
    }
}

fn dispatch(items: Vec<madang_proto::chat::v1::Downstream>, outboxes: &Outboxes) {
    let outboxes = lock(outboxes);
    for down in items {
        let reach = |connection: &u64| outboxes.get(connection);
        match down.item {
            Some(Item::Frame(frame)) => {
                if down.cursor.is_empty() && outbox::is_notice(&frame) {
                    down.connections.iter().filter_map(reach).for_each(|outbox| outbox.offer(frame.clone()));
                    continue;
                }
                for outbox in down.connections.iter().filter_map(reach) {
                    outbox.push(Out::Frame(frame.clone()), &down.cursor);
                    let span = Span::of(&down.trace, "gateway", "write", Kind::Consumer);
                    if span.context().is_some() {
                        outbox.push(Out::Written(span), "");
                    }
                }
            }
            Some(Item::Opened(opened)) => {
                for outbox in down.connections.iter().filter_map(reach) {
                    outbox.push(Out::Opened(opened.cursor.clone(), opened.resume()), "");
                }
            }
            Some(Item::Closed(closed)) => {
                for outbox in down.connections.iter().filter_map(reach) {
                    outbox.push(Out::Closed(closed.reason()), "");
                }
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: usize) -> Upstream {
        let item = Some(upstream::Item::Frame(vec![0; bytes].into()));
        Upstream { connection: 1, item, trace: Bytes::new() }
    }

    fn trunk() -> (Trunk, Queue) {
        let (items, receiver) = mpsc::channel(QUEUE);
        let trunk = Trunk { items, waiting: Arc::default(), outboxes: Arc::default() };
        let queue = Queue { items: receiver, waiting: trunk.waiting.clone() };
        (trunk, queue)
    }

    #[tokio::test]
    async fn a_message_stays_far_below_what_its_reader_takes() {
        let (trunk, queue) = trunk();
        let (most, waiting) = (128 << 10, trunk.waiting.clone());
        for _ in 0..200 {
            trunk.try_send(frame(most), &Arc::default()).unwrap();
        }
        trunk.try_send(frame(1 << 20), &Arc::default()).unwrap();
        drop(trunk);
        let (sender, mut receiver) = mpsc::channel(4);
        tokio::spawn(gather(queue, sender));
        let mut items = 0;
        while let Some(request) = receiver.recv().await {
            assert!(request.encoded_len() < BATCH_BYTES + (1 << 20) + 1024, "{}", request.encoded_len());
            items += request.items.len();
        }
        assert_eq!((items, waiting.load(Ordering::Relaxed)), (201, 0));
    }

    #[tokio::test]
    async fn sockets_that_do_not_wait_leave_room_for_the_others() {
        for bytes in [10, 128 << 10] {
            let (trunk, mut queue) = trunk();
            let hogs: Vec<Arc<Share>> = (0..16).map(|_| Arc::default()).collect();
            let taken = |share| (0..QUEUE).take_while(|_| trunk.try_send(frame(bytes), share).is_ok()).count();
            let all: Vec<_> = hogs.iter().map(taken).collect();
            assert!(all.iter().sum::<usize>() * frame(bytes).encoded_len() < QUEUE_BYTES * 9 / 10, "{all:?}");
            assert!(trunk.items.capacity() > QUEUE / 8, "{all:?}");
            // Whoever waits for answers has room.
            assert!((0..20).all(|_| trunk.try_send(frame(bytes), &Arc::default()).is_ok()));
            assert!(trunk.try_send(frame(bytes), &hogs[0]).is_err());
            queue.items.close();
            let (sender, _receiver) = mpsc::channel(4096);
            gather(queue, sender).await;
            assert!(hogs.iter().all(|share| !share.has_too_much((0, 0))), "what was taken waits no more");
        }
    }

    #[tokio::test]
    async fn a_trunk_takes_no_more_bytes_than_its_bound() {
        let (trunk, mut queue) = trunk();
        let taken = (0..QUEUE).take_while(|_| trunk.try_send(frame(128 << 10), &Arc::default()).is_ok()).count();
        assert!((250..256).contains(&taken), "{taken}");
        // What was refused does not count, and what closes a connection still has room.
        assert_eq!(trunk.waiting.load(Ordering::Relaxed), taken * frame(128 << 10).encoded_len());
        for _ in 0..1000 {
            let close = Some(upstream::Item::Close(madang_proto::chat::v1::CloseConnection {}));
            let close = Upstream { connection: 1, item: close, trace: vec![0; 200].into() };
            trunk.try_send(close, &Arc::default()).unwrap();
        }
        // There is room again once somebody takes.
        assert!(trunk.try_send(frame(128 << 10), &Arc::default()).is_err());
        queue.items.close();
        let (sender, _receiver) = mpsc::channel(4096);
        let waiting = trunk.waiting.clone();
        gather(queue, sender).await;
        assert_eq!(waiting.load(Ordering::Relaxed), 0);
    }
}
