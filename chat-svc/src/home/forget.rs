//! Forgetting rooms, so that a home's memory has a bound: those used longest ago, and only what store-svc and group-svc
//! have written to the last event (rule 3: what is not in memory is in the databases).

use super::Home;
use madang_mesh::clock::now_micros;
use std::time::{Duration, Instant};

/// How often it is tried at most.
const EVERY: Duration = Duration::from_secs(1);

impl Home {
    /// Forgets rooms if there are too many; never while a batch is in flight, whose rooms would come back half known.
    pub(super) fn forget_rooms(&mut self) {
        let most = self.world.limits.rooms;
        if self.rooms.len() <= most || self.forgot.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        self.forgot = Some(Instant::now());
        let written = self.pressure.slowest();
        let mut may: Vec<_> = self
            .rooms
            .iter()
            .filter(|(id, room)| {
                room.last_position <= written && room.pending_marks.is_empty() && !self.waiting.contains_key(id)
            })
            .map(|(id, room)| (room.touched, *id))
            .collect();
        // Some more than too many, so that it is seldom done.
        let excess = (self.rooms.len() - most + most / 10).min(may.len());
        if excess == 0 {
            return;
        }
        if excess < may.len() {
            may.select_nth_unstable(excess);
        }
        for (_, id) in &may[..excess] {
            self.rooms.remove(id);
        }
        // A room that is loaded again has no ids in memory from before now: older ones are looked up in the store.
        self.horizon_ms = self.horizon_ms.max(now_micros() / 1000);
        tracing::debug!(shard = self.shard, forgotten = excess, kept = self.rooms.len(), "rooms forgotten");
    }
}
