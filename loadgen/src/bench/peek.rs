//! The few fields of a server's frames that a load generator checks, read without decoding the rest: it shares its
//! cores with the server, and every delivery that it makes costs it as much as the server.

use prost::encoding::{WireType, decode_key, decode_varint};

/// A frame, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub enum Peek<'a> {
    /// Saved.
    Ack {
        /// The request's number.
        id: u32,
        /// The message's number.
        seq: u64,
        /// It was there already.
        duplicate: bool,
    },
    /// Refused.
    Error {
        /// The request's number.
        id: u32,
        /// Whether to send again.
        retryable: bool,
    },
    /// A message for this connection.
    Message {
        /// Its number.
        seq: u64,
        /// What it says.
        text: &'a [u8],
    },
    /// All missed has been given.
    Live,
    /// A server behind the gateway was replaced.
    Interrupted,
    /// The server goes.
    GoAway,
    /// Anything else.
    Other,
}

/// The fields of a message: their tags, with the value of varints and the bytes of others.
fn fields<'a>(mut bytes: &'a [u8], mut on: impl FnMut(u32, u64, &'a [u8])) -> Option<()> {
    while !bytes.is_empty() {
        let (tag, wire) = decode_key(&mut bytes).ok()?;
        match wire {
            WireType::Varint => on(tag, decode_varint(&mut bytes).ok()?, &[]),
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
                let (field, rest) = bytes.split_at_checked(length)?;
                on(tag, 0, field);
                bytes = rest;
            }
            WireType::ThirtyTwoBit => bytes = bytes.get(4..)?,
            WireType::SixtyFourBit => bytes = bytes.get(8..)?,
            WireType::StartGroup | WireType::EndGroup => return None,
        }
    }
    Some(())
}

fn field(bytes: &[u8], wanted: u32) -> Option<&[u8]> {
    let mut found = None;
    fields(bytes, |tag, _, field| {
        if tag == wanted {
            found = Some(field);
        }
    })?;
    found
}

fn number(bytes: &[u8], wanted: u32) -> Option<u64> {
    let mut found = 0;
    fields(bytes, |tag, value, _| {
        if tag == wanted {
            found = value;
        }
    })?;
    Some(found)
}

/// A `ServerFrame`; none if it is not one.
fn frame(bytes: &[u8]) -> Option<Peek<'_>> {
    let (mut id, mut body, mut content) = (0, 0, &[][..]);
    fields(bytes, |tag, value, field| match tag {
        1 => id = value,
        _ => (body, content) = (tag, field),
    })?;
    let id = u32::try_from(id).ok()?;
    Some(match body {
        3 => Peek::Ack { id, seq: number(content, 2)?, duplicate: number(content, 5)? != 0 },
        4 => Peek::Error { id, retryable: number(content, 4)? != 0 },
        5 => match field(content, 6) {
            Some(message) => Peek::Message { seq: number(message, 1)?, text: field(message, 6).unwrap_or_default() },
            None => Peek::Other,
        },
        6 => Peek::Live,
        8 => Peek::Interrupted,
        11 => Peek::GoAway,
        _ => Peek::Other,
    })
}

/// Every frame of a WebSocket message; false if it can't be cut into frames.
#[must_use]
pub fn each<'a>(mut bytes: &'a [u8], mut on: impl FnMut(Peek<'a>)) -> bool {
    while !bytes.is_empty() {
        let Some((one, rest)) =
            decode_varint(&mut bytes).ok().and_then(|length| bytes.split_at_checked(usize::try_from(length).ok()?))
        else {
            return false;
        };
        let Some(peek) = frame(one) else { return false };
        on(peek);
        bytes = rest;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::client::v1::{Ack, Error, Event, Live, Message, Ready, ServerFrame, event, server_frame::Body};
    use prost::Message as _;

    #[test]
    fn what_is_peeked_at_is_what_was_encoded() {
        let text = "안녕".repeat(100);
        let message = Message { seq: 300, sender: "x".into(), text: text.clone(), ..Default::default() };
        let event =
            Event { cursor: "c".into(), revision: 9, body: Some(event::Body::Message(message)), ..Default::default() };
        let ack = Ack { conversation: "c".into(), seq: 7, revision: 8, at: 9, duplicate: true };
        let bodies = [
            (5, Body::Ack(ack)),
            (6, Body::Error(Error { retryable: true, message: "no".into(), ..Default::default() })),
            (0, Body::Event(event)),
            (0, Body::Live(Live::default())),
            (1, Body::Ready(Ready::default())),
        ];
        let mut bytes = Vec::new();
        for (id, body) in bodies {
            bytes.extend(ServerFrame { id, body: Some(body) }.encode_length_delimited_to_vec());
        }
        let mut seen = Vec::new();
        assert!(each(&bytes, |peek| seen.push(peek)));
        let expected = [
            Peek::Ack { id: 5, seq: 7, duplicate: true },
            Peek::Error { id: 6, retryable: true },
            Peek::Message { seq: 300, text: text.as_bytes() },
            Peek::Live,
            Peek::Other,
        ];
        assert_eq!(seen, expected);
        assert!(!each(&bytes[..bytes.len() - 1], |_| {}));
    }
}
