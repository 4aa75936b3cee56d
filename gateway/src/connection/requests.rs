//! What a client has asked and not yet been answered: on its way to the home, or held until there is one. Bounded, and
//! nothing stays longer than a client may wait for its answer.

use bytes::Bytes;
use madang_mesh::{metrics, trace::Span};
use prometheus::{Histogram, HistogramVec};
use std::{
    collections::VecDeque,
    sync::LazyLock,
    time::{Duration, Instant},
};

/// How many frames are held for a connection that has no home at the moment.
pub(super) const HELD: usize = 64;
/// How long an answer is waited for; with the tick that looks, a client hears within 5 s.
pub(super) const ANSWER: Duration = Duration::from_secs(4);

/// The tag of `ServerFrame.error`, field 4.
const ERROR: u8 = 0x22;

static ANSWERS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let help = "How long requests of sockets took, from their frame to their answer, by what was asked. An ack of `send` \
                means saved.";
    metrics::histograms("madang_gateway_answer_seconds", help, &["what"], metrics::SECONDS)
});
static ACKS: LazyLock<Histogram> = LazyLock::new(|| ANSWERS.with_label_values(&["send"]));

/// Something that was asked.
#[derive(Debug)]
pub(super) struct Request {
    /// The client's number of it; 0: no answer is wanted.
    pub id: u32,
    /// What: the name of the frame's body.
    pub what: &'static str,
    /// When it came.
    pub since: Instant,
    /// Ends with its answer.
    pub span: Span,
}

impl Request {
    fn answered(mut self, frame: &[u8]) {
        let seconds = self.since.elapsed().as_secs_f64();
        match self.what {
            "send" => ACKS.observe(seconds),
            what => ANSWERS.with_label_values(&[what]).observe(seconds),
        }
        metrics::exemplar(&ANSWERS, &[self.what], seconds, self.span.context());
        if is_error(frame) {
            self.span.word("madang.outcome", "error");
        }
    }

    fn failed(mut self, why: &'static str) {
        self.span.fail(why);
    }
}

/// A frame that waits for a home.
struct Held {
    request: Request,
    frame: Bytes,
}

/// The requests of a connection.
#[derive(Default)]
pub(super) struct Requests {
    /// On their way.
    sent: VecDeque<Request>,
    held: VecDeque<Held>,
    held_bytes: usize,
}

/// An encoded server frame's id: its field 1, if it begins with that. Events have none.
fn id_of(frame: &[u8]) -> Option<u32> {
    let (first, mut rest) = frame.split_first()?;
    let id = if *first == 0x08 { prost::encoding::decode_varint(&mut rest).ok()? } else { return None };
    u32::try_from(id).ok().filter(|id| *id != 0)
}

/// Whether an answer is an error.
fn is_error(frame: &[u8]) -> bool {
    let Some((_, mut rest)) = frame.split_first() else { return false };
    prost::encoding::decode_varint(&mut rest).is_ok() && rest.first() == Some(&ERROR)
}

impl Requests {
    /// How many are unanswered.
    pub fn unanswered(&self) -> usize {
        self.sent.len() + self.held.iter().filter(|held| held.request.id != 0).count()
    }

    /// How many are on their way.
    pub fn on_their_way(&self) -> usize {
        self.sent.len()
    }

    /// One is on its way.
    pub fn sent(&mut self, request: Request) {
        if request.id != 0 {
            self.sent.push_back(request);
        }
    }

    /// Holds a frame until there is a home; false: there is no room. At most so many bytes of them.
    pub fn hold(&mut self, request: Request, frame: Bytes, bytes: usize) -> bool {
        let room = self.held.len() < HELD && self.held_bytes + frame.len() <= bytes;
        if room {
            self.held_bytes += frame.len();
            self.held.push_back(Held { request, frame });
        }
        room
    }

    /// The next one that was held: it may go now.
    pub fn release(&mut self) -> Option<(Request, Bytes)> {
        let Held { request, frame } = self.held.pop_front()?;
        self.held_bytes -= frame.len();
        Some((request, frame))
    }

    /// Takes note of a frame from the home; false: it answers what the client has been told is not answered, and would
    /// be one answer too many.
    pub fn heard(&mut self, frame: &[u8]) -> bool {
        let Some(id) = id_of(frame) else { return true };
        let place = self.sent.iter().position(|sent| sent.id == id);
        let request = place.and_then(|place| self.sent.remove(place));
        let waited_for = request.is_some();
        request.into_iter().for_each(|request| request.answered(frame));
        waited_for
    }

    /// All that were on their way are lost; true: there were some.
    pub fn lose(&mut self) -> bool {
        let some = !self.sent.is_empty();
        self.sent.drain(..).for_each(|request| request.failed("lost"));
        some
    }

    /// Those that have waited too long, as ids; they are forgotten.
    pub fn late(&mut self, now: Instant) -> Vec<u32> {
        let old = |since: Instant| now.saturating_duration_since(since) >= ANSWER;
        let mut late = Vec::new();
        for _ in 0..self.sent.len() {
            let Some(request) = self.sent.pop_front() else { break };
            if old(request.since) {
                late.push(request.id);
                request.failed("late");
            } else {
                self.sent.push_back(request);
            }
        }
        // They stand in the order in which they came.
        while self.held.front().is_some_and(|held| old(held.request.since)) {
            let Some((request, _)) = self.release() else { break };
            late.extend(Some(request.id).filter(|id| *id != 0));
            request.failed("late");
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::client::v1::{Event, Pong, ServerFrame, server_frame::Body};
    use prost::Message as _;

    fn request(id: u32, since: Instant) -> Request {
        Request { id, what: "test", since, span: Span::none() }
    }

    fn answer(id: u32) -> Vec<u8> {
        ServerFrame { id, body: Some(Body::Pong(Pong {})) }.encode_to_vec()
    }

    #[test]
    fn an_answer_counts_once_and_a_late_one_not_at_all() {
        let (mut requests, start) = (Requests::default(), Instant::now());
        requests.sent(request(0, start));
        requests.sent(request(7, start));
        requests.sent(request(300, start + ANSWER / 2));
        assert_eq!(requests.unanswered(), 2);
        let event = ServerFrame { id: 0, body: Some(Body::Event(Event::default())) };
        assert!(requests.heard(&event.encode_to_vec()) && requests.unanswered() == 2);
        assert_eq!(requests.late(start + ANSWER), [7]);
        assert!(!requests.heard(&answer(7)), "the client has its answer already");
        assert!(requests.heard(&answer(300)) && !requests.heard(&answer(300)));
        assert_eq!(requests.unanswered(), 0);
    }

    #[test]
    fn an_error_is_told_from_an_ack() {
        use madang_proto::client::v1::{Ack, Error};
        let frame = |id, body| ServerFrame { id, body: Some(body) }.encode_to_vec();
        let (error, ack) = (Body::Error(Error::default()), Body::Ack(Ack::default()));
        assert!(is_error(&frame(300, error.clone())) && is_error(&frame(1, error)));
        assert!(!is_error(&frame(300, ack.clone())) && !is_error(&frame(1, ack)) && !is_error(&[]));
    }

    #[test]
    fn what_is_held_is_bounded_and_goes_in_order() {
        let (mut requests, start) = (Requests::default(), Instant::now());
        let frame = |n: u8| Bytes::copy_from_slice(&[n; 10]);
        for n in 0..64 {
            assert!(requests.hold(request(n.into(), start), frame(n), 1000));
        }
        assert!(!requests.hold(request(64, start), frame(64), 1000), "64 frames");
        assert_eq!(requests.unanswered(), 63, "0 wants no answer");
        let (first, bytes) = requests.release().unwrap();
        assert_eq!((first.id, bytes), (0, frame(0)));
        assert!(!requests.hold(request(64, start), Bytes::from(vec![0; 371]), 1000), "1,000 bytes");
        assert!(requests.hold(request(64, start), Bytes::from(vec![0; 370]), 1000));
        assert!(!requests.lose(), "what is held is not lost");
        assert_eq!(requests.late(start + ANSWER), (1..=64).collect::<Vec<_>>());
        assert!(requests.release().is_none() && requests.held_bytes == 0);
    }
}
