//! What became of messages after they were sent: one that was taken back is not told any more, and one that was edited
//! is told as it is. Remembered for as long as a message may still be told, as far as this process has read it; what is kept
//! for later, for whichever process sends it, is changed in the database.

use crate::{sender::TOO_OLD, words::Shown};
use madang_proto::id::ConversationId;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How many messages are remembered at most; the oldest go first.
const MOST: usize = 100_000;
/// For how long.
const KEPT: Duration = Duration::from_millis(TOO_OLD.unsigned_abs());

/// A message.
pub type Place = (ConversationId, u64);

/// What messages show now; none: they were taken back.
pub type Changes = HashMap<Place, Option<Shown>>;

#[derive(Default)]
struct Known {
    /// What it shows now, if it is there.
    now: Changes,
    /// In the order in which they were first changed.
    since: VecDeque<(Instant, Place)>,
}

/// The messages that were changed lately.
#[derive(Default)]
pub struct Amended(Mutex<Known>);

impl Amended {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message shows this now; none: it was taken back.
    pub fn note(&self, conversation: ConversationId, seq: u64, shown: Option<Shown>) {
        let mut known = self.lock();
        let (now, place) = (Instant::now(), (conversation, seq));
        if known.now.insert(place, shown).is_none() {
            known.since.push_back((now, place));
        }
        while let Some((since, place)) = known.since.front().copied() {
            if known.since.len() <= MOST && now.saturating_duration_since(since) <= KEPT {
                break;
            }
            known.since.pop_front();
            known.now.remove(&place);
        }
    }

    /// What a message shows that was to show something else; none: it was taken back.
    #[must_use]
    pub fn shown(&self, conversation: ConversationId, seq: u64, before: Shown) -> Option<Shown> {
        self.lock().now.get(&(conversation, seq)).cloned().unwrap_or(Some(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn what_was_changed_is_told_as_it_is_and_what_is_gone_is_not() {
        let (amended, here) = (Amended::default(), ConversationId::from(Uuid::now_v7()));
        let text = |text: &str| Shown::Text(text.into());
        let shows = |seq| amended.shown(here, seq, text("as it was"));
        assert_eq!(shows(1), Some(text("as it was")));
        amended.note(here, 1, Some(text("anew")));
        assert_eq!((shows(1), shows(2)), (Some(text("anew")), Some(text("as it was"))));
        amended.note(here, 1, None);
        assert_eq!(shows(1), None);
        assert_eq!(amended.shown(ConversationId::from(Uuid::now_v7()), 1, text("other")), Some(text("other")));
    }

    #[test]
    fn no_more_are_remembered_than_that() {
        let (amended, here) = (Amended::default(), ConversationId::from(Uuid::now_v7()));
        (0..=MOST as u64).for_each(|seq| amended.note(here, seq, None));
        assert_eq!(amended.shown(here, 0, Shown::Nothing), Some(Shown::Nothing), "the oldest has gone");
        assert_eq!(amended.shown(here, 1, Shown::Nothing), None);
        let known = amended.lock();
        assert_eq!((known.now.len(), known.since.len()), (MOST, MOST));
    }
}
