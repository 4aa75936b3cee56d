//! Who should have which shard: each process of a group renews one key every 2 s; `shard.<n>` names a process and
//! changes only by compare-and-set. No time-to-live: a process whose key others have not seen change for 8 s of their
//! own monotonic clock has lost its shards; one whose last acknowledged renewal was sent more than 6 s ago stops serving.
//!
//! Keys, for a group such as `chat`: `lease.<group>.process.<process>` = `COUNTER ADDRESS`,
//! `lease.<group>.shard.<n>` = process.

use crate::{
    registry::{Registry, Revision, Unavailable},
    shard::{Home, Shard, ShardMap},
};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// What a process wants of its group.
#[derive(Debug, Clone)]
pub struct Config {
    /// The group: `chat`, `store`, …
    pub group: String,
    /// This process's name: new with every start, `[A-Za-z0-9_-]`.
    pub process: String,
    /// Where it serves gRPC.
    pub address: String,
    /// How many shards there are.
    pub shards: u32,
}

/// A process's view of the leases of its group.
#[derive(Debug, Clone)]
pub struct Leases {
    /// The shards that this process holds; empties when its renewals are not acknowledged any more.
    pub held: watch::Receiver<BTreeSet<Shard>>,
    /// Who holds which.
    pub map: watch::Receiver<ShardMap>,
}

/// How often a process renews its key.
const RENEW: Duration = Duration::from_secs(2);
/// A process whose key was not seen to change for so long has lost its shards.
const EXPIRE: Duration = Duration::from_secs(8);
/// A process whose last acknowledged renewal was sent so long ago stops serving.
const STOP: Duration = Duration::from_secs(6);

/// Joins the group: renews, takes a fair share of the shards, gives them back when `drain` is cancelled, and then ends.
pub async fn join(config: Config, registry: Arc<dyn Registry>, drain: CancellationToken) -> Leases {
    let held = watch::Sender::new(BTreeSet::new());
    let map = watch::Sender::new(ShardMap { count: config.shards, homes: HashMap::new() });
    let leases = Leases { held: held.subscribe(), map: map.subscribe() };
    let member = Member { config, registry, held, map, peers: HashMap::new(), counter: 0, renewed: Instant::now() };
    tokio::spawn(member.run(drain));
    leases
}

/// Another process, as seen from here.
struct Peer {
    value: Bytes,
    address: String,
    changed: Instant,
}

struct Member {
    config: Config,
    registry: Arc<dyn Registry>,
    held: watch::Sender<BTreeSet<Shard>>,
    map: watch::Sender<ShardMap>,
    peers: HashMap<String, Peer>,
    counter: u64,
    /// When the last acknowledged renewal was sent.
    renewed: Instant,
}

impl Member {
    fn prefix(&self) -> String {
        format!("lease.{}.", self.config.group)
    }

    fn own_key(&self) -> String {
        format!("{}process.{}", self.prefix(), self.config.process)
    }

    async fn run(mut self, drain: CancellationToken) {
        let mut changes = stream::pending().boxed();
        let mut watching = false;
        let mut next = Instant::now();
        while !drain.is_cancelled() {
            if !watching && let Ok(stream) = self.registry.watch(&self.prefix()).await {
                changes = stream;
                watching = true;
            }
            if Instant::now() >= next {
                next = Instant::now() + RENEW;
                self.renew().await;
            }
            if let Err(error) = self.settle().await {
                tracing::warn!(group = self.config.group, %error, "the leases can't be read");
            }
            if self.renewed.elapsed() > STOP {
                self.held.send_if_modified(|held| !std::mem::take(held).is_empty());
            }
            tokio::select! {
                () = tokio::time::sleep_until(next.min(Instant::now() + RENEW / 4)) => {}
                change = changes.next() => {
                    if change.is_none() {
                        watching = false;
                        changes = stream::pending().boxed();
                        tokio::time::sleep(RENEW / 20).await;
                    }
                    // What came with it is seen in one look.
                    while changes.next().now_or_never().flatten().is_some() {}
                }
                () = drain.cancelled() => {}
            }
        }
        self.give_away().await;
    }

    async fn renew(&mut self) {
        self.counter += 1;
        let sent = Instant::now();
        let value = format!("{} {}", self.counter, self.config.address);
        match tokio::time::timeout(RENEW, self.registry.put(&self.own_key(), value.into())).await {
            Ok(Ok(_)) => self.renewed = sent,
            Ok(Err(error)) => tracing::warn!(%error, "the lease was not renewed"),
            Err(_) => tracing::warn!("the lease was not renewed in time"),
        }
    }

    /// Looks at the registry, takes what is free and owed to this process, and gives back what it has too much of.
    async fn settle(&mut self) -> Result<(), Unavailable> {
        let prefix = self.prefix();
        let items = self.registry.list(&prefix).await?;
        let mut shards: HashMap<Shard, (String, Revision)> = HashMap::new();
        let mut seen = BTreeSet::new();
        for item in items {
            let (Some(value), Some(key)) = (item.value, item.key.strip_prefix(&prefix)) else { continue };
            if let Some(process) = key.strip_prefix("process.") {
                self.see(process, &value);
                seen.insert(process.to_owned());
            } else if let Some(shard) = key.strip_prefix("shard.").and_then(|shard| shard.parse().ok()) {
                shards.insert(shard, (String::from_utf8_lossy(&value).into_owned(), item.revision));
            }
        }
        self.peers.retain(|process, _| seen.contains(process));
        let alive: BTreeSet<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.changed.elapsed() < EXPIRE)
            .map(|(process, _)| process.clone())
            .collect();
        let own = self.config.process.clone();
        if self.renewed.elapsed() > STOP || !alive.contains(&own) {
            return Ok(());
        }
        let mine = shards.values().filter(|(process, _)| *process == own).count();
        // The first in order get what does not divide evenly, so that all processes agree.
        let count = self.config.shards as usize;
        let rank = alive.iter().position(|process| *process == own).unwrap_or(0);
        let share = count / alive.len() + usize::from(rank < count % alive.len());
        let mut holding = mine;
        for shard in 0..self.config.shards {
            let (holder, revision) = shards.get(&shard).cloned().unwrap_or_default();
            if holding < share && holder != own && !alive.contains(&holder) {
                let key = format!("{prefix}shard.{shard}");
                let value = Bytes::from(own.clone());
                if let Some(revision) = self.registry.compare_and_set(&key, value, revision).await? {
                    shards.insert(shard, (own.clone(), revision));
                    holding += 1;
                }
            } else if holding > share && holder == own {
                // Stops serving it before anybody else can begin.
                self.held.send_if_modified(|held| held.remove(&shard));
                let key = format!("{prefix}shard.{shard}");
                if let Some(revision) = self.registry.compare_and_set(&key, Bytes::new(), revision).await? {
                    shards.insert(shard, (String::new(), revision));
                    holding -= 1;
                }
            }
        }
        self.publish(&shards, &alive);
        Ok(())
    }

    fn see(&mut self, process: &str, value: &Bytes) {
        let address = || {
            let text = String::from_utf8_lossy(value);
            text.split_once(' ').map(|(_, address)| address.to_owned()).unwrap_or_default()
        };
        match self.peers.get_mut(process) {
            Some(peer) if peer.value == *value => {}
            Some(peer) => (peer.value, peer.changed) = (value.clone(), Instant::now()),
            None => {
                let peer = Peer { value: value.clone(), address: address(), changed: Instant::now() };
                self.peers.insert(process.to_owned(), peer);
            }
        }
    }

    fn publish(&self, shards: &HashMap<Shard, (String, Revision)>, alive: &BTreeSet<String>) {
        let mine = |(_, (process, _)): &(&Shard, &(String, Revision))| *process == self.config.process;
        let held: BTreeSet<_> = shards.iter().filter(mine).map(|(shard, _)| *shard).collect();
        let homes =
            shards.iter().filter(|(_, (process, _))| alive.contains(process)).filter_map(|(shard, (process, _))| {
                let address = self.peers.get(process)?.address.clone();
                Some((*shard, Home { process: process.clone(), address }))
            });
        let map = ShardMap { count: self.config.shards, homes: homes.collect() };
        self.held.send_if_modified(|old| std::mem::replace(old, held.clone()) != held);
        self.map.send_if_modified(|old| std::mem::replace(old, map.clone()) != map);
    }

    async fn give_away(&self) {
        let held = self.held.send_replace(BTreeSet::new());
        for shard in held {
            let key = format!("{}shard.{shard}", self.prefix());
            if let Ok(Some(item)) = self.registry.get(&key).await
                && item.value.as_deref() == Some(self.config.process.as_bytes())
                && let Err(error) = self.registry.compare_and_set(&key, Bytes::new(), item.revision).await
            {
                tracing::warn!(%error, "a shard could not be given away");
            }
        }
        if let Err(error) = self.registry.delete(&self.own_key()).await {
            tracing::warn!(%error, "the lease could not be given back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::memory::MemoryRegistry;

    async fn member(registry: &Arc<dyn Registry>, process: &str) -> (Leases, CancellationToken) {
        let drain = CancellationToken::new();
        let config =
            Config { group: "test".into(), process: process.into(), address: format!("http://{process}"), shards: 8 };
        (join(config, registry.clone(), drain.clone()).await, drain)
    }

    async fn holds(leases: &Leases, count: usize) {
        let mut held = leases.held.clone();
        held.wait_for(|held| held.len() == count).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn shards_are_shared_evenly_and_given_back() {
        let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
        let (one, _keep) = member(&registry, "one").await;
        holds(&one, 8).await;
        let (two, drain) = member(&registry, "two").await;
        holds(&two, 4).await;
        holds(&one, 4).await;
        assert!(one.held.borrow().is_disjoint(&two.held.borrow()));
        one.map
            .clone()
            .wait_for(|map| map.homes.values().filter(|home| home.process == "two").count() == 4)
            .await
            .unwrap();
        drain.cancel();
        holds(&one, 8).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_does_not_renew_loses_its_shards() {
        let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
        registry.put("lease.test.process.dead", "1 http://dead".into()).await.unwrap();
        for shard in 0..8 {
            registry.put(&format!("lease.test.shard.{shard}"), "dead".into()).await.unwrap();
        }
        let begun = Instant::now();
        let (one, _keep) = member(&registry, "one").await;
        holds(&one, 8).await;
        assert!(begun.elapsed() >= EXPIRE && begun.elapsed() < EXPIRE + RENEW);
    }
}
