//! A trunk: one stream of a gateway, carrying many connections. What goes to it waits in a bounded queue; one that
//! overflows is ended, and the gateway opens its connections again from their cursors.

use super::{Command, Connections};
use crate::presence::{Tell, Watching};
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use madang_mesh::metrics;
use madang_proto::{
    chat::v1::{Closed, ClosedReason, ConnectResponse, Downstream, Open, downstream::Item},
    id::UserId,
    reason::{Reason, Refusal},
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// How many items wait for a gateway at most.
const QUEUE: usize = 65_536;
/// How many bytes of them.
const QUEUE_BYTES: usize = 64 << 20;
/// How many items one gRPC message carries at most.
const BATCH: usize = 256;

/// After so many bytes a gRPC message takes no further item: its reader has a limit, and a long one delays the others.
const BATCH_BYTES: usize = 256 << 10;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// The way to a gateway.
pub struct Trunk {
    pub(super) id: u64,
    items: mpsc::Sender<Downstream>,
    waiting: Arc<AtomicUsize>,
    broken: CancellationToken,
}

impl Trunk {
    pub(super) fn send(&self, item: Downstream) {
        let bytes = size(&item);
        let full = self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > QUEUE_BYTES;
        if (full || self.items.try_send(item).is_err()) && !self.broken.is_cancelled() {
            crate::refusals::TRUNK.count();
            self.broken.cancel();
        }
    }

    /// Whether there is plenty of room.
    pub(super) fn has_room(&self) -> bool {
        self.items.capacity() > QUEUE / 2 && self.waiting.load(Ordering::Relaxed) < QUEUE_BYTES / 2
    }

    /// Sends something that may be dropped: only while there is plenty of room, and whether there was.
    pub(super) fn offer(&self, item: Downstream) -> bool {
        let room = self.has_room();
        if room {
            self.send(item);
        } else {
            crate::refusals::NOTICES.count();
        }
        room
    }

    pub(super) fn closed(&self, connections: Vec<u64>, reason: ClosedReason) {
        let item = Some(Item::Closed(Closed { reason: reason.into() }));
        self.send(Downstream { connections, item, ..Downstream::default() });
    }
}

/// What the reader of a trunk calls.
#[derive(Clone)]
pub struct TrunkHandle {
    trunk: Arc<Trunk>,
    connections: Connections,
    users: Arc<Mutex<HashMap<u64, UserId>>>,
}

pub(super) fn new(connections: Connections) -> (TrunkHandle, BoxStream<'static, Result<ConnectResponse, Status>>) {
    let (items, receiver) = mpsc::channel(QUEUE);
    metrics::queue("gateway_stream", "items on the way to a gateway", &items);
    let broken = CancellationToken::new();
    let (id, waiting) = (NEXT.fetch_add(1, Ordering::Relaxed), Arc::<AtomicUsize>::default());
    let trunk = Arc::new(Trunk { id, items, waiting: waiting.clone(), broken: broken.clone() });
    let responses = stream::unfold((receiver, waiting), |(mut receiver, waiting)| async move {
        let mut items = vec![receiver.recv().await?];
        let mut bytes = size(&items[0]);
        while items.len() < BATCH
            && bytes < BATCH_BYTES
            && let Ok(item) = receiver.try_recv()
        {
            bytes += size(&item);
            items.push(item);
        }
        waiting.fetch_sub(bytes, Ordering::Relaxed);
        Some((Ok(ConnectResponse { items }), (receiver, waiting)))
    });
    let ended = stream::once(async {
        let message = "the stream was ended because it was not read, or the process drains: open another";
        Err(madang_mesh::status::to_status(&Refusal::new(Reason::Unavailable, message)))
    });
    let responses = responses.take_until(async move { broken.cancelled().await }).chain(ended).boxed();
    (TrunkHandle { trunk, connections, users: Arc::default() }, responses)
}

fn size(item: &Downstream) -> usize {
    let frame = if let Some(Item::Frame(frame)) = &item.item { frame.len() } else { 0 };
    frame + 10 * item.connections.len()
}

impl TrunkHandle {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, UserId>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a connection; the answer goes down the trunk.
    pub async fn open(&self, connection: u64, open: Open) {
        let Ok(user) = open.user.parse::<UserId>() else {
            return self.trunk.closed(vec![connection], ClosedReason::Unavailable);
        };
        self.lock().insert(connection, user);
        let command = Command::Open { user, trunk: self.trunk.clone(), connection, open: Box::new(open) };
        let sent = match self.connections.shard(&user) {
            Some(shard) => shard.send(command).await.is_ok(),
            None => false,
        };
        if !sent {
            self.trunk.closed(vec![connection], ClosedReason::NotHome);
        }
    }

    /// Ends a connection.
    pub async fn close(&self, connection: u64) {
        let user = self.lock().remove(&connection);
        if let Some(user) = user
            && let Some(shard) = self.connections.shard(&user)
        {
            // A shard that is gone has no connections.
            let _ = shard.send(Command::Close { user, trunk: self.trunk.id, connection }).await;
        }
    }

    /// The client of a connection has what is before a cursor.
    pub fn delivered(&self, connection: u64, cursor: String) {
        let user = self.lock().get(&connection).copied();
        if let Some(user) = user {
            self.connections.note_delivered(user, self.trunk.id, connection, cursor);
        }
    }

    /// What a connection watches from now on, if it is still there.
    pub async fn watch(&self, connection: u64, watching: Option<Watching>) {
        let user = self.lock().get(&connection).copied();
        if let Some(user) = user
            && let Some(shard) = self.connections.shard(&user)
        {
            // Where it is gone, so is the watch.
            let _ = shard.send(Command::Watch { user, trunk: self.trunk.id, connection, watching }).await;
        }
    }

    /// Takes frames for a connection that may be dropped; says whether there was room.
    #[must_use]
    pub fn offer(&self, connection: u64) -> Tell {
        let trunk = self.trunk.clone();
        Box::new(move |frame| {
            trunk.offer(Downstream {
                connections: vec![connection],
                item: Some(Item::Frame(frame)),
                ..Downstream::default()
            })
        })
    }

    /// Sends the answer to a request.
    pub fn reply(&self, connection: u64, frame: Bytes) {
        self.trunk.send(Downstream {
            connections: vec![connection],
            item: Some(Item::Frame(frame)),
            ..Downstream::default()
        });
    }

    /// The gateway is gone, or the process drains.
    pub async fn end(&self) {
        self.trunk.broken.cancel();
        let connections: Vec<u64> = self.lock().keys().copied().collect();
        for connection in connections {
            self.close(connection).await;
        }
    }
}
