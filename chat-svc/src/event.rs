//! From the log's record of an event to what clients see of it.

use crate::fan_out::Outgoing;
use bytes::Bytes;
use madang_proto::{client::v1 as client, event::to_client, id::UserId, log::v1::LoggedEvent};
use prost::Message as _;
use std::sync::Arc;

/// The client's event, encoded, without a cursor.
#[must_use]
pub fn encode(event: &LoggedEvent) -> Bytes {
    to_client(event).encode_to_vec().into()
}

/// The event as it goes to its recipients: with its body, and without it to those who may not see what it changes.
pub fn outgoing(
    event: &LoggedEvent,
    recipients: Arc<[UserId]>,
    blind: Arc<[UserId]>,
) -> impl Iterator<Item = Outgoing> {
    let without = || client::Event { body: None, ..to_client(event) }.encode_to_vec().into();
    let trace = &event.trace;
    let blind = (!blind.is_empty()).then(|| Outgoing { event: without(), recipients: blind, trace: trace.clone() });
    let seeing = (!recipients.is_empty()).then(|| Outgoing { event: encode(event), recipients, trace: trace.clone() });
    seeing.into_iter().chain(blind)
}
