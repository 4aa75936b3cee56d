//! Frames of clients, and the transcoding of those for them.

use bytes::Bytes;
use madang_gateway::frame::{Cut, Encoding, cut_json, cut_protobuf, write};
use madang_proto::{
    client::v1::{ClientFrame, ServerFrame},
    reason::Reason,
};
use prost::Message as _;

/// WebSocket messages in both encodings: what is taken is the same frame in the other one, what is not is refused as
/// the protocol says.
pub fn client_frames(data: &[u8]) {
    for cut in cut_protobuf(Bytes::copy_from_slice(data)).into_iter().flatten() {
        check(cut);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        cut_json(text).into_iter().flatten().for_each(check);
    }
}

fn check(cut: Cut) {
    let frame = match cut {
        Ok(frame) => frame,
        Err((_, refusal)) => {
            return assert!(matches!(refusal.reason, Reason::InvalidFrame | Reason::Unimplemented), "{refusal:?}");
        }
    };
    assert!(frame.body.is_some(), "a frame without a body was taken");
    let wanted = Some(vec![Ok(frame.clone())]);
    assert_eq!(cut_protobuf(frame.encode_length_delimited_to_vec().into()), wanted, "as protobuf");
    // An enum's value that this version does not know has no word in JSON.
    if let Ok(json) = serde_json::to_string::<ClientFrame>(&frame) {
        assert_eq!(cut_json(&json), wanted, "as JSON: {json}");
    }
}

/// Frames of a chat-svc, as JSON clients get them: one line each, which says the same.
pub fn server_frames(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let mut message = Vec::new();
    write(Encoding::Json, &bytes, &mut message);
    match ServerFrame::decode(bytes.clone()) {
        Ok(frame) if !message.is_empty() => {
            assert!(!message.contains(&b'\n'), "a frame is one line");
            assert_eq!(serde_json::from_slice::<ServerFrame>(&message).unwrap(), frame);
        }
        Ok(frame) => assert!(serde_json::to_vec(&frame).is_err(), "left out, though it can be written"),
        Err(_) => assert!(message.is_empty(), "something was made of what can't be read"),
    }
    let mut message = Vec::new();
    write(Encoding::Protobuf, &bytes, &mut message);
    let mut rest = &message[..];
    assert_eq!(prost::decode_length_delimiter(&mut rest).unwrap(), bytes.len());
    assert_eq!(rest, &bytes[..], "protobuf goes through as it came");
}
