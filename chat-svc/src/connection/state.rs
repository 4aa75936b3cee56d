//! What a shard's home of users knows: who is connected, the tail of their inbox, and how far it has come with each
//! source. What always holds: a connection is sent everything after its cursor in order, or told that it is not.

mod lost;
mod missed;

use super::{
    Command,
    delivered::Arrivals,
    frame::frame,
    reach::{Ask, LISTED, Reach},
    spread::spread,
    tail::{Budget, Place, Tail, TailEntry, TailEvent},
    trunk::Trunk,
};
use crate::{
    cursor::Cursor,
    fan_out::Rewound,
    inbox::{Heard, InboxEntry},
    presence::{Board, Present, Watching},
};
use madang_mesh::{
    clock::now_micros,
    log::Position,
    shard::Shard,
    trace::{Kind, Span},
};
use madang_proto::{
    chat::v1::{ClosedReason, Downstream, Open, Opened, downstream::Item},
    client::v1::{Live, Resume, ServerFrame, server_frame},
    id::UserId,
    log::v1::{Delivery, InboxBatch, InboxBeacon},
};
use prost::Message as _;
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// How far back a new connection begins.
const OVERLAP: Duration = Duration::from_secs(30);

/// What is no shard: the source of events that are of no conversation.
const OWN: Shard = Shard::MAX;

pub(super) struct Connection {
    pub trunk: Arc<Trunk>,
    pub connection: u64,
    pub device: String,
    /// When its client said hello.
    hello_at: i64,
    /// What it has shown to have is before this.
    pub confirmed: Option<Place>,
    /// Ends with the connection.
    pub watching: Option<Watching>,
    _present: Present,
}

#[derive(Default)]
pub(super) struct User {
    pub connections: Vec<Connection>,
    /// Where in the tail their events are.
    pub recent: VecDeque<Place>,
}

/// What it knows.
pub(super) struct State {
    shard: Shard,
    /// How many sockets a user has at most.
    devices: usize,
    pub(super) users: HashMap<UserId, User>,
    pub(super) tail: Tail,
    pub(super) arrivals: Arrivals,
    reach: Reach,
    /// Since when it looks for what it needs to serve new connections.
    since: Instant,
    /// The inbox has been read to its end: when it is known that it was last.
    read: Option<Instant>,
    /// What comes is all there is.
    complete: bool,
    /// Since it was opened, the inbox has been read to its end.
    caught_up: bool,
    at_end: bool,
    /// Something may be missing since the inbox was opened again. The cursor of whoever has all that was before: who
    /// gets what comes after keeps this one.
    frozen: Option<Cursor>,
    reopened: bool,
    /// Cursors before this entry are of no use: who had them was told to look for themselves.
    barrier: u64,
    /// Before which entry lists have all of a source, and the tail has not.
    listed: BTreeMap<Shard, u64>,
    /// What has left the tail though it was not old, by source: up to where, and when it was read.
    cut: BTreeMap<Shard, (Position, Instant)>,
    stored: BTreeMap<Shard, Position>,
    board: Board,
}

/// How a connection begins.
enum Begin {
    At(Resume, Place, Cursor),
    /// That can't be said yet.
    Later,
}

impl State {
    /// Knows nothing yet.
    pub fn new(shard: Shard, shards: u32, devices: usize, budget: Arc<Budget>, board: Board) -> Self {
        Self {
            shard,
            devices,
            users: HashMap::new(),
            tail: Tail::new(now_micros(), budget),
            arrivals: Arrivals::default(),
            reach: Reach::new(shards),
            since: Instant::now(),
            read: None,
            complete: false,
            caught_up: false,
            at_end: false,
            frozen: None,
            reopened: false,
            barrier: 0,
            listed: BTreeMap::new(),
            cut: BTreeMap::new(),
            stored: BTreeMap::new(),
            board,
        }
    }

    pub fn obey(&mut self, command: Command) {
        match command {
            Command::Open { user, trunk, connection, open } => self.open(user, trunk, connection, *open),
            Command::Close { user, trunk, connection } => {
                if let Some(state) = self.users.get_mut(&user) {
                    state.connections.retain(|each| (each.trunk.id, each.connection) != (trunk, connection));
                    if state.connections.is_empty() && state.recent.is_empty() {
                        self.users.remove(&user);
                    }
                }
            }
            Command::Watch { user, trunk, connection, watching } => {
                let connections = self.users.get_mut(&user).map(|state| &mut state.connections);
                let mut all = connections.into_iter().flatten();
                if let Some(each) = all.find(|each| (each.trunk.id, each.connection) == (trunk, connection)) {
                    each.watching = watching;
                }
            }
            // Without a frame: whom they may see is to be looked at anew.
            Command::Notify { users, frame } if frame.is_empty() => {
                let all = users.iter().filter_map(|user| self.users.get(user)).flat_map(|state| &state.connections);
                all.filter_map(|each| each.watching.as_ref()).for_each(Watching::doubt);
            }
            Command::Notify { users, frame } => {
                for each in users.iter().filter_map(|user| self.users.get(user)).flat_map(|state| &state.connections) {
                    let item = Some(Item::Frame(frame.clone()));
                    each.trunk.offer(Downstream { connections: vec![each.connection], item, ..Downstream::default() });
                }
            }
            Command::Delivered { user, trunk, connection, cursor } => self.delivered(user, trunk, connection, &cursor),
            // Who asked may have gone.
            Command::AskDelivered { questions, answer } => drop(answer.send(self.who_has(questions))),
        }
    }

    /// It is served from now on, perhaps again: nothing is being read or asked yet.
    pub fn begun(&mut self) {
        (self.caught_up, self.at_end) = (false, false);
        self.reach.begun();
    }

    /// The inbox is read from its beginning, perhaps another than before.
    pub fn opened(&mut self) {
        // Before anything was read there was nothing that could be missing now.
        self.reopened |= self.read.is_some() || self.reach.has_begun();
        (self.caught_up, self.at_end) = (false, false);
        self.reach.opened();
    }

    /// Heeds what the inbox says; whether sources should be asked at once.
    pub fn hear(&mut self, heard: Heard) -> bool {
        match heard {
            Heard::Entry(entry) => {
                self.at_end = false;
                self.deliver(&entry);
                false
            }
            Heard::End => {
                let now = Instant::now();
                if self.read.is_none() {
                    self.tail.age(now);
                    let tail = &self.tail;
                    self.reach.aged(|place| tail.received(place));
                }
                (self.read, self.at_end) = (Some(now), true);
                let first = !std::mem::replace(&mut self.caught_up, true);
                if first {
                    self.reach.read(now);
                }
                first
            }
            Heard::Beacon(payload) => {
                for source in InboxBeacon::decode(payload).map(|beacon| beacon.sources).unwrap_or_default() {
                    self.reach.announced(source.shard, source.position, Instant::now());
                }
                false
            }
        }
    }

    /// What to ask sources for.
    pub fn asks(&mut self) -> Vec<Ask> {
        let now = Instant::now();
        match self.read {
            Some(read) => self.reach.asks(if self.at_end { now } else { read }, now),
            None => Vec::new(),
        }
    }

    /// A source has answered.
    pub fn rewound(&mut self, ask: Ask, answer: Option<Rewound>) {
        self.reach.answered(ask, answer, Instant::now());
    }

    /// Whether the inbox seems not to be read, since what was sent to it does not come; says so once.
    pub fn deaf(&mut self) -> bool {
        self.reach.deaf()
    }

    /// Of which sources somebody waits for the databases.
    pub fn unstored(&mut self) -> Vec<Shard> {
        let mut wanted: Vec<_> = self.missing_before().map(|(shard, _)| shard).collect();
        wanted.extend(self.reach.lost().map(|(shard, ..)| shard));
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    /// Up to where the databases have come.
    pub fn stored(&mut self, positions: &[(Shard, Option<Position>)]) {
        for (shard, position) in positions {
            if let Some(position) = position {
                let known = self.stored.entry(*shard).or_default();
                *known = (*known).max(*position);
            }
        }
        self.heed_lost();
    }

    /// What has to be done from time to time.
    pub fn tidy_up(&mut self) {
        self.let_go();
        self.heed_lost();
        self.thaw();
    }

    /// Tells all that this is not their home.
    pub fn close(&mut self) {
        for each in self.users.values_mut().flat_map(|user| user.connections.drain(..)) {
            each.trunk.closed(vec![each.connection], ClosedReason::NotHome);
        }
        self.users.retain(|_, user| !user.recent.is_empty());
    }

    /// What is before the tail's beginning, and may be in no list yet.
    fn missing_before(&self) -> impl Iterator<Item = (Shard, Position)> {
        let now = Instant::now();
        let cut = self.cut.iter().filter(move |(_, (_, at))| now - *at < LISTED);
        let cut = cut.map(|(shard, (position, _))| (*shard, *position));
        let stored = |shard| self.stored.get(&shard).copied().unwrap_or(0);
        self.reach.before(now).chain(cut).filter(move |(shard, position)| *position > stored(*shard))
    }

    /// Whether a connection may begin with lists: what these have and what the tail has overlap.
    fn overlaps(&self) -> bool {
        let waited = self.since.elapsed() >= LISTED;
        self.read.is_some() && (waited || self.reach.all_known()) && self.missing_before().next().is_none()
    }

    fn begin(&self, resume: &str) -> Begin {
        let cursor = resume.parse::<Cursor>().ok();
        let place = cursor.and_then(|cursor| self.tail.place(cursor));
        if let (Some(cursor), Some(place)) = (cursor, place)
            && self.tail.number(cursor, place) >= self.barrier
        {
            match self.reach.known_from() {
                Some(from) if from <= self.tail.number(cursor, place) => {
                    return Begin::At(Resume::Resumed, place, cursor);
                }
                None if self.since.elapsed() < LISTED => return Begin::Later,
                _ => {}
            }
        }
        // What is not known yet may come to be.
        if cursor.is_some() && place.is_none() && !self.caught_up || !self.overlaps() {
            return Begin::Later;
        }
        let resume = if resume.is_empty() { Resume::New } else { Resume::Snapshot };
        let since = Instant::now().checked_sub(OVERLAP).unwrap_or(self.since);
        let (first, cursor) = self.tail.since(since);
        let frozen = self.frozen.and_then(|frozen| Some((self.tail.place(frozen)?, frozen)));
        match frozen.filter(|(place, _)| *place < (first, 0)) {
            Some((place, frozen)) => Begin::At(resume, place, frozen),
            None => Begin::At(resume, (first, 0), cursor),
        }
    }

    /// From here on it has everything, and a place of its own says so.
    fn take_stock(&mut self) {
        if !self.complete && self.overlaps() {
            self.complete = true;
            self.tail.stake(now_micros());
        }
    }

    fn open(&mut self, user: UserId, trunk: Arc<Trunk>, connection: u64, open: Open) {
        self.take_stock();
        if !trunk.has_room() {
            // Many begin at once: what all have missed must not end the stream that they share.
            return trunk.closed(vec![connection], ClosedReason::Unavailable);
        }
        let Begin::At(resume, place, from) = self.begin(&open.resume) else {
            return trunk.closed(vec![connection], ClosedReason::Unavailable);
        };
        let missed = self.missed(user, place);
        if missed.more && missed.reached().is_none_or(|reached| reached == from) {
            // It would begin at the same place again: that does not stand still for long.
            return trunk.closed(vec![connection], ClosedReason::Unavailable);
        }
        let device = open.device.map(|device| device.id).unwrap_or_default();
        let state = self.users.entry(user).or_default();
        if let Some(same) = state.connections.iter().position(|each| each.device == device) {
            // One that its gateway opens again may be of a network that the device has left meanwhile.
            if open.again && state.connections[same].hello_at > open.hello_at {
                return trunk.closed(vec![connection], ClosedReason::Replaced);
            }
            let old = state.connections.remove(same);
            old.trunk.closed(vec![old.connection], ClosedReason::Replaced);
        }
        if state.connections.len() >= self.devices {
            return trunk.closed(vec![connection], ClosedReason::TooMany);
        }
        let send = |item: Item, cursor: String| {
            trunk.send(Downstream { connections: vec![connection], item: Some(item), cursor, ..Downstream::default() })
        };
        let at = from.to_string();
        send(Item::Opened(Opened { cursor: at.clone(), resume: resume.into() }), at);
        for (event, cursor) in missed.events {
            let text = cursor.to_string();
            send(Item::Frame(frame(&event, &text)), text);
        }
        if missed.more {
            return trunk.closed(vec![connection], ClosedReason::Behind);
        }
        let cursor = self.frozen.unwrap_or(self.tail.end()).to_string();
        let live = server_frame::Body::Live(Live { cursor: cursor.clone() });
        send(Item::Frame(ServerFrame { id: 0, body: Some(live) }.encode_to_vec().into()), cursor);
        let present = self.board.present(user);
        let (confirmed, watching) = (None, None);
        state.connections.push(Connection {
            trunk,
            connection,
            device,
            hello_at: open.hello_at,
            confirmed,
            watching,
            _present: present,
        });
    }

    fn deliver(&mut self, entry: &InboxEntry) {
        let batch = InboxBatch::decode(entry.payload.clone()).ok().filter(|batch| {
            let counted: usize = batch.sources.iter().map(|source| source.deliveries as usize).sum();
            counted == batch.deliveries.len()
        });
        let Some(batch) = batch else {
            // What it had is missed with the next entry, and sent again.
            return tracing::error!(shard = self.shard, "an inbox entry can't be read: it is passed over");
        };
        let now = Instant::now();
        let number = self.tail.next();
        let mut events = Vec::with_capacity(batch.deliveries.len());
        let mut traces = Vec::new();
        let mut sources = Vec::with_capacity(batch.sources.len());
        let mut deliveries = batch.deliveries.into_iter();
        let mut index = 0;
        for source in &batch.sources {
            let new = self.reach.take(source, number, now);
            if new && source.deliveries > 0 {
                sources.push((source.shard, source.position));
                self.arrivals.note(source.shard, source.position, number);
            }
            for delivery in deliveries.by_ref().take(source.deliveries as usize) {
                index += 1;
                if new {
                    let Delivery { event, users, trace } = delivery;
                    if !trace.is_empty() {
                        traces.push((events.len(), trace));
                    }
                    events.push(TailEvent { event, users, source: source.shard, index });
                }
            }
        }
        // What is of no conversation has no position: it is known by where it is in the inbox, if that is read once more.
        let here = Cursor { sequence: entry.sequence, at_micros: entry.at_micros, index: 0 };
        let again = !batch.own.is_empty() && self.tail.place(here).is_some();
        for Delivery { event, users, .. } in batch.own.into_iter().filter(|_| !again) {
            index += 1;
            events.push(TailEvent { event, users, source: OWN, index });
        }
        self.freeze();
        self.thaw();
        if events.is_empty() {
            return;
        }
        let (sequence, at_micros) = (entry.sequence, entry.at_micros);
        let entry = TailEntry { sequence, at_micros, received: now, events, sources };
        let mut traces = traces.into_iter().peekable();
        for (slot, event) in (0u32..).zip(&entry.events) {
            let cursor = self.frozen.unwrap_or(entry.cursor(event.index)).to_string();
            let trace = traces.next_if(|(place, _)| *place == slot as usize).map(|(_, trace)| trace);
            let span = Span::of(&trace.unwrap_or_default(), "chat", "deliver", Kind::Consumer);
            spread(&mut self.users, event, &cursor, (number, slot), span);
        }
        self.tail.push(entry);
        self.let_go();
    }

    /// What is too old or too much leaves the tail.
    fn let_go(&mut self) {
        let now = Instant::now();
        while let Some(left) = self.tail.pop(now) {
            for user in left.events.iter().flat_map(|event| event.users.chunks_exact(16)) {
                let Ok(user) = UserId::from_slice(user) else { continue };
                if let Some(state) = self.users.get_mut(&user) {
                    state.recent.pop_front();
                    if state.recent.is_empty() && state.connections.is_empty() {
                        self.users.remove(&user);
                    }
                }
            }
            if now - left.received < LISTED {
                for (shard, position) in left.sources {
                    self.cut.insert(shard, (position, left.received));
                }
            }
        }
        self.cut.retain(|_, (_, at)| now - *at < LISTED);
    }
}
