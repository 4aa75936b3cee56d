//! Frames in both encodings: cutting a WebSocket message into them, and writing them.

mod json;

use bytes::{Buf, Bytes};
use madang_proto::{
    client::v1::{ClientFrame, ServerFrame},
    reason::{Reason, Refusal},
};
use prost::{
    Message as _,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_varint, skip_field},
};

/// The subprotocol of binary frames.
pub const PB: &str = "madang.v1.pb";
/// The subprotocol of JSON frames.
pub const JSON: &str = "madang.v1.json";

/// How frames are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Varint-length-delimited protobuf.
    Protobuf,
    /// One JSON object a line.
    Json,
}

/// How many frames one WebSocket message has at most; more that say something do not go in by default. Each takes some memory,
/// however short it is, and who sends them may not have said yet who they are.
const MOST: usize = 4096;

/// A frame that was cut out, or what is wrong with it and its id (0 if that can't be read).
pub type Cut = Result<ClientFrame, (u32, Refusal)>;

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(Reason::InvalidFrame, message)
}

/// What an id must be, for who sent another one.
const ID: &str = "id must be a number of 32 bits";

fn unknown(id: u32) -> (u32, Refusal) {
    (id, Refusal::new(Reason::Unimplemented, "this server does not know this frame"))
}

/// Cuts a binary message; none: it can't be cut, or into too many.
#[must_use]
pub fn cut_protobuf(mut message: Bytes) -> Option<Vec<Cut>> {
    let mut frames = Vec::new();
    while message.has_remaining() {
        let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
        if length > message.len() || frames.len() >= MOST {
            return None;
        }
        frames.push(read_protobuf(message.split_to(length)));
    }
    Some(frames)
}

fn read_protobuf(bytes: Bytes) -> Cut {
    let (mut id, mut bodies) = (0, 0);
    let mut rest = bytes.clone();
    while rest.has_remaining() {
        let broken = |error: prost::DecodeError| (id, invalid(format!("not a frame: {error}")));
        let (tag, wire) = decode_key(&mut rest).map_err(broken)?;
        if tag == 1 && wire == WireType::Varint {
            // Cut to 32 bits it could be another request's.
            let number = decode_varint(&mut rest).map_err(broken)?;
            id = u32::try_from(number).map_err(|_| (0, invalid(ID)))?;
            continue;
        }
        // The bodies of ClientFrame are its fields 2 to 10.
        bodies += usize::from((2..=10).contains(&tag));
        skip_field(wire, tag, &mut rest, DecodeContext::default()).map_err(broken)?;
    }
    match bodies {
        0 => Err(unknown(id)),
        1 => ClientFrame::decode(bytes).map_err(|error| (id, invalid(format!("not a frame: {error}")))),
        _ => Err((id, invalid("a frame has exactly one body: send two frames"))),
    }
}

/// Cuts a text message; none: into too many.
#[must_use]
pub fn cut_json(message: &str) -> Option<Vec<Cut>> {
    let lines = || message.split('\n').filter(|line| !line.trim().is_empty());
    (lines().take(MOST + 1).count() <= MOST).then(|| lines().map(json::read).collect())
}

/// Adds an encoded server frame to a message that is being written; for JSON, one that clients know.
pub fn write(encoding: Encoding, frame: &Bytes, message: &mut Vec<u8>) {
    match encoding {
        Encoding::Protobuf => {
            encode_varint(frame.len() as u64, message);
            message.extend_from_slice(frame);
        }
        Encoding::Json => {
            let text = ServerFrame::decode(frame.clone()).ok().and_then(|frame| serde_json::to_vec(&frame).ok());
            let Some(text) = text else {
                return tracing::error!("a frame of a chat-svc can't be read, and is left out");
            };
            if !message.is_empty() {
                message.push(b'\n');
            }
            message.extend_from_slice(&text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::client::v1::{Ping, client_frame::Body};

    fn reason(cut: &Cut) -> (u32, Reason) {
        cut.as_ref().map_err(|(id, refusal)| (*id, refusal.reason)).unwrap_err()
    }

    #[test]
    fn json_frames() {
        let cut = cut_json("{\"id\": 7, \"ping\": {}, \"future\": 1}\n\n{\"id\":\"8\",\"ping\":{}}").unwrap();
        assert_eq!(cut.iter().map(|cut| cut.as_ref().unwrap().id).collect::<Vec<_>>(), [7, 8]);
        for (text, expected) in [
            ("nonsense", (0, Reason::InvalidFrame)),
            ("[]", (0, Reason::InvalidFrame)),
            (r#"{"id":3,"ping":{},"read":{}}"#, (3, Reason::InvalidFrame)),
            (r#"{"id":4,"read":{"seq":"x"}}"#, (4, Reason::InvalidFrame)),
            (r#"{"id":5,"teleport":{}}"#, (5, Reason::Unimplemented)),
            (r#"{"id":-1,"ping":{}}"#, (0, Reason::InvalidFrame)),
            (r#"{"id":4294967296,"ping":{}}"#, (0, Reason::InvalidFrame)),
        ] {
            assert_eq!(reason(&cut_json(text).unwrap()[0]), expected, "{text}");
        }
    }

    #[test]
    fn so_many_frames_in_a_message() {
        assert_eq!(cut_protobuf(vec![0; MOST].into()).map(|cut| cut.len()), Some(MOST));
        assert!(cut_protobuf(vec![0; MOST + 1].into()).is_none());
        assert_eq!(cut_json(&"{}\n\n".repeat(MOST)).map(|cut| cut.len()), Some(MOST));
        assert!(cut_json(&"{}\n\n".repeat(MOST + 1)).is_none());
    }

    #[test]
    fn protobuf_frames() {
        let frame = ClientFrame { id: 7, body: Some(Body::Ping(Ping {})), ..Default::default() };
        let mut message = frame.encode_length_delimited_to_vec();
        message.extend(frame.encode_length_delimited_to_vec());
        assert_eq!(cut_protobuf(message.into()).unwrap().len(), 2);
        assert!(cut_protobuf(Bytes::from_static(&[200, 1, 0])).is_none());
        // id 1, then an unknown body (field 50).
        assert_eq!(
            reason(&cut_protobuf(Bytes::from_static(&[5, 8, 1, 0x92, 3, 0])).unwrap()[0]),
            (1, Reason::Unimplemented)
        );
        // id 1, ping, typing.
        let two = Bytes::from_static(&[6, 8, 1, 0x52, 0, 0x42, 0]);
        assert_eq!(reason(&cut_protobuf(two).unwrap()[0]), (1, Reason::InvalidFrame));
        // An id of 33 bits (2^32 + 7), with a ping and with an unknown body.
        for body in [&[0x52, 0][..], &[0x92, 3, 0]] {
            let frame = [&[8, 0x87, 0x80, 0x80, 0x80, 0x10], body].concat();
            let message = [&[u8::try_from(frame.len()).unwrap()], &frame[..]].concat();
            assert_eq!(reason(&cut_protobuf(message.into()).unwrap()[0]), (0, Reason::InvalidFrame));
        }
    }
}
