//! WebSocket messages: what they hold, how frames become one, and the last of them.

use super::{Connection, End, MESSAGE, STUCK, code};
use crate::{
    frame::{self, Cut, Encoding},
    refusals,
};
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use futures_util::SinkExt;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

pub(super) fn message(encoding: Encoding, frames: &[Bytes]) -> Message {
    let mut buffer = Vec::with_capacity(frames.iter().map(|frame| frame.len() + 5).sum());
    frames.iter().for_each(|frame| frame::write(encoding, frame, &mut buffer));
    finished(encoding, buffer)
}

fn finished(encoding: Encoding, buffer: Vec<u8>) -> Message {
    match encoding {
        Encoding::Protobuf => Message::Binary(buffer.into()),
        Encoding::Json => Message::Text(String::from_utf8_lossy(&buffer).into_owned().into()),
    }
}

/// A message that was received, or why the connection ends.
pub(super) fn received(received: Option<Result<Message, axum::Error>>) -> Result<Message, End> {
    match received {
        Some(Ok(Message::Close(_))) | None => Err(None),
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => {
            let text = format!("{error:?}");
            Err(match () {
                () if text.contains("Utf8") => Some((code::INVALID_DATA, "not UTF-8")),
                () if text.contains("TooLong") => Some((code::TOO_BIG, "longer than maxFrameBytes")),
                // It went without a word: nobody is left to be told.
                () if text.contains("ResetWithoutClosingHandshake") => None,
                () if text.contains("Protocol(") => Some((code::NO_WEBSOCKET, "not as RFC 6455 has it")),
                () => None,
            })
        }
    }
}

/// The frames that a message holds; none: a control frame. Or why the connection ends.
pub(super) fn cut(message: Message, encoding: Encoding) -> Result<Vec<Cut>, End> {
    match (message, encoding) {
        (Message::Binary(bytes), Encoding::Protobuf) => {
            frame::cut_protobuf(bytes).ok_or(Some((code::PROTOCOL, "not varint-delimited frames, or too many")))
        }
        (Message::Text(text), Encoding::Json) => {
            frame::cut_json(text.as_str()).ok_or(Some((code::PROTOCOL, "too many frames in a message")))
        }
        (Message::Binary(_) | Message::Text(_), _) => {
            Err(Some((code::PROTOCOL, "not the subprotocol's messages: text for JSON, binary for protobuf")))
        }
        _ => Ok(Vec::new()),
    }
}

impl Connection {
    /// Writes frames, in as many messages as they take, flushed once.
    pub(super) async fn send(&mut self, frames: &[Bytes]) -> Result<(), End> {
        let mut buffer = Vec::new();
        for frame in frames {
            if !buffer.is_empty() && buffer.len() + frame.len() > MESSAGE {
                let message = finished(self.encoding, std::mem::take(&mut buffer));
                in_time(&mut self.heard, self.socket.feed(message)).await?;
            }
            frame::write(self.encoding, frame, &mut buffer);
        }
        if !buffer.is_empty() {
            in_time(&mut self.heard, self.socket.feed(finished(self.encoding, buffer))).await?;
        }
        in_time(&mut self.heard, self.socket.flush()).await
    }
}

/// How long a write takes that waits for its client.
const WAITED: Duration = Duration::from_millis(100);

/// One write, which is to go on in time, however many there are. Where it had to wait for the client, and went on, the client is
/// heard: it is there, though nothing of it was read meanwhile.
async fn in_time(heard: &mut Instant, write: impl Future<Output = Result<(), axum::Error>>) -> Result<(), End> {
    let begun = Instant::now();
    let Ok(written) = timeout(STUCK, write).await else {
        refusals::STUCK.count();
        return Err(Some((code::TOO_SLOW, "a write was stuck")));
    };
    written.map_err(|_| None)?;
    if begun.elapsed() > WAITED {
        *heard = Instant::now();
    }
    Ok(())
}

/// How long a client may take to take its close, and then to answer it.
const GOODBYE: Duration = Duration::from_secs(2);
/// How long one that was too slow may: the close stands behind all that it has not read.
const SLOW_GOODBYE: Duration = Duration::from_secs(30);
/// How long the answer to a client's own close may take.
const ANSWER: Duration = Duration::from_secs(1);
/// How long a socket with unread bytes stays, so that its close is read.
const UNREAD: Duration = Duration::from_secs(1);

/// Says why a socket is closed, and waits until that is read; or answers the client's own close. `drain`: nobody is
/// waited for any longer than that.
pub(super) async fn close(mut socket: WebSocket, end: End, drain: &CancellationToken) {
    let Some((code, reason)) = end else {
        // The answer to a close waits to be written: that is done by reading on.
        let answering = async { while let Some(Ok(_)) = socket.recv().await {} };
        let _ = timeout(ANSWER, answering).await;
        return;
    };
    let patience = async {
        sleep(GOODBYE).await;
        if code == code::TOO_SLOW {
            // Nothing is held meanwhile but the socket.
            let _ = timeout(SLOW_GOODBYE - GOODBYE, drain.cancelled()).await;
        }
    };
    let frame = CloseFrame { code, reason: reason.into() };
    let said = tokio::select! {
        said = socket.send(Message::Close(Some(frame))) => said.is_ok(),
        () = patience => false,
    };
    if said {
        let answered = async {
            // Until the client has answered the close, so that it is read before the socket is gone.
            while let Some(Ok(_)) = socket.recv().await {}
            // Nothing is read behind what can't be: a socket that is dropped with that unread is reset, which would
            // take the close from who has not read it yet.
            if matches!(code, code::TOO_BIG | code::INVALID_DATA | code::NO_WEBSOCKET) {
                sleep(UNREAD).await;
            }
        };
        let _ = timeout(GOODBYE, answered).await;
    }
}
