//! What a connection is sent of the tail when it opens: at most so much at once, however it begins.

use super::State;
use crate::{connection::tail::Place, cursor::Cursor};
use bytes::Bytes;
use madang_proto::id::UserId;

/// How much is sent to a connection at once of what it has missed; then it opens again from there. Memory is bounded, and
/// so is what waits in the trunk.
const REPLAY: usize = 1024;
/// How many bytes of it.
const REPLAY_BYTES: usize = 4 << 20;

/// What a connection has missed.
pub(super) struct Missed {
    /// Events, each with the cursor of whoever has it.
    pub events: Vec<(Bytes, Cursor)>,
    /// There are more after them.
    pub more: bool,
}

impl Missed {
    /// Where somebody is who has it.
    pub fn reached(&self) -> Option<Cursor> {
        self.events.last().map(|(_, cursor)| *cursor)
    }
}

impl State {
    /// What the tail has for a user from a place on.
    pub(super) fn missed(&self, user: UserId, place: Place) -> Missed {
        let mut missed = Missed { events: Vec::new(), more: false };
        let Some(state) = self.users.get(&user) else { return missed };
        let frozen = self.frozen.and_then(|frozen| Some((self.tail.place(frozen)?, frozen)));
        let mut bytes = 0;
        let first = state.recent.partition_point(|each| *each < place);
        for each in state.recent.iter().skip(first) {
            let Some((event, mut cursor)) = self.tail.event(*each) else { continue };
            // What lists have in any case would show a gap here. Who resumes has been told after it.
            if self.listed.get(&event.source).is_some_and(|number| each.0 < *number) {
                continue;
            }
            if missed.events.len() >= REPLAY || bytes >= REPLAY_BYTES {
                missed.more = true;
                break;
            }
            if let Some((_, frozen)) = frozen.filter(|(place, _)| each >= place) {
                cursor = frozen;
            }
            bytes += event.event.len();
            missed.events.push((event.event.clone(), cursor));
        }
        missed
    }
}
