//! What a client has asked and not yet been answered: on its way to the home, or held until there is one. Bounded, and
//! nothing stays longer than a client may wait for its answer.

use bytes::Bytes;
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How many frames are held for a connection that has no home at the moment.
pub(super) const HELD: usize = 64;
/// How long an answer is waited for; with the tick that looks, a client hears within 5 s.
pub(super) const ANSWER: Duration = Duration::from_secs(4);

/// A frame that waits for a home.
struct Held {
    id: u32,
    frame: Bytes,
    since: Instant,
}

/// The requests of a connection.
#[derive(Default)]
pub(super) struct Requests {
    /// On their way: id, and since when.
    sent: VecDeque<(u32, Instant)>,
    held: VecDeque<Held>,
    held_bytes: usize,
}

/// An encoded server frame's id: its field 1, if it begins with that. Events have none.
fn id_of(frame: &[u8]) -> Option<u32> {
    let (first, mut rest) = frame.split_first()?;
    let id = if *first == 0x08 { prost::encoding::decode_varint(&mut rest).ok()? } else { return None };
    u32::try_from(id).ok().filter(|id| *id != 0)
}

impl Requests {
    /// How many are unanswered.
    pub fn unanswered(&self) -> usize {
        self.sent.len() + self.held.iter().filter(|held| held.id != 0).count()
    }

    /// How many are on their way.
    pub fn on_their_way(&self) -> usize {
        self.sent.len()
    }

    /// One is on its way.
    pub fn sent(&mut self, id: u32, since: Instant) {
        if id != 0 {
            self.sent.push_back((id, since));
        }
    }

    /// Holds a frame until there is a home; false: there is no room. At most so many bytes of them.
    pub fn hold(&mut self, id: u32, frame: Bytes, now: Instant, bytes: usize) -> bool {
        let room = self.held.len() < HELD && self.held_bytes + frame.len() <= bytes;
        if room {
            self.held_bytes += frame.len();
            self.held.push_back(Held { id, frame, since: now });
        }
        room
    }

    /// The next one that was held: it may go now.
    pub fn release(&mut self) -> Option<(u32, Bytes, Instant)> {
        let Held { id, frame, since } = self.held.pop_front()?;
        self.held_bytes -= frame.len();
        Some((id, frame, since))
    }

    /// Takes note of a frame from the home; false: it answers what the client has been told is not answered, and would
    /// be one answer too many.
    pub fn heard(&mut self, frame: &[u8]) -> bool {
        let Some(id) = id_of(frame) else { return true };
        let place = self.sent.iter().position(|(sent, _)| *sent == id);
        place.is_some_and(|place| self.sent.remove(place).is_some())
    }

    /// All that were on their way are lost; true: there were some.
    pub fn lose(&mut self) -> bool {
        let some = !self.sent.is_empty();
        self.sent.clear();
        some
    }

    /// Those that have waited too long, as ids; they are forgotten.
    pub fn late(&mut self, now: Instant) -> Vec<u32> {
        let old = |since: Instant| now.saturating_duration_since(since) >= ANSWER;
        let mut late = Vec::new();
        self.sent.retain(|(id, since)| {
            let keep = !old(*since);
            if !keep {
                late.push(*id);
            }
            keep
        });
        // They stand in the order in which they came.
        while self.held.front().is_some_and(|held| old(held.since)) {
            late.extend(self.release().map(|(id, ..)| id).filter(|id| *id != 0));
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::client::v1::{Event, Pong, ServerFrame, server_frame::Body};
    use prost::Message as _;

    fn answer(id: u32) -> Vec<u8> {
        ServerFrame { id, body: Some(Body::Pong(Pong {})) }.encode_to_vec()
    }

    #[test]
    fn an_answer_counts_once_and_a_late_one_not_at_all() {
        let (mut requests, start) = (Requests::default(), Instant::now());
        requests.sent(0, start);
        requests.sent(7, start);
        requests.sent(300, start + ANSWER / 2);
        assert_eq!(requests.unanswered(), 2);
        let event = ServerFrame { id: 0, body: Some(Body::Event(Event::default())) };
        assert!(requests.heard(&event.encode_to_vec()) && requests.unanswered() == 2);
        assert_eq!(requests.late(start + ANSWER), [7]);
        assert!(!requests.heard(&answer(7)), "the client has its answer already");
        assert!(requests.heard(&answer(300)) && !requests.heard(&answer(300)));
        assert_eq!(requests.unanswered(), 0);
    }

    #[test]
    fn what_is_held_is_bounded_and_goes_in_order() {
        let (mut requests, start) = (Requests::default(), Instant::now());
        let frame = |n: u8| Bytes::copy_from_slice(&[n; 10]);
        for n in 0..64 {
            assert!(requests.hold(n.into(), frame(n), start, 1000));
        }
        assert!(!requests.hold(64, frame(64), start, 1000), "64 frames");
        assert_eq!(requests.unanswered(), 63, "0 wants no answer");
        assert_eq!(requests.release().unwrap(), (0, frame(0), start));
        assert!(!requests.hold(64, Bytes::from(vec![0; 371]), start, 1000), "1,000 bytes");
        assert!(requests.hold(64, Bytes::from(vec![0; 370]), start, 1000));
        assert!(!requests.lose(), "what is held is not lost");
        assert_eq!(requests.late(start + ANSWER), (1..=64).collect::<Vec<_>>());
        assert!(requests.release().is_none() && requests.held_bytes == 0);
    }
}
