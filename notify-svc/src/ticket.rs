//! How far a shard of the log is done with: the cursor is the last position before which nothing waits to be sent. What
//! is not said to be done stays undone, also if whoever had it was cut off.

use madang_mesh::log::Position;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

#[derive(Debug, Default)]
struct Places {
    /// Up to where it has been read.
    read: Position,
    /// What of it waits.
    waiting: BTreeMap<Position, ()>,
}

/// What of a shard is done.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<Places>>);

impl Progress {
    /// From a cursor on.
    #[must_use]
    pub fn from(cursor: Position) -> Self {
        Self(Arc::new(Mutex::new(Places { read: cursor, waiting: BTreeMap::new() })))
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A position has been read, of which nothing is to be done.
    pub fn pass(&self, position: Position) {
        let mut places = self.lock();
        places.read = position.max(places.read);
    }

    /// A position has been read; it waits until all parts of the ticket are done.
    #[must_use]
    pub fn take(&self, position: Position) -> Ticket {
        let mut places = self.lock();
        places.read = position.max(places.read);
        places.waiting.insert(position, ());
        let (progress, parts) = (self.clone(), AtomicUsize::new(1));
        Ticket(Arc::new(Inner { progress, position, parts }))
    }

    /// Up to where it has been read.
    #[must_use]
    pub fn read(&self) -> Position {
        self.lock().read
    }

    /// Up to where all is done.
    #[must_use]
    pub fn done(&self) -> Position {
        let places = self.lock();
        places.waiting.first_key_value().map_or(places.read, |(first, ())| first - 1)
    }
}

#[derive(Debug)]
struct Inner {
    progress: Progress,
    position: Position,
    /// How many parts are not done.
    parts: AtomicUsize,
}

/// A part of what a position of the log brought.
#[derive(Debug)]
pub struct Ticket(Arc<Inner>);

impl Ticket {
    /// One part more.
    #[must_use]
    pub fn another(&self) -> Self {
        self.0.parts.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }

    /// This part is done.
    pub fn done(self) {
        if self.0.parts.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.progress.lock().waiting.remove(&self.0.position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_waits_for_the_first_that_is_not_done() {
        let progress = Progress::from(10);
        progress.pass(11);
        let (one, other) = (progress.take(12), progress.take(13));
        progress.pass(14);
        assert_eq!(progress.done(), 11);
        let part = one.another();
        other.done();
        one.done();
        assert_eq!(progress.done(), 11, "a part is on its way");
        part.done();
        assert_eq!(progress.done(), 14);
        drop(progress.take(15));
        progress.pass(16);
        assert_eq!(progress.done(), 14, "what was cut off is not done");
    }
}
