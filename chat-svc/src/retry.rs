//! Retries: which client ids a room has seen, so that a request sent again is one message with one number.
//!
//! A room's memory holds every id since its *horizon*. Ids dated too far ahead or back are refused, so one that is
//! dated later than the horizon plus a margin and isn't in memory is new, at no cost; for an older one the home first
//! moves the horizon back by reading ids from the store.

use crate::room::facts;
use bytes::Bytes;
use madang_proto::{
    id::{ClientId, ConversationId, UserId},
    log::v1::{LoggedEvent, Record, UnchangedRequest},
    reason::{Reason, Refusal},
};
use std::collections::{HashMap, VecDeque};

/// How far ahead of the server's clock an id may be dated, in ms.
pub const AHEAD_MS: i64 = 5 * 60 * 1000;
/// How far back an id may be dated, in ms.
pub const BACK_MS: i64 = 7 * 24 * 3600 * 1000;
/// An id dated later than the horizon by this much, in ms, can't have been numbered before the horizon: it would have
/// been dated more than [`AHEAD_MS`] ahead then. The rest is for homes whose clocks differ.
pub const MARGIN_MS: i64 = 10 * 60 * 1000;
/// How much further back the store is asked than one id needs, in ms, so that those sent with it need no other look.
const SLACK_MS: i64 = 60 * 1000;
/// How long ids are kept at least, in ms: beyond it new ids need no look at the store.
pub const KEEP_MS: i64 = 15 * 60 * 1000;

/// How many ids of one room are in memory at most: 220 messages a second, all the time. Who has as many of them as there
/// is room for more is told to wait: so one member never has more than half, and however many do their worst, whoever
/// says little goes on.
pub const MOST: usize = 200_000;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// A hash of what was asked.
    pub hash: u64,
    /// The number of the message that it made or changed.
    pub seq: u64,
    /// The event's number.
    pub revision: u64,
    /// When, microseconds since 1970.
    pub at_micros: i64,
}

/// A sender's id of a request.
pub type Key = (UserId, ClientId);

/// What is known of an id.
#[derive(Debug, PartialEq, Eq)]
pub enum Known {
    /// It was never used.
    New,
    /// It was used so.
    Used(Use),
    /// Memory does not reach back far enough: ask the store for ids since this time, microseconds since 1970.
    AskSince(i64),
}

/// The client ids of a room since its horizon.
#[derive(Debug, Default)]
pub struct Seen {
    uses: HashMap<Key, Use>,
    order: VecDeque<(i64, Key)>,
    /// How many each member has.
    shares: HashMap<UserId, usize>,
    horizon_ms: i64,
}

impl Seen {
    /// Of a room about which everything before `horizon_ms` (ms since 1970) is not in memory; 0: nothing was before.
    #[must_use]
    pub fn since(horizon_ms: i64) -> Self {
        Self { horizon_ms, ..Self::default() }
    }

    /// These uses, each as of when, ms since 1970, and everything since a horizon is among them.
    #[must_use]
    pub fn of(horizon_ms: i64, mut uses: Vec<(i64, Key, Use)>) -> Self {
        uses.sort_unstable_by_key(|(at_ms, ..)| *at_ms);
        let mut seen = Self::since(horizon_ms);
        uses.into_iter().for_each(|(at_ms, key, used)| seen.note_at(at_ms, key, used));
        seen
    }

    /// Since when everything is here, ms since 1970; 0: since ever.
    #[must_use]
    pub fn horizon_ms(&self) -> i64 {
        self.horizon_ms
    }

    /// All that are here, and when each was used.
    pub fn uses(&self) -> impl Iterator<Item = (i64, &Key, &Use)> {
        self.order.iter().filter_map(|(at_ms, key)| Some((*at_ms, key, self.uses.get(key)?)))
    }

    /// How many are here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.uses.len()
    }

    /// Whether none is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.uses.is_empty()
    }

    /// Of how many members there is any.
    #[must_use]
    pub fn senders(&self) -> usize {
        self.shares.len()
    }

    /// Whether it takes no more of a member for now: see [`MOST`].
    #[must_use]
    pub fn is_full_for(&self, user: &UserId) -> bool {
        self.shares.get(user).copied().unwrap_or(0) >= MOST.saturating_sub(self.uses.len())
    }

    /// What is known of an id that was dated within the limits.
    #[must_use]
    pub fn look_up(&self, key: &Key, dated_ms: i64) -> Known {
        match self.uses.get(key) {
            Some(used) => Known::Used(*used),
            None if self.horizon_ms == 0 || dated_ms > self.horizon_ms + MARGIN_MS => Known::New,
            None => Known::AskSince((dated_ms - MARGIN_MS - SLACK_MS).max(0) * 1000),
        }
    }

    /// Takes note of a use.
    pub fn note(&mut self, key: Key, used: Use) {
        self.note_at(used.at_micros / 1000, key, used);
    }

    /// Takes note of a use that was at this time, ms since 1970, and may have the numbers of what was before.
    pub fn note_at(&mut self, at_ms: i64, key: Key, used: Use) {
        if self.uses.insert(key, used).is_none() {
            self.order.push_back((at_ms, key));
            *self.shares.entry(key.0).or_default() += 1;
        }
    }

    /// Takes what the store knows since a time: the horizon moves back to it.
    pub fn extend_back(&mut self, since_micros: i64, uses: impl IntoIterator<Item = (Key, Use)>) {
        let mut uses: Vec<_> = uses.into_iter().collect();
        // The oldest comes to stand first: what is forgotten is taken from there.
        uses.sort_unstable_by_key(|(_, used)| std::cmp::Reverse(used.at_micros));
        for (key, used) in uses {
            if self.uses.insert(key, used).is_none() {
                self.order.push_front((used.at_micros / 1000, key));
                *self.shares.entry(key.0).or_default() += 1;
            }
        }
        self.horizon_ms = self.horizon_ms.min((since_micros / 1000).max(1));
    }

    /// Forgets ids that were used before a time (ms since 1970) up to which the store has everything.
    pub fn forget_before(&mut self, before_ms: i64) {
        while self.order.front().is_some_and(|(at, _)| *at < before_ms) {
            if let Some((at, key)) = self.order.pop_front() {
                self.uses.remove(&key);
                if let Some(share) = self.shares.get_mut(&key.0) {
                    *share -= 1;
                    if *share == 0 {
                        self.shares.remove(&key.0);
                    }
                }
                self.horizon_ms = self.horizon_ms.max(at + 1);
            }
        }
    }
}

/// The client id that an event of the log used.
#[must_use]
pub fn used(event: &LoggedEvent) -> Option<(Key, Use)> {
    let key = (UserId::from_slice(&event.actor).ok()?, ClientId::from_slice(&event.client_id).ok()?);
    let (hash, revision, at_micros) = (event.request_hash, event.revision, event.at_micros);
    Some((key, Use { hash, seq: facts::message_of(event)?, revision, at_micros }))
}

/// A request that changed nothing, as the log has it.
#[must_use]
pub fn unchanged(conversation: &ConversationId, (user, client_id): &Key, used: &Use) -> UnchangedRequest {
    let slice = Bytes::copy_from_slice;
    UnchangedRequest {
        conversation: slice(conversation.bytes()),
        actor: slice(user.bytes()),
        client_id: slice(client_id.bytes()),
        request_hash: used.hash,
        seq: used.seq,
        revision: used.revision,
        at_micros: used.at_micros,
    }
}

/// The client ids of the requests of a record that changed nothing, each with its conversation.
pub fn all_unchanged(record: &Record) -> impl Iterator<Item = (ConversationId, Key, Use)> {
    record.unchanged.iter().filter_map(|it| {
        let key = (UserId::from_slice(&it.actor).ok()?, ClientId::from_slice(&it.client_id).ok()?);
        let used = Use { hash: it.request_hash, seq: it.seq, revision: it.revision, at_micros: it.at_micros };
        Some((ConversationId::from_slice(&it.conversation).ok()?, key, used))
    })
}

/// When the client says that it made the id, in ms, if that is within the limits.
pub fn dated(client_id: &str, now_ms: i64) -> Result<(ClientId, i64), Refusal> {
    let invalid =
        || Refusal::new(Reason::InvalidField, "clientId must be a UUIDv7 in lower-case canonical text").of("clientId");
    let id: ClientId = client_id.parse().map_err(|_| invalid())?;
    let at = id.at_ms().ok_or_else(invalid)?;
    if at > now_ms + AHEAD_MS {
        let message = "clientId is dated over 5 minutes ahead of the server's time: date it by serverTime of ready";
        return Err(Refusal::new(Reason::ClientIdAhead, message).of("clientId"));
    }
    if at < now_ms - BACK_MS {
        let message = "clientId is dated over 7 days back: whether it was sent is not known any more";
        return Err(Refusal::new(Reason::ClientIdExpired, message).of("clientId"));
    }
    Ok((id, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn used(at_ms: i64) -> Use {
        Use { hash: 1, seq: 1, revision: 1, at_micros: at_ms * 1000 }
    }

    #[test]
    fn an_id_is_new_only_where_memory_reaches_back_far_enough() {
        let mut seen = Seen::since(NOW);
        let key = (UserId::new(), ClientId::now());
        assert_eq!(seen.look_up(&key, NOW + MARGIN_MS + 1), Known::New);
        assert_eq!(seen.look_up(&key, NOW), Known::AskSince((NOW - MARGIN_MS - SLACK_MS) * 1000));
        seen.extend_back((NOW - MARGIN_MS) * 1000, [(key, used(NOW - 5))]);
        assert_eq!(seen.look_up(&key, NOW), Known::Used(used(NOW - 5)));
        let other = (UserId::new(), ClientId::now());
        assert_eq!(seen.look_up(&other, NOW + 1), Known::New);
        seen.forget_before(NOW);
        assert!(matches!(seen.look_up(&key, NOW), Known::AskSince(_)));
    }

    #[test]
    fn a_member_who_fills_a_room_leaves_half_of_it_to_the_others() {
        let (mut seen, [hog, other, quiet]) = (Seen::since(NOW), [UserId::new(), UserId::new(), UserId::new()]);
        let fill = |seen: &mut Seen, user| {
            let before = seen.len();
            while !seen.is_full_for(&user) {
                seen.note((user, ClientId::now()), used(NOW));
            }
            seen.len() - before
        };
        assert_eq!(fill(&mut seen, hog), MOST / 2);
        assert_eq!(fill(&mut seen, other), MOST / 4);
        assert!(!seen.is_full_for(&quiet));
        let kept = seen.uses().map(|(at_ms, key, used)| (at_ms, *key, *used)).collect();
        assert!(Seen::of(NOW, kept).is_full_for(&hog), "the next home knows it too");
        seen.forget_before(NOW + 1);
        assert!(seen.is_empty() && seen.shares.is_empty());
        seen.extend_back(0, [((hog, ClientId::now()), used(NOW))]);
        assert_eq!(seen.shares[&hog], 1);
    }

    #[test]
    fn dates_outside_the_limits_are_refused() {
        let at = |ms: i64| {
            dated(&ClientId::at(ms.unsigned_abs(), [1; 10]).to_string(), NOW).map(|_| ()).map_err(|e| e.reason)
        };
        assert_eq!(at(NOW + AHEAD_MS), Ok(()));
        assert_eq!(at(NOW + AHEAD_MS + 1), Err(Reason::ClientIdAhead));
        assert_eq!(at(NOW - BACK_MS), Ok(()));
        assert_eq!(at(NOW - BACK_MS - 1), Err(Reason::ClientIdExpired));
        assert_eq!(dated("4f6d1c1e-0000-4000-8000-000000000000", NOW).unwrap_err().reason, Reason::InvalidField);
    }
}
