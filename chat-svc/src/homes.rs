//! The homes of this process: one task for each shard that its lease gives it, and the way to each of them.

use crate::home::{self, HomeHandle, World};
use madang_mesh::shard::Shard;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// After a home failed, so long passes before this process tries again to be it.
const AGAIN: Duration = Duration::from_secs(1);

/// The ways to the homes that serve here.
#[derive(Clone, Default)]
pub struct Homes {
    serving: Arc<RwLock<HashMap<Shard, HomeHandle>>>,
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

    fn set(&self, shard: Shard, handle: Option<HomeHandle>) {
        let mut serving = self.serving.write().unwrap_or_else(PoisonError::into_inner);
        match handle {
            Some(handle) => serving.insert(shard, handle),
            None => serving.remove(&shard),
        };
    }

    /// Is home of what is held, until `drain`, and ends when every batch in flight has its outcome.
    pub async fn run(self, mut held: watch::Receiver<BTreeSet<Shard>>, world: World, drain: CancellationToken) {
        let mut running: HashMap<Shard, (CancellationToken, JoinHandle<()>)> = HashMap::new();
        loop {
            let now = if drain.is_cancelled() { BTreeSet::new() } else { held.borrow_and_update().clone() };
            let lost: Vec<_> = running.keys().filter(|shard| !now.contains(shard)).copied().collect();
            for shard in lost {
                if let Some((cancel, task)) = running.remove(&shard) {
                    self.set(shard, None);
                    cancel.cancel();
                    if task.await.is_err() {
                        tracing::error!(shard, "the home's task has panicked");
                    }
                }
            }
            if drain.is_cancelled() {
                return;
            }
            for shard in now {
                running.entry(shard).or_insert_with(|| {
                    let cancel = drain.child_token();
                    (cancel.clone(), tokio::spawn(self.clone().keep(shard, world.clone(), cancel)))
                });
            }
            tokio::select! {
                changed = held.changed() => if changed.is_err() { drain.cancelled().await },
                () = drain.cancelled() => {}
            }
        }
    }

    /// Is the shard's home, again and again, until `cancel`.
    async fn keep(self, shard: Shard, world: World, cancel: CancellationToken) {
        while !cancel.is_cancelled() {
            let homes = self.clone();
            let result = home::run(shard, world.clone(), |handle| homes.set(shard, Some(handle)), cancel.clone()).await;
            self.set(shard, None);
            let Err(why) = result else { return };
            tracing::error!(shard, %why, "this process stops being the shard's home, and tries again");
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = cancel.cancelled() => {}
            }
        }
    }
}
