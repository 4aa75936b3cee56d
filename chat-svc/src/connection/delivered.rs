//! Which devices have shown that events reached them: what notify-svc asks, so that nobody is notified of what they have.

use super::{
    Command, Connections,
    state::{Connection, State},
    tail::Place,
};
use madang_mesh::{
    log::Position,
    shard::{Shard, shard_of},
};
use madang_proto::id::UserId;
use std::{
    collections::{HashMap, VecDeque},
    sync::PoisonError,
    time::Duration,
};
use tokio::sync::oneshot;

/// How long a shard's task may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Of how many publishes of a source it is known where they are in the tail: more than come in what notify-svc waits.
const ARRIVALS: usize = 4096;

/// Who of some users has an event?
#[derive(Debug, Clone)]
pub struct Question {
    /// The place of the answer.
    pub number: usize,
    /// The shard of the event's log.
    pub shard: Shard,
    /// Its position there.
    pub position: Position,
    /// Of whom.
    pub users: Vec<UserId>,
}

/// Where in the tail the positions of each source are.
#[derive(Default)]
pub(super) struct Arrivals(HashMap<Shard, VecDeque<(Position, u64)>>);

impl Arrivals {
    /// An entry of the tail completes a source up to a position.
    pub fn note(&mut self, shard: Shard, position: Position, number: u64) {
        let of_source = self.0.entry(shard).or_default();
        if of_source.len() >= ARRIVALS {
            of_source.pop_front();
        }
        of_source.push_back((position, number));
    }

    /// The entry that brought a position; none: it has not come, or so long ago that nobody asks.
    fn entry(&self, shard: Shard, position: Position) -> Option<u64> {
        let of_source = self.0.get(&shard)?;
        let at = of_source.partition_point(|(reached, _)| *reached < position);
        let (_, number) = of_source.get(at)?;
        // What came before the first that is known could be in it, or in what is forgotten.
        (at > 0 || of_source.len() < ARRIVALS).then_some(*number)
    }
}

/// Whether a device has all of a user's events up to an entry of the tail.
fn has(recent: &VecDeque<Place>, confirmed: Option<Place>, entry: u64) -> bool {
    let before = recent.partition_point(|(number, _)| *number <= entry);
    let Some(last) = before.checked_sub(1).and_then(|last| recent.get(last)) else { return false };
    last.0 == entry && confirmed.is_some_and(|confirmed| *last < confirmed)
}

impl State {
    /// A device has what is before a cursor.
    pub(super) fn delivered(&mut self, user: UserId, trunk: u64, connection: u64, cursor: &str) {
        let Some(place) = cursor.parse().ok().and_then(|cursor| self.tail.place(cursor)) else { return };
        let of_user = self.users.get_mut(&user).into_iter().flat_map(|user| &mut user.connections);
        for each in of_user.filter(|each| (each.trunk.id, each.connection) == (trunk, connection)) {
            each.confirmed = each.confirmed.max(Some(place));
        }
    }

    /// The devices that have what is asked for.
    pub(super) fn who_has(&self, questions: Vec<Question>) -> Vec<(usize, UserId, String)> {
        let mut found = Vec::new();
        for Question { number, shard, position, users } in questions {
            let Some(entry) = self.arrivals.entry(shard, position) else { continue };
            for user in users {
                let Some(state) = self.users.get(&user) else { continue };
                let have = |each: &&Connection| has(&state.recent, each.confirmed, entry);
                found.extend(state.connections.iter().filter(have).map(|each| (number, user, each.device.clone())));
            }
        }
        found
    }
}

impl Connections {
    /// The devices that are known to have events, each with the number of its question. Who is not at home here, and
    /// whose shard has too much to do, has nothing.
    pub async fn who_has(&self, questions: Vec<Question>) -> Vec<(usize, UserId, String)> {
        let mut by_shard: HashMap<Shard, Vec<Question>> = HashMap::new();
        for question in questions {
            let mut parts: HashMap<Shard, Vec<UserId>> = HashMap::new();
            for user in &question.users {
                parts.entry(shard_of(user.bytes(), self.config.shards)).or_default().push(*user);
            }
            for (home, users) in parts {
                by_shard.entry(home).or_default().push(Question { users, ..question.clone() });
            }
        }
        let mut waiting = Vec::with_capacity(by_shard.len());
        {
            let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
            for (shard, questions) in by_shard {
                let (answer, asked) = oneshot::channel();
                let command = Command::AskDelivered { questions, answer };
                if shards.get(&shard).is_some_and(|sender| sender.try_send(command).is_ok()) {
                    waiting.push(asked);
                }
            }
        }
        let mut found = Vec::new();
        for asked in waiting {
            if let Ok(Ok(some)) = tokio::time::timeout(PATIENCE, asked).await {
                found.extend(some);
            }
        }
        found
    }

    /// A device has what is before a cursor; forgotten where there is too much to do.
    pub(super) fn note_delivered(&self, user: UserId, trunk: u64, connection: u64, cursor: String) {
        if let Some(shard) = self.shard(&user) {
            // Who is then notified of what they have is no loss.
            let _ = shard.try_send(Command::Delivered { user, trunk, connection, cursor });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_had_once_all_up_to_it_are() {
        let recent: VecDeque<Place> = [(3, 0), (5, 1), (5, 4), (9, 0)].into();
        assert!(!has(&recent, None, 5));
        assert!(!has(&recent, Some((5, 4)), 5), "one of the two that came together");
        assert!(has(&recent, Some((5, 5)), 5) && has(&recent, Some((6, 0)), 5));
        assert!(!has(&recent, Some((6, 0)), 9));
        assert!(!has(&recent, Some((10, 0)), 4), "nothing of that entry was theirs");
        assert!(!has(&VecDeque::new(), Some((9, 9)), 3));
    }

    #[test]
    fn the_entry_that_brought_a_position_is_found_while_it_is_of_use() {
        let mut arrivals = Arrivals::default();
        arrivals.note(1, 10, 100);
        arrivals.note(1, 14, 101);
        assert_eq!(
            (arrivals.entry(1, 9), arrivals.entry(1, 11), arrivals.entry(1, 14)),
            (Some(100), Some(101), Some(101))
        );
        assert_eq!((arrivals.entry(1, 15), arrivals.entry(2, 1)), (None, None), "not yet");
        for n in 0..ARRIVALS as u64 {
            arrivals.note(1, 20 + n, 200 + n);
        }
        assert_eq!(arrivals.entry(1, 12), None, "so long ago that it can't be said");
        assert_eq!(arrivals.entry(1, 21), Some(201));
    }
}
