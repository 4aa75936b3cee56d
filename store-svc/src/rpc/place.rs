//! The cursor of who reads all conversations, as opaque text: how far they have come in each shard's log, and within the
//! record of one shard that they are in.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use madang_mesh::{log::Position, shard::Shard};
use madang_proto::reason::{Reason, Refusal};
use prost::Message;

/// The form of cursors; others are of another version.
const FORM: u32 = 1;
/// The longest cursor that is looked at.
const MOST: usize = 8 << 10;

/// How far a reader has come.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Place {
    #[prost(uint32, tag = "1")]
    form: u32,
    /// Of shard 0, 1, …: all records up to this one are handled.
    #[prost(uint64, repeated, tag = "2")]
    pub positions: Vec<u64>,
    /// Of the record after those of this shard so many events are handled as well.
    #[prost(uint32, tag = "3")]
    shard: u32,
    #[prost(uint32, tag = "4")]
    events: u32,
}

impl Place {
    /// Behind these records.
    pub(super) fn new(positions: Vec<Position>) -> Self {
        Self { form: FORM, positions, shard: 0, events: 0 }
    }

    /// How far a shard's records are handled.
    pub(super) fn at(&self, shard: Shard) -> Position {
        self.positions.get(shard as usize).copied().unwrap_or_default()
    }

    /// How many events of the record after those are handled.
    pub(super) fn within(&self, shard: Shard) -> usize {
        if self.shard == shard { self.events as usize } else { 0 }
    }

    /// The shard whose record is begun, if one is: it comes first, since only one can be.
    pub(super) fn begun(&self) -> Option<Shard> {
        (self.events > 0).then_some(self.shard)
    }

    /// So many events of the next record of a shard are handled.
    pub(super) fn handled(&mut self, shard: Shard, events: usize) {
        (self.shard, self.events) = (shard, u32::try_from(events).unwrap_or(u32::MAX));
    }

    /// All of a shard's records up to this one are handled.
    pub(super) fn passed(&mut self, shard: Shard, position: Position) {
        if let Some(at) = self.positions.get_mut(shard as usize) {
            *at = position;
        }
        (self.shard, self.events) = (0, 0);
    }

    /// Its text.
    pub(super) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.encode_to_vec())
    }

    /// The one behind a text.
    pub(super) fn read(text: &str, shards: u32) -> Result<Self, Refusal> {
        let message = "cursor must be one of an earlier answer, as it was given";
        let none = || Refusal::new(Reason::InvalidField, message).of("cursor");
        let bytes = (text.len() <= MOST).then(|| URL_SAFE_NO_PAD.decode(text).ok()).flatten().ok_or_else(none)?;
        let place = Self::decode(&bytes[..]).map_err(|_| none())?;
        if place.form == 0 || place.positions.is_empty() {
            return Err(none());
        }
        if place.form != FORM || place.positions.len() != shards as usize || place.shard >= shards {
            return Err(too_old());
        }
        Ok(place)
    }
}

/// What follows a cursor is not kept.
pub(super) fn too_old() -> Refusal {
    let message =
        "what follows this cursor is not kept any more: begin without one, and read what is missing from history";
    Refusal::new(Reason::TooOld, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_read_and_nothing_else() {
        let mut place = Place::new(vec![1, 0, 9]);
        assert_eq!((place.begun(), place.within(0)), (None, 0));
        place.handled(2, 5);
        assert_eq!(Place::read(&place.text(), 3), Ok(place.clone()));
        assert_eq!((place.at(2), place.within(2), place.within(0), place.begun()), (9, 5, 0, Some(2)));
        place.passed(2, 10);
        assert_eq!((place.at(2), place.within(2), place.begun()), (10, 0, None));
        for bad in ["x", "AAAA", "한", &"A".repeat(MOST + 1)] {
            assert_eq!(Place::read(bad, 3).unwrap_err().reason, Reason::InvalidField, "{bad}");
        }
        assert_eq!(Place::read(&place.text(), 4).unwrap_err().reason, Reason::TooOld, "of another layout");
    }
}
