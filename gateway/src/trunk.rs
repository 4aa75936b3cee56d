//! Trunks: one stream to each chat-svc process that is home of somebody here. A reader never stops reading: what it
//! reads goes into bounded outboxes.

use crate::outbox::{Out, Outbox};
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
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// How many items wait for a trunk at most; a frame more is refused.
const QUEUE: usize = 8192;
/// How many items one gRPC message carries at most.
const BATCH: usize = 512;
/// How long between tries to reach chat-svc.
const AGAIN: Duration = Duration::from_millis(100);
/// How long a chat-svc may take to open a trunk.
const PATIENCE: Duration = Duration::from_secs(2);
/// The largest gRPC message that is taken.
const MAX_GRPC: usize = 16 << 20;

type Outboxes = Arc<Mutex<HashMap<u64, Arc<Outbox>>>>;

/// A trunk to one process.
#[derive(Clone)]
struct Trunk {
    items: mpsc::Sender<Upstream>,
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
}

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
    pub async fn link(&self, user: UserId, open: upstream::Item) -> Link {
        loop {
            let home = self.homes.wait_for(user.bytes()).await;
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
                    let trunk = Trunk { items, outboxes: Arc::default() };
                    all.insert(home.address.clone(), trunk.clone());
                    tokio::spawn(carry(self.channels.clone(), home.address.clone(), receiver, trunk.outboxes.clone()));
                    trunk
                }
            }
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let outbox = Arc::new(Outbox::new(self.bounds.0, self.bounds.1));
        lock(&trunk.outboxes).insert(number, outbox.clone());
        let link = Link { outbox, number, trunk };
        link.send(open).await.then_some(link)
    }
}

impl Link {
    async fn send(&self, item: upstream::Item) -> bool {
        self.trunk.items.send(Upstream { connection: self.number, item: Some(item), trace: Bytes::new() }).await.is_ok()
    }

    /// Sends something to the home; false: the trunk is full, so the home takes nothing at the moment. One that is gone
    /// says so in the outbox. `trace`: what it belongs to.
    #[must_use]
    pub fn try_send(&self, item: upstream::Item, trace: Option<Context>) -> bool {
        let trace = trace.map(|context| context.bytes()).unwrap_or_default();
        let sent = self.trunk.items.try_send(Upstream { connection: self.number, item: Some(item), trace });
        !matches!(sent, Err(mpsc::error::TrySendError::Full(_)))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        lock(&self.trunk.outboxes).remove(&self.number);
        let close = upstream::Item::Close(madang_proto::chat::v1::CloseConnection {});
        let item = Upstream { connection: self.number, item: Some(close), trace: Bytes::new() };
        // Full is rare and matters: the home would keep a connection that is not there.
        if let Err(mpsc::error::TrySendError::Full(item)) = self.trunk.items.try_send(item) {
            let items = self.trunk.items.clone();
            tokio::spawn(async move { drop(items.send(item).await) });
        }
    }
}

/// Carries a trunk until its stream ends; then tells all its connections.
async fn carry(channels: Channels, address: String, items: mpsc::Receiver<Upstream>, outboxes: Outboxes) {
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

async fn gather(mut items: mpsc::Receiver<Upstream>, requests: mpsc::Sender<ConnectRequest>) {
    loop {
        let mut batch = Vec::new();
        if items.recv_many(&mut batch, BATCH).await == 0
            || requests.send(ConnectRequest { items: batch }).await.is_err()
        {
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
