//! What waits for a socket: bounded, and when it is full events are dropped, to be caught up on from the cursor of the
//! last one that was kept. Answers are never dropped: there are at most `maxInFlight` of them. Notices (typing,
//! presence) are dropped first, and never push out an event.

use crate::refusals;
use bytes::Bytes;
use madang_mesh::trace::Span;
use madang_proto::{chat::v1::ClosedReason, client::v1::Resume};
use prost::encoding::decode_key;
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// The numbers of `typing` and `presence` in `ServerFrame`.
const NOTICES: [u32; 2] = [9, 10];

/// How many notices wait at most: a watch is answered with up to 200 at once, which must find room.
const MOST_NOTICES: usize = 512;

/// Whether an encoded `ServerFrame` may be dropped. One has no id, so it begins with its body.
#[must_use]
pub fn is_notice(mut frame: &[u8]) -> bool {
    decode_key(&mut frame).is_ok_and(|(number, _)| NOTICES.contains(&number))
}

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
    /// Notices that wait, and their bytes.
    notices: (usize, usize),
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

    /// Puts a notice in, where events take less than half of the room.
    pub fn offer(&self, notice: Bytes) {
        let mut inner = self.lock();
        let bytes = inner.bytes + inner.notices.1;
        if 2 * inner.frames >= self.frames || inner.notices.0 >= MOST_NOTICES || 2 * bytes >= self.bytes {
            refusals::NOTICES.count();
            return;
        }
        inner.notices.0 += 1;
        inner.notices.1 += notice.len();
        inner.waiting.push_back(Out::Frame(notice));
        drop(inner);
        self.wake.notify_one();
    }

    /// All that waits; waits for something.
    pub async fn take(&self) -> Taken {
        loop {
            {
                let mut inner = self.lock();
                if !inner.waiting.is_empty() || inner.lagging && !inner.told {
                    (inner.frames, inner.bytes, inner.notices) = (0, 0, (0, 0));
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
    use madang_proto::client::v1::{Ack, Presence, ServerFrame, TypingNotice, server_frame::Body};
    use prost::Message as _;

    #[test]
    fn typing_and_presence_are_notices() {
        let frame = |id, body| ServerFrame { id, body: Some(body) }.encode_to_vec();
        assert!(is_notice(&frame(0, Body::Typing(TypingNotice::default()))));
        assert!(is_notice(&frame(0, Body::Presence(Presence::default()))));
        assert!(!is_notice(&frame(0, Body::Ack(Ack::default()))));
        assert!(!is_notice(&frame(9, Body::Ack(Ack::default()))));
        assert!(!is_notice(&[]));
    }

    #[tokio::test]
    async fn notices_are_bounded_and_push_out_no_events() {
        let outbox = Outbox::new(8, 8 << 10);
        for _ in 0..1000 {
            outbox.offer(Bytes::from_static(b"notice"));
        }
        for cursor in ["1", "2", "3", "4", "5", "6", "7", "8"] {
            outbox.push(Out::Frame(Bytes::from_static(b"event")), cursor);
        }
        outbox.offer(Bytes::from_static(b"notice"));
        let taken = outbox.take().await;
        assert_eq!((taken.items.len(), taken.cursor.as_str(), taken.lagging), (MOST_NOTICES + 8, "8", false));
        // Large ones do not take the bytes of events either.
        for _ in 0..100 {
            outbox.offer(vec![0; 2048].into());
        }
        outbox.push(Out::Frame(vec![0; 8000].into()), "9");
        outbox.push(Out::Frame(Bytes::from_static(b"event")), "10");
        let taken = outbox.take().await;
        assert_eq!((taken.items.len(), taken.cursor.as_str(), taken.lagging), (2 + 2, "10", false));
    }

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
