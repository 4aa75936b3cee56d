//! The homes of this process: one task for each shard that its lease gives it, and the way to each of them.

use crate::{
    home::{self, HomeHandle, World},
    shelf::{self, Shelf},
};
use madang_mesh::{channel::Channels, lease::Leases, metrics, shard::Shard, vital::vital};
use prometheus::IntGauge;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, LazyLock, PoisonError, RwLock},
    time::Duration,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// After a home failed, so long passes before this process tries again to be it.
const AGAIN: Duration = Duration::from_secs(1);

static SERVING: LazyLock<IntGauge> =
    LazyLock::new(|| metrics::gauge("madang_chat_homes", "Of how many shards this process is the home, and serves."));

/// The ways to the homes that serve here.
#[derive(Clone, Default)]
pub struct Homes {
    serving: Arc<RwLock<HashMap<Shard, HomeHandle>>>,
    shelf: Shelf,
}

impl Homes {
    /// The shard's home, if it serves here.
    #[must_use]
    pub fn get(&self, shard: Shard) -> Option<HomeHandle> {
        self.serving.read().unwrap_or_else(PoisonError::into_inner).get(&shard).cloned()
    }

    /// How many homes serve here.
    #[must_use]
    pub fn count(&self) -> usize {
        self.serving.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What homes that have stopped here left.
    #[must_use]
    pub fn shelf(&self) -> Shelf {
        self.shelf.clone()
    }

    fn set(&self, shard: Shard, handle: Option<HomeHandle>) {
        let mut serving = self.serving.write().unwrap_or_else(PoisonError::into_inner);
        let (before, change) = match handle {
            Some(handle) => (serving.insert(shard, handle).is_some(), 1),
            None => (serving.remove(&shard).is_none(), -1),
        };
        if !before {
            SERVING.add(change);
        }
    }

    /// Is home of what the lease gives, until `drain` and nothing is held any more. A shard that goes is in use until its
    /// home has stopped and what it left is on the shelf: then the lease gives it away, and the next home finds it there.
    pub async fn run(self, leases: Leases, world: World, channels: Channels, drain: CancellationToken) {
        let mut held = leases.held.clone();
        let mut running: HashMap<Shard, CancellationToken> = HashMap::new();
        let mut tasks: JoinSet<Shard> = JoinSet::new();
        let mut ending: BTreeSet<Shard> = BTreeSet::new();
        loop {
            let now = held.borrow_and_update().clone();
            running.retain(|shard, cancel| {
                let keep = now.contains(shard);
                if !keep {
                    self.set(*shard, None);
                    cancel.cancel();
                    ending.insert(*shard);
                }
                keep
            });
            if drain.is_cancelled() && now.is_empty() && tasks.is_empty() {
                return;
            }
            for shard in now.iter().filter(|shard| !ending.contains(shard)) {
                running.entry(*shard).or_insert_with(|| {
                    leases.begin(*shard);
                    let cancel = CancellationToken::new();
                    let task =
                        self.clone().keep(*shard, world.clone(), leases.clone(), channels.clone(), cancel.clone());
                    tasks.spawn(vital("a home", task));
                    cancel
                });
            }
            tokio::select! {
                changed = held.changed() => if changed.is_err() { drain.cancelled().await },
                Some(ended) = tasks.join_next() => match ended {
                    Ok(shard) => drop(ending.remove(&shard)),
                    Err(error) => tracing::error!(%error, "a home's task was cut off"),
                },
                () = drain.cancelled(), if !drain.is_cancelled() => {}
            }
        }
    }

    /// Is the shard's home, again and again, until `cancel`.
    async fn keep(
        self,
        shard: Shard,
        world: World,
        leases: Leases,
        channels: Channels,
        cancel: CancellationToken,
    ) -> Shard {
        let mut before = leases.before(shard).map(|before| shelf::ask(channels, shard, before));
        while !cancel.is_cancelled() {
            let homes = self.clone();
            let serving = |handle| homes.set(shard, Some(handle));
            let result = home::run(shard, world.clone(), before.take(), serving, cancel.clone()).await;
            self.set(shard, None);
            world.fan_out.ended(shard);
            match result {
                Ok(Some(left)) => self.shelf.put(shard, left),
                Ok(None) => {}
                Err(why) => {
                    tracing::error!(shard, %why, "this process stops being the shard's home, and tries again");
                    tokio::select! {
                        () = tokio::time::sleep(AGAIN) => {}
                        () = cancel.cancelled() => {}
                    }
                }
            }
        }
        leases.end(shard);
        shard
    }
}
