//! The port to the durable log: one ordered, contiguous list of records per shard, each append fsynced before it is
//! acknowledged, and refused if the writer's idea of the last position is wrong (that is the fence).

pub mod conformance;
pub mod jetstream;
pub mod sqlite;

use crate::shard::Shard;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

/// A record's place in its shard's log: 1, 2, 3, … without holes.
pub type Position = u64;

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub position: Position,
    /// When the log took it, microseconds since 1970, by the log's clock.
    pub at_micros: i64,
    /// What was appended.
    pub payload: Bytes,
}

/// What a shard's log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest position kept; `last + 1` if the log is empty.
    pub first: Position,
    /// The newest position ever written; 0 if none was.
    pub last: Position,
    /// How many bytes are kept.
    pub bytes: u64,
}

/// Why the log could not do something.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The last position is not what the writer expected: somebody else has written. Nothing was appended.
    #[error("the log's last position is not {expected}: another writer has appended")]
    Conflict {
        /// What was expected.
        expected: Position,
    },
    /// Nobody knows whether it was appended: send the same once more, with the same expectation.
    #[error("the outcome of the append is unknown: {0}")]
    Unknown(String),
    /// The log is full and refuses. Nothing was appended.
    #[error("the log is full")]
    Full,
    /// A position that the reader asked for is not there any more (or the log was lost): stop and raise an alarm.
    #[error("position {wanted} is not in the log, which holds {first} to {last}")]
    Missing {
        /// What the reader wanted.
        wanted: Position,
        /// The oldest there is.
        first: Position,
        /// The newest there is.
        last: Position,
    },
    /// The log does not answer, or refuses. Nothing was appended.
    #[error("the log does not answer, or refuses: {0}")]
    Unavailable(String),
}

/// Records from a position on, following the tail for ever; contiguous, or it ends with an error.
pub type Entries = BoxStream<'static, Result<Entry, Error>>;

/// The durable log of all shards.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Makes the shard's log if it is not there; never changes one that is.
    async fn create(&self, shard: Shard) -> Result<(), Error>;

    /// Makes the log of a shard anew, after it was lost, so that its first position follows this one. Only where nothing is
    /// in it.
    async fn begin_after(&self, _shard: Shard, _position: Position) -> Result<(), Error> {
        Err(Error::Unavailable("this log can't be begun anew".into()))
    }

    /// Appends a record durably. With `expected_last`, only if the newest position is that one (0: empty).
    /// At most one append per shard should be in flight.
    async fn append(&self, shard: Shard, payload: Bytes, expected_last: Option<Position>) -> Result<Position, Error>;

    /// What the shard's log holds now.
    async fn bounds(&self, shard: Shard) -> Result<Bounds, Error>;

    /// Reads from `from` on (at least 1), then follows. `from` may be `last + 1`. Beyond that, or before `first`:
    /// [`Error::Missing`] as the first item, never a silent skip.
    async fn read(&self, shard: Shard, from: Position) -> Result<Entries, Error>;

    /// Removes the records before `before`.
    async fn trim(&self, shard: Shard, before: Position) -> Result<(), Error>;
}
