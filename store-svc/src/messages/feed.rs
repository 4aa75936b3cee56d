//! The log's records as they are kept for who reads all conversations: longer than the log itself keeps them, a row for each
//! record, and without what was said: that is read from the messages, as it is when it is asked for.

use super::Error;
use async_trait::async_trait;
use madang_mesh::{log::Position, shard::Shard};
use madang_proto::log::v1::{LoggedEvent, Record, logged_event::Body};
use prost::Message as _;

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its place in the shard's log.
    pub position: Position,
    /// When the log took it, microseconds since 1970.
    pub at_micros: i64,
    /// Its events, encoded, as [`Kept::of`] leaves them.
    pub events: Vec<u8>,
}

impl Kept {
    /// A record's events, without texts and without what could tell them.
    #[must_use]
    pub fn of(position: Position, at_micros: i64, events: &[LoggedEvent]) -> Self {
        let bare = events.iter().filter(|event| event.revision > 0).map(|event| {
            let body = match &event.body {
                Some(Body::Message(_)) => Some(Body::Message(Default::default())),
                Some(Body::Edited(edited)) => {
                    Some(Body::Edited(madang_proto::log::v1::MessageEdited { seq: edited.seq, content: None }))
                }
                // Clients are not told of all emoji with each.
                Some(Body::Reacted(reacted)) => {
                    Some(Body::Reacted(madang_proto::log::v1::MessageReacted { now: Vec::new(), ..reacted.clone() }))
                }
                other => other.clone(),
            };
            LoggedEvent { request_hash: 0, body, ..event.clone() }
        });
        let record = Record { events: bare.collect(), ..Record::default() };
        Self { position, at_micros, events: record.encode_to_vec() }
    }

    /// Its events.
    pub fn read(&self) -> Result<Vec<LoggedEvent>, Error> {
        Ok(Record::decode(&self.events[..])?.events)
    }
}

/// The records of all shards' logs, for a while. Whatever is at or below a shard's cursor and not before its oldest is there.
#[async_trait]
pub trait Feed {
    /// How much of each shard's log the rows hold, of shard 0 and those after it.
    async fn cursors(&self, shards: u32) -> Result<Vec<Position>, Error>;

    /// Records after one position and up to another, in order; at most `limit`. Those that are there: a caller that may not
    /// miss any looks at their positions.
    async fn records(&self, shard: Shard, after: Position, upto: Position, limit: usize) -> Result<Vec<Kept>, Error>;

    /// The oldest that is kept; one past the cursor if none is.
    async fn oldest(&self, shard: Shard) -> Result<Position, Error>;

    /// Lets go of some of those that the log took before a time, the oldest first; whether there may be more.
    async fn forget(&self, shard: Shard, before_micros: i64) -> Result<bool, Error>;
}
