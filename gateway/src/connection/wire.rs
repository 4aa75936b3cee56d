//! WebSocket messages: what they hold, and how frames become one.

use super::{End, code};
use crate::frame::{self, Cut, Encoding};
use axum::extract::ws::Message;
use bytes::Bytes;

pub(super) fn message(encoding: Encoding, frames: &[Bytes]) -> Message {
    let mut buffer = Vec::with_capacity(frames.iter().map(|frame| frame.len() + 5).sum());
    frames.iter().for_each(|frame| frame::write(encoding, frame, &mut buffer));
    finished(encoding, buffer)
}

pub(super) fn finished(encoding: Encoding, buffer: Vec<u8>) -> Message {
    match encoding {
        Encoding::Protobuf => Message::Binary(buffer.into()),
        Encoding::Json => Message::Text(String::from_utf8_lossy(&buffer).into_owned().into()),
    }
}

/// What a WebSocket message holds: frames, or why the connection ends; none: a control frame.
pub(super) fn cut(received: Option<Result<Message, axum::Error>>, encoding: Encoding) -> Result<Option<Vec<Cut>>, End> {
    match (received, encoding) {
        (Some(Ok(Message::Binary(bytes))), Encoding::Protobuf) => {
            frame::cut_protobuf(bytes).map(Some).ok_or(Some((code::PROTOCOL, "not varint-delimited frames")))
        }
        (Some(Ok(Message::Text(text))), Encoding::Json) => Ok(Some(frame::cut_json(text.as_str()))),
        (Some(Ok(Message::Binary(_) | Message::Text(_))), _) => {
            Err(Some((code::PROTOCOL, "not the subprotocol's messages")))
        }
        (Some(Ok(Message::Ping(_) | Message::Pong(_))), _) => Ok(None),
        (Some(Ok(Message::Close(_))) | None, _) => Err(None),
        (Some(Err(error)), _) => {
            let text = format!("{error:?}");
            Err(match () {
                () if text.contains("Utf8") => Some((code::INVALID_DATA, "not UTF-8")),
                () if text.contains("TooLong") => Some((code::TOO_BIG, "longer than maxFrameBytes")),
                () => None,
            })
        }
    }
}
