//! A call for a user: whom the metadata `madang-user` names is who acts. A request whose field `user` is empty gets them
//! there, and one that names another is refused. So a service that has one user at hand can't act for two by mistake.

use crate::calls::Method;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt as _, Full, Limited};
use madang_proto::{
    id::UserId,
    reason::{Reason, Refusal},
};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field};
use std::time::Duration;
use tonic::body::Body;

/// The metadata.
const USER: &str = "madang-user";
/// The longest request that is looked into, in bytes.
const LONGEST: usize = 8 << 20;
/// How long it may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a request must be looked into: it is for a user, and has a field for one.
pub(super) fn concerns(request: &Request<Body>) -> bool {
    request.headers().contains_key(USER) && Method::of(request.uri().path()).user.is_some()
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(Reason::InvalidField, message)
}

/// The request, whose field now names the user of the metadata.
pub(super) async fn of_one_user(request: Request<Body>) -> Result<Request<Body>, Refusal> {
    let Some(field) = Method::of(request.uri().path()).user else { return Ok(request) };
    let named = request.headers().get(USER).and_then(|user| user.to_str().ok()?.parse::<UserId>().ok());
    let user = named.ok_or_else(|| invalid("the metadata madang-user is no user's id"))?;
    let (mut head, body) = request.into_parts();
    let late = |_| Refusal::new(Reason::Timeout, "the request did not come in time");
    let body = tokio::time::timeout(PATIENCE, Limited::new(body, LONGEST).collect()).await.map_err(late)?;
    let body = body.map_err(|_| Refusal::new(Reason::TooLarge, "the request broke off or is over 8 MiB"))?;
    let bytes = fill(body.to_bytes(), field, user)?;
    head.headers.remove(http::header::CONTENT_LENGTH);
    Ok(Request::from_parts(head, Body::new(Full::new(bytes))))
}

/// Puts the user into the field of a gRPC message where it is empty.
fn fill(framed: Bytes, field: u32, user: UserId) -> Result<Bytes, Refusal> {
    let unreadable = || invalid("the request can't be read: one message, not compressed");
    let (head, message) = framed.split_at_checked(5).ok_or_else(unreadable)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if head[0] != 0 || length != message.len() {
        return Err(unreadable());
    }
    let named = find(message, field).ok_or_else(unreadable)?;
    if !named.is_empty() {
        return match named.parse::<UserId>() {
            Ok(other) if other == user => Ok(framed),
            _ => {
                let message = "the request names another user than the metadata madang-user";
                Err(Refusal::new(Reason::NotAllowed, message))
            }
        };
    }
    let text = user.to_string();
    let mut filled = BytesMut::with_capacity(framed.len() + text.len() + 16);
    filled.extend_from_slice(&framed);
    encode_key(field, WireType::LengthDelimited, &mut filled);
    encode_varint(text.len() as u64, &mut filled);
    filled.put_slice(text.as_bytes());
    let length = u32::try_from(filled.len() - 5).map_err(|_| unreadable())?;
    filled[1..5].copy_from_slice(&length.to_be_bytes());
    Ok(filled.freeze())
}

/// A text field of a message: the last one of that number, as protobuf has it; none: it is no message.
fn find(mut message: &[u8], field: u32) -> Option<String> {
    let mut found = String::new();
    while !message.is_empty() {
        let (tag, wire) = decode_key(&mut message).ok()?;
        if tag == field && wire == WireType::LengthDelimited {
            let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
            let (text, rest) = message.split_at_checked(length)?;
            (found, message) = (std::str::from_utf8(text).ok()?.to_owned(), rest);
        } else {
            skip_field(wire, tag, &mut message, DecodeContext::default()).ok()?;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::store::v1::ListMessagesRequest;
    use prost::Message as _;

    fn framed(request: &ListMessagesRequest) -> Bytes {
        let message = request.encode_to_vec();
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        bytes.extend(message);
        bytes.into()
    }

    #[test]
    fn the_user_of_the_metadata_is_the_request_s() {
        let field = Method::of("/madang.store.v1.StoreService/ListMessages").user.unwrap();
        let (ann, bob) = (UserId::new(), UserId::new());
        let ask =
            |user: &str| ListMessagesRequest { conversation: "c".into(), user: user.into(), ..Default::default() };
        for named in ["", &ann.to_string()] {
            let filled = fill(framed(&ask(named)), field, ann).unwrap();
            assert_eq!(ListMessagesRequest::decode(&filled[5..]).unwrap(), ask(&ann.to_string()));
            assert_eq!(filled.len() - 5, u32::from_be_bytes(filled[1..5].try_into().unwrap()) as usize);
        }
        for named in [&bob.to_string(), "ann"] {
            assert_eq!(fill(framed(&ask(named)), field, ann).unwrap_err().reason, Reason::NotAllowed);
        }
        // The last one counts, also where somebody writes several.
        let mut twice = ask(&ann.to_string()).encode_to_vec();
        twice.extend(ListMessagesRequest { user: bob.to_string(), ..Default::default() }.encode_to_vec());
        let twice = [&[0][..], &u32::try_from(twice.len()).unwrap().to_be_bytes(), &twice].concat();
        assert!(fill(twice.into(), field, ann).is_err());
        for broken in [&[][..], &[0, 0, 0, 0], &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 2, 0], &[0, 0, 0, 0, 2, 0x12, 0x7f]] {
            assert!(fill(Bytes::copy_from_slice(broken), field, ann).is_err(), "{broken:?}");
        }
    }
}
