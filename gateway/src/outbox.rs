//! What waits for a socket: bounded, and when it is full events are dropped, to be caught up on from the cursor of the
//! last one that was kept. Answers are never dropped: there are at most `maxInFlight` of them.

use bytes::Bytes;
use madang_mesh::trace::Span;
use madang_proto::{chat::v1::ClosedReason, client::v1::Resume};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Something for a connection.
#[derive(Debug)]
pub enum Out {
    /// A frame to write.
    Frame(Bytes),
    /// What a trace is told of the frame before: it ends once that is written.
    Written(Span),
    /// The home has opened it.
    Opened(String, Resume),
    /// The home has closed it, or is gone.
    Closed(ClosedReason),
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Out>,
    frames: usize,
    bytes: usize,
    cursor: String,
    /// Events were dropped: from now on all are, since the next would come after a gap.
    lagging: bool,
    /// Whoever takes has been told so.
    told: bool,
}

/// What waits for a socket.
pub struct Outbox {
    inner: Mutex<Inner>,
    wake: Notify,
    frames: usize,
    bytes: usize,
}

/// What was taken from an outbox at once.
#[derive(Debug, Default)]
pub struct Taken {
    /// In order.
    pub items: VecDeque<Out>,
    /// Where a client is that has all of them; empty: not known.
    pub cursor: String,
    /// Events after the cursor were dropped, and none will follow; said once.
    pub lagging: bool,
}

impl Outbox {
    /// An empty one with its bounds.
    #[must_use]
    pub fn new(frames: usize, bytes: usize) -> Self {
        Self { inner: Mutex::default(), wake: Notify::new(), frames, bytes }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts something in. `cursor`: it is an event, and where a client is that has it.
    pub fn push(&self, item: Out, cursor: &str) {
        let mut inner = self.lock();
        if inner.lagging && matches!(item, Out::Written(_)) {
            return;
        }
        if !cursor.is_empty() {
            let full = inner.frames >= self.frames || inner.bytes >= self.bytes;
            inner.lagging |= full;
            if inner.lagging {
                return;
            }
            inner.cursor.clear();
            inner.cursor.push_str(cursor);
            inner.frames += 1;
        }
        if let Out::Frame(frame) = &item {
            inner.bytes += frame.len();
        }
        inner.waiting.push_back(item);
        drop(inner);
        self.wake.notify_one();
    }

    /// All that waits; waits for something.
    pub async fn take(&self) -> Taken {
        loop {
            {
                let mut inner = self.lock();
                if !inner.waiting.is_empty() || inner.lagging && !inner.told {
                    (inner.frames, inner.bytes) = (0, 0);
                    let lagging = inner.lagging && !inner.told;
                    inner.told = inner.lagging;
                    return Taken { items: std::mem::take(&mut inner.waiting), cursor: inner.cursor.clone(), lagging };
                }
            }
            self.wake.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_past_the_bound_are_dropped_and_answers_kept() {
        let outbox = Outbox::new(2, 1 << 20);
        for cursor in ["1", "2", "3", "4"] {
            outbox.push(Out::Frame(Bytes::from_static(b"event")), cursor);
        }
        outbox.push(Out::Frame(Bytes::from_static(b"answer")), "");
        let taken = outbox.take().await;
        assert_eq!((taken.items.len(), taken.cursor.as_str(), taken.lagging), (3, "2", true));
        // There is room again, but an event now would come after a gap.
        outbox.push(Out::Frame(Bytes::from_static(b"event")), "5");
        outbox.push(Out::Frame(Bytes::from_static(b"answer")), "");
        let taken = outbox.take().await;
        assert_eq!((taken.items.len(), taken.cursor.as_str(), taken.lagging), (1, "2", false));
    }
}
