//! Places that clients hand back: cursors, pages of lists, and since when a list is wanted.

use madang_chat::cursor::Cursor;
use madang_group::token::{Place, Sync};
use madang_proto::reason::Reason;

/// How many shards the lists are of.
pub(crate) const SHARDS: u32 = 2;
/// When they are asked for, ms since 1970.
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;

/// What is taken means the same when it is handed back again.
pub fn places(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string(), text);
    }
    match Place::read(text, SHARDS) {
        Ok((place, after)) => assert_eq!(Place::read(&place.text(), SHARDS), Ok((place, after))),
        Err(refusal) => assert_eq!(refusal.reason, Reason::InvalidField),
    }
    match Sync::read(text, SHARDS, NOW_MS) {
        Ok(sync) => assert_eq!(Sync::read(&sync.text(), SHARDS, NOW_MS), Ok(sync)),
        Err(refusal) => assert!(matches!(refusal.reason, Reason::InvalidField | Reason::TooOld)),
    }
}
