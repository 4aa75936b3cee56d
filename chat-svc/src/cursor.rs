//! A user's place among their events: a position in the inbox of their shard, the time that the inbox gave it, and how
//! much of that entry is behind. The same for all recipients of one entry, so that an event is encoded once for all.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{fmt, str::FromStr};

/// A place in an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor {
    /// The entry.
    pub sequence: u64,
    /// The time that the inbox gave it, microseconds since 1970.
    pub at_micros: i64,
    /// How many deliveries of the entry are behind.
    pub index: u32,
}

/// A text that is no cursor of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor")]
pub struct InvalidCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.at_micros.to_be_bytes());
        bytes[16..].copy_from_slice(&self.index.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let mut bytes = [0; 20];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(20) => {}
            _ => return Err(InvalidCursor),
        }
        let (sequence, rest) = bytes.split_first_chunk().ok_or(InvalidCursor)?;
        let (at_micros, index) = rest.split_first_chunk().ok_or(InvalidCursor)?;
        Ok(Self {
            sequence: u64::from_be_bytes(*sequence),
            at_micros: i64::from_be_bytes(*at_micros),
            index: u32::from_be_bytes(index.try_into().map_err(|_| InvalidCursor)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_and_cursor_agree(sequence: u64, at_micros: i64, index: u32) {
            let cursor = Cursor { sequence, at_micros, index };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
            prop_assert!(cursor.to_string().len() <= 64);
        }

        #[test]
        fn any_text_is_a_cursor_or_refused(text in ".{0,80}") {
            let _ = text.parse::<Cursor>();
        }
    }
}
