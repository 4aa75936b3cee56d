//! What was sent to a destination lately, bounded in time and bytes: what it is sent again from.

use super::Parcel;
use madang_mesh::{log::Position, shard::Shard};
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// How long a parcel is kept.
const KEEP: Duration = Duration::from_secs(60);
/// How many bytes a process keeps, for all destinations together. Events are counted for each destination, though
/// these share them.
const KEEP_BYTES: usize = 128 << 20;

/// A parcel with the log position that was sent before it.
pub(super) struct Sent {
    pub parcel: Parcel,
    pub previous: Position,
    at: Instant,
    bytes: usize,
}

/// What was sent lately, in order.
pub(super) struct Kept {
    sent: VecDeque<Sent>,
    bytes: usize,
    most: usize,
}

impl Kept {
    /// Nothing yet, of one of so many destinations.
    pub fn new(destinations: u32) -> Self {
        Self { sent: VecDeque::new(), bytes: 0, most: KEEP_BYTES / destinations.max(1) as usize }
    }

    /// Adds a parcel.
    pub fn push(&mut self, parcel: Parcel, previous: Position) {
        let (at, bytes) = (Instant::now(), parcel.bytes() + size_of::<Sent>());
        self.bytes += bytes;
        self.sent.push_back(Sent { parcel, previous, at, bytes });
        self.tidy();
    }

    /// Lets go of what is too old or too much.
    pub fn tidy(&mut self) {
        while let Some(oldest) = self.sent.front()
            && (self.bytes > self.most || oldest.at.elapsed() > KEEP)
        {
            self.bytes -= oldest.bytes;
            self.sent.pop_front();
        }
    }

    /// All of a source after one position, up to what was sent last; none if some of it is not here.
    pub fn after(&self, source: Shard, after: Position, last: Position) -> Option<Vec<&Sent>> {
        let mut found = Vec::new();
        let mut next = last;
        for sent in self.sent.iter().rev().filter(|sent| sent.parcel.shard == source && sent.parcel.position <= last) {
            if next <= after {
                break;
            }
            // Another home may have sent in between.
            if sent.parcel.position != next {
                return None;
            }
            next = sent.previous;
            found.push(sent);
        }
        found.reverse();
        (next <= after).then_some(found)
    }
}
