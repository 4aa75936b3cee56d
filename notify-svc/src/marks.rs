//! Up to where users have read, as far as this process has heard lately: a push that was on its way while its message was
//! read is cleared once it has arrived.

use madang_proto::id::{ConversationId, UserId};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many marks are remembered at most; the oldest go first.
const MOST: usize = 100_000;

type Place = (UserId, ConversationId);

#[derive(Default)]
struct Known {
    up_to: HashMap<Place, u64>,
    /// In the order in which they came, also those that newer ones have taken the place of.
    since: VecDeque<(Place, u64)>,
}

/// How far users have read.
#[derive(Default)]
pub struct Marks(Mutex<Known>);

impl Marks {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A user has read up to there.
    pub fn note(&self, user: UserId, conversation: ConversationId, seq: u64) {
        let (mut known, place) = (self.lock(), (user, conversation));
        let up_to = known.up_to.entry(place).or_default();
        if *up_to >= seq {
            return;
        }
        *up_to = seq;
        known.since.push_back((place, seq));
        if known.since.len() > MOST
            && let Some((place, seq)) = known.since.pop_front()
            && known.up_to.get(&place) == Some(&seq)
        {
            known.up_to.remove(&place);
        }
    }

    /// Up to where a user has read; 0: not heard of lately.
    #[must_use]
    pub fn up_to(&self, user: UserId, conversation: ConversationId) -> u64 {
        self.lock().up_to.get(&(user, conversation)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_marks_are_known_and_no_more_than_that() {
        let (marks, user, here, there) =
            (Marks::default(), UserId::new(), ConversationId::new(), ConversationId::new());
        for seq in [4, 6, 5] {
            marks.note(user, here, seq);
        }
        assert_eq!((marks.up_to(user, here), marks.up_to(UserId::new(), here)), (6, 0));
        marks.note(user, there, 1);
        (1..MOST as u64).for_each(|seq| marks.note(user, here, 6 + seq));
        assert_eq!((marks.up_to(user, there), marks.up_to(user, here)), (1, 5 + MOST as u64), "old ones of it went");
        marks.note(user, here, 6 + MOST as u64);
        assert_eq!((marks.up_to(user, there), marks.up_to(user, here)), (0, 6 + MOST as u64));
        assert_eq!(marks.lock().since.len(), MOST);
    }
}
