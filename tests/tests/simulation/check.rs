//! What must hold, looked at whenever something happens: each record when the log takes it, each answer when it is
//! given, each event when it is delivered. The first thing that does not hold ends the schedule.

use super::clock;
use madang_chat::room::facts;
use madang_mesh::{
    log::Entry,
    shard::{Shard, shard_of},
};
use madang_proto::{
    client::v1::{Ack, ConversationKind, Event},
    event::to_client,
    id::{ClientId, ConversationId, UserId},
    log::v1::{LoggedEvent, MemberSettings, Record, logged_event::Body},
};
use prost::Message as _;
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
};

/// From one revision to another, both included, somebody is to be sent a room's events; 0: to the end.
pub type Stay = (u64, u64);

/// A room as the log leaves it.
#[derive(Debug, Default, Clone)]
pub struct Room {
    /// Every event, by revision.
    pub events: Vec<LoggedEvent>,
    /// The newest message's number.
    pub last_seq: u64,
    /// When each was in it.
    pub stays: BTreeMap<UserId, Vec<Stay>>,
    /// What each has set, one after the other.
    pub settings: BTreeMap<UserId, Vec<LoggedEvent>>,
    used: HashMap<(UserId, ClientId), u64>,
    /// Of sends that were acknowledged: when, and which number they got.
    acked: Vec<(u64, u64)>,
}

impl Room {
    /// The newest event.
    pub fn revision(&self) -> u64 {
        self.events.len() as u64
    }

    /// Whether somebody is in it now.
    pub fn present(&self, user: UserId) -> bool {
        self.stays.get(&user).and_then(|stays| stays.last()).is_some_and(|stay| stay.1 == 0)
    }

    /// Whether somebody is to be sent an event.
    pub fn may_see(&self, user: UserId, revision: u64) -> bool {
        self.stays
            .get(&user)
            .is_some_and(|stays| stays.iter().any(|(from, to)| *from <= revision && (*to == 0 || revision <= *to)))
    }

    /// When somebody has last set something.
    pub fn settings_at(&self, user: UserId) -> i64 {
        self.settings.get(&user).and_then(|all| all.last()).map_or(0, updated_at)
    }

    /// What somebody has said, by seq.
    pub fn said_by(&self, user: UserId) -> Vec<u64> {
        let said =
            |event: &&LoggedEvent| matches!(event.body, Some(Body::Message(_))) && event.actor[..] == user.bytes()[..];
        self.events.iter().filter(said).map(|event| event.last_seq).collect()
    }

    /// Whether it is between two people.
    pub fn is_direct(&self) -> bool {
        let kind = |body: &Body| matches!(body, Body::Created(created) if created.kind() == ConversationKind::Direct);
        self.events.first().and_then(|first| first.body.as_ref()).is_some_and(kind)
    }

    /// Whether somebody who is sent an event may not see the message that it changes.
    fn is_blind(&self, user: UserId, event: &LoggedEvent) -> bool {
        let Some(seq) = facts::changed(event).filter(|_| !self.is_direct()) else { return false };
        let stay = |stay: &&Stay| stay.0 <= event.revision && (stay.1 == 0 || event.revision <= stay.1);
        let joined = self.stays.get(&user).and_then(|stays| stays.iter().find(stay));
        let joined = joined.and_then(|stay| self.events.get(usize::try_from(stay.0).ok()?.checked_sub(1)?));
        joined.is_some_and(|joined| joined.last_seq >= seq)
    }

    /// What must be so of a message for an event to change it.
    fn may_change(&self, event: &LoggedEvent, seq: u64) -> Result<(), String> {
        let facts = facts::of(&self.events, seq).ok_or("it changes a message that is not there")?;
        let own = facts.sender.bytes()[..] == event.actor[..];
        let there = |emoji: &str| {
            let mut all = facts.reactions.iter().filter(|each| each.emoji == emoji);
            all.any(|each| each.users.iter().any(|user| user.bytes()[..] == event.actor[..]))
        };
        match &event.body {
            _ if facts.deleted => Err("it changes what was taken back".into()),
            Some(Body::Edited(_)) if !own => Err("it edits what another has said".into()),
            Some(Body::Reacted(reacted)) if there(&reacted.emoji) != reacted.removed => {
                Err("it puts an emoji that is there, or removes one that is not".into())
            }
            _ => Ok(()),
        }
    }

    /// Takes what somebody has set, which has no revision.
    fn set(&mut self, event: &LoggedEvent) -> Result<(), String> {
        let user = UserId::from_slice(&event.actor).map_err(|error| error.to_string())?;
        if event.revision != 0 || !self.present(user) {
            return Err(format!("settings of {user}, who is not in the room, or with a revision"));
        }
        if self.settings_at(user) >= updated_at(event) {
            return Err("settings that are not later than those before".into());
        }
        let before = self.settings.get(&user).and_then(|all| all.last()).and_then(settings);
        let has = |key: &String| settings(event).is_some_and(|set| set.data.contains_key(key));
        if before.is_some_and(|before| !before.data.keys().all(has)) {
            return Err("settings without what was set before".into());
        }
        self.settings.entry(user).or_default().push(event.clone());
        Ok(())
    }

    /// Whose mark others have not been told of though they have hidden it; none: nobody's.
    pub fn owed(&self) -> Option<UserId> {
        let mut marks: BTreeMap<&[u8], u64> = BTreeMap::new();
        for event in &self.events {
            let mut raise = |user, seq: u64| {
                let mark = marks.entry(user).or_default();
                *mark = seq.max(*mark);
            };
            match &event.body {
                Some(Body::Message(_)) => raise(&event.actor[..], event.last_seq),
                Some(Body::Joined(joined)) => joined.members.iter().for_each(|each| raise(&each.user, event.last_seq)),
                Some(Body::Read(read)) => read.marks.iter().for_each(|mark| raise(&mark.user, mark.seq)),
                _ => {}
            }
        }
        let owed = |user: &&UserId| {
            let set = self.settings.get(user).and_then(|all| all.last()).and_then(settings);
            let hidden = set.map_or(0, |set| set.hidden_until_seq.saturating_sub(1));
            self.present(**user) && hidden > marks.get(&user.bytes()[..]).copied().unwrap_or(0)
        };
        self.settings.keys().find(owed).copied()
    }

    fn join(&mut self, user: &[u8], revision: u64) {
        if let Ok(user) = UserId::from_slice(user) {
            let stays = self.stays.entry(user).or_default();
            if stays.last().is_none_or(|stay| stay.1 != 0) {
                stays.push((revision, 0));
            }
        }
    }
}

fn settings(event: &LoggedEvent) -> Option<&MemberSettings> {
    match &event.body {
        Some(Body::Settings(set)) => Some(set),
        _ => None,
    }
}

fn updated_at(event: &LoggedEvent) -> i64 {
    settings(event).map_or(0, |set| set.updated_at_ms)
}

#[derive(Default)]
struct State {
    rooms: BTreeMap<ConversationId, Room>,
    shards: u32,
    /// The newest marker of each shard.
    epochs: BTreeMap<Shard, u64>,
    counts: BTreeMap<&'static str, u64>,
    wrong: Option<String>,
    hash: DefaultHasher,
    full: bool,
    trace: bool,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

fn state<T>(act: impl FnOnce(&mut State) -> T) -> T {
    STATE.with_borrow_mut(act)
}

/// Begins; with `trace`, says what happens.
pub fn begin(shards: u32, trace: bool) {
    state(|state| (state.shards, state.trace) = (shards, trace));
}

/// Says what happens, if it is to be said.
pub fn trace(what: impl FnOnce() -> String) {
    if state(|state| state.trace) {
        eprintln!("{:>8} ms  {}", clock::now_ms(), what());
    }
}

/// Counts something, so that it can be seen that it happens at all.
pub fn count(what: &'static str) {
    state(|state| *state.counts.entry(what).or_default() += 1);
}

/// What was counted.
pub fn counts() -> BTreeMap<&'static str, u64> {
    state(|state| state.counts.clone())
}

/// Something does not hold.
pub fn wrong(what: String) {
    trace(|| format!("WRONG: {what}"));
    state(|state| {
        state.wrong.get_or_insert(what);
    });
}

/// What does not hold.
pub fn found() -> Option<String> {
    state(|state| state.wrong.clone())
}

/// A number that two runs of one schedule have in common.
pub fn hash() -> u64 {
    state(|state| state.hash.finish())
}

fn note(kind: &str, number: u64, bytes: &[u8]) {
    state(|state| (kind, clock::now(), number, bytes).hash(&mut state.hash));
}

/// Whether the log is full.
pub fn full() -> bool {
    state(|state| state.full)
}

/// The log is full, or not any more.
pub fn set_full(full: bool) {
    state(|state| state.full = full);
}

/// The log holds everything from here on, and nothing before.
pub fn trimmed(shard: Shard, before: u64) {
    let needed = super::databases::slowest(shard) + 1;
    if before > needed {
        wrong(format!("shard {shard} is trimmed before {before}, and a database still needs {needed}"));
    }
}

/// A room, if there is one.
pub fn room<T>(id: ConversationId, act: impl FnOnce(&Room) -> T) -> Option<T> {
    state(|state| state.rooms.get(&id).map(act))
}

/// All rooms.
pub fn rooms() -> Vec<ConversationId> {
    state(|state| state.rooms.keys().copied().collect())
}

fn short(id: &ConversationId) -> String {
    id.to_string()[28..].to_owned()
}

/// The log has taken a record.
pub fn appended(shard: Shard, entry: &Entry) {
    note("append", u64::from(shard) << 32 | entry.position, &entry.payload);
    let Ok(record) = Record::decode(entry.payload.clone()) else {
        return wrong(format!("the record at {shard}/{} can't be read", entry.position));
    };
    trace(|| {
        let events: Vec<_> = record
            .events
            .iter()
            .filter_map(|event| {
                let id = ConversationId::from_slice(&event.conversation).ok()?;
                Some(format!("{}@{}", short(&id), event.revision))
            })
            .collect();
        format!("log {shard}/{} by {} epoch {}: {}", entry.position, record.process, record.epoch, events.join(" "))
    });
    if record.epoch == 0 && record.events.is_empty() {
        count("markers");
        state(|state| state.epochs.insert(shard, entry.position));
    } else if state(|state| state.epochs.get(&shard) != Some(&record.epoch)) {
        wrong(format!("{} wrote {shard}/{} after another home had begun", record.process, entry.position));
    }
    for event in record.events {
        if let Err(why) = state(|state| state.take(shard, &event)) {
            let id = ConversationId::from_slice(&event.conversation).map(|id| short(&id)).unwrap_or_default();
            wrong(format!("{id}@{} at {shard}/{} of the log: {why}", event.revision, entry.position));
        }
    }
}

impl State {
    fn take(&mut self, shard: Shard, event: &LoggedEvent) -> Result<(), String> {
        let id = ConversationId::from_slice(&event.conversation).map_err(|error| error.to_string())?;
        if shard_of(id.bytes(), self.shards) != shard {
            return Err("another shard's".into());
        }
        let room = self.rooms.entry(id).or_default();
        if matches!(event.body, Some(Body::Settings(_))) {
            return room.set(event);
        }
        let revision = room.revision() + 1;
        if event.revision != revision {
            return Err(format!("the log has revision {} of the room", revision - 1));
        }
        let message = matches!(event.body, Some(Body::Message(_)));
        if event.last_seq != room.last_seq + u64::from(message) {
            return Err(format!("last seq {} after {}", event.last_seq, room.last_seq));
        }
        if room.events.last().is_some_and(|before| before.at_micros >= event.at_micros) {
            return Err("it is dated before the one before".into());
        }
        room.last_seq = event.last_seq;
        let actor = UserId::from_slice(&event.actor).ok();
        if let Some(actor) = actor
            && !matches!(event.body, Some(Body::Created(_)))
            && !room.may_see(actor, revision)
        {
            // An owner who leaves hands over with the next event.
            let handing_over = matches!(event.body, Some(Body::Role(_))) && room.may_see(actor, revision - 1);
            if !handing_over {
                return Err(format!("{actor} is not in the room"));
            }
        }
        if let Some(seq) = facts::changed(event) {
            room.may_change(event, seq)?;
        }
        let has_id = message || facts::changed(event).is_some();
        if let (true, Some(actor), Ok(client_id)) = (has_id, actor, ClientId::from_slice(&event.client_id))
            && let Some(first) = room.used.insert((actor, client_id), revision)
        {
            return Err(format!("it has the client id of revision {first}"));
        }
        match &event.body {
            Some(Body::Created(created)) => created.members.iter().for_each(|each| room.join(&each.user, revision)),
            Some(Body::Joined(joined)) => joined.members.iter().for_each(|each| room.join(&each.user, revision)),
            Some(Body::Left(left)) => {
                for user in left.users.iter().filter_map(|user| UserId::from_slice(user).ok()) {
                    if let Some(stay) = room.stays.get_mut(&user).and_then(|stays| stays.last_mut()) {
                        stay.1 = revision;
                    }
                }
            }
            _ => {}
        }
        room.events.push(event.clone());
        Ok(())
    }
}

/// A home has acknowledged a send that was first asked for at a time.
pub fn acked(user: UserId, id: ConversationId, client_id: ClientId, text: &str, since: u64, ack: &Ack) {
    note("ack", ack.revision, client_id.bytes());
    let judged = state(|state| {
        let room = state.rooms.get_mut(&id).ok_or("the log has no such room")?;
        let place = usize::try_from(ack.revision).unwrap_or(0);
        let event = place.checked_sub(1).and_then(|place| room.events.get(place)).ok_or("the log does not have it")?;
        let same = event.actor[..] == user.bytes()[..] && event.client_id[..] == client_id.bytes()[..];
        if !same || event.last_seq != ack.seq {
            return Err("the log has another event there");
        }
        let Some(Body::Message(content)) = &event.body else { return Err("the log has no message there") };
        if content.text != text {
            return Err("the log has another text there");
        }
        if !ack.duplicate {
            if room.acked.iter().any(|(at, seq)| *at < since && *seq >= ack.seq) {
                return Err("one that was acknowledged before this was asked for comes after it");
            }
            room.acked.push((clock::now(), ack.seq));
        }
        Ok(())
    });
    if let Err(why) = judged {
        wrong(format!("{user} got an ack for {}@{}, seq {}: {why}", short(&id), ack.revision, ack.seq));
    }
}

/// A home has acknowledged a change of a message, or says that it was so as of an event of it.
pub fn amended(user: UserId, id: ConversationId, client_id: ClientId, ack: &Ack) {
    note("amended", ack.revision, client_id.bytes());
    let holds = room(id, |room| {
        let place = usize::try_from(ack.revision).unwrap_or(0).checked_sub(1);
        let event = place.and_then(|place| room.events.get(place));
        event.is_some_and(|event| {
            let same = event.actor[..] == user.bytes()[..] && event.client_id[..] == client_id.bytes()[..];
            facts::message_of(event) == Some(ack.seq) && (same || ack.duplicate)
        })
    });
    if holds != Some(true) {
        wrong(format!(
            "{user} got an ack for a change {}@{}: the log has another event there",
            short(&id),
            ack.revision
        ));
    }
}

/// Somebody was told that their settings are as of a time.
pub fn set(user: UserId, id: ConversationId, ack: &Ack) {
    note("set", ack.at.unsigned_abs(), user.bytes());
    let logged = room(id, |room| {
        let all = room.settings.get(&user);
        ack.at == 0 || all.is_some_and(|all| all.iter().any(|event| updated_at(event) == ack.at))
    });
    if logged != Some(true) {
        wrong(format!(
            "{user} was told that they set something in {} at {}, and the log does not say so",
            short(&id),
            ack.at
        ));
    }
}

/// Somebody was told that they, or another, are not in a room any more, as of a revision.
pub fn removed(user: UserId, id: ConversationId, ack: &Ack) {
    note("removed", ack.revision, user.bytes());
    let holds = room(id, |room| {
        let left = room.stays.get(&user).is_none_or(|stays| {
            stays.iter().all(|(from, to)| *from > ack.revision || (*to != 0 && *to <= ack.revision))
        });
        left && ack.revision <= room.revision()
    });
    if holds != Some(true) {
        wrong(format!(
            "{user} was said to be removed from {}@{}, and the log does not say so",
            short(&id),
            ack.revision
        ));
    }
}

/// An event has come to a device of somebody, who may see it, and sees what the log has.
pub fn delivered(user: UserId, device: usize, event: &Event) -> bool {
    note("deliver", event.revision << 8 | device as u64, event.conversation.as_bytes());
    let judged = event.conversation.parse::<ConversationId>().map_err(|_| "no conversation").and_then(|id| {
        let found = room(id, |room| {
            let same = |logged| to_client(logged) == Event { cursor: String::new(), ..event.clone() };
            if event.revision == 0 {
                let own = room.settings.get(&user).is_some_and(|all| all.iter().any(same));
                return if own { Ok(()) } else { Err("settings that are not theirs") };
            }
            if !room.may_see(user, event.revision) {
                return Err("who is not in the room");
            }
            let place = usize::try_from(event.revision - 1).unwrap_or(usize::MAX);
            let logged = room.events.get(place).ok_or("and the log does not have it")?;
            if room.is_blind(user, logged) {
                return if event.body.is_none() { Ok(()) } else { Err("who may not see what it is about") };
            }
            if same(logged) { Ok(()) } else { Err("not as the log has it") }
        });
        found.unwrap_or(Err("of a room that is not in the log"))
    });
    if let Err(why) = judged {
        wrong(format!("device {device} of {user} was sent {}@{}: {why}", event.conversation, event.revision));
    }
    judged.is_ok()
}
