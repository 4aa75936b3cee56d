//! How far behind the log its readers are: sends are refused when one is too far, so that log, memory and takeover
//! stay bounded; and what all have read for an hour is trimmed.

use madang_mesh::{log::Position, registry::Registry, shard::Shard};
use madang_proto::reason::{Reason, Refusal};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The readers without whom nothing is trimmed, and whose lag refuses sends.
const READERS: [&str; 2] = ["store", "group"];
/// How long a reader may be behind.
const MAX_LAG: Duration = Duration::from_secs(600);
/// How many bytes a reader may be behind.
const MAX_LAG_BYTES: u64 = 256 << 20;
/// How long the log is kept behind its readers.
const KEEP: Duration = Duration::from_secs(3600);
/// How often a checkpoint is taken.
const CHECKPOINT: Duration = Duration::from_secs(2);
/// The most bytes kept behind the readers.
const KEEP_BYTES: u64 = 256 << 20;

#[derive(Debug, Clone, Copy)]
struct Checkpoint {
    position: Position,
    at: Instant,
    at_ms: i64,
    bytes: u64,
}

/// What a home knows of its readers.
#[derive(Debug)]
pub struct Pressure {
    checkpoints: VecDeque<Checkpoint>,
    bytes: u64,
    slowest: Position,
    stored: Position,
    trimmed: Position,
    lagging: bool,
}

/// What those get who send while a reader is too far behind.
pub fn refusal() -> Refusal {
    crate::refusals::LAGGING.count();
    let message =
        "what was said is not being stored fast enough, so no more is taken for now: send again a little later";
    Refusal::new(Reason::Lagging, message).after(2000)
}

impl Pressure {
    /// At a home's beginning.
    pub fn new(position: Position) -> Self {
        let mut new = Self {
            checkpoints: VecDeque::new(),
            bytes: 0,
            slowest: position,
            stored: position,
            trimmed: 0,
            lagging: false,
        };
        new.checkpoint(position);
        new
    }

    /// Whether sends are refused.
    pub fn lagging(&self) -> bool {
        self.lagging
    }

    /// Up to where store-svc and group-svc have both written.
    pub fn slowest(&self) -> Position {
        self.slowest
    }

    /// Up to when everything is stored, ms since 1970.
    pub fn stored_until_ms(&self) -> i64 {
        self.checkpoints.iter().take_while(|each| each.position <= self.stored).last().map_or(0, |each| each.at_ms)
    }

    /// The log has grown.
    pub fn appended(&mut self, position: Position, bytes: usize) {
        self.bytes += bytes as u64;
        if self.checkpoints.back().is_none_or(|last| last.at.elapsed() >= CHECKPOINT) {
            self.checkpoint(position);
        }
    }

    fn checkpoint(&mut self, position: Position) {
        let at_ms = madang_mesh::clock::now_micros() / 1000;
        self.checkpoints.push_back(Checkpoint { position, at: Instant::now(), at_ms, bytes: self.bytes });
    }

    /// Looks at the readers; the position before which the log may be trimmed, if that has moved enough.
    pub async fn look(
        &mut self,
        registry: &dyn Registry,
        shard: Shard,
        last: Position,
        fanned_out: Position,
    ) -> Option<Position> {
        let mut slowest = last;
        for reader in READERS {
            let Ok(Some(item)) = registry.get(&format!("progress.{reader}.{shard}")).await else {
                slowest = slowest.min(self.slowest);
                continue;
            };
            let position = item.value.and_then(|value| std::str::from_utf8(&value).ok()?.parse().ok()).unwrap_or(0);
            slowest = slowest.min(position);
            if reader == "store" {
                self.stored = self.stored.max(position);
            }
        }
        self.slowest = slowest;
        // The first checkpoint that the slowest has not passed is how far behind it is.
        let behind = self.checkpoints.iter().find(|each| each.position > slowest).filter(|_| slowest < last);
        self.lagging =
            behind.is_some_and(|each| each.at.elapsed() > MAX_LAG || self.bytes - each.bytes > MAX_LAG_BYTES);
        let floor = slowest.min(fanned_out);
        let old = |each: &Checkpoint| each.at.elapsed() > KEEP || self.bytes - each.bytes > KEEP_BYTES;
        let mut before = None;
        while self.checkpoints.len() > 1
            && self.checkpoints.front().is_some_and(|each| each.position < floor && old(each))
        {
            before = self.checkpoints.pop_front().map(|each| each.position);
        }
        before.filter(|before| *before > self.trimmed).inspect(|before| self.trimmed = *before)
    }
}
