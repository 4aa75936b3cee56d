//! The newest part of a shard's inbox, in memory, bounded in time and bytes: what a connection resumes from. It outlives
//! the inbox: what it holds may be of several that were lost one after the other, each with its own numbers and times.

use crate::cursor::Cursor;
use bytes::Bytes;
use madang_mesh::{log::Position, shard::Shard};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// How long an entry stays.
const KEEP: Duration = Duration::from_secs(300);

/// How many bytes all tails of a process may have.
pub(super) struct Budget {
    most: usize,
    used: AtomicUsize,
    tails: AtomicUsize,
}

impl Budget {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, used: AtomicUsize::new(0), tails: AtomicUsize::new(0) })
    }

    /// Whether a tail of this size has to let go of something.
    fn is_over(&self, own: usize) -> bool {
        let share = self.most / self.tails.load(Ordering::Relaxed).max(1);
        own > share && self.used.load(Ordering::Relaxed) > self.most
    }
}

/// An entry of the inbox.
pub(super) struct TailEntry {
    pub sequence: u64,
    pub at_micros: i64,
    /// When it was read, or could have been.
    pub received: Instant,
    pub events: Vec<TailEvent>,
    /// Up to where it completes which sources.
    pub sources: Vec<(Shard, Position)>,
}

/// An event of it, with its recipients (16 bytes each).
pub(super) struct TailEvent {
    pub event: Bytes,
    pub users: Bytes,
    /// Of which source.
    pub source: Shard,
    /// How many deliveries of the entry are behind for whoever has it.
    pub index: u32,
}

/// Where an event is in the tail: the entry, counted from the tail's first ever; and the event in it.
pub(super) type Place = (u64, u32);

impl TailEntry {
    fn bytes(&self) -> usize {
        // Recipients twice: each has the place among their own.
        self.events.iter().map(|each| each.event.len() + 2 * each.users.len() + 64).sum::<usize>() + 128
    }

    pub fn cursor(&self, index: u32) -> Cursor {
        Cursor { sequence: self.sequence, at_micros: self.at_micros, index }
    }

    fn end(&self) -> Cursor {
        self.cursor(self.events.last().map_or(0, |last| last.index))
    }
}

/// The tail.
pub(super) struct Tail {
    entries: VecDeque<TailEntry>,
    /// The number of the first entry.
    first: u64,
    /// The first entries of the inboxes that it is of.
    lives: VecDeque<u64>,
    bytes: usize,
    /// The place just before the first entry.
    before: Cursor,
    budget: Arc<Budget>,
}

impl Tail {
    /// An empty one; the time tells its beginning from that of others.
    pub fn new(now_micros: i64, budget: Arc<Budget>) -> Self {
        budget.tails.fetch_add(1, Ordering::Relaxed);
        let before = Cursor { sequence: 0, at_micros: now_micros, index: 0 };
        Self { entries: VecDeque::new(), first: 1, lives: VecDeque::new(), bytes: 0, before, budget }
    }

    /// After everything that there is.
    pub fn end(&self) -> Cursor {
        self.entries.back().map_or(self.before, TailEntry::end)
    }

    /// The number that the next entry gets.
    pub fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Just before the first entry that is not older: its number, and the cursor of whoever has what is before it.
    pub fn since(&self, at: Instant) -> (u64, Cursor) {
        let first = self.entries.partition_point(|entry| entry.received < at);
        let before = first.checked_sub(1).and_then(|last| self.entries.get(last));
        (self.first + first as u64, before.map_or(self.before, TailEntry::end))
    }

    /// What comes next for whoever has a cursor, if it is a place of this very tail.
    pub fn place(&self, cursor: Cursor) -> Option<Place> {
        if (cursor.sequence, cursor.at_micros) == (self.before.sequence, self.before.at_micros) {
            return (cursor.index >= self.before.index).then_some((self.first, 0));
        }
        // The oldest, if it was read more than once: what comes twice is known, and what is left out is not.
        let ends = self.lives.iter().skip(1).copied().chain([self.next()]);
        for (life, end) in self.lives.iter().zip(ends) {
            let within = |number: u64| usize::try_from(number.saturating_sub(self.first)).ok();
            let (mut low, end) = (within(*life)?, within(end)?);
            let mut high = end;
            while low < high {
                let middle = low.midpoint(high);
                if self.entries.get(middle)?.sequence < cursor.sequence {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            if let Some(entry) = self.entries.get(low).filter(|_| low < end)
                && (entry.sequence, entry.at_micros) == (cursor.sequence, cursor.at_micros)
            {
                let slot = entry.events.partition_point(|event| event.index <= cursor.index);
                return Some((self.first + low as u64, u32::try_from(slot).ok()?));
            }
        }
        None
    }

    /// The number of the entry that a cursor is of, which has that place; they begin at 1.
    pub fn number(&self, cursor: Cursor, place: Place) -> u64 {
        let before = (cursor.sequence, cursor.at_micros) == (self.before.sequence, self.before.at_micros);
        place.0.saturating_sub(u64::from(before))
    }

    /// The event at a place, and the cursor of whoever has it.
    pub fn event(&self, (number, slot): Place) -> Option<(&TailEvent, Cursor)> {
        let entry = self.entries.get(usize::try_from(number.checked_sub(self.first)?).ok()?)?;
        let event = entry.events.get(slot as usize)?;
        Some((event, entry.cursor(event.index)))
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: TailEntry) {
        if self.entries.back().is_none_or(|last| entry.sequence <= last.sequence) {
            self.lives.push_back(self.next());
        }
        let bytes = entry.bytes();
        self.bytes += bytes;
        self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        self.entries.push_back(entry);
    }

    /// Adds a place of its own, which is in no inbox; its number.
    pub fn stake(&mut self, at_micros: i64) -> u64 {
        let number = self.next();
        let (events, sources) = (Vec::new(), Vec::new());
        self.push(TailEntry { sequence: 0, at_micros, received: Instant::now(), events, sources });
        number
    }

    /// Takes out the oldest entry if it is too old or there are too many.
    pub fn pop(&mut self, now: Instant) -> Option<TailEntry> {
        let oldest = self.entries.front()?;
        if now - oldest.received <= KEEP && !self.budget.is_over(self.bytes) {
            return None;
        }
        let oldest = self.entries.pop_front()?;
        let bytes = oldest.bytes();
        self.bytes -= bytes;
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
        self.before = oldest.end();
        self.first += 1;
        while self.lives.get(1).is_some_and(|second| *second <= self.first) {
            self.lives.pop_front();
        }
        Some(oldest)
    }

    /// What was read at once just now was there before: entries get the times at which they could have been read, going
    /// by the inbox's own clock.
    pub fn age(&mut self, now: Instant) {
        let Some(newest) = self.entries.back().map(|entry| entry.at_micros) else { return };
        let mut latest = None;
        for entry in &mut self.entries {
            let age = Duration::from_micros(u64::try_from(newest - entry.at_micros).unwrap_or(0));
            let could = now.checked_sub(age).unwrap_or(entry.received).min(entry.received);
            entry.received = latest.map_or(could, |latest| could.max(latest));
            latest = Some(entry.received);
        }
    }

    /// When the entry of a number was read, or could have been.
    pub fn received(&self, number: u64) -> Option<Instant> {
        self.entries.get(usize::try_from(number.checked_sub(self.first)?).ok()?).map(|entry| entry.received)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.budget.tails.fetch_sub(1, Ordering::Relaxed);
    }
}
