//! Formats of the log's records: which are understood here, and which are written. What N writes N−1 must have been able to read, so
//! a new format is read in one version and written from the next one on (docs/upgrades.md).

use crate::log::v1::Record;
use bytes::Bytes;
use prost::Message as _;
use std::ops::RangeInclusive;

/// The newest format that this version reads; it reads all before as well.
pub const NEWEST: u32 = 1;
/// The formats that this version can write.
pub const WRITTEN: RangeInclusive<u32> = 1..=1;
/// The one that it writes unless it is told another: the newest that the version before reads.
pub const USUAL: u32 = 1;

/// Why a record can't be understood. Its reader stops there: it neither skips it nor guesses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It was written by a later version.
    #[error(
        "the record has format {0}, and this version reads up to {NEWEST}: a later version has written it, and is needed to read it \
         (docs/upgrades.md)"
    )]
    Newer(u32),
    /// It is no record.
    #[error("no record: {0}")]
    Broken(#[from] prost::DecodeError),
}

/// A record of the log, if it is of a format that this version knows.
pub fn read(payload: Bytes) -> Result<Record, Unreadable> {
    let record = Record::decode(payload)?;
    if record.format > NEWEST {
        return Err(Unreadable::Newer(record.format));
    }
    Ok(record)
}

/// What `--log-format` was given.
pub fn written(text: &str) -> Result<u32, String> {
    let (first, last) = (WRITTEN.start(), WRITTEN.end());
    match text.parse() {
        Ok(format) if WRITTEN.contains(&format) => Ok(format),
        _ if first == last => Err(format!("this version writes records of format {first} and no other")),
        _ => Err(format!("this version writes records of the formats {first} to {last}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_later_version_has_written_is_not_read_and_its_format_is_not_written() {
        let of = |format| Bytes::from(Record { format, ..Record::default() }.encode_to_vec());
        assert_eq!(read(of(NEWEST)).unwrap().format, NEWEST);
        assert_eq!(read(of(NEWEST + 1)), Err(Unreadable::Newer(NEWEST + 1)));
        assert!(matches!(read(Bytes::from_static(&[0xff])), Err(Unreadable::Broken(_))));
        assert!(WRITTEN.contains(&USUAL) && *WRITTEN.end() <= NEWEST, "it reads what it writes");
        assert_eq!(written("1"), Ok(1));
        for wrong in ["2", "0", "", "one"] {
            assert_eq!(written(wrong), Err("this version writes records of format 1 and no other".into()), "{wrong}");
        }
    }
}
