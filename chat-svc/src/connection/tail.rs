//! The newest part of a shard's inbox, in memory, bounded in time and bytes: what a connection resumes from.

use crate::cursor::Cursor;
use bytes::Bytes;
use std::{collections::VecDeque, time::Duration};

/// How long an entry stays.
const KEEP: Duration = Duration::from_secs(300);
/// How many bytes stay.
const KEEP_BYTES: usize = 128 << 20;

/// An entry of the inbox, ready to be pushed.
pub(super) struct TailEntry {
    /// Where it is.
    pub cursor: Cursor,
    /// Its frames, each with its recipients (16 bytes each) and the cursor of whoever has it.
    pub frames: Vec<Frame>,
}

/// An event as it goes to clients.
#[derive(Clone)]
pub(super) struct Frame {
    pub frame: Bytes,
    pub users: Bytes,
    pub cursor: Cursor,
}

impl TailEntry {
    fn bytes(&self) -> usize {
        self.frames.iter().map(|each| each.frame.len() + 2 * each.users.len() + 64).sum::<usize>() + 64
    }
}

/// The tail.
pub(super) struct Tail {
    entries: VecDeque<TailEntry>,
    bytes: usize,
    /// The entry just before the first.
    before: Cursor,
}

impl Tail {
    /// An empty one of an inbox that this process has just begun to read.
    pub fn new(now_micros: i64) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, before: Cursor { sequence: 0, at_micros: now_micros, index: 0 } }
    }

    /// After everything that there is.
    pub fn end(&self) -> Cursor {
        self.entries.back().map_or(self.before, end_of)
    }

    /// Just before the first entry at or after a time.
    pub fn since(&self, at_micros: i64) -> Cursor {
        let first = self.entries.partition_point(|entry| entry.cursor.at_micros < at_micros);
        first.checked_sub(1).and_then(|last| self.entries.get(last)).map_or(self.before, end_of)
    }

    /// Whether the cursor is a place of this very tail.
    pub fn holds(&self, cursor: Cursor) -> bool {
        let same = |place: Cursor| (place.sequence, place.at_micros) == (cursor.sequence, cursor.at_micros);
        same(self.before) || self.find(cursor.sequence).is_some_and(|entry| same(entry.cursor))
    }

    fn find(&self, sequence: u64) -> Option<&TailEntry> {
        let first = self.entries.front()?.cursor.sequence;
        self.entries.get(usize::try_from(sequence.checked_sub(first)?).ok()?)
    }

    /// The frame at a place.
    pub fn frame(&self, sequence: u64, index: u32) -> Option<&Frame> {
        self.find(sequence)?.frames.get(index as usize)
    }

    /// Adds an entry; those that are too old or too many leave, through `left`.
    pub fn push(&mut self, entry: TailEntry, mut left: impl FnMut(&TailEntry)) {
        let now = entry.cursor.at_micros;
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        let keep = i64::try_from(KEEP.as_micros()).unwrap_or(i64::MAX);
        while let Some(oldest) = self.entries.front()
            && (now - oldest.cursor.at_micros > keep || self.bytes > KEEP_BYTES)
        {
            self.bytes -= oldest.bytes();
            self.before = end_of(oldest);
            left(oldest);
            self.entries.pop_front();
        }
    }
}

fn end_of(entry: &TailEntry) -> Cursor {
    Cursor { index: u32::try_from(entry.frames.len()).unwrap_or(u32::MAX), ..entry.cursor }
}
