//! A stage for homes: a log in memory that can fail, and databases that have written as much of it as a test says.

use super::super::*;
use crate::{
    ask::Claim,
    connection::{self, Connections},
    inbox::memory::MemoryInbox,
    retry::Key,
    retry::Use,
    room::{
        self,
        facts::{self, Facts},
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use madang_mesh::{
    channel::Channels,
    lease::Tenure,
    log::{Bounds, Entries, Entry, Error},
    registry::memory::MemoryRegistry,
    shard::ShardMap,
};
use madang_proto::{
    client::v1::{Ack, Content, ConversationKind, History, Role},
    group::v1::{RoomMember, RoomState},
    id::{ClientId, UserId},
    log::v1::{Created, JoinedUser, LoggedEvent, MemberSettings, Record, logged_event::Body},
};
use prost::Message as _;
use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};
use tokio::sync::{oneshot, watch};

/// How appends end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// They are in the log.
    Well,
    /// It is full.
    Full,
    /// Nobody answers, and nothing is in the log.
    Silent,
    /// The answer is lost, what was appended is not.
    Forgetful,
}

/// A log of one shard, in memory.
pub struct VecLog {
    entries: Mutex<Vec<Entry>>,
    mood: Mutex<Mood>,
    /// Before its first position.
    base: std::sync::atomic::AtomicU64,
}

impl VecLog {
    pub fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap()
    }

    pub fn mood(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub fn records(&self) -> Vec<Record> {
        self.entries().iter().map(|entry| Record::decode(entry.payload.clone()).unwrap()).collect()
    }
}

#[async_trait]
impl Log for VecLog {
    async fn create(&self, _: Shard) -> Result<(), Error> {
        Ok(())
    }
    async fn append(&self, _: Shard, payload: Bytes, expected: Option<Position>) -> Result<Position, Error> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Full => return Err(Error::Full),
            Mood::Silent => {
                tokio::time::sleep(Duration::from_secs(3)).await;
                return Err(Error::Unknown("no acknowledgement in time".into()));
            }
            Mood::Well | Mood::Forgetful => {}
        }
        let mut entries = self.entries();
        let last = self.base.load(SeqCst) + entries.len() as u64;
        if let Some(expected) = expected.filter(|expected| *expected != last) {
            return Err(Error::Conflict { expected });
        }
        entries.push(Entry { position: last + 1, at_micros: now_micros(), payload });
        if mood == Mood::Forgetful { Err(Error::Unknown("lost".into())) } else { Ok(last + 1) }
    }
    async fn bounds(&self, _: Shard) -> Result<Bounds, Error> {
        let base = self.base.load(SeqCst);
        Ok(Bounds { first: base + 1, last: base + self.entries().len() as u64, bytes: 0 })
    }
    async fn read(&self, _: Shard, from: Position) -> Result<Entries, Error> {
        let entries: Vec<_> = self.entries().iter().filter(|entry| entry.position >= from).cloned().map(Ok).collect();
        Ok(stream::iter(entries).chain(stream::pending()).boxed())
    }
    async fn begin_after(&self, _: Shard, position: Position) -> Result<(), Error> {
        self.base.store(position, SeqCst);
        Ok(())
    }
    async fn trim(&self, _: Shard, _: Position) -> Result<(), Error> {
        Ok(())
    }
}

/// The databases: they have the log up to `written`.
pub struct Databases {
    pub log: Arc<VecLog>,
    pub written: Mutex<Position>,
    pub down: AtomicBool,
    /// What is asked of them panics.
    pub ill: AtomicBool,
    pub rooms_asked: AtomicUsize,
    pub ids_asked: AtomicUsize,
    /// Held while client ids are read and not answered yet.
    pub ids_slow: tokio::sync::Mutex<()>,
    /// Why client ids can't be had, of since before a time.
    pub no_ids: Mutex<Option<(i64, Refusal)>>,
    pub messages_asked: AtomicUsize,
    /// What a log had that is lost.
    before: Mutex<Vec<LoggedEvent>>,
    /// How far store-svc is behind group-svc.
    pub behind: AtomicUsize,
    /// Who blocks whom.
    pub blocks: Mutex<HashSet<Pair>>,
    pub blocks_asked: AtomicUsize,
    /// Held while whether there is a block is read and not answered yet.
    pub blocks_slow: tokio::sync::Mutex<()>,
}

impl Databases {
    fn events(&self) -> Vec<LoggedEvent> {
        let written = self.written.lock().unwrap().saturating_sub(self.log.base.load(SeqCst)) as usize;
        let events = self.log.records().into_iter().take(written).flat_map(|record| record.events);
        self.before.lock().unwrap().iter().cloned().chain(events).collect()
    }

    /// The log and all that was said about it are gone; what is written stays.
    pub fn lose_the_log(&self) {
        let events = self.events();
        *self.before.lock().unwrap() = events;
        self.log.entries().clear();
    }

    fn room(&self, id: &ConversationId) -> Option<Room> {
        let mut found: Option<Room> = None;
        for event in self.events().iter().filter(|event| event.conversation[..] == id.bytes()[..]) {
            assert!(found.get_or_insert_with(|| Room::begun(room::nothing(event))).replay(event), "a hole");
        }
        found
    }

    /// What somebody has set last, who may have left since.
    fn set(&self, id: &ConversationId, user: &UserId) -> Option<MemberSettings> {
        let events = self.events();
        let of = |event: &&LoggedEvent| event.conversation[..] == id.bytes()[..] && event.actor[..] == user.bytes()[..];
        events.iter().rev().filter(of).find_map(|event| match &event.body {
            Some(Body::Settings(set)) => Some(set.clone()),
            _ => None,
        })
    }

    fn up(&self) -> Result<(), Refusal> {
        assert!(!self.ill.load(SeqCst), "the databases have what nobody has thought of");
        if self.down.load(SeqCst) { Err(moving()) } else { Ok(()) }
    }
}

#[async_trait]
impl Sources for Databases {
    async fn rooms(&self, ids: &[ConversationId], _: Position) -> Result<HashMap<ConversationId, RoomState>, Refusal> {
        self.up()?;
        self.rooms_asked.fetch_add(ids.len(), SeqCst);
        let state = |id: &ConversationId| {
            let room = self.room(id)?;
            let member = |(user, member): (&UserId, &room::Member)| RoomMember {
                user: user.bytes().to_vec(),
                role: member.role.into(),
                joined_revision: member.joined_revision,
                joined_seq: member.joined_seq,
                read_seq: room.marks.get(user).copied().unwrap_or(0),
                settings: self.set(id, user),
                ..RoomMember::default()
            };
            let state = RoomState {
                kind: room.state.kind.into(),
                history: room.state.history.into(),
                revision: room.state.revision,
                last_seq: room.state.last_seq,
                last_at_micros: room.state.last_at_micros,
                members: room.state.members.all().map(member).collect(),
                ..RoomState::default()
            };
            Some((*id, state))
        };
        Ok(ids.iter().filter_map(state).collect())
    }

    async fn client_ids(
        &self,
        conversation: ConversationId,
        since_micros: i64,
        revision: u64,
    ) -> Result<Vec<(Key, Use)>, Refusal> {
        self.up()?;
        self.ids_asked.fetch_add(1, SeqCst);
        drop(self.ids_slow.lock().await);
        match &*self.no_ids.lock().unwrap() {
            Some((before, refusal)) if since_micros < *before => return Err(refusal.clone()),
            _ => {}
        }
        if self.room(&conversation).is_none_or(|room| room.state.revision < revision) {
            return Err(moving());
        }
        let events = self.events().into_iter();
        let of = events.filter(|e| e.conversation[..] == conversation.bytes()[..] && e.at_micros >= since_micros);
        let uses = of.filter_map(|event| crate::retry::used(&event));
        Ok(uses.collect())
    }

    async fn message(&self, id: ConversationId, seq: u64, revision: u64) -> Result<Facts, Refusal> {
        self.up()?;
        self.messages_asked.fetch_add(1, SeqCst);
        if self.room(&id).is_none_or(|room| room.state.revision < revision) {
            return Err(moving());
        }
        let events = self.events();
        let of = events.iter().filter(|event| event.conversation[..] == id.bytes()[..]);
        facts::of(of, seq).ok_or_else(|| room::no_message(seq))
    }

    async fn cursors(&self, _: Shard) -> Result<[Position; 2], Refusal> {
        self.up()?;
        let written = *self.written.lock().unwrap();
        Ok([written - self.behind.load(SeqCst) as u64, written])
    }

    async fn grouped(&self, _: Shard) -> Result<Position, Refusal> {
        self.up()?;
        Ok(*self.written.lock().unwrap())
    }

    async fn known(&self, users: &HashSet<UserId>) -> Result<HashSet<UserId>, Refusal> {
        self.up()?;
        Ok(users.clone())
    }

    async fn blocked(&self, pairs: &[Pair]) -> Result<HashSet<Pair>, Refusal> {
        self.up()?;
        self.blocks_asked.fetch_add(1, SeqCst);
        let found = {
            let blocks = self.blocks.lock().unwrap();
            pairs.iter().filter(|(a, b)| blocks.contains(&(*a, *b)) || blocks.contains(&(*b, *a))).copied().collect()
        };
        drop(self.blocks_slow.lock().await);
        Ok(found)
    }
}

/// A log, databases, and what homes need besides.
pub struct Stage {
    pub log: Arc<VecLog>,
    pub databases: Arc<Databases>,
    pub registry: Arc<MemoryRegistry>,
    pub memory: usize,
    pub members: usize,
    pub held: watch::Sender<BTreeSet<Shard>>,
}

/// A home at work.
pub struct Running {
    pub handle: HomeHandle,
    pub cancel: CancellationToken,
    pub task: tokio::task::JoinHandle<Result<Option<Left>, String>>,
}

impl Stage {
    pub fn new() -> Self {
        let log = Arc::new(VecLog { entries: Mutex::default(), mood: Mutex::new(Mood::Well), base: 0.into() });
        let databases = Arc::new(Databases {
            log: log.clone(),
            written: Mutex::default(),
            down: AtomicBool::new(false),
            ill: AtomicBool::new(false),
            rooms_asked: AtomicUsize::new(0),
            ids_asked: AtomicUsize::new(0),
            ids_slow: tokio::sync::Mutex::default(),
            no_ids: Mutex::default(),
            messages_asked: AtomicUsize::new(0),
            before: Mutex::default(),
            behind: AtomicUsize::new(0),
            blocks: Mutex::default(),
            blocks_asked: AtomicUsize::new(0),
            blocks_slow: tokio::sync::Mutex::default(),
        });
        Self {
            log,
            databases,
            registry: Arc::new(MemoryRegistry::new()),
            memory: 1 << 20,
            members: 200,
            held: watch::Sender::new([0].into()),
        }
    }

    pub fn world(&self) -> World {
        let (cancel, channels, inbox) = (CancellationToken::new(), Channels::new(), Arc::new(MemoryInbox::new()));
        let (_, held) = watch::channel(BTreeSet::new());
        let (_, map) = watch::channel(ShardMap::default());
        let fan_out = FanOut::spawn(inbox.clone(), 1, "test".into(), cancel.clone());
        let peers = connection::Peers {
            fan_out: fan_out.clone(),
            map: watch::Receiver::clone(&map),
            process: "test".into(),
            channels: channels.clone(),
            registry: self.registry.clone(),
        };
        let config = connection::Config { shards: 1, devices: 16, tail_bytes: 1 << 20 };
        let connections =
            Connections::spawn(inbox, Arc::new(peers), config, crate::presence::Board::new(1, false), held, cancel);
        let notices = Notices::new(connections, map, "test".into(), channels);
        World {
            log: self.log.clone(),
            registry: self.registry.clone(),
            fan_out,
            typing: Typing::new(notices.clone(), self.databases.clone()),
            notices,
            sources: self.databases.clone(),
            process: "test".into(),
            format: madang_proto::record::USUAL,
            limits: Limits { members: self.members },
            memory: Memory::new(self.memory),
            lag_bytes: 256 << 20,
            tenure: Tenure::of(self.held.subscribe()),
        }
    }

    /// The databases have written so much, and say so.
    pub async fn write(&self, position: Position) {
        *self.databases.written.lock().unwrap() = position;
        for reader in ["store", "group"] {
            self.registry.put(&format!("progress.{reader}.0"), position.to_string().into()).await.unwrap();
        }
    }

    /// A home that serves.
    pub async fn home(&self, before: Option<shelf::Ask>) -> Running {
        let (sender, serving) = oneshot::channel();
        let cancel = CancellationToken::new();
        let run = run(0, self.world(), before, |handle| drop(sender.send(handle)), cancel.clone());
        let task = tokio::spawn(run);
        let Ok(handle) = serving.await else { panic!("{:?}", task.await.unwrap().err()) };
        Running { handle, cancel, task }
    }

    /// What keeps a process from being home, if anything does.
    pub async fn refusal(&self) -> Option<String> {
        replay::take_over(0, self.world(), None).await.err()
    }
}

impl Running {
    pub fn ask(
        &self,
        conversation: ConversationId,
        actor: UserId,
        what: What,
    ) -> oneshot::Receiver<Result<Ack, Refusal>> {
        self.ask_large(10, conversation, actor, what)
    }

    /// Asks what takes so many bytes.
    pub fn ask_large(
        &self,
        bytes: usize,
        conversation: ConversationId,
        actor: UserId,
        what: What,
    ) -> oneshot::Receiver<Result<Ack, Refusal>> {
        let (answer, answered) = oneshot::channel();
        let answer = Box::new(move |result| drop(answer.send(result)));
        self.handle.ask(Ask { conversation, actor: Some(actor), what, claim: Claim::of(bytes), trace: None, answer });
        answered
    }

    /// Says something to somebody.
    pub async fn send(&self, from: UserId, to: UserId, client_id: ClientId) -> Result<Ack, Refusal> {
        self.ask(ConversationId::direct(from, to), from, what(to, client_id)).await.unwrap()
    }

    /// Makes a group of some, whose owner is the first.
    pub async fn group(&self, people: &[UserId]) -> ConversationId {
        self.group_with(people, History::SinceJoined).await
    }

    /// The same, which shows this to who comes.
    pub async fn group_with(&self, people: &[UserId], history: History) -> ConversationId {
        let group = ConversationId::new();
        let joined = |user: &UserId| JoinedUser {
            user: user.bytes().to_vec().into(),
            role: if *user == people[0] { Role::Owner.into() } else { Role::Member.into() },
        };
        let kind = ConversationKind::Group.into();
        let created = Created {
            kind,
            history: history.into(),
            members: people.iter().map(joined).collect(),
            ..Created::default()
        };
        self.ask(group, people[0], What::Request(Request::Create(created), 0)).await.unwrap().unwrap();
        group
    }

    /// Stops it; what it leaves.
    pub async fn stop(self) -> Option<Left> {
        self.cancel.cancel();
        self.task.await.unwrap().unwrap()
    }
}

pub fn what(to: UserId, client_id: ClientId) -> What {
    saying(Some(to), client_id)
}

pub fn saying(first_to: Option<UserId>, client_id: ClientId) -> What {
    let content = Content { text: "hi".into(), ..Content::default() };
    What::Request(Request::Send { first_to, client_id, hash: 1, content }, client_id.at_ms().unwrap())
}

/// As if it had come over the wire.
pub fn handed(left: Left) -> shelf::Ask {
    Box::new(move |_| {
        async move {
            let parts: Vec<Result<_, tonic::Status>> = left.send().map(Ok).collect();
            Some(Left::receive(stream::iter(parts)).await.unwrap())
        }
        .boxed()
    })
}
