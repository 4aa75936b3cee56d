//! What the rooms of this process cost, and forgetting them when that is too much: those used longest ago, and only what
//! store-svc and group-svc have written to the last event (rule 3: what is not in memory is in the databases).
//!
//! Rooms stand in a line. Who comes to its head and was used meanwhile goes to its end; who was not is forgotten. So a
//! pass looks at a few rooms, never at all of them, and each step is paid for by a room that was used or loaded.

use super::Home;
use crate::room::{Room, settings};
use madang_mesh::{clock::now_micros, metrics};
use madang_proto::id::ConversationId;
use prometheus::IntGauge;
use std::{
    collections::VecDeque,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// How many rooms a pass looks at, at most: more than come with a batch or a fetch, so that it keeps up with them.
const PASS: usize = 4096;

/// What a room costs in bytes, as measured with jemalloc (docs/benchmarks.md): by itself, and for each of what it holds.
const ROOM: usize = 1100;
const MEMBER: usize = 120;
const PENDING: usize = 80;
const SEEN: usize = 170;
const SENDER: usize = 60;

static BYTES: LazyLock<IntGauge> = LazyLock::new(|| {
    let help = "About how many bytes the rooms in this process's memory take.";
    metrics::gauge("madang_chat_rooms_bytes", help)
});

/// About what a room costs, in bytes.
#[must_use]
pub fn cost(room: &Room) -> usize {
    let people = room.marks.len().max(room.state.members.present().len());
    let (rest, settings) = (room.state.profile.bytes() + room.recent.bytes(), settings::cost(&room.state.settings));
    let seen = SEEN * room.seen.len() + SENDER * room.seen.senders();
    ROOM + MEMBER * people + PENDING * room.pending_marks.len() + seen + rest + settings
}

/// How much rooms may cost in this process, and how much they do.
#[derive(Debug, Clone)]
pub struct Memory {
    used: Arc<AtomicUsize>,
    limit: usize,
}

impl Memory {
    /// So many bytes at most; more for a while if nothing may be forgotten yet.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { used: Arc::default(), limit }
    }

    /// About how many bytes all rooms of the process take.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// One home's part of it, given back when it ends.
#[derive(Debug)]
pub struct Share {
    memory: Memory,
    used: usize,
}

impl Share {
    /// Nothing yet.
    pub fn new(memory: Memory) -> Self {
        Self { memory, used: 0 }
    }

    fn change(&mut self, before: usize, after: usize) {
        self.used = (self.used + after).saturating_sub(before);
        if after > before {
            self.memory.used.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.memory.used.fetch_sub(before - after, Ordering::Relaxed);
        }
        BYTES.set(i64::try_from(self.memory.used()).unwrap_or(i64::MAX));
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.used, Ordering::Relaxed);
    }
}

/// The line in which rooms wait to be forgotten.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Each room once, with when it was used last as it came here.
    rooms: VecDeque<(ConversationId, u64)>,
    /// Whether so much was in use that rooms are forgotten until it is a little less again.
    forgetting: bool,
    /// The tick of a pass that found nothing to forget: the next one is in another tick.
    vain: Option<u64>,
}

impl Home {
    #[cfg(test)]
    pub(super) fn share_used(&self) -> usize {
        self.share.used
    }

    /// A room has come into memory.
    pub(super) fn keep(&mut self, conversation: ConversationId, mut room: Room) {
        room.touched = self.ticks;
        room.weight = cost(&room);
        if room.drop_known_marks() {
            self.unread_marks.insert(conversation);
        }
        self.share.change(0, room.weight);
        self.line.rooms.push_back((conversation, room.touched));
        self.absent.remove(&conversation);
        if let Some(before) = self.rooms.insert(conversation, room) {
            // Not so: rooms come once. Counted right all the same.
            self.share.change(before.weight, 0);
        }
    }

    /// A room has changed.
    pub(super) fn weigh(&mut self, conversation: &ConversationId) {
        if let Some(room) = self.rooms.get_mut(conversation) {
            let (before, after) = (room.weight, cost(room));
            room.weight = after;
            self.share.change(before, after);
        }
    }

    /// Forgets some rooms if they cost too much; never while a batch is in flight, whose rooms would come back half known.
    pub(super) fn forget_rooms(&mut self) {
        let (used, limit) = (self.share.memory.used(), self.share.memory.limit);
        let enough = limit - limit / 16;
        self.line.forgetting = used > limit || (self.line.forgetting && used > enough);
        if !self.line.forgetting || self.line.vain == Some(self.ticks) {
            return;
        }
        let written = self.pressure.slowest();
        let mut forgotten = 0;
        for _ in 0..PASS.min(self.line.rooms.len()) {
            let Some((id, since)) = self.line.rooms.pop_front() else { break };
            let Some(room) = self.rooms.get(&id) else { continue };
            let may = room.touched <= since
                && room.last_position <= written
                && room.pending_marks.is_empty()
                && !self.waits.needs(&id);
            if may {
                self.share.change(room.weight, 0);
                self.rooms.remove(&id);
                forgotten += 1;
                if self.share.memory.used() <= enough {
                    break;
                }
            } else {
                self.line.rooms.push_back((id, room.touched));
            }
        }
        if forgotten == 0 {
            self.line.vain = Some(self.ticks);
            return;
        }
        self.recall_no_more();
        // A room that is loaded again has no ids in memory from before now: older ones are looked up in the store.
        self.horizon_ms = self.horizon_ms.max(now_micros() / 1000);
    }
}
