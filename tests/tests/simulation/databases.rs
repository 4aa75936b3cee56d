//! The simulated databases: rows of conversations as group-svc's, and messages as store-svc's, written by the real
//! subscription from the log; and what reads them. What was written stays; whoever writes may be stopped at any time.

use super::{
    check,
    clock::{self, MS, between, chance},
    log,
    net::{self, Port},
};
use async_trait::async_trait;
use bytes::Bytes;
use madang_chat::{
    home::Sources,
    retry::{self, Key, Use},
    room::{
        facts::{self, Facts},
        no_message,
    },
};
use madang_mesh::{
    log::{Entry, Position},
    shard::Shard,
    subscription::{HandleError, Handler, Lag, STALE},
};
use madang_proto::{
    group::v1::{RoomMember, RoomState},
    id::{ConversationId, UserId},
    log::v1::{JoinedUser, LoggedEvent, Record, logged_event::Body},
    reason::{Reason, Refusal},
};
use prost::Message as _;
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, HashSet},
};

/// Which of the two readers of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Conversations and their members.
    Group,
    /// Messages and client ids.
    Store,
}

impl Reader {
    /// Its group's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Store => "store",
        }
    }
}

#[derive(Default)]
struct State {
    rows: BTreeMap<ConversationId, RoomState>,
    events: BTreeMap<ConversationId, Vec<LoggedEvent>>,
    cursors: [BTreeMap<Shard, Position>; 2],
    /// Where in the log of its shard somebody left a room last.
    left: BTreeMap<(ConversationId, Vec<u8>), Position>,
    /// A process that reads and answers; none: nobody does.
    serving: Option<Serving>,
    slow: bool,
}

/// A process that answers for the databases.
#[derive(Clone)]
pub struct Serving {
    /// Its number.
    pub process: usize,
    /// How far behind the rows of conversations are, as far as it knows.
    pub group: Lag,
    /// Since when a chat-svc has said who is home, nanoseconds; none: nobody does.
    pub hears_since: Option<u64>,
}

/// So much older than [`STALE`] a list may be that a process shows which is cut off: what was proven last is a look old.
const LATE: u64 = 5000 * MS;

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

fn state<T>(act: impl FnOnce(&mut State) -> T) -> T {
    STATE.with_borrow_mut(act)
}

/// The process that answers hears who is home, or does not.
pub fn hears(process: usize, since: Option<u64>) {
    state(|state| {
        if let Some(serving) = state.serving.as_mut().filter(|serving| serving.process == process) {
            serving.hears_since = since;
        }
    });
}

/// Says who answers; none: nobody does.
pub fn serve(serving: Option<Serving>) {
    state(|state| state.serving = serving);
}

/// Writing takes long, or does not.
pub fn set_slow(slow: bool) {
    state(|state| state.slow = slow);
}

/// Up to where both have written.
pub fn slowest(shard: Shard) -> Position {
    state(|state| state.cursors.iter().map(|cursors| cursors.get(&shard).copied().unwrap_or(0)).min().unwrap_or(0))
}

/// How far both have come with a room.
pub fn revisions(id: ConversationId) -> (u64, u64) {
    state(|state| {
        let stored = state.events.get(&id).map_or(0, |events| events.len() as u64);
        (state.rows.get(&id).map_or(0, |row| row.revision), stored)
    })
}

/// What history has of a room, up to an event.
pub fn stored(id: ConversationId, revision: u64) -> Vec<LoggedEvent> {
    let up_to = usize::try_from(revision).unwrap_or(usize::MAX);
    state(|state| state.events.get(&id).map_or(Vec::new(), |events| events.iter().take(up_to).cloned().collect()))
}

/// A reader of the log in one process.
pub struct Projection {
    /// Which.
    pub reader: Reader,
    /// The process.
    pub process: usize,
}

#[async_trait]
impl Handler for Projection {
    async fn cursor(&self, shard: Shard) -> Result<Position, HandleError> {
        let reader = self.reader as usize;
        let asked = net::call(self.process, Port::Database, move || {
            state(|state| state.cursors[reader].get(&shard).copied().unwrap_or(0))
        });
        asked.await.map_err(|_| HandleError::Retry("timed out".into()))
    }

    async fn again_from(&self, shard: Shard) -> Result<Position, HandleError> {
        // The store's acknowledgement is not an fsync: it goes back a little.
        let back = if self.reader == Reader::Store { between(0, 20) } else { 0 };
        Ok(self.cursor(shard).await?.saturating_sub(back))
    }

    async fn handle(&self, shard: Shard, entries: &[Entry]) -> Result<(), HandleError> {
        let mut events = Vec::new();
        for entry in entries {
            let record = Record::decode(entry.payload.clone()).map_err(|error| HandleError::Stop(error.to_string()))?;
            events.extend(record.events);
        }
        let Some(last) = entries.last().map(|entry| entry.position) else { return Ok(()) };
        if state(|state| state.slow) {
            net::pause(between(100 * MS, 3000 * MS)).await;
        }
        let reader = self.reader;
        let written =
            net::call(self.process, Port::Database, move || state(|state| state.write(reader, shard, &events, last)));
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(hole)) => {
                check::wrong(format!("{} can't go on in shard {shard}: {hole}", reader.name()));
                Err(HandleError::Stop(hole))
            }
            Err(_) => Err(HandleError::Retry("timed out".into())),
        }
    }
}

impl State {
    fn write(
        &mut self,
        reader: Reader,
        shard: Shard,
        events: &[LoggedEvent],
        position: Position,
    ) -> Result<(), String> {
        for event in events {
            let id = ConversationId::from_slice(&event.conversation).map_err(|error| error.to_string())?;
            if let Some(Body::Settings(new)) = &event.body {
                // The row takes what is later; history has none of it.
                let row = self.rows.get_mut(&id).filter(|_| matches!(reader, Reader::Group));
                let member =
                    row.and_then(|row| row.members.iter_mut().find(|member| member.user[..] == event.actor[..]));
                if let Some(member) = member
                    && member.settings.as_ref().is_none_or(|set| set.updated_at_ms < new.updated_at_ms)
                {
                    member.settings = Some(new.clone());
                }
                continue;
            }
            let has = match reader {
                Reader::Group => self.rows.entry(id).or_default().revision,
                Reader::Store => self.events.entry(id).or_default().len() as u64,
            };
            if event.revision <= has {
                continue;
            }
            if event.revision != has + 1 {
                return Err(format!("{id} has revision {has} and the log goes on at {}", event.revision));
            }
            match reader {
                Reader::Group => {
                    apply(self.rows.entry(id).or_default(), event);
                    if let Some(Body::Left(left)) = &event.body {
                        self.left.extend(left.users.iter().map(|user| ((id, user.to_vec()), position)));
                    }
                }
                Reader::Store => self.events.entry(id).or_default().push(event.clone()),
            }
        }
        let cursor = self.cursors[reader as usize].entry(shard).or_default();
        *cursor = position.max(*cursor);
        Ok(())
    }
}

fn apply(row: &mut RoomState, event: &LoggedEvent) {
    row.conversation = event.conversation.to_vec();
    (row.revision, row.last_seq, row.last_at_micros) = (event.revision, event.last_seq, event.at_micros);
    let mut join = |joined: &[JoinedUser]| {
        for each in joined {
            let member = RoomMember {
                user: each.user.to_vec(),
                role: each.role,
                joined_revision: event.revision,
                joined_seq: event.last_seq,
                joined_at_micros: event.at_micros,
                left_revision: 0,
                read_seq: event.last_seq,
                settings: row.members.iter().find(|old| old.user == each.user).and_then(|old| old.settings.clone()),
            };
            row.members.retain(|old| old.user != each.user);
            row.members.push(member);
        }
    };
    match &event.body {
        Some(Body::Created(created)) => {
            join(&created.members);
            (row.kind, row.history, row.name) = (created.kind, created.history, created.name.clone());
        }
        Some(Body::Joined(joined)) => join(&joined.members),
        Some(Body::Left(left)) => {
            for member in row.members.iter_mut().filter(|member| left.users.iter().any(|user| *user == member.user)) {
                member.left_revision = event.revision;
            }
        }
        Some(Body::Role(set)) => {
            row.members.iter_mut().filter(|member| member.user == set.user).for_each(|member| member.role = set.role);
        }
        Some(Body::Message(_)) => mark(row, &event.actor, event.last_seq),
        Some(Body::Read(read)) => read.marks.iter().for_each(|each| mark(row, &each.user, each.seq)),
        _ => {}
    }
}

fn mark(row: &mut RoomState, user: &Bytes, seq: u64) {
    row.members.iter_mut().filter(|member| member.user == *user).for_each(|member| {
        member.read_seq = member.read_seq.max(seq);
    });
}

/// The databases, as a home reaches them.
pub struct SimulatedSources(pub usize);

fn away() -> Refusal {
    Refusal::new(Reason::Unavailable, "the database does not answer").after(200)
}

async fn ask<T: Send + 'static>(
    process: usize,
    act: impl FnOnce(&mut State) -> T + Send + 'static,
) -> Result<T, Refusal> {
    let asked = net::call(process, Port::Database, move || state(|state| state.serving.is_some().then(|| act(state))));
    asked.await.ok().flatten().ok_or_else(away)
}

#[async_trait]
impl Sources for SimulatedSources {
    async fn rooms(
        &self,
        conversations: &[ConversationId],
        left_from: Position,
    ) -> Result<HashMap<ConversationId, RoomState>, Refusal> {
        let ids = conversations.to_vec();
        let row = move |state: &State, id: ConversationId| {
            let mut row = state.rows.get(&id)?.clone();
            let left_at = |user: &[u8]| state.left.get(&(id, user.to_vec())).copied().unwrap_or(0);
            row.members.retain(|member| member.left_revision == 0 || left_at(&member.user) >= left_from);
            row.members.iter_mut().filter(|member| member.left_revision > 0).for_each(|member| member.settings = None);
            Some((id, row))
        };
        ask(self.0, move |state| ids.into_iter().filter_map(|id| row(state, id)).collect()).await
    }

    async fn client_ids(
        &self,
        conversation: ConversationId,
        since_micros: i64,
        revision: u64,
    ) -> Result<Vec<(Key, Use)>, Refusal> {
        check::count("looks for client ids");
        for _ in 0..10 {
            let found = ask(self.0, move |state| {
                let events = state.events.get(&conversation).cloned().unwrap_or_default();
                (events.len() as u64 >= revision).then(|| uses(&events, since_micros))
            });
            if let Some(found) = found.await? {
                return Ok(found);
            }
            net::pause(200 * MS).await;
        }
        Err(Refusal::new(Reason::Lagging, "history does not have this revision yet").after(500))
    }

    async fn message(&self, conversation: ConversationId, seq: u64, revision: u64) -> Result<Facts, Refusal> {
        check::count("looks for a message");
        for _ in 0..10 {
            let found = ask(self.0, move |state| {
                let events = state.events.get(&conversation).map_or(&[][..], |events| events);
                (events.len() as u64 >= revision).then(|| facts::of(events, seq))
            });
            if let Some(found) = found.await? {
                return found.ok_or_else(|| no_message(seq));
            }
            net::pause(200 * MS).await;
        }
        Err(Refusal::new(Reason::Lagging, "history does not have this revision yet").after(500))
    }

    async fn known(&self, users: &HashSet<UserId>) -> Result<HashSet<UserId>, Refusal> {
        Ok(users.clone())
    }
}

fn uses(events: &[LoggedEvent], since_micros: i64) -> Vec<(Key, Use)> {
    let messages = events.iter().filter(|event| event.at_micros >= since_micros);
    messages.filter_map(retry::used).collect()
}

/// What somebody's list and `changes` say of one conversation.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Which.
    pub conversation: ConversationId,
    /// The event with which they joined last.
    pub joined: u64,
    /// The event with which they left; 0: they are in it.
    pub left: u64,
    /// Up to which event this is.
    pub revision: u64,
    /// As of when their settings are.
    pub settings_at: i64,
}

/// A user's list, then what each conversation in it has: all of it from `joined` (or the device's own revision) to
/// `revision`. None: ask again later.
pub async fn list(process: usize, user: UserId) -> Option<Vec<Listed>> {
    let rows = net::call(process, Port::Database, move || {
        state(|state| {
            let serving = state.serving.as_ref()?;
            if super::processes::is_paused(serving.process) || serving.group.worst() > STALE {
                return None;
            }
            state.check_age();
            Some(state.listed(user))
        })
    });
    let rows = rows.await.ok().flatten()?;
    if chance(50) {
        net::pause(between(MS, 2000 * MS)).await;
    }
    Some(rows)
}

impl State {
    /// While somebody says who is home, nothing is shown that is older than lists may be: who is cut off knows of it.
    fn check_age(&self) {
        let old = u64::try_from(STALE.as_nanos()).unwrap_or(u64::MAX) + LATE;
        let hears_since = self.serving.as_ref().and_then(|serving| serving.hears_since);
        if hears_since.is_none_or(|since| clock::now() - since < old) {
            return;
        }
        for (shard, cursor) in &self.cursors[Reader::Group as usize] {
            let wanted = log::last_before(*shard, old);
            if *cursor < wanted {
                check::wrong(format!("a list is shown that has shard {shard} up to {cursor}, and not {wanted}"));
            }
        }
    }

    fn listed(&self, user: UserId) -> Vec<Listed> {
        let of = |(id, row): (&ConversationId, &RoomState)| {
            let member = row.members.iter().find(|member| member.user[..] == user.bytes()[..])?;
            Some(Listed {
                conversation: *id,
                joined: member.joined_revision,
                left: member.left_revision,
                revision: row.revision,
                settings_at: member.settings.as_ref().map_or(0, |set| set.updated_at_ms),
            })
        };
        self.rows.iter().filter_map(of).collect()
    }
}

/// Whether history has a conversation up to an event: what `changes` waits for, 2 s at most.
pub async fn changes(process: usize, id: ConversationId, at_least: u64) -> bool {
    let end = clock::now() + 2000 * MS;
    while clock::now() < end {
        let asked = net::call(process, Port::Database, move || {
            state(|state| {
                state.serving.is_some() && state.events.get(&id).is_some_and(|events| events.len() as u64 >= at_least)
            })
        });
        if asked.await == Ok(true) {
            return true;
        }
        net::pause(100 * MS).await;
    }
    false
}
