//! Places in lists, as opaque text: `sync`, from where the next list goes on, and `pageToken`, within one. Both name
//! positions of the log, which only grow and come to be in the order in which rows do; so whatever is not in one list is
//! in the next.

use crate::store::{After, Positions};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use madang_proto::{
    id::ConversationId,
    reason::{Reason, Refusal},
};
use prost::Message;

/// How long a `sync` is good for, in ms: 90 days.
const REACH_MS: i64 = 90 * 24 * 3600 * 1000;
/// The form of tokens; others are of another version.
const FORM: u32 = 1;
/// The longest token that is looked at.
const MOST: usize = 8 << 10;

/// As of when a list is.
#[derive(Clone, PartialEq, Message)]
pub struct Sync {
    #[prost(uint32, tag = "1")]
    form: u32,
    /// When it was made, ms since 1970.
    #[prost(int64, tag = "2")]
    at_ms: i64,
    /// Of shard 0, 1, …
    #[prost(uint64, repeated, tag = "3")]
    positions: Vec<u64>,
}

/// Where the next page of a list begins.
#[derive(Clone, PartialEq, Message)]
pub struct Place {
    #[prost(uint32, tag = "1")]
    form: u32,
    /// As of when the first page was.
    #[prost(message, required, tag = "2")]
    pub start: Sync,
    /// What the list is asked for as since; none: all.
    #[prost(message, optional, tag = "3")]
    pub since: Option<Sync>,
    /// When the last conversation of the page before was last active.
    #[prost(int64, tag = "4")]
    activity_micros: i64,
    /// Its id, or nothing.
    #[prost(bytes = "vec", tag = "5")]
    conversation: Vec<u8>,
    /// All were listed: what has moved meanwhile is next.
    #[prost(bool, tag = "6")]
    moved: bool,
}

fn text(message: &impl Message) -> String {
    URL_SAFE_NO_PAD.encode(message.encode_to_vec())
}

fn read<T: Message + Default>(token: &str) -> Option<T> {
    let bytes = (token.len() <= MOST).then(|| URL_SAFE_NO_PAD.decode(token).ok()).flatten()?;
    T::decode(&bytes[..]).ok()
}

fn too_old() -> Refusal {
    Refusal::new(Reason::TooOld, "since is too old, or of before a reset: page the whole list, without since")
}

impl Sync {
    /// As of positions.
    #[must_use]
    pub fn new(positions: Positions, at_ms: i64) -> Self {
        Self { form: FORM, at_ms, positions }
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> String {
        text(self)
    }

    /// The one behind a text. Refused if it is none, or too old.
    pub fn read(token: &str, shards: u32, now_ms: i64) -> Result<Self, Refusal> {
        let message = "since must be the `sync` of an earlier list, as it was given";
        let none = || Refusal::new(Reason::InvalidField, message).of("since");
        let sync: Self = read(token).ok_or_else(none)?;
        if sync.form == 0 || sync.positions.is_empty() {
            return Err(none());
        }
        if sync.form != FORM || sync.positions.len() != shards as usize || now_ms - sync.at_ms > REACH_MS {
            return Err(too_old());
        }
        Ok(sync)
    }

    /// Its positions.
    #[must_use]
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Refuses one that is ahead of what there is: it is of another log.
    pub fn check(&self, now: &Positions) -> Result<(), Refusal> {
        let ahead = self.positions.iter().zip(now).any(|(then, now)| then > now);
        if ahead { Err(too_old()) } else { Ok(()) }
    }
}

impl Place {
    /// After a conversation of a page in order.
    #[must_use]
    pub fn after(start: Sync, since: Option<Sync>, activity_micros: i64, conversation: Vec<u8>) -> Self {
        Self { form: FORM, start, since, activity_micros, conversation, moved: false }
    }

    /// After a conversation that had moved, or before all of them.
    #[must_use]
    pub fn moved(start: Sync, since: Option<Sync>, conversation: Vec<u8>) -> Self {
        Self { form: FORM, start, since, activity_micros: 0, conversation, moved: true }
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> String {
        text(self)
    }

    /// The one behind a text.
    pub fn read(token: &str, shards: u32) -> Result<(Self, After), Refusal> {
        let message = "pageToken is not one of this list: begin without";
        let none = || Refusal::new(Reason::InvalidField, message).of("pageToken");
        let place: Self = read(token).ok_or_else(none)?;
        let of_here = |sync: &Sync| sync.form == FORM && sync.positions.len() == shards as usize;
        if place.form != FORM || !of_here(&place.start) || !place.since.as_ref().is_none_or(of_here) {
            return Err(none());
        }
        let id = ConversationId::from_slice(&place.conversation).ok();
        let after = match (place.moved, id) {
            (true, id) if id.is_some() || place.conversation.is_empty() => After::Moved(id),
            (false, Some(id)) => After::Place(place.activity_micros, id),
            _ => return Err(none()),
        };
        Ok((place, after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    #[test]
    fn what_was_given_is_read_and_nothing_else() {
        let sync = Sync::new(vec![1, 2, 3], NOW);
        assert_eq!(Sync::read(&sync.text(), 3, NOW), Ok(sync.clone()));
        let reason = |read: Result<Sync, Refusal>| read.unwrap_err().reason;
        for bad in ["", "x", "AAAA", "한", &"A".repeat(MOST + 1)] {
            assert_eq!(reason(Sync::read(bad, 3, NOW)), Reason::InvalidField, "{bad}");
            assert_eq!(Place::read(bad, 3).unwrap_err().reason, Reason::InvalidField, "{bad}");
        }
        assert_eq!(reason(Sync::read(&sync.text(), 4, NOW)), Reason::TooOld, "of another layout");
        assert!(Sync::read(&sync.text(), 3, NOW + REACH_MS).is_ok());
        assert_eq!(reason(Sync::read(&sync.text(), 3, NOW + REACH_MS + 1)), Reason::TooOld);
        assert!(sync.check(&vec![1, 2, 3]).is_ok());
        assert_eq!(sync.check(&vec![1, 1, 9]).unwrap_err().reason, Reason::TooOld, "the log was reset");

        let id = ConversationId::new();
        let place = Place::after(sync.clone(), None, 5, id.bytes().to_vec());
        assert_eq!(Place::read(&place.text(), 3), Ok((place, After::Place(5, id))));
        let moved = Place::moved(sync.clone(), Some(sync.clone()), Vec::new());
        assert_eq!(Place::read(&moved.text(), 3), Ok((moved.clone(), After::Moved(None))));
        assert!(Place::read(&moved.text(), 2).is_err());
        assert!(Place::read(&Place::after(sync.clone(), None, 5, vec![1]).text(), 3).is_err());
        assert!(Sync::read(&moved.text(), 3, NOW).is_err(), "a place in a list is no sync");
    }
}
