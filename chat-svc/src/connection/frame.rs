//! An event as clients get it: its bytes are the log reader's, and only where they stand is added.

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::encode_varint;

/// An event's frame for clients: its cursor is appended to its bytes, nothing is decoded.
#[must_use]
pub fn frame(event: &[u8], cursor: &str) -> Bytes {
    // ServerFrame.event is field 5, Event.cursor field 1, both length-delimited.
    let inner = event.len() + 2 + cursor.len();
    let mut frame = BytesMut::with_capacity(inner + 6);
    frame.put_u8(0x2a);
    encode_varint(inner as u64, &mut frame);
    frame.put_slice(event);
    frame.put_u8(0x0a);
    encode_varint(cursor.len() as u64, &mut frame);
    frame.put_slice(cursor.as_bytes());
    frame.freeze()
}
