//! What was taken up from the database and is under way: not taken up once more meanwhile.

use crate::store::{Late, Where};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What of a shard was taken up.
#[derive(Debug, Clone, Default)]
pub struct TakenUp(Arc<Mutex<HashSet<Where>>>);

impl TakenUp {
    fn lock(&self) -> MutexGuard<'_, HashSet<Where>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it up; none: something of its device and conversation is under way.
    #[must_use]
    pub fn take(&self, late: &Late) -> Option<Taken> {
        let new = self.lock().insert(late.whom);
        new.then(|| Taken { all: self.clone(), whom: late.whom, seq: late.seq })
    }

    /// How many are under way.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }
}

/// A push that stays in the database while it is under way. Once this is dropped, what is there then may be taken up.
#[derive(Debug)]
pub struct Taken {
    all: TakenUp,
    whom: Where,
    /// The number of its row: an earlier version writes none.
    pub seq: u64,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.all.lock().remove(&self.whom);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::id::{ConversationId, DeviceId, UserId};

    #[test]
    fn what_is_under_way_is_not_taken_up_again() {
        let whom = (UserId::new(), DeviceId::new(), ConversationId::new());
        let late = |seq| Late { whom, seq, shard: 0, due_at: 0, messages: 1, mentioned: 0, push: Vec::new() };
        let all = TakenUp::default();
        let taken = all.take(&late(1)).unwrap();
        assert!(all.take(&late(2)).is_none());
        assert_eq!(all.count(), 1);
        drop(taken);
        assert_eq!(all.take(&late(2)).map(|taken| taken.seq), Some(2));
    }
}
