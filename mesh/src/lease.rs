//! Who should have which shard: each process of a group renews one key every 2 s; `shard.<n>` names a process and
//! changes only by compare-and-set. No time-to-live: a process whose key others have not seen change for 8 s of their
//! own monotonic clock has lost its shards, and after 3 s if another has begun at its address; one whose last acknowledged
//! renewal was sent more than 6 s ago stops serving, and takes each of its shards once more before it serves again.
//!
//! Keys, for a group such as `chat`: `lease.<group>.process.<process>` = `AGE ADDRESS`, with ` leaving` after it while
//! the process stops (its age in milliseconds, another each time); `lease.<group>.shard.<n>` = `PROCESS`, or
//! ` PROCESS ADDRESS` (beginning with a space) of a shard that is free, and who had it. A shard is given away only once its holder has stopped using it.

mod member;
#[cfg(test)]
mod tests;
mod view;

use crate::{
    registry::Registry,
    shard::{Home, Shard, ShardMap},
    vital::vital,
};
use member::{Member, Renewal};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::watch;
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
    /// Shards that are in use here: these are given away only when they are not any more, or after 3 s.
    in_use: Arc<watch::Sender<BTreeSet<Shard>>>,
    /// Who gave away what this process holds.
    before: Arc<Mutex<HashMap<Shard, Home>>>,
    /// How many other processes live, those that are leaving not counted.
    others: watch::Receiver<usize>,
    tenure: Tenure,
    left: CancellationToken,
}

/// Whether a process still holds what it took, asked right before it answers from memory alone: where the log is not
/// asked, nothing else would show one that was paused that others have taken over meanwhile.
#[derive(Debug, Clone)]
pub struct Tenure(Option<Held>);

#[derive(Debug, Clone)]
struct Held {
    shards: watch::Receiver<BTreeSet<Shard>>,
    renewal: Option<Renewal>,
}

impl Tenure {
    /// Of who needs no lease: it ends never.
    #[must_use]
    pub fn endless() -> Self {
        Self(None)
    }

    /// Of shards that are held as long as they are said to be.
    #[must_use]
    pub fn of(shards: watch::Receiver<BTreeSet<Shard>>) -> Self {
        Self(Some(Held { shards, renewal: None }))
    }

    /// Whether what this process knows of others is not too old: its renewals are acknowledged.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.0.as_ref().and_then(|held| held.renewal.as_ref()).is_none_or(Renewal::is_fresh)
    }

    /// Whether the shard is held, by a lease whose last acknowledged renewal is not too old.
    #[must_use]
    pub fn holds(&self, shard: Shard) -> bool {
        self.0.as_ref().is_none_or(|held| {
            held.renewal.as_ref().is_none_or(Renewal::is_fresh) && held.shards.borrow().contains(&shard)
        })
    }
}

impl Leases {
    /// Of a process that takes no part: it holds nothing, ever.
    #[must_use]
    pub fn none() -> Self {
        let held = watch::channel(BTreeSet::new()).1;
        Self {
            held: held.clone(),
            map: watch::channel(ShardMap::default()).1,
            in_use: Arc::default(),
            before: Arc::default(),
            others: watch::channel(0).1,
            tenure: Tenure::of(held),
            left: CancellationToken::new(),
        }
    }

    /// The shard is in use: it is not given away before [`Leases::end`].
    pub fn begin(&self, shard: Shard) {
        self.in_use.send_if_modified(|used| used.insert(shard));
    }

    /// The shard is not in use any more.
    pub fn end(&self, shard: Shard) {
        self.in_use.send_if_modified(|used| used.remove(&shard));
    }

    /// Who gave the shard away before this process took it; none where it was taken from one that had died, or was free.
    #[must_use]
    pub fn before(&self, shard: Shard) -> Option<Home> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner).get(&shard).cloned()
    }

    /// To ask whether a shard is still held.
    #[must_use]
    pub fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    /// How many other processes may take what this one gives away.
    #[must_use]
    pub fn others(&self) -> usize {
        *self.others.borrow()
    }

    /// Waits until all shards have been given away, after the process was told to leave.
    pub async fn left(&self) {
        self.left.cancelled().await;
    }
}

/// How often a process renews its key.
const RENEW: Duration = Duration::from_secs(2);
/// A process whose key was not seen to change for so long has lost its shards.
const EXPIRE: Duration = Duration::from_secs(8);
/// The same, where another process has begun at its address since: a process that was killed and is back. Longer than
/// between two renewals, so that two that are told the same address by mistake do not take each other for dead.
const REPLACED: Duration = Duration::from_secs(3);
/// A process whose last acknowledged renewal was sent so long ago stops serving.
const STOP: Duration = Duration::from_secs(6);
/// How long a shard that is to be given away may stay in use.
const GIVE: Duration = Duration::from_secs(3);

/// Joins the group: renews, takes a fair share of the shards, gives them back when `drain` is cancelled, and then only
/// keeps the map fresh for whoever still looks at it.
pub async fn join(config: Config, registry: Arc<dyn Registry>, drain: CancellationToken) -> Leases {
    let held = watch::Sender::new(BTreeSet::new());
    let map = watch::Sender::new(ShardMap { count: config.shards, homes: HashMap::new() });
    let (in_use, others) = (Arc::new(watch::Sender::new(BTreeSet::new())), watch::Sender::new(0));
    let left = CancellationToken::new();
    let renewal = Renewal::start(&config, registry.clone(), held.clone(), drain.clone(), left.clone());
    let leases = Leases {
        held: held.subscribe(),
        map: map.subscribe(),
        in_use: in_use.clone(),
        before: Arc::default(),
        others: others.subscribe(),
        tenure: Tenure(Some(Held { shards: held.subscribe(), renewal: Some(renewal.clone()) })),
        left,
    };
    let member = Member::new(config, registry, renewal, (held, map, others), &leases);
    tokio::spawn(vital("the renewal of leases", member.run(drain)));
    leases
}
