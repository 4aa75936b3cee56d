//! Client ids of requests that changed nothing. No event has them, so store-svc does not know them: a room that was forgotten
//! and is back in memory finds them here.

use crate::retry::{KEEP_MS, Key, Use};
use madang_proto::id::ConversationId;
use std::collections::{HashMap, VecDeque};

/// How many a home keeps: some 2 MiB. Beyond that the oldest go.
const MOST: usize = 10_000;

/// Those of a home's rooms.
#[derive(Default)]
pub(super) struct Unchanged {
    rooms: HashMap<ConversationId, VecDeque<(i64, Key, Use)>>,
    /// When each was, ms since 1970, and of which room, in the order in which they came here.
    order: VecDeque<(i64, ConversationId)>,
}

impl Unchanged {
    /// Takes note of one that was at this time, ms since 1970.
    pub fn note(&mut self, conversation: ConversationId, at_ms: i64, (key, used): (Key, Use)) {
        self.rooms.entry(conversation).or_default().push_back((at_ms, key, used));
        self.order.push_back((at_ms, conversation));
        if self.order.len() > MOST {
            self.drop_first();
        }
    }

    /// Those of a room, each with when it was.
    pub fn of(&self, conversation: &ConversationId) -> impl Iterator<Item = (i64, Key, Use)> {
        self.rooms.get(conversation).into_iter().flatten().copied()
    }

    /// Forgets those that are too old by now, ms since 1970.
    pub fn forget_old(&mut self, now_ms: i64) {
        while self.order.front().is_some_and(|(at_ms, _)| now_ms - at_ms > KEEP_MS) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let Some((_, conversation)) = self.order.pop_front() else { return };
        if let Some(room) = self.rooms.get_mut(&conversation) {
            room.pop_front();
            if room.is_empty() {
                self.rooms.remove(&conversation);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::id::{ClientId, UserId};

    #[test]
    fn as_many_as_may_be_the_newest_and_none_that_is_old() {
        let (mut all, rooms) = (Unchanged::default(), [ConversationId::new(), ConversationId::new()]);
        for n in 0..MOST as u64 + 6 {
            let used = Use { hash: n, seq: 1, revision: 1, at_micros: 1 };
            let at_ms = i64::try_from(n).unwrap();
            all.note(rooms[usize::from(n % 2 == 1)], at_ms, ((UserId::new(), ClientId::now()), used));
        }
        let first =
            |all: &Unchanged, room: usize| all.of(&rooms[room]).next().map(|(at_ms, _, used)| (at_ms, used.hash));
        assert_eq!((first(&all, 0), first(&all, 1)), (Some((6, 6)), Some((7, 7))));
        assert_eq!(all.of(&rooms[0]).count(), MOST / 2);
        all.forget_old(KEEP_MS + 9);
        assert_eq!((first(&all, 0), first(&all, 1)), (Some((10, 10)), Some((9, 9))));
        all.forget_old(2 * KEEP_MS);
        assert!(all.rooms.is_empty() && all.order.is_empty());
    }
}
