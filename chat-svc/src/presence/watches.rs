//! Who of this process's connections watches whom, what they have been told, and what is to be asked: the state alone,
//! without waiting for anything. What always holds: nobody is told of somebody whom they may not see as of a check that
//! is at most [`CHECKED`] old, and no check that something has made doubtful counts.

use super::board::{Answer, Presence};
use madang_mesh::shard::{Shard, ShardMap, shard_of};
use madang_proto::id::UserId;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};
use tokio::time::Instant;

/// How many watched users all connections of a process have together at most.
pub const ENTRIES: usize = 1_000_000;
/// How long it is taken for granted who may see whom.
pub const CHECKED: Duration = Duration::from_secs(30);
/// How long after a check that failed the next is made.
const FAILED: Duration = Duration::from_secs(2);
/// The most users that one process is asked for at once.
const ASKED: usize = 10_000;

/// A watch.
pub type Key = u64;

/// What may be done with a process that is home of watched users.
#[derive(Debug, PartialEq)]
pub struct Question {
    /// Which process.
    pub process: String,
    /// Where it is.
    pub address: String,
    /// Of whom nothing is known.
    pub users: Vec<UserId>,
    /// As of which answer: epoch and version.
    pub since: (u64, u64),
}

/// Whom a watcher may see is to be checked.
#[derive(Debug)]
pub struct Check {
    /// Whose watch.
    pub key: Key,
    /// The watcher.
    pub user: UserId,
    /// Of whom.
    pub users: Vec<UserId>,
    /// What happened before then must be heeded.
    pub since: Option<Instant>,
}

#[derive(Default)]
struct Watched {
    /// The process that was asked.
    home: String,
    users: HashMap<UserId, Known>,
    /// Of whom nothing is known yet.
    wanted: BTreeSet<UserId>,
}

#[derive(Default)]
struct Known {
    presence: Option<Presence>,
    watchers: Vec<Key>,
}

struct Told {
    user: UserId,
    visible: bool,
    told: Option<Presence>,
}

struct Watcher<T> {
    user: UserId,
    to: T,
    users: Vec<Told>,
    /// Until when it is known whom they may see.
    until: Option<Instant>,
    /// Not checked before, since the last check failed.
    not_before: Instant,
    checking: bool,
    /// It has become doubtful since the last check began.
    doubted: bool,
    /// When it last became doubtful, until a check has heeded that.
    since: Option<Instant>,
    /// They may not have been told all.
    dirty: bool,
}

/// All watches; each says where what it is told goes.
pub struct Watches<T> {
    count: u32,
    next: Key,
    entries: usize,
    watchers: HashMap<Key, Watcher<T>>,
    shards: HashMap<Shard, Watched>,
    /// Epoch and version of the last answer of each process.
    asked: HashMap<String, (u64, u64)>,
}

impl<T> Watches<T> {
    /// None yet; `count`: how many shards there are.
    pub fn new(count: u32) -> Self {
        let (watchers, shards, asked) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { count, next: 0, entries: 0, watchers, shards, asked }
    }

    /// Whether a watch goes on.
    pub fn has(&self, key: Key) -> bool {
        self.watchers.contains_key(&key)
    }

    /// Whether nobody watches.
    pub fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// Begins a watch; none: there is no room.
    pub fn begin(&mut self, user: UserId, to: T, users: &BTreeSet<UserId>, now: Instant) -> Option<Key> {
        if self.entries + users.len() > ENTRIES {
            return None;
        }
        self.next += 1;
        self.entries += users.len();
        for each in users {
            let watched = self.shards.entry(shard_of(each.bytes(), self.count)).or_default();
            let known = watched.users.entry(*each).or_insert_with(|| {
                watched.wanted.insert(*each);
                Known::default()
            });
            known.watchers.push(self.next);
        }
        let users = users.iter().map(|user| Told { user: *user, visible: false, told: None }).collect();
        let watcher = Watcher {
            user,
            to,
            users,
            until: None,
            not_before: now,
            checking: false,
            doubted: false,
            since: None,
            dirty: true,
        };
        self.watchers.insert(self.next, watcher);
        Some(self.next)
    }

    /// Ends a watch.
    pub fn end(&mut self, key: Key) {
        let Some(watcher) = self.watchers.remove(&key) else { return };
        self.entries -= watcher.users.len();
        for Told { user, .. } in watcher.users {
            let shard = shard_of(user.bytes(), self.count);
            let Some(watched) = self.shards.get_mut(&shard) else { continue };
            let Some(known) = watched.users.get_mut(&user) else { continue };
            known.watchers.retain(|each| *each != key);
            if known.watchers.is_empty() {
                watched.users.remove(&user);
                watched.wanted.remove(&user);
            }
            if watched.users.is_empty() {
                self.shards.remove(&shard);
            }
        }
    }

    /// Whom a watcher may see may have changed, before now.
    pub fn doubt(&mut self, key: Key, now: Instant) {
        if let Some(watcher) = self.watchers.get_mut(&key) {
            (watcher.until, watcher.doubted, watcher.since, watcher.dirty) = (None, true, Some(now), true);
        }
    }

    /// Whom to ask what.
    pub fn questions(&mut self, map: &ShardMap) -> Vec<Question> {
        let mut questions: HashMap<String, Question> = HashMap::new();
        for (shard, watched) in &mut self.shards {
            let Some(home) = map.homes.get(shard) else { continue };
            if watched.home != home.process {
                watched.home.clone_from(&home.process);
                watched.wanted = watched.users.keys().copied().collect();
            }
            let since = self.asked.get(&home.process).copied().unwrap_or_default();
            let question = questions.entry(home.process.clone()).or_insert_with(|| Question {
                process: home.process.clone(),
                address: home.address.clone(),
                users: Vec::new(),
                since,
            });
            let room = ASKED - question.users.len();
            question.users.extend(watched.wanted.iter().take(room));
        }
        self.asked.retain(|process, _| questions.contains_key(process));
        questions.into_values().collect()
    }

    /// A process has answered.
    pub fn learn(&mut self, process: &str, answer: Answer) {
        let Answer { epoch, version, lost, presences } = answer;
        self.asked.insert(process.to_owned(), (epoch, version));
        for watched in self.shards.values_mut().filter(|watched| lost && watched.home == process) {
            watched.wanted = watched.users.keys().copied().collect();
        }
        for (user, presence) in presences {
            let Some(watched) = self.shards.get_mut(&shard_of(user.bytes(), self.count)) else { continue };
            if watched.home != process {
                continue;
            }
            watched.wanted.remove(&user);
            let Some(known) = watched.users.get_mut(&user) else { continue };
            if known.presence != Some(presence) {
                known.presence = Some(presence);
                for key in &known.watchers {
                    if let Some(watcher) = self.watchers.get_mut(key) {
                        watcher.dirty = true;
                    }
                }
            }
        }
    }

    /// What has to be checked now; at most so much.
    pub fn checks(&mut self, now: Instant, most: usize) -> Vec<Check> {
        let due = self.watchers.iter_mut().filter(|(_, watcher)| {
            let stale = watcher.dirty && watcher.until.is_none_or(|until| until <= now);
            stale && !watcher.checking && watcher.not_before <= now
        });
        let asked = due.take(most).map(|(key, watcher)| {
            (watcher.checking, watcher.doubted) = (true, false);
            let users = watcher.users.iter().map(|told| told.user).collect();
            Check { key: *key, user: watcher.user, users, since: watcher.since }
        });
        asked.collect()
    }

    /// Whom a watcher may see; none: that is not known now.
    pub fn checked(&mut self, key: Key, visible: Option<&HashSet<UserId>>, now: Instant) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        watcher.checking = false;
        let Some(visible) = visible else {
            watcher.not_before = now + FAILED;
            return;
        };
        if watcher.doubted {
            return;
        }
        for told in &mut watcher.users {
            told.visible = visible.contains(&told.user);
            if !told.visible {
                told.told = None;
            }
        }
        (watcher.until, watcher.since, watcher.dirty) = (Some(now + CHECKED), None, true);
    }

    /// Tells all watchers what is new to them; `tell` says whether it could.
    pub fn tell(&mut self, now: Instant, tell: impl Fn(&T, UserId, Presence) -> bool) {
        self.watchers.values_mut().for_each(|watcher| watcher.tell(&self.shards, self.count, now, &tell));
    }

    /// Tells one watcher.
    pub fn tell_one(&mut self, key: Key, now: Instant, tell: impl Fn(&T, UserId, Presence) -> bool) {
        if let Some(watcher) = self.watchers.get_mut(&key) {
            watcher.tell(&self.shards, self.count, now, &tell);
        }
    }
}

impl<T> Watcher<T> {
    fn tell(
        &mut self,
        shards: &HashMap<Shard, Watched>,
        count: u32,
        now: Instant,
        tell: &impl Fn(&T, UserId, Presence) -> bool,
    ) {
        if !self.dirty || self.until.is_none_or(|until| until <= now) {
            return;
        }
        self.dirty = false;
        for told in self.users.iter_mut().filter(|told| told.visible) {
            let watched = shards.get(&shard_of(told.user.bytes(), count));
            let known = watched.and_then(|watched| watched.users.get(&told.user)?.presence);
            let Some(presence) = known.filter(|known| told.told != Some(*known)) else { continue };
            if !tell(&self.to, told.user, presence) {
                // There is too much to do now: the next time.
                self.dirty = true;
                return;
            }
            told.told = Some(presence);
        }
    }
}

#[cfg(test)]
mod tests;
