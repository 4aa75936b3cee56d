//! What was kept for later is sent once it is due. While nobody can say who is still to be told it stays where it is, and is
//! asked after less and less often: however much of it there is, a database or a service that comes back is not met by it.

use super::{LOOK, OFTEN, Work};
use crate::{
    backoff::Backoff,
    sender::{Kept, Origin, Push, TOO_OLD, Taken, TakenUp},
    store::{self, Settled, Subscription},
};
use madang_mesh::clock::now_ms;
use madang_proto::{id::UserId, notify::v1::Outcome};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// How many late pushes are taken up at once.
const DUE: usize = 256;
/// The longest pause until it is asked again who is still to be told.
const LONGEST: Duration = Duration::from_secs(30);

/// What came of taking up what is due.
enum TookUp {
    /// That was all.
    All,
    /// There may be more.
    Some,
    /// Nobody can say who is still to be told.
    Nobody,
}

impl Work {
    /// Sends what was kept for later, once it is due.
    pub(super) async fn late(self: Arc<Self>, cancel: CancellationToken) {
        tokio::select! {
            () = self.take_up_all() => {}
            () = cancel.cancelled() => {}
        }
    }

    async fn take_up_all(&self) {
        let (taken, mut doubt) = (TakenUp::default(), self.audience.doubt());
        let mut backoff = Backoff::between(OFTEN, LONGEST);
        let mut pause = OFTEN;
        loop {
            tokio::time::sleep(pause.min(OFTEN)).await;
            if pause > OFTEN {
                // Whoever is told first, also of something new, that is the end of it.
                let _ = tokio::time::timeout(pause - OFTEN, doubt.wait_for(|doubt| !doubt)).await;
            }
            pause = match self.take_up(&taken).await {
                Ok(TookUp::Nobody) => backoff.next(),
                Ok(took_up) => {
                    backoff.reset();
                    if let TookUp::All = took_up { OFTEN } else { LOOK }
                }
                Err(error) => {
                    tracing::warn!(shard = self.shard, %error, "late pushes can't be read; trying again");
                    OFTEN
                }
            };
        }
    }

    /// All: not where as many were found as are taken up at once. Nor where there was no room for some: others may be behind
    /// them.
    async fn take_up(&self, taken: &TakenUp) -> Result<TookUp, store::Error> {
        // What is under way is still there, and hides nothing that is not.
        let late = self.store.due(self.shard, now_ms(), DUE + taken.count(), self.sender.full()).await?;
        let late: Vec<_> = late.into_iter().filter_map(|late| Some((taken.take(&late)?, late))).collect();
        if late.is_empty() {
            return Ok(TookUp::All);
        }
        let mut all = late.len() < DUE;
        let users: HashSet<UserId> = late.iter().map(|(_, late)| late.whom.0).collect();
        let places = self.store.of_users(users.into_iter().collect()).await?;
        let places: HashMap<_, Arc<Subscription>> =
            places.into_iter().map(|each| ((each.user, each.device), Arc::new(each))).collect();
        let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap_or_else(Instant::now);
        let (mut gone, mut pushes) = (Settled::default(), Vec::new());
        for (taken, each) in late {
            let to = places.get(&(each.whom.0, each.whom.1));
            match to.and_then(|to| Kept::push(&each, to.clone(), long_ago)) {
                Some(push) => pushes.push((taken, push)),
                None => gone.drop_one(each.whom, each.seq),
            }
        }
        // As a rule it is asked when there is a place for them: of a dead host that would be asked in vain again and again.
        let known = !*self.audience.doubt().borrow() || self.look_again(&mut pushes, &mut gone).await;
        for (taken, push) in pushes {
            all &= self.sender.send(push, Origin::Kept(taken)).await;
        }
        if !gone.dropped.is_empty() {
            self.store.settle(gone, now_ms()).await?;
        }
        Ok(match (known, all) {
            (false, _) => TookUp::Nobody,
            (true, true) => TookUp::All,
            (true, false) => TookUp::Some,
        })
    }

    /// Leaves those that are still to be sent, or are too old: that is said of them all the same. Whether anybody could tell;
    /// otherwise nothing has become of the others.
    async fn look_again(&self, pushes: &mut Vec<(Taken, Push)>, gone: &mut Settled) -> bool {
        let now = now_ms();
        let is_old = |(_, push): &(Taken, Push)| now - push.at_ms > TOO_OLD;
        let (old, mut asked): (Vec<_>, Vec<_>) = std::mem::take(pushes).into_iter().partition(is_old);
        *pushes = old;
        let still = self.audience.again(&mut asked.iter_mut().map(|(_, push)| push).collect::<Vec<_>>()).await;
        match still {
            Ok(still) => {
                for ((taken, push), still) in asked.into_iter().zip(still) {
                    if still {
                        pushes.push((taken, push));
                    } else {
                        self.reports.add(&push, Outcome::Moot, 0);
                        gone.drop_one((push.to.user, push.to.device, push.conversation), taken.seq);
                        push.instead(now).into_iter().for_each(|late| gone.keep(late));
                    }
                }
                true
            }
            Err(why) => {
                tracing::debug!(shard = self.shard, %why, "it can't be said now to whom late pushes are still to be sent");
                false
            }
        }
    }
}
