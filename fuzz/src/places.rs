//! Places that clients hand back: cursors, and pages of lists.

use madang_chat::cursor::Cursor;
use madang_group::rpc::{place, token_of};

/// What is taken is exactly what was given out for it.
pub fn places(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string(), text);
    }
    match place(text) {
        Ok(Some(place)) => assert_eq!(token_of(&place), text),
        Ok(None) => assert!(text.is_empty()),
        Err(status) => assert_eq!(i32::from(status.code()), 3, "INVALID_ARGUMENT"),
    }
}
