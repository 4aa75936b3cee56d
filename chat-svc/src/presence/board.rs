//! Who is connected here: one entry for each user whose home this process is and who is, or lately was, connected; and
//! the order in which that changed, so that another process asks for the changes alone.

use madang_mesh::{
    clock::now_ms,
    shard::{Shard, shard_of},
};
use madang_proto::id::UserId;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How many changes are remembered; who asks for more is told to ask for all again.
const CHANGES: usize = 65_536;
/// Of how many users who are not connected it is remembered when they were.
const GONE: usize = 262_144;
/// So long after a shard came here, who has not connected yet is not taken for absent: gateways bring them. Not in a process
/// that is alone, when a shard first comes: it has all sockets itself, and none is older than it.
pub const SETTLED: Duration = Duration::from_secs(10);

/// Whether somebody is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// Whether a device of theirs is connected.
    pub online: bool,
    /// When one was last, ms since 1970; 0: not known. Of who is online: 0.
    pub last_seen: i64,
}

/// What a board says to who asks.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    /// Which board, in which life.
    pub epoch: u64,
    /// As of which change.
    pub version: u64,
    /// What has changed since the asker's version is not known any more.
    pub lost: bool,
    /// Those who are known here.
    pub presences: Vec<(UserId, Presence)>,
}

struct Entry {
    connections: u32,
    last_seen: i64,
    /// The change that it began with: connections of an entry that was forgotten since may still end.
    life: u64,
}

#[derive(Default)]
struct Inner {
    users: HashMap<UserId, Entry>,
    /// Those who went, oldest first; who has come back since is still in it.
    gone: VecDeque<UserId>,
    changes: VecDeque<UserId>,
    /// The number of the newest change.
    version: u64,
    /// The shards that are here, and when who has not connected by then is absent.
    shards: HashMap<Shard, Instant>,
    /// Those that have been here.
    known: HashSet<Shard>,
}

/// Who is connected to this process.
#[derive(Clone)]
pub struct Board {
    epoch: u64,
    /// How many shards there are.
    count: u32,
    /// All sockets that there are, are of this process.
    alone: bool,
    inner: Arc<Mutex<Inner>>,
}

/// One connection of somebody; they are there as long as it lives.
pub struct Present {
    board: Board,
    user: UserId,
    life: u64,
}

impl Inner {
    fn change(&mut self, user: UserId) {
        self.version += 1;
        self.changes.push_back(user);
        if self.changes.len() > CHANGES {
            self.changes.pop_front();
        }
    }
}

impl Board {
    /// Nobody yet; `count`: how many shards there are; `alone`: no other process has sockets.
    #[must_use]
    pub fn new(count: u32, alone: bool) -> Self {
        Self { epoch: rand::random_range(1..=u64::MAX), count, alone, inner: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A shard's users come here from now on.
    pub fn begun(&self, shard: Shard) {
        let mut inner = self.lock();
        let (first, now) = (inner.known.insert(shard), Instant::now());
        inner.shards.insert(shard, if self.alone && first { now } else { now + SETTLED });
    }

    /// They go elsewhere: what is known of them is forgotten, and nobody is told that they went.
    pub fn ended(&self, shard: Shard) {
        let mut inner = self.lock();
        inner.shards.remove(&shard);
        inner.users.retain(|user, _| shard_of(user.bytes(), self.count) != shard);
    }

    /// Somebody has a connection, until what this gives is dropped.
    #[must_use]
    pub fn present(&self, user: UserId) -> Present {
        let mut inner = self.lock();
        let next = inner.version + 1;
        let entry = inner.users.entry(user).or_insert(Entry { connections: 0, last_seen: 0, life: next });
        entry.connections += 1;
        let (life, first) = (entry.life, entry.connections == 1);
        if first {
            inner.change(user);
        }
        Present { board: self.clone(), user, life }
    }

    /// What is known of these, and of who has changed since a version (of which epoch; 0: none).
    #[must_use]
    pub fn answer(&self, users: impl Iterator<Item = UserId>, epoch: u64, since: u64) -> Answer {
        let inner = self.lock();
        let first = inner.version - inner.changes.len() as u64;
        let same = epoch == self.epoch && since <= inner.version;
        let lost = epoch != 0 && !(same && since >= first);
        let mut answer = Answer { epoch: self.epoch, version: inner.version, lost, presences: Vec::new() };
        let changed = usize::try_from(since.saturating_sub(first)).unwrap_or(usize::MAX);
        let changed = if same && !lost { changed } else { usize::MAX };
        let all = users.chain(inner.changes.iter().skip(changed).copied());
        let now = Instant::now();
        answer.presences = all
            .filter_map(|user| {
                let settled = inner.shards.get(&shard_of(user.bytes(), self.count))?;
                let presence = match inner.users.get(&user) {
                    Some(entry) => Presence { online: entry.connections > 0, last_seen: entry.last_seen },
                    None if *settled <= now => Presence { online: false, last_seen: 0 },
                    None => return None,
                };
                Some((user, if presence.online { Presence { last_seen: 0, ..presence } } else { presence }))
            })
            .collect();
        answer
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut inner = self.board.lock();
        let Some(entry) = inner.users.get_mut(&self.user).filter(|entry| entry.life == self.life) else { return };
        entry.connections -= 1;
        if entry.connections > 0 {
            return;
        }
        entry.last_seen = now_ms();
        inner.gone.push_back(self.user);
        inner.change(self.user);
        if inner.gone.len() > GONE
            && let Some(user) = inner.gone.pop_front()
            && inner.users.get(&user).is_some_and(|entry| entry.connections == 0)
        {
            inner.users.remove(&user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_again_hears_of_changes_alone() {
        let (board, ann, bob) = (Board::new(1, false), UserId::new(), UserId::new());
        board.begun(0);
        let (phone, laptop) = (board.present(ann), board.present(ann));
        let first = board.answer([ann, bob].into_iter(), 0, 0);
        assert_eq!(first.presences, [(ann, Presence { online: true, last_seen: 0 })], "bob may still come");
        let quiet = board.answer([].into_iter(), first.epoch, first.version);
        assert_eq!((quiet.lost, quiet.presences.len()), (false, 0));
        drop(phone);
        assert!(board.answer([].into_iter(), first.epoch, first.version).presences.is_empty());
        drop(laptop);
        let gone = board.answer([].into_iter(), first.epoch, first.version).presences;
        assert!(gone.len() == 1 && gone[0].0 == ann && !gone[0].1.online && gone[0].1.last_seen > 0, "{gone:?}");
        assert!(board.answer([].into_iter(), first.epoch + 1, 0).lost, "another life");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_alone_waits_for_no_gateway_but_for_those_whom_it_sent_away_itself() {
        let (board, ann) = (Board::new(1, true), UserId::new());
        let known = || board.answer([ann].into_iter(), 0, 0).presences;
        board.begun(0);
        assert_eq!(known(), [(ann, Presence { online: false, last_seen: 0 })]);
        board.ended(0);
        board.begun(0);
        assert!(known().is_empty(), "its own gateway has yet to open her socket again");
        tokio::time::advance(SETTLED).await;
        assert_eq!(known().len(), 1);
    }

    #[test]
    fn what_is_too_much_to_remember_is_asked_for_again() {
        let (board, ann) = (Board::new(1, false), UserId::new());
        board.begun(0);
        let before = board.answer([ann].into_iter(), 0, 0);
        for _ in 0..=CHANGES {
            drop(board.present(UserId::new()));
        }
        let inner = board.lock();
        assert!(inner.changes.len() == CHANGES && inner.users.len() <= GONE);
        drop(inner);
        assert!(board.answer([].into_iter(), before.epoch, before.version).lost);
    }

    #[test]
    fn nobody_is_told_that_those_went_whose_home_is_elsewhere() {
        let (board, ann) = (Board::new(1, false), UserId::new());
        board.begun(0);
        let connection = board.present(ann);
        let before = board.answer([ann].into_iter(), 0, 0);
        board.ended(0);
        drop(connection);
        let after = board.answer([ann].into_iter(), before.epoch, before.version);
        assert_eq!((after.version, after.presences), (before.version, vec![]));
    }
    #[test]
    fn a_connection_of_before_a_shard_went_and_came_back_does_not_count_when_it_ends() {
        let (board, ann) = (Board::new(1, false), UserId::new());
        board.begun(0);
        let before = board.present(ann);
        board.ended(0);
        board.begun(0);
        let after = board.present(ann);
        drop(before);
        let online = || board.answer([ann].into_iter(), 0, 0).presences[0].1.online;
        assert!(online(), "the newer one is still there");
        drop(after);
        assert!(!online());
    }
}
