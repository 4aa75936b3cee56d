//! One shard's users: who is connected, and what they get.

use super::{
    Command,
    tail::{Frame, Tail, TailEntry},
    trunk::Trunk,
};
use crate::{
    cursor::Cursor,
    inbox::{Inbox, InboxEntry},
};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use madang_mesh::{clock::now_micros, shard::Shard};
use madang_proto::{
    chat::v1::{ClosedReason, Downstream, Open, Opened, downstream::Item},
    client::v1::{Live, Resume, Resync, ServerFrame, server_frame},
    id::UserId,
    log::v1::InboxBatch,
};
use prost::{Message as _, encoding::encode_varint};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How far back a new connection begins, in microseconds.
const OVERLAP_MICROS: i64 = 30_000_000;
/// How long after a lost inbox another try is made.
const AGAIN: Duration = Duration::from_millis(200);

struct Connection {
    trunk: Arc<Trunk>,
    connection: u64,
    device: String,
}

#[derive(Default)]
struct User {
    connections: Vec<Connection>,
    /// Where in the tail their events are: (sequence, index).
    recent: VecDeque<(u64, u32)>,
}

struct State {
    shard: Shard,
    /// How many sockets a user has at most.
    devices: usize,
    users: HashMap<UserId, User>,
    tail: Tail,
    sources: HashMap<u32, u64>,
    /// The inbox's number of the newest entry.
    last: Option<u64>,
}

/// Serves a shard's users until `cancel`; then tells all that this is not their home.
pub(super) async fn run(
    shard: Shard,
    devices: usize,
    inbox: Arc<dyn Inbox>,
    mut commands: mpsc::Receiver<Command>,
    cancel: CancellationToken,
) {
    let mut state = State {
        shard,
        devices,
        users: HashMap::new(),
        tail: Tail::new(now_micros()),
        sources: HashMap::new(),
        last: None,
    };
    while !cancel.is_cancelled() {
        let entries = async {
            inbox.create(shard).await?;
            inbox.read(shard).await
        };
        match entries.await {
            Ok(mut entries) => loop {
                tokio::select! {
                    () = cancel.cancelled() => break,
                    Some(command) = commands.recv() => state.obey(command),
                    entry = entries.next() => match entry {
                        Some(entry) => state.deliver(&entry),
                        None => {
                            state.lost();
                            break;
                        }
                    },
                }
            },
            Err(error) => {
                tracing::warn!(shard, %error, "the inbox can't be read; trying again");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
    commands.close();
    while let Ok(command) = commands.try_recv() {
        if let Command::Open { trunk, connection, .. } = command {
            trunk.closed(vec![connection], ClosedReason::NotHome);
        }
    }
    for user in state.users.values() {
        for each in &user.connections {
            each.trunk.closed(vec![each.connection], ClosedReason::NotHome);
        }
    }
}

/// An event's frame for clients: its cursor is appended to its bytes, nothing is decoded.
#[must_use]
pub fn frame(event: &[u8], cursor: &str) -> Bytes {
    // ServerFrame.event is field 5, Event.cursor field 1, both length-delimited.
    let inner = event.len() + 2 + cursor.len();
    let mut frame = BytesMut::with_capacity(inner + 6);
    frame.put_u8(0x2a);
    encode_varint(inner as u64, &mut frame);
    frame.put_slice(event);
    frame.put_u8(0x0a);
    encode_varint(cursor.len() as u64, &mut frame);
    frame.put_slice(cursor.as_bytes());
    frame.freeze()
}

impl State {
    fn obey(&mut self, command: Command) {
        match command {
            Command::Open { user, trunk, connection, open } => self.open(user, trunk, connection, *open),
            Command::Close { user, trunk, connection } => {
                if let Some(state) = self.users.get_mut(&user) {
                    state.connections.retain(|each| (each.trunk.id, each.connection) != (trunk, connection));
                    self.tidy(user);
                }
            }
            Command::Notify { users, frame } => {
                for user in users {
                    for each in self.users.get(&user).iter().flat_map(|state| &state.connections) {
                        let item = Some(Item::Frame(frame.clone()));
                        each.trunk.send(Downstream { connections: vec![each.connection], item, cursor: String::new() });
                    }
                }
            }
        }
    }

    fn tidy(&mut self, user: UserId) {
        if self.users.get(&user).is_some_and(|state| state.connections.is_empty() && state.recent.is_empty()) {
            self.users.remove(&user);
        }
    }

    fn open(&mut self, user: UserId, trunk: Arc<Trunk>, connection: u64, open: Open) {
        let state = self.users.entry(user).or_default();
        let device = open.device.map(|device| device.id).unwrap_or_default();
        if let Some(same) = state.connections.iter().position(|each| each.device == device) {
            let old = state.connections.remove(same);
            old.trunk.closed(vec![old.connection], ClosedReason::Replaced);
        }
        if state.connections.len() >= self.devices {
            return trunk.closed(vec![connection], ClosedReason::TooMany);
        }
        let (resume, from) = match open.resume.parse::<Cursor>() {
            Ok(cursor) if self.tail.holds(cursor) => (Resume::Resumed, cursor),
            _ => {
                let resume = if open.resume.is_empty() { Resume::New } else { Resume::Snapshot };
                (resume, self.tail.since(now_micros() - OVERLAP_MICROS))
            }
        };
        let send = |item: Item, cursor: String| {
            trunk.send(Downstream { connections: vec![connection], item: Some(item), cursor })
        };
        let at = from.to_string();
        send(Item::Opened(Opened { cursor: at.clone(), resume: resume.into() }), at);
        let first = state.recent.partition_point(|place| *place < (from.sequence, from.index));
        for (sequence, index) in state.recent.iter().skip(first) {
            if let Some(frame) = self.tail.frame(*sequence, *index) {
                send(Item::Frame(frame.frame.clone()), frame.cursor.to_string());
            }
        }
        let cursor = self.tail.end().to_string();
        let live = server_frame::Body::Live(Live { cursor: cursor.clone() });
        send(Item::Frame(ServerFrame { id: 0, body: Some(live) }.encode_to_vec().into()), cursor);
        state.connections.push(Connection { trunk, connection, device });
    }

    fn deliver(&mut self, entry: &InboxEntry) {
        let batch = match InboxBatch::decode(entry.payload.clone()) {
            Ok(batch) => batch,
            Err(error) => {
                tracing::error!(shard = self.shard, %error, "an inbox entry can't be read: connections start over");
                return self.lost();
            }
        };
        // What was not read in time is not kept for ever.
        let mut gap = self.last.is_some_and(|last| entry.sequence > last + 1);
        self.last = Some(entry.sequence);
        for source in &batch.sources {
            // Two homes of one shard may publish for a moment, the later one some of it again: what counts is how far
            // the shard has come, by whomever.
            let reached = self.sources.entry(source.shard).or_insert(source.previous);
            gap |= source.previous > *reached;
            *reached = source.position.max(*reached);
        }
        if gap {
            tracing::warn!(shard = self.shard, "an inbox has a gap: connections are told to look for themselves");
            self.forget_tail();
            self.resync();
        }
        let at = |index: usize| Cursor {
            sequence: entry.sequence,
            at_micros: entry.at_micros,
            index: u32::try_from(index).unwrap_or(u32::MAX),
        };
        let mut frames = Vec::with_capacity(batch.deliveries.len());
        for (index, delivery) in batch.deliveries.into_iter().enumerate() {
            let cursor = at(index + 1);
            let text = cursor.to_string();
            let frame = frame(&delivery.event, &text);
            self.push(&delivery.users, &frame, &text, (entry.sequence, at(index).index));
            frames.push(Frame { frame, users: delivery.users, cursor });
        }
        let users = &mut self.users;
        self.tail.push(TailEntry { cursor: at(0), frames }, |left| {
            for user in left.frames.iter().flat_map(|frame| frame.users.chunks_exact(16)) {
                let Ok(user) = UserId::from_slice(user) else { continue };
                if let Some(state) = users.get_mut(&user) {
                    state.recent.pop_front();
                    if state.recent.is_empty() && state.connections.is_empty() {
                        users.remove(&user);
                    }
                }
            }
        });
    }

    /// One item for each trunk that has a connection of a recipient.
    fn push(&mut self, recipients: &[u8], frame: &Bytes, cursor: &str, place: (u64, u32)) {
        let mut trunks: Vec<(Arc<Trunk>, Vec<u64>)> = Vec::new();
        for user in recipients.chunks_exact(16) {
            let Ok(user) = UserId::from_slice(user) else { continue };
            let state = self.users.entry(user).or_default();
            state.recent.push_back(place);
            for each in &state.connections {
                match trunks.iter_mut().find(|(trunk, _)| trunk.id == each.trunk.id) {
                    Some((_, connections)) => connections.push(each.connection),
                    None => trunks.push((each.trunk.clone(), vec![each.connection])),
                }
            }
        }
        for (trunk, connections) in trunks {
            let item = Some(Item::Frame(frame.clone()));
            trunk.send(Downstream { connections, item, cursor: cursor.to_owned() });
        }
    }

    /// The inbox is lost, or can't be trusted: it begins again.
    fn lost(&mut self) {
        self.forget_tail();
        self.resync();
    }

    fn forget_tail(&mut self) {
        self.tail = Tail::new(now_micros());
        self.users.retain(|_, state| {
            state.recent.clear();
            !state.connections.is_empty()
        });
    }

    fn resync(&self) {
        let cursor = self.tail.end().to_string();
        let body = server_frame::Body::Resync(Resync { cursor: cursor.clone() });
        let frame: Bytes = ServerFrame { id: 0, body: Some(body) }.encode_to_vec().into();
        for each in self.users.values().flat_map(|state| &state.connections) {
            let item = Some(Item::Frame(frame.clone()));
            each.trunk.send(Downstream { connections: vec![each.connection], item, cursor: cursor.clone() });
        }
    }
}
