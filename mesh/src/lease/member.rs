//! A process's part in its group: it renews its key, watches those of others, and takes and gives away shards.

use super::{Config, GIVE, Leases, RENEW, STOP, view::View};
use crate::{
    registry::{Item, Registry},
    shard::{Home, Shard, ShardMap},
};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream, stream::BoxStream};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// How many shards are taken or given away at once.
const AT_ONCE: usize = 16;

/// The renewals of a process: a task of its own, so that nothing that hangs holds up that it stops serving.
#[derive(Debug, Clone)]
pub(super) struct Renewal {
    begun: Instant,
    renewed: Arc<Mutex<Renewed>>,
}

/// What is known of the renewals that were acknowledged.
#[derive(Debug, Clone, Copy)]
struct Renewed {
    /// When the last of them was sent.
    at: Instant,
    /// How often the next came too late: others may have taken this process's shards in between.
    lapses: u64,
}

impl Renewal {
    /// Renews until `left`; empties `held` when the last acknowledged renewal is too long ago. Says that it leaves once
    /// `drain` is cancelled.
    pub fn start(
        config: &Config,
        registry: Arc<dyn Registry>,
        held: watch::Sender<BTreeSet<Shard>>,
        drain: CancellationToken,
        left: CancellationToken,
    ) -> Self {
        let begun = Instant::now();
        let renewal = Self { begun, renewed: Arc::new(Mutex::new(Renewed { at: begun, lapses: 0 })) };
        let (this, address) = (renewal.clone(), config.address.clone());
        let key = format!("lease.{}.process.{}", config.group, config.process);
        tokio::spawn(async move {
            let ended = left.clone();
            tokio::select! {
                () = this.renew(&*registry, &key, &address, (&held, &drain)) => {}
                () = this.watch(&held) => {}
                () = ended.cancelled() => {}
            }
            if let Err(error) = registry.delete(&key).await {
                tracing::warn!(%error, "the lease could not be given back");
            }
        });
        renewal
    }

    async fn renew(
        &self,
        registry: &dyn Registry,
        key: &str,
        address: &str,
        (held, drain): (&watch::Sender<BTreeSet<Shard>>, &CancellationToken),
    ) {
        let mut age = 0;
        loop {
            let (sent, leaving) = (Instant::now(), drain.is_cancelled());
            age = (sent - self.begun).as_millis().max(age + 1);
            let value = format!("{age} {address}{}", if leaving { " leaving" } else { "" });
            match tokio::time::timeout(RENEW, registry.put(key, value.into())).await {
                Ok(Ok(_)) => self.acknowledged(sent, held),
                Ok(Err(error)) => tracing::warn!(%error, "the lease was not renewed"),
                Err(_) => tracing::warn!("the lease was not renewed in time"),
            }
            tokio::select! {
                () = tokio::time::sleep_until(sent + RENEW) => {}
                () = drain.cancelled(), if !leaving => {}
            }
        }
    }

    /// A renewal that was sent then is acknowledged; one that is too late leaves nothing held, whoever else has noticed.
    fn acknowledged(&self, sent: Instant, held: &watch::Sender<BTreeSet<Shard>>) {
        let late = !self.is_fresh();
        if late {
            held.send_if_modified(|held| !std::mem::take(held).is_empty());
        }
        let mut renewed = self.lock();
        *renewed = Renewed { at: sent, lapses: renewed.lapses + u64::from(late) };
    }

    /// Stops the serving in time, whatever else hangs.
    async fn watch(&self, held: &watch::Sender<BTreeSet<Shard>>) {
        loop {
            let end = self.lock().at + STOP;
            tokio::time::sleep_until(end).await;
            if !self.is_fresh() {
                if held.send_if_modified(|held| !std::mem::take(held).is_empty()) {
                    tracing::error!("no renewal of the lease was acknowledged for 6 s: this process stops serving");
                }
                tokio::time::sleep(RENEW / 8).await;
            }
        }
    }

    /// Whether the last renewal that was acknowledged is not too old to serve.
    pub fn is_fresh(&self) -> bool {
        self.lapses().is_some()
    }

    /// How often shards may have been lost since the process began; none: now they are.
    fn lapses(&self) -> Option<u64> {
        let renewed = *self.lock();
        (renewed.at.elapsed() < STOP).then_some(renewed.lapses)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Renewed> {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What others are told.
type Told = (watch::Sender<BTreeSet<Shard>>, watch::Sender<ShardMap>, watch::Sender<usize>);

pub(super) struct Member {
    config: Config,
    registry: Arc<dyn Registry>,
    renewal: Renewal,
    held: watch::Sender<BTreeSet<Shard>>,
    map: watch::Sender<ShardMap>,
    others: watch::Sender<usize>,
    in_use: watch::Receiver<BTreeSet<Shard>>,
    /// Held, so that nobody who uses no shard any more looks like news.
    _in_use: Arc<watch::Sender<BTreeSet<Shard>>>,
    before: Arc<Mutex<HashMap<Shard, Home>>>,
    left: CancellationToken,
    view: View,
    /// What is being given away, and since when.
    giving: BTreeMap<Shard, Instant>,
    /// What others may have taken without its being seen here, while no renewal was acknowledged: it is taken once more before
    /// it is held, which fails if they have, and makes them fail if they have not yet.
    doubted: BTreeSet<Shard>,
    /// The lapse of which these are.
    lapses: u64,
}

impl Member {
    pub fn new(config: Config, registry: Arc<dyn Registry>, renewal: Renewal, told: Told, leases: &Leases) -> Self {
        let (held, map, others) = told;
        let prefix = format!("lease.{}.", config.group);
        Self {
            view: View::new(&config.process, &prefix, config.shards, renewal.begun),
            config,
            registry,
            renewal,
            held,
            map,
            others,
            in_use: leases.in_use.subscribe(),
            _in_use: leases.in_use.clone(),
            before: leases.before.clone(),
            left: leases.left.clone(),
            giving: BTreeMap::new(),
            doubted: BTreeSet::new(),
            lapses: 0,
        }
    }

    fn prefix(&self) -> String {
        format!("lease.{}.", self.config.group)
    }

    pub async fn run(mut self, drain: CancellationToken) {
        let mut changes: Option<BoxStream<'static, Item>> = None;
        let mut leaving_since = None;
        loop {
            if changes.is_none() {
                changes = self.follow().await;
            }
            if drain.is_cancelled() && leaving_since.is_none() {
                leaving_since = Some(Instant::now());
            }
            self.settle(leaving_since.is_some()).await;
            if let Some(since) = leaving_since {
                // What could not be given away is taken over when it runs out.
                let over = self.view.held().is_empty() || since.elapsed() > 2 * GIVE;
                if over && !self.left.is_cancelled() {
                    self.left.cancel();
                }
                if over && self.map.is_closed() {
                    return;
                }
            }
            let (map, left) = (self.map.clone(), self.left.clone());
            tokio::select! {
                change = next(&mut changes) => match change {
                    Some(change) => {
                        self.view.see(change);
                        // What came with it is seen in one look.
                        while let Some(Some(change)) = next(&mut changes).now_or_never() {
                            self.view.see(change);
                        }
                    }
                    None => {
                        changes = None;
                        tokio::time::sleep(RENEW / 20).await;
                    }
                },
                () = tokio::time::sleep(RENEW / 4) => {
                    // A watch that brings not even the own renewals is none.
                    if self.renewal.is_fresh() && !self.view.is_fresh() {
                        changes = None;
                    }
                }
                _ = self.in_use.changed() => {}
                () = drain.cancelled(), if leaving_since.is_none() => {}
                () = map.closed(), if left.is_cancelled() => {}
            }
        }
    }

    /// Everything that there is, and then each change.
    async fn follow(&mut self) -> Option<BoxStream<'static, Item>> {
        let prefix = self.prefix();
        let begun = async {
            let changes = self.registry.watch(&prefix).await?;
            Ok::<_, crate::registry::Unavailable>((changes, self.registry.list(&prefix).await?))
        };
        match tokio::time::timeout(RENEW, begun).await {
            Ok(Ok((changes, items))) => {
                self.view.replace(items);
                return Some(changes);
            }
            Ok(Err(error)) => tracing::warn!(group = self.config.group, %error, "the leases can't be read"),
            Err(_) => tracing::warn!(group = self.config.group, "the leases can't be read in time"),
        }
        None
    }

    /// Takes what is free and owed to this process, and gives back what it has too much of.
    async fn settle(&mut self, leaving: bool) {
        // What others have taken meanwhile is theirs to give away.
        let held = self.view.held();
        self.giving.retain(|shard, _| held.contains(shard));
        let lapses = self.renewal.lapses();
        if let Some(lapses) = lapses.filter(|lapses| *lapses > self.lapses) {
            self.lapses = lapses;
            self.doubted.extend(&held);
        }
        self.doubted.retain(|shard| held.contains(shard));
        if self.view.is_fresh() && lapses.is_some() {
            let own = |shard: &Shard| (*shard, self.view.owner(*shard).revision, true);
            self.change(self.doubted.iter().map(own).collect()).await;
            let plan = self.view.plan();
            let give = if leaving { self.view.held().into_iter().collect() } else { plan.give };
            self.giving.retain(|shard, _| give.contains(shard));
            for shard in give {
                self.giving.entry(shard).or_insert_with(Instant::now);
            }
            if !leaving {
                self.change(plan.take.into_iter().map(|(shard, revision)| (shard, revision, true)).collect()).await;
            }
        } else if leaving {
            self.giving.extend(self.view.held().into_iter().map(|shard| (shard, Instant::now())));
        }
        // Whoever uses them stops before anybody else can begin.
        self.publish();
        let given: Vec<_> = {
            let in_use = self.in_use.borrow_and_update();
            let given = self.giving.iter().filter(|(shard, since)| !in_use.contains(shard) || since.elapsed() > GIVE);
            given.map(|(shard, _)| (*shard, self.view.owner(*shard).revision, false)).collect()
        };
        if !given.is_empty() {
            self.change(given).await;
            self.publish();
        }
        for process in self.view.dead() {
            let key = format!("{}process.{process}", self.prefix());
            let _ = tokio::time::timeout(RENEW, self.registry.delete(&key)).await;
        }
    }

    /// Takes shards, or gives them away, if they still are as seen.
    async fn change(&mut self, shards: Vec<(Shard, u64, bool)>) {
        let (registry, prefix) = (&self.registry, self.prefix());
        let own = &self.config;
        let change = |(shard, revision, take): (Shard, u64, bool)| {
            let (key, registry) = (format!("{prefix}shard.{shard}"), registry.clone());
            let given = || format!(" {} {}", own.process, own.address);
            let value = Bytes::from(if take { own.process.clone() } else { given() });
            async move {
                let set = registry.compare_and_set(&key, value.clone(), revision);
                let revision = match tokio::time::timeout(RENEW, set).await {
                    Ok(Ok(revision)) => revision,
                    Ok(Err(error)) => {
                        tracing::warn!(shard, %error, "a shard could not be taken or given away");
                        None
                    }
                    Err(_) => None,
                };
                (shard, value, revision, take)
            }
        };
        let changed: Vec<_> = stream::iter(shards.into_iter().map(change)).buffer_unordered(AT_ONCE).collect().await;
        for (shard, value, revision, take) in changed {
            let Some(revision) = revision else { continue };
            if take {
                self.doubted.remove(&shard);
                let before = self.view.owner(shard).from;
                let mut all = self.before.lock().unwrap_or_else(PoisonError::into_inner);
                match before {
                    Some(before) => drop(all.insert(shard, before)),
                    None => drop(all.remove(&shard)),
                }
            } else {
                self.giving.remove(&shard);
            }
            self.view.see_shard(shard, &value, revision);
        }
    }

    fn publish(&self) {
        let (mut held, map) = (self.view.held(), self.view.map());
        held.retain(|shard| !self.giving.contains_key(shard) && !self.doubted.contains(shard));
        // Asked for while nobody else changes what is held: what came of a lapse that was not looked at yet stays so.
        self.held.send_if_modified(|old| {
            self.renewal.lapses() == Some(self.lapses) && std::mem::replace(old, held.clone()) != held
        });
        self.map.send_if_modified(|old| std::mem::replace(old, map.clone()) != map);
        self.others.send_if_modified(|old| std::mem::replace(old, self.view.others()) != self.view.others());
    }
}

async fn next(changes: &mut Option<BoxStream<'static, Item>>) -> Option<Item> {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}
