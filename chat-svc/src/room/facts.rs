//! What a home must know of a message before it lets somebody change it: whose it is, a hash of its content, who reacted.
//! Never its text, so that a deleted one is nowhere in a home. Messages of the last quarter of an hour are in memory, and
//! those that were changed or asked about in that time; of others the store is asked.

use crate::content;
use madang_proto::{
    id::UserId,
    log::v1::{self as log, LoggedEvent, logged_event::Body},
};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

/// Of how many messages of one room a home knows at most, if the store has them.
const MOST: usize = 20_000;
/// What the facts of a message without reactions cost, in bytes, with their places in the tables.
const COST: usize = 160;

/// The emoji of a message, in the order in which they came.
pub type Reactions = Vec<Reacted>;

/// One emoji under a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reacted {
    /// As it was first sent.
    pub emoji: String,
    /// The event with which it came there.
    pub began: u64,
    /// Whose; never empty.
    pub users: BTreeSet<UserId>,
}

/// What there is to know of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Who sent it.
    pub sender: UserId,
    /// The hash of its content, as of a send.
    pub content: u64,
    /// It was taken back.
    pub deleted: bool,
    /// The event that changed it last.
    pub revision: u64,
    /// When that was, microseconds since 1970.
    pub at_micros: i64,
    /// Who reacted.
    pub reactions: Reactions,
}

impl Facts {
    fn bytes(&self) -> usize {
        COST + self.reactions.iter().map(|each| 80 + each.emoji.len() + 24 * each.users.len()).sum::<usize>()
    }
}

/// Whether two emoji differ in U+FE0F at most.
#[must_use]
pub fn same(one: &str, other: &str) -> bool {
    let plain = |emoji: &'_ str| emoji.chars().filter(|c| *c != '\u{fe0f}').collect::<Vec<_>>();
    one == other || plain(one) == plain(other)
}

/// The message that an event makes or changes.
#[must_use]
pub fn message_of(event: &LoggedEvent) -> Option<u64> {
    match &event.body {
        Some(Body::Message(_)) => Some(event.last_seq),
        _ => changed(event),
    }
}

/// The message that an event changes.
#[must_use]
pub fn changed(event: &LoggedEvent) -> Option<u64> {
    match &event.body {
        Some(
            Body::Edited(log::MessageEdited { seq, .. })
            | Body::Deleted(log::MessageDeleted { seq })
            | Body::Reacted(log::MessageReacted { seq, .. }),
        ) => Some(*seq),
        _ => None,
    }
}

/// What an event leaves of a message; none if it does not change it, or if nothing was known of it.
#[must_use]
pub fn after(before: Option<&Facts>, event: &LoggedEvent) -> Option<Facts> {
    let (revision, at_micros) = (event.revision, event.at_micros);
    let actor = UserId::from_slice(&event.actor);
    if let Some(Body::Message(_)) = &event.body {
        let (content, reactions) = (event.request_hash, Vec::new());
        return Some(Facts { sender: actor.ok()?, content, deleted: false, revision, at_micros, reactions });
    }
    let mut facts = before.filter(|facts| facts.revision < revision)?.clone();
    (facts.revision, facts.at_micros) = (revision, at_micros);
    match &event.body {
        Some(Body::Edited(edited)) => {
            facts.content = content::hash("send", edited.content.as_ref().unwrap_or(&Default::default()));
        }
        Some(Body::Deleted(_)) => {
            (facts.deleted, facts.content) = (true, 0);
            facts.reactions = Vec::new();
        }
        Some(Body::Reacted(reacted)) => react(&mut facts.reactions, actor.ok()?, reacted),
        _ => return None,
    }
    Some(facts)
}

fn react(reactions: &mut Reactions, user: UserId, event: &log::MessageReacted) {
    let place = reactions.iter_mut().find(|each| same(&each.emoji, &event.emoji));
    match (place, event.removed) {
        (Some(place), false) => drop(place.users.insert(user)),
        (Some(place), true) => {
            place.users.remove(&user);
            reactions.retain(|each| !each.users.is_empty());
        }
        (None, false) => {
            reactions.push(Reacted { emoji: event.emoji.clone(), began: event.began, users: BTreeSet::from([user]) });
        }
        (None, true) => {}
    }
}

/// What all events of a room leave of one message.
pub fn of<'a>(events: impl IntoIterator<Item = &'a LoggedEvent>, seq: u64) -> Option<Facts> {
    let mut facts = None;
    for event in events {
        if message_of(event) == Some(seq) {
            facts = after(facts.as_ref(), event).or(facts);
        }
    }
    facts
}

/// The messages of a room of which a home knows.
#[derive(Debug, Default)]
pub struct Recent {
    known: HashMap<u64, (i64, Arc<Facts>)>,
    /// When each was noted, ms since 1970; the oldest first.
    order: VecDeque<(i64, u64)>,
    bytes: usize,
}

impl Recent {
    /// What is known of a message.
    #[must_use]
    pub fn get(&self, seq: u64) -> Option<&Arc<Facts>> {
        self.known.get(&seq).map(|(_, facts)| facts)
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes + 16 * self.order.len()
    }

    /// Takes note of a message as it is now (ms since 1970).
    pub fn note(&mut self, seq: u64, facts: Arc<Facts>, now_ms: i64) {
        let at = self.order.back().map_or(now_ms, |(last, _)| now_ms.max(*last));
        self.bytes += facts.bytes();
        if let Some((_, before)) = self.known.insert(seq, (at, facts)) {
            self.bytes -= before.bytes();
        }
        self.order.push_back((at, seq));
    }

    /// Takes note of what an event of the log does.
    pub fn replay(&mut self, event: &LoggedEvent) {
        if let Some(seq) = message_of(event)
            && let Some(facts) = after(self.get(seq).map(|facts| &**facts), event)
        {
            self.note(seq, Arc::new(facts), event.at_micros / 1000);
        }
    }

    /// Forgets what was noted before a time, and the oldest of too many; both only where the store has everything up
    /// to `stored_ms` (ms since 1970).
    pub fn forget(&mut self, before_ms: i64, stored_ms: i64) {
        while let Some((at, seq)) = self.order.front().copied()
            && at < stored_ms
            && (at < before_ms || self.known.len() > MOST)
        {
            self.order.pop_front();
            if self.known.get(&seq).is_some_and(|(noted, _)| *noted == at)
                && let Some((_, facts)) = self.known.remove(&seq)
            {
                self.bytes -= facts.bytes();
            }
        }
    }
}
