//! What a process has seen of its group, and what follows from it. Pure: it waits for nothing and changes no key.

use super::{EXPIRE, RENEW, REPLACED, STOP};
use crate::{
    registry::{Item, Revision},
    shard::{Home, Shard, ShardMap},
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};
use tokio::time::Instant;

/// A process, as seen from here.
struct Peer {
    value: Bytes,
    revision: Revision,
    address: String,
    leaving: bool,
    changed: Instant,
    /// Its key was deleted: by itself as it left, or by one that took it for dead and may have been wrong.
    gone: bool,
}

/// Who has a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Owner {
    /// The process; empty: it is free.
    pub holder: String,
    /// Who gave it away.
    pub from: Option<Home>,
    /// The change that made it so.
    pub revision: Revision,
}

/// What was seen.
pub(super) struct View {
    own: String,
    prefix: String,
    count: u32,
    peers: HashMap<String, Peer>,
    shards: BTreeMap<Shard, Owner>,
    /// When this process began, from which its renewals count.
    pub(super) begun: Instant,
    /// When this process saw a renewal of its own last.
    echo: Option<Instant>,
    /// When the last that it saw was sent: whatever others had done before that it has seen, too.
    seen_until: Instant,
    /// Since when it has seen them without a pause: silence of others counts from here on.
    steady: Instant,
}

/// What a process should do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Take these, whose revisions are these.
    pub take: Vec<(Shard, Revision)>,
    /// Give these away.
    pub give: Vec<Shard>,
}

impl View {
    pub fn new(own: &str, prefix: &str, count: u32, begun: Instant) -> Self {
        Self {
            own: own.to_owned(),
            prefix: prefix.to_owned(),
            count,
            peers: HashMap::new(),
            shards: BTreeMap::new(),
            begun,
            echo: None,
            seen_until: begun,
            steady: Instant::now(),
        }
    }

    /// Everything, as a list has it: what is not in it is gone.
    pub fn replace(&mut self, items: Vec<Item>) {
        let keys: BTreeSet<String> = items.iter().map(|item| item.key.clone()).collect();
        let prefix = self.prefix.clone();
        for (process, peer) in &mut self.peers {
            peer.gone |= !keys.contains(&format!("{prefix}process.{process}"));
        }
        self.shards.retain(|shard, _| keys.contains(&format!("{prefix}shard.{shard}")));
        items.into_iter().for_each(|item| self.see(item));
    }

    /// A key, as it is or has become; what is older than what was seen says nothing.
    pub fn see(&mut self, item: Item) {
        let Some(key) = item.key.strip_prefix(&self.prefix) else { return };
        if let Some(process) = key.strip_prefix("process.") {
            let known = self.peers.get(process).map_or(0, |peer| peer.revision);
            if item.revision <= known {
                return;
            }
            match item.value {
                Some(value) => self.see_process(process.to_owned(), value, item.revision),
                // Its shards are not free before it would have run out: if it lives after all, it renews before that.
                None => {
                    if let Some(peer) = self.peers.get_mut(process) {
                        (peer.gone, peer.revision) = (true, item.revision);
                    }
                }
            }
            let now = Instant::now();
            self.peers.retain(|_, peer| !peer.gone || now - peer.changed < 2 * EXPIRE);
        } else if let Some(shard) = key.strip_prefix("shard.").and_then(|shard| shard.parse().ok()) {
            self.see_shard(shard, &item.value.unwrap_or_default(), item.revision);
        }
    }

    fn see_process(&mut self, process: String, value: Bytes, revision: Revision) {
        let now = Instant::now();
        let text = String::from_utf8_lossy(&value);
        let mut words = text.split(' ');
        let age = words.next().unwrap_or_default();
        if process == self.own {
            if self.echo.is_none_or(|echo| now - echo > 2 * RENEW) {
                self.steady = now;
            }
            self.echo = Some(now);
            self.seen_until = self.begun + Duration::from_millis(age.parse().unwrap_or(0));
        }
        let (address, leaving) = (words.next().unwrap_or_default().to_owned(), words.next() == Some("leaving"));
        let same = self.peers.get(&process).filter(|peer| peer.value == value);
        let changed = same.map_or(now, |peer| peer.changed);
        self.peers.insert(process, Peer { value, revision, address, leaving, changed, gone: false });
    }

    /// A shard's key; also after this process has changed it itself.
    pub fn see_shard(&mut self, shard: Shard, value: &[u8], revision: Revision) {
        let owner = self.shards.entry(shard).or_default();
        if revision <= owner.revision {
            return;
        }
        let text = String::from_utf8_lossy(value);
        let mut words = text.split(' ').map(ToOwned::to_owned);
        let holder = words.next().unwrap_or_default();
        let from = words.next().zip(words.next()).map(|(process, address)| Home { process, address });
        *owner = Owner { holder, from, revision };
    }

    pub fn owner(&self, shard: Shard) -> Owner {
        self.shards.get(&shard).cloned().unwrap_or_default()
    }

    /// Whether all that others do is seen; without it nothing can be said about them.
    pub fn is_fresh(&self) -> bool {
        self.echo.is_some_and(|echo| echo.elapsed() < 2 * RENEW)
    }

    /// Since when nothing was heard of a process.
    fn silent_since(&self, peer: &Peer) -> Instant {
        peer.changed.max(self.steady)
    }

    /// Whether one of whom nothing was heard since then has lost its shards. That it renewed may only not have been seen
    /// yet: what is known to have been silence must be as long as it takes to stop serving.
    fn has_expired(&self, since: Instant) -> bool {
        since.elapsed() >= EXPIRE && self.seen_until >= since + STOP
    }

    /// Whether a shard's holder has lost it: it gave it away, or has been silent for too long. One that was never seen
    /// may have lost its key to somebody's mistake: it is given the time to renew.
    fn has_lost(&self, holder: &str, alive: &BTreeSet<&str>) -> bool {
        let unknown = !self.peers.contains_key(holder);
        holder.is_empty() || !alive.contains(holder) && (!unknown || self.has_expired(self.steady))
    }

    /// Those that live, whether they leave or not.
    fn alive(&self) -> BTreeSet<&str> {
        let live = |(process, peer): &(&String, &Peer)| {
            let since = self.silent_since(peer);
            !self.has_expired(since) && (since.elapsed() < REPLACED || !self.is_replaced(process, peer))
        };
        self.peers.iter().filter(live).map(|(process, _)| &**process).collect()
    }

    /// Whether another has begun at the address of one that is silent: two can't listen there.
    fn is_replaced(&self, process: &str, peer: &Peer) -> bool {
        let here = |(name, other): (&String, &Peer)| {
            name != process && other.address == peer.address && other.revision > peer.revision && !other.gone
        };
        !peer.address.is_empty() && self.peers.iter().any(here)
    }

    /// How many others live and stay.
    pub fn others(&self) -> usize {
        let alive = self.alive();
        let stays = |(process, peer): &(&String, &Peer)| {
            **process != self.own && !peer.leaving && !peer.gone && alive.contains(process.as_str())
        };
        self.peers.iter().filter(stays).count()
    }

    /// Processes that have been silent for so long that nobody waits for them.
    pub fn dead(&self) -> Vec<String> {
        let dead = |(_, peer): &(&String, &Peer)| {
            self.is_fresh() && !peer.gone && self.silent_since(peer).elapsed() > 8 * EXPIRE
        };
        self.peers.iter().filter(dead).map(|(process, _)| process.clone()).collect()
    }

    /// What this process should do to come to its fair share: those that leave have none. What does not divide evenly
    /// goes to those that hold most already, so that as little as possible moves and all agree.
    pub fn plan(&self) -> Plan {
        let alive = self.alive();
        let mut holding: HashMap<&str, usize> = HashMap::new();
        for owner in self.shards.values() {
            *holding.entry(&owner.holder).or_default() += 1;
        }
        let held = |process: &str| holding.get(process).copied().unwrap_or(0);
        let mut staying: Vec<&str> = alive
            .iter()
            .copied()
            .filter(|process| self.peers.get(*process).is_some_and(|peer| !peer.leaving && !peer.gone))
            .collect();
        staying.sort_by_key(|process| (std::cmp::Reverse(held(process)), *process));
        let Some(rank) = staying.iter().position(|process| *process == self.own) else { return Plan::default() };
        let count = self.count as usize;
        let share = count / staying.len() + usize::from(rank < count % staying.len());
        let mine = held(&self.own);
        let free = (0..self.count).filter(|shard| {
            self.shards.get(shard).is_none_or(|owner| owner.holder != self.own && self.has_lost(&owner.holder, &alive))
        });
        let take = free.take(share.saturating_sub(mine)).map(|shard| (shard, self.owner(shard).revision)).collect();
        let own = self.shards.iter().filter(|(_, owner)| owner.holder == self.own).map(|(shard, _)| *shard);
        let give = own.rev().take(mine.saturating_sub(share)).collect();
        Plan { take, give }
    }

    /// What this process holds.
    pub fn held(&self) -> BTreeSet<Shard> {
        self.shards.iter().filter(|(_, owner)| owner.holder == self.own).map(|(shard, _)| *shard).collect()
    }

    /// Who holds which, of those that live.
    pub fn map(&self) -> ShardMap {
        let alive = self.alive();
        let home = |(shard, owner): (&Shard, &Owner)| {
            let peer = self.peers.get(&owner.holder).filter(|_| alive.contains(owner.holder.as_str()))?;
            Some((*shard, Home { process: owner.holder.clone(), address: peer.address.clone() }))
        };
        ShardMap { count: self.count, homes: self.shards.iter().filter_map(home).collect() }
    }
}
