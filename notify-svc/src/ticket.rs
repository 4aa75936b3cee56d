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
    /// Both are of the same reading of a shard.
    fn is_of_the_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0.progress.0, &other.0.progress.0)
    }

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

/// What stays undone until something else is done, however much that is: of each reading of a shard the earliest part is
/// enough, since the cursor stays before it.
#[derive(Debug, Default)]
pub struct Tickets(Vec<Ticket>);

impl Tickets {
    /// This one as well.
    pub fn add(&mut self, ticket: Ticket) {
        let Some(kept) = self.0.iter_mut().find(|kept| kept.is_of_the_same(&ticket)) else {
            return self.0.push(ticket);
        };
        let is_earlier = ticket.0.position < kept.0.position;
        let later = if is_earlier { std::mem::replace(kept, ticket) } else { ticket };
        later.done();
    }

    /// Those of another as well.
    pub fn append(&mut self, other: Self) {
        other.0.into_iter().for_each(|ticket| self.add(ticket));
    }

    /// All of it is done.
    pub fn done(self) {
        self.0.into_iter().for_each(Ticket::done);
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
    #[test]
    fn what_waits_for_something_else_holds_the_cursor_before_the_first_of_it() {
        let (here, anew) = (Progress::from(0), Progress::from(4));
        let mut tickets = Tickets::default();
        for ticket in [here.take(2), here.take(1), here.take(3), anew.take(5)] {
            tickets.add(ticket);
        }
        assert_eq!((here.done(), anew.done()), (0, 4));
        assert_eq!(tickets.0.len(), 2, "one of each reading, however many there are");
        let mut all = Tickets::default();
        all.add(here.take(4));
        all.append(tickets);
        assert_eq!((here.done(), all.0.len()), (0, 2));
        all.done();
        assert_eq!((here.done(), anew.done()), (4, 5));
    }
}
