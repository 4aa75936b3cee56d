//! The first frame: who connects, with what, and from where on.

use super::{
    End, code, error,
    wire::{cut, received},
};
use crate::{Shared, frame::Encoding};
use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use madang_mesh::token::{Claims, bad_token};
use madang_proto::{
    client::v1::{Device, Hello, client_frame::Body},
    id::DeviceId,
    reason::{Reason, Refusal},
};

/// What is said before the close, and the close.
type Refused = (Option<Bytes>, End);

/// A hello that is good.
pub(super) struct Greeting {
    /// The frame's id.
    pub id: u32,
    pub claims: Claims,
    pub device: Device,
    /// From where on.
    pub cursor: String,
    /// The WebSocket message in which it came, if more frames stand behind it.
    pub message: Option<Message>,
}

/// Waits for the hello, and checks it.
pub(super) async fn first(socket: &mut WebSocket, encoding: Encoding, shared: &Shared) -> Result<Greeting, Refused> {
    let (message, frame) = loop {
        let message = received(socket.recv().await).map_err(|end| (None, end))?;
        let mut frames = cut(message.clone(), encoding).map_err(said)?.into_iter();
        if let Some(frame) = frames.next() {
            break (frames.next().map(|_| message), frame);
        }
    };
    let protocol = Some((code::PROTOCOL, "the first frame must be a hello with a device"));
    let frame = frame.map_err(|(id, refusal)| (Some(error(id, &refusal)), protocol))?;
    let id = frame.id;
    let refuse = |reason, text: &str| Some(error(id, &Refusal::new(reason, text)));
    let Some(Body::Hello(Hello { token, device, resume })) = frame.body else {
        return Err((refuse(Reason::InvalidFrame, "the first frame must be a hello"), protocol));
    };
    let Some(device) = device.filter(|device| device.id.parse::<DeviceId>().is_ok()) else {
        let text = "hello needs a device with an id: a UUID that it keeps";
        return Err((refuse(Reason::InvalidField, text), protocol));
    };
    let device = device.of_known_kind();
    let claims = shared.verifier.verify(&token, Some(&device)).await.map_err(|refusal| {
        let end = match refusal.reason {
            Reason::BadToken => (code::BAD_TOKEN, "bad token"),
            Reason::Suspended => (code::REVOKED, "the account is suspended"),
            Reason::InvalidField => (code::PROTOCOL, "the device can't be taken"),
            _ => (code::GOING_AWAY, "try again"),
        };
        (Some(error(id, &refusal)), Some(end))
    })?;
    if shared.verifier.ended(claims.session).await {
        return Err((Some(error(id, &bad_token())), Some((code::REVOKED, "the session has ended"))));
    }
    Ok(Greeting { id, claims, device, cursor: resume, message })
}

/// A message that can't be cut is no hello either, and is refused as one.
fn said(end: End) -> Refused {
    (end.map(|(_, text)| error(0, &Refusal::new(Reason::InvalidFrame, text))), end)
}
