//! Whether what was sent has come to the client: a ping after events, whose pong proves it. Push relies on it: a socket may
//! be open though its phone has long lost coverage. One ping at a time, and one in a while, however much is sent.

use super::{Connection, End, STUCK, code};
use axum::extract::ws::Message;
use bytes::Bytes;
use madang_mesh::{clock::now_ms, metrics};
use madang_proto::{
    chat::v1::{Delivered as Said, upstream::Item},
    client::v1::DeviceKind,
};
use prometheus::Histogram;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

/// How often it is asked at most. notify-svc waits for twice that and more.
const PAUSE: Duration = Duration::from_millis(500);
/// What such a ping says first: others are heartbeats.
const MARK: u8 = b'd';

static LATENCY: LazyLock<Histogram> = LazyLock::new(|| {
    let help = "How long after it happened (`at`, by its home's clock) an event was written to a socket that was open by then: of \
                what one write had, the earliest.";
    metrics::histogram("madang_gateway_delivery_seconds", help, metrics::SECONDS)
});

/// What is known of it.
#[derive(Default)]
pub(super) struct Delivered {
    /// When the home has opened the connection, ms since 1970: what is older was missed, and is not late.
    opened_ms: i64,
    /// Since when something was sent that no ping has followed.
    open: Option<Instant>,
    /// The number of the last ping, and the cursor before it; none: it has been answered.
    asked: Option<(u64, String)>,
    number: u64,
    last: Option<Instant>,
}

impl Delivered {
    /// An event was sent. A browser is notified in any case: it is not asked.
    pub fn sent(&mut self, kind: DeviceKind) {
        if kind != DeviceKind::Web {
            self.open.get_or_insert_with(Instant::now);
        }
    }

    /// The home has opened the connection.
    pub fn opened(&mut self) {
        self.opened_ms = now_ms();
    }

    /// Frames have been written.
    pub fn written(&self, frames: &[Bytes]) {
        if let Some(at) = frames.iter().find_map(|frame| at_of(frame)).filter(|at| *at >= self.opened_ms) {
            #[allow(clippy::cast_precision_loss)] // milliseconds
            LATENCY.observe((now_ms() - at).max(0) as f64 / 1000.0);
        }
    }

    /// When to ask.
    pub fn due(&self) -> Option<Instant> {
        let since = self.open.filter(|_| self.asked.is_none())?;
        Some(self.last.map_or(since, |last| since.max(last + PAUSE)))
    }

    /// A ping for what was sent up to a cursor, if it is time for one.
    fn ping(&mut self, cursor: &str, now: Instant) -> Option<Bytes> {
        if self.due().is_none_or(|due| due > now) {
            return None;
        }
        self.number += 1;
        (self.open, self.last, self.asked) = (None, Some(now), Some((self.number, cursor.to_owned())));
        let mut text = vec![MARK];
        text.extend_from_slice(&self.number.to_be_bytes());
        Some(text.into())
    }

    /// What a pong proves to be delivered.
    fn pong(&mut self, text: &[u8]) -> Option<String> {
        let (mark, number) = text.split_first()?;
        let number = u64::from_be_bytes(number.try_into().ok()?);
        let (_, cursor) = self.asked.take_if(|(asked, _)| *mark == MARK && *asked == number)?;
        Some(cursor)
    }
}

/// `at` of an encoded frame with an event: `ServerFrame.event` is field 5 and its first, `Event.at` field 4, as they are
/// written.
fn at_of(frame: &[u8]) -> Option<i64> {
    let mut rest = frame.strip_prefix(&[0x2a])?;
    decode_varint(&mut rest).ok()?;
    loop {
        match decode_key(&mut rest).ok()? {
            (4, WireType::Varint) => return i64::try_from(decode_varint(&mut rest).ok()?).ok(),
            (tag @ 1..=3, wire) => skip_field(wire, tag, &mut rest, DecodeContext::default()).ok()?,
            _ => return None,
        }
    }
}

impl Connection {
    /// Asks, if something was sent and it is time.
    pub(super) async fn ask_whether_delivered(&mut self, now: Instant) -> Result<(), End> {
        let Some(ping) = self.delivered.ping(&self.cursor, now) else { return Ok(()) };
        let ping = tokio::time::timeout(STUCK, self.socket.send(Message::Ping(ping))).await;
        ping.map_err(|_| Some((code::TOO_SLOW, "a write was stuck")))?.map_err(|_| None)
    }

    /// Tells the home what a pong proves.
    pub(super) fn heed_pong(&mut self, text: &[u8]) {
        if let Some(cursor) = self.delivered.pong(text)
            && let Some(link) = self.way.opened()
        {
            // Where the way is full, somebody is notified of what they have.
            let _ = link.try_send(Item::Delivered(Said { cursor }), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_an_event_happened_is_read_from_its_bytes() {
        use madang_proto::client::v1::{Event, Pong, ServerFrame, server_frame::Body};
        use prost::Message as _;
        let frame = |body| ServerFrame { id: 0, body: Some(body) }.encode_to_vec();
        let event = Event { conversation: "c".into(), revision: 300, at: 1_700_000_000_000, ..Event::default() };
        assert_eq!(at_of(&frame(Body::Event(event.clone()))), Some(event.at));
        assert_eq!(at_of(&frame(Body::Event(Event { at: 0, last_seq: 7, ..event }))), None);
        assert_eq!((at_of(&frame(Body::Pong(Pong {}))), at_of(&[0x2a]), at_of(&[])), (None, None, None));
    }

    #[test]
    fn one_ping_at_a_time_proves_what_was_sent_before_it() {
        let (mut delivered, start) = (Delivered::default(), Instant::now());
        assert_eq!(delivered.ping("a", start), None, "nothing was sent");
        delivered.sent(DeviceKind::Web);
        assert_eq!(delivered.ping("a", start), None, "a browser is not asked");
        delivered.sent(DeviceKind::Mobile);
        let soon = Instant::now();
        let first = delivered.ping("a", soon).unwrap();
        delivered.sent(DeviceKind::Mobile);
        assert_eq!(delivered.ping("b", soon + 2 * PAUSE), None, "one is on its way");
        assert_eq!((delivered.pong(b""), delivered.pong(b"d"), delivered.pong(&[0; 9])), (None, None, None));
        assert_eq!(delivered.pong(&first).as_deref(), Some("a"));
        assert_eq!(delivered.pong(&first), None, "once");
        assert_eq!(delivered.ping("b", soon + PAUSE / 2), None, "not so soon");
        assert_eq!(delivered.due(), Some(soon + PAUSE));
        let second = delivered.ping("b", soon + PAUSE).unwrap();
        assert_eq!(delivered.pong(&first), None);
        assert_eq!(delivered.pong(&second).as_deref(), Some("b"));
        assert_eq!(delivered.due(), None);
    }
}
