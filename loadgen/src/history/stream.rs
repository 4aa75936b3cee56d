//! What one device was sent of one conversation.

use super::spans::Spans;

/// What an event was to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// One that it had not.
    New,
    /// One that it had.
    Again,
    /// One that was left out, and comes after later ones.
    Late,
}

/// What one device was sent of one conversation.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    /// How often the device had been told, before the newest event, that it may have missed something.
    resyncs: u32,
    /// The first and the newest event since then.
    began: u64,
    last: u64,
    /// All that it was ever sent.
    pub seen: Spans,
    /// What was left out when something above it came, though the device had not been told to expect that.
    pub skipped: Spans,
}

impl Stream {
    /// Takes an event; `resyncs` is how often the device has been told that it may have missed something.
    pub fn step(&mut self, resyncs: u32, revision: u64) -> Step {
        let had = self.seen.contains(revision);
        let mut late = false;
        if self.last == 0 || self.resyncs != resyncs {
            (self.resyncs, self.began, self.last) = (resyncs, revision, revision);
        } else if revision > self.last {
            self.skipped.add(self.last + 1, revision - 1);
            self.last = revision;
        } else {
            // What is from before that with which it began was repeated further back than where the device was put.
            late = !had && revision >= self.began;
        }
        self.seen.add(revision, revision);
        if had {
            Step::Again
        } else if late {
            Step::Late
        } else {
            Step::New
        }
    }
}
