//! The first frame: who connects, with what, and from where on.

use super::{End, code, error, wire::cut};
use crate::{Shared, frame::Encoding};
use axum::extract::ws::WebSocket;
use bytes::Bytes;
use madang_mesh::token::{Claims, bad_token};
use madang_proto::{
    client::v1::{Device, DeviceKind, Hello, client_frame::Body},
    id::DeviceId,
    reason::{Reason, Refusal},
};

/// What is said before the close, and the close.
type Refused = (Option<Bytes>, End);

/// Waits for the hello, and checks it.
pub(super) async fn first(
    socket: &mut WebSocket,
    encoding: Encoding,
    shared: &Shared,
) -> Result<(u32, Claims, Device, String), Refused> {
    let frames = loop {
        match cut(socket.recv().await, encoding).map_err(|end| (None, end))? {
            Some(frames) if !frames.is_empty() => break frames,
            _ => {}
        }
    };
    let protocol = Some((code::PROTOCOL, "the first frame must be a hello with a device"));
    let frame = match frames.into_iter().next() {
        Some(Ok(frame)) => frame,
        Some(Err((id, refusal))) => return Err((Some(error(id, &refusal)), protocol)),
        None => return Err((None, protocol)),
    };
    let id = frame.id;
    let refuse = |reason, text: &str| Some(error(id, &Refusal::new(reason, text)));
    let Some(Body::Hello(Hello { token, device, resume })) = frame.body else {
        return Err((refuse(Reason::InvalidFrame, "the first frame must be a hello"), protocol));
    };
    let good = |device: &Device| device.id.parse::<DeviceId>().is_ok() && device.kind() != DeviceKind::Unspecified;
    let Some(device) = device.filter(good) else {
        let text = "hello needs a device with an id (a UUID that it keeps) and a kind";
        return Err((refuse(Reason::InvalidField, text), protocol));
    };
    let claims = shared.verifier.verify(&token).await.map_err(|refusal| {
        let end = if refusal.reason == Reason::BadToken {
            (code::BAD_TOKEN, "bad token")
        } else {
            (code::GOING_AWAY, "try again")
        };
        (Some(error(id, &refusal)), Some(end))
    })?;
    if shared.verifier.ended(claims.session).await {
        return Err((Some(error(id, &bad_token())), Some((code::REVOKED, "the session has ended"))));
    }
    Ok((id, claims, device, resume))
}
