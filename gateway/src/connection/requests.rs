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

/// The tag of `ServerFrame.id`, field 1.
const ID: u8 = 0x08;
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
    /// What it has for the home, whose answer may come when the client has given its own number to something else.
    pub number: u32,
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
    /// The last that was numbered for the home.
    last: u32,
}

/// An encoded server frame's id, and what follows it: its field 1, if it begins with that. Events have none.
fn id_of(frame: &[u8]) -> Option<(u32, &[u8])> {
    let (first, mut rest) = frame.split_first()?;
    let id = if *first == ID { prost::encoding::decode_varint(&mut rest).ok()? } else { return None };
    Some((u32::try_from(id).ok().filter(|id| *id != 0)?, rest))
}

/// The same frame with another id.
fn with_id(id: u32, rest: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(rest.len() + 6);
    frame.push(ID);
    prost::encoding::encode_varint(id.into(), &mut frame);
    frame.extend_from_slice(rest);
    frame.into()
}

/// Whether an answer is an error.
fn is_error(frame: &[u8]) -> bool {
    let Some((_, mut rest)) = frame.split_first() else { return false };
    prost::encoding::decode_varint(&mut rest).is_ok() && rest.first() == Some(&ERROR)
}

impl Requests {
    /// The number for the home of what has this one of the client's.
    pub fn number(&mut self, id: u32) -> u32 {
        if id == 0 {
            return 0;
        }
        self.last = self.last.checked_add(1).unwrap_or(1);
        self.last
    }

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

    /// Takes note of a frame from the home; as the client gets it. None: it answers what the client has been told is not answered,
    /// and would be one answer too many.
    pub fn heard(&mut self, frame: Bytes) -> Option<Bytes> {
        let Some((number, rest)) = id_of(&frame) else { return Some(frame) };
        let place = self.sent.iter().position(|sent| sent.number == number)?;
        let request = self.sent.remove(place)?;
        let answer = with_id(request.id, rest);
        request.answered(&frame);
        Some(answer)
    }

    /// The client is told to ask again for all that it has no answer to: what was on its way is lost, and what was held
    /// would be asked twice.
    pub fn interrupt(&mut self) {
        self.sent.drain(..).for_each(|request| request.failed("lost"));
        let (asked, rest) = std::mem::take(&mut self.held).into_iter().partition(|held| held.request.id != 0);
        self.held = rest;
        self.held_bytes = self.held.iter().map(|held| held.frame.len()).sum();
        VecDeque::into_iter(asked).for_each(|held| held.request.failed("lost"));
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
        Request { id, number: id, what: "test", since, span: Span::none() }
    }

    fn answer(id: u32) -> Bytes {
        ServerFrame { id, body: Some(Body::Pong(Pong {})) }.encode_to_vec().into()
    }

    #[test]
    fn an_answer_counts_once_and_a_late_one_not_at_all() {
        let (mut requests, start) = (Requests::default(), Instant::now());
        requests.sent(request(0, start));
        requests.sent(request(7, start));
        requests.sent(request(300, start + ANSWER / 2));
        assert_eq!(requests.unanswered(), 2);
        let event = ServerFrame { id: 0, body: Some(Body::Event(Event::default())) };
        assert!(requests.heard(event.encode_to_vec().into()).is_some() && requests.unanswered() == 2);
        assert_eq!(requests.late(start + ANSWER), [7]);
        assert_eq!(requests.heard(answer(7)), None, "the client has its answer already");
        assert!(requests.heard(answer(300)).is_some() && requests.heard(answer(300)).is_none());
        assert_eq!(requests.unanswered(), 0);
    }

    #[test]
    fn a_late_answer_is_not_taken_for_one_to_what_has_the_same_id_since() {
        let (mut requests, start) = (Requests::default(), Instant::now());
        let ask = |requests: &mut Requests, at: Instant| {
            let number = requests.number(1);
            requests.sent(Request { number, ..request(1, at) });
            number
        };
        let first = ask(&mut requests, start);
        assert_eq!(requests.late(start + ANSWER), [1]);
        let second = ask(&mut requests, start + ANSWER);
        assert_eq!(requests.heard(answer(first)), None);
        assert_eq!(requests.heard(answer(second)), Some(answer(1)), "as the client has it");
        requests.last = u32::MAX - 1;
        assert_eq!([5, 6, 0].map(|id| requests.number(id)), [u32::MAX, 1, 0]);
    }

    #[test]
    fn what_was_held_is_not_asked_twice_where_the_client_asks_again() {
        let (mut requests, start) = (Requests::default(), Instant::now());
        requests.sent(request(1, start));
        for id in [0, 2, 0] {
            assert!(requests.hold(request(id, start), Bytes::from_static(b"held"), 1000));
        }
        requests.interrupt();
        assert_eq!((requests.unanswered(), requests.held_bytes), (0, 8));
        assert_eq!([(); 3].map(|()| requests.release().map(|(request, _)| request.id)), [Some(0), Some(0), None]);
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
        assert_eq!(requests.late(start + ANSWER), (1..=64).collect::<Vec<_>>());
        assert!(requests.release().is_none() && requests.held_bytes == 0);
    }
}
