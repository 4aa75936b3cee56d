//! That somebody is writing, in a group: told to its members, but to none with whom there is a block. Blocks between the
//! members of a group are asked for when somebody writes, and kept for a moment, or until a block begins or ends, of which
//! every process hears; what can't be asked now is not told, as it is said again in three seconds.

use crate::{home::Sources, notices::Notices};
use bytes::Bytes;
use madang_proto::id::{ConversationId, UserId};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// How long it is kept who may know that somebody writes: so long a new block is not heeded where nobody could say it.
const KEPT: Duration = Duration::from_secs(10);
/// Of how many who write it is kept.
const WRITERS: usize = 10_000;
/// How many are asked about at once; others are not told.
const AT_ONCE: usize = 64;

struct Audience {
    members: Arc<[UserId]>,
    may_know: Vec<UserId>,
    until: Instant,
}

#[derive(Default)]
struct Kept {
    audiences: HashMap<(ConversationId, UserId), Audience>,
    /// How often blocks have changed: what was asked before that is not believed.
    changes: u64,
}

/// The way of such notices, of a process.
#[derive(Clone)]
pub struct Typing {
    notices: Notices,
    sources: Arc<dyn Sources>,
    kept: Arc<Mutex<Kept>>,
    places: Arc<Semaphore>,
}

impl Typing {
    /// By these ways.
    #[must_use]
    pub fn new(notices: Notices, sources: Arc<dyn Sources>) -> Self {
        Self { notices, sources, kept: Arc::default(), places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the members of a group, at once or a moment later.
    pub fn tell(&self, conversation: ConversationId, writer: UserId, members: Arc<[UserId]>, frame: Bytes) {
        let (key, now) = ((conversation, writer), Instant::now());
        let changes = {
            let kept = self.lock();
            let known = kept.audiences.get(&key);
            if let Some(known) = known.filter(|known| now < known.until && known.members == members) {
                return self.notices.send(&known.may_know, writer, &frame);
            }
            kept.changes
        };
        let Ok(place) = self.places.clone().try_acquire_owned() else { return crate::refusals::NOTICES.count() };
        let this = self.clone();
        tokio::spawn(async move {
            let _place = place;
            let pairs: Vec<_> =
                members.iter().filter(|member| **member != writer).map(|member| (writer, *member)).collect();
            let Ok(blocked) = this.sources.blocked(&pairs).await else { return };
            let blocked: HashSet<UserId> = blocked.into_iter().map(|(_, other)| other).collect();
            let may_know: Vec<_> = members.iter().copied().filter(|member| !blocked.contains(member)).collect();
            let mut kept = this.lock();
            if kept.changes != changes {
                return;
            }
            this.notices.send(&may_know, writer, &frame);
            if kept.audiences.len() >= WRITERS {
                kept.audiences.retain(|_, audience| now < audience.until);
                if kept.audiences.len() >= WRITERS {
                    kept.audiences.clear();
                }
            }
            kept.audiences.insert(key, Audience { members, may_know, until: now + KEPT });
        });
    }

    /// Blocks of these users have changed: who may know of them is asked anew.
    pub fn forget(&self, writers: &[UserId]) {
        let mut kept = self.lock();
        kept.changes += 1;
        kept.audiences.retain(|(_, writer), _| !writers.contains(writer));
    }
}
