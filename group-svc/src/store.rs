//! The port to conversations and their members: rows that the log makes, each batch in one transaction with the cursor
//! that says how much of the log they hold. An event that a row has already is skipped.

pub mod conformance;
pub mod postgres;
pub mod sqlite;

use async_trait::async_trait;
use madang_mesh::{log::Position, shard::Shard};
use madang_proto::{
    client::v1::History,
    group::v1::{RoomMember, RoomState},
    id::{ConversationId, UserId},
    log::v1::LoggedEvent,
};

/// How long a key for making a group once is remembered, in ms.
const KEY_MS: i64 = 24 * 3600 * 1000;

/// The store failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database can't be reached, or does not do what it should.
    #[error("the database failed: {0}")]
    Unavailable(String),
    /// An event does not follow the row.
    #[error("{conversation} has revision {has} and the log goes on at {next}")]
    Hole {
        /// Where.
        conversation: ConversationId,
        /// What the row has.
        has: u64,
        /// What came.
        next: u64,
    },
    /// An event that can't be read.
    #[error("an event can't be read: {0}")]
    Event(&'static str),
}

/// A place in a user's list: when the conversation was last active, and which it was.
pub type Place = (i64, Vec<u8>);

/// A conversation in a user's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub conversation: ConversationId,
    /// When it was last active for the user, microseconds since 1970.
    pub activity_micros: i64,
}

/// Conversations and their members.
#[async_trait]
pub trait GroupStore: Send + Sync + 'static {
    /// How much of a shard's log the rows hold.
    async fn cursor(&self, shard: Shard) -> Result<Position, Error>;

    /// Applies events in order, and the cursor, which can only grow, in one transaction. A conversation's head and a
    /// member's read number are written once, however many messages are among the events.
    async fn apply(&self, shard: Shard, events: Vec<LoggedEvent>, position: Position) -> Result<(), Error>;

    /// Rooms with their members, also those who left.
    async fn rooms(&self, ids: Vec<ConversationId>) -> Result<Vec<RoomState>, Error>;

    /// A user's conversations from a place on, by the time of their last activity, latest first.
    async fn list(&self, user: UserId, after: Option<Place>, limit: usize) -> Result<Vec<Listed>, Error>;

    /// The sum of what a user has not read, and in how many conversations they are.
    async fn badge(&self, user: UserId) -> Result<(u64, usize), Error>;

    /// The group that an idempotency key stands for: `new`, if the key is new, or a day old.
    async fn made(&self, user: UserId, key: String, new: ConversationId, now_ms: i64) -> Result<ConversationId, Error>;
}

/// A number as databases keep it.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// What the events so far leave of a conversation's head.
#[derive(Debug, Clone, Copy, Default)]
struct Head {
    revision: u64,
    last_seq: u64,
    last_at: i64,
    message_at: i64,
}

impl Head {
    /// Takes the next event; false: the row has it already.
    fn take(&mut self, conversation: ConversationId, event: &LoggedEvent) -> Result<bool, Error> {
        if event.revision <= self.revision {
            return Ok(false);
        }
        if event.revision != self.revision + 1 {
            return Err(Error::Hole { conversation, has: self.revision, next: event.revision });
        }
        (self.revision, self.last_seq, self.last_at) = (event.revision, event.last_seq, event.at_micros);
        Ok(true)
    }
}

/// The first message that a member may see.
#[must_use]
pub fn first_seq(room: &RoomState, member: &RoomMember) -> u64 {
    if room.history() == History::All { 1 } else { member.joined_seq + 1 }
}

/// The user's place among the members who are in the room.
#[must_use]
pub fn present(room: &RoomState, user: UserId) -> Option<&RoomMember> {
    room.members.iter().find(|member| member.left_revision == 0 && member.user[..] == user.bytes()[..])
}
