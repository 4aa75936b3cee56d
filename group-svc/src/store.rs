//! The port to conversations and their members: rows that the log makes, each batch in one transaction with the cursor
//! that says how much of the log they hold. An event that a row has already is skipped.

pub mod comings;
pub mod conformance;
pub mod invites;
pub mod keys;
pub mod postgres;
pub mod settings;
pub mod sqlite;

use async_trait::async_trait;
use keys::{Asked, Made};
use madang_mesh::{log::Position, shard::Shard};
use madang_proto::{
    client::v1::History,
    group::v1::{RoomMember, RoomState},
    id::{ConversationId, UserId},
    log::v1::{LoggedEvent, MemberSettings},
};
use std::collections::HashMap;

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

/// Up to where each shard's log is in the rows: as of when a list is. In the order of the shards; one that is not there
/// has none.
pub type Positions = Vec<Position>;

/// Where a page of a list begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// With the first.
    Nothing,
    /// After this one: when it was last active, and which it was.
    Place(i64, ConversationId),
    /// Everything was listed: what has changed since the first page comes once more, by ids, after this one.
    Moved(Option<ConversationId>),
}

/// Which page of whose list.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Whose.
    pub user: UserId,
    /// Only what has changed since; empty: all.
    pub since: Positions,
    /// From where on.
    pub after: After,
    /// How much.
    pub limit: usize,
    /// How many shards there are.
    pub shards: u32,
    /// Now, ms since 1970: what is muted until later does not count for the badge.
    pub now_ms: i64,
}

/// A page of a list: all as of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// By the time of their last activity, latest first; those that moved by their ids.
    pub conversations: Vec<Seen>,
    /// What the user has left since, on a first page; at most [`REMOVED`] and one more.
    pub removed: Vec<ConversationId>,
    /// The sum of what the user has not read, of what is not muted.
    pub badge: u64,
    /// As of when.
    pub positions: Positions,
}

/// How many conversations that were left are named at most: who left more pages the whole list.
pub const REMOVED: usize = 10_000;

/// A conversation as one of its members sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The room, without its members.
    pub room: RoomState,
    /// The member who sees it.
    pub me: RoomMember,
    /// The first present members in the order in which they came, at most four: users' ids.
    pub first: Vec<Vec<u8>>,
    /// How many members are present.
    pub count: usize,
    /// When it was last active for this member, microseconds since 1970.
    pub activity_micros: i64,
}

impl Seen {
    /// How a member sees a room.
    #[must_use]
    pub fn of(mut room: RoomState, me: RoomMember) -> Self {
        let members = std::mem::take(&mut room.members);
        let present = || members.iter().filter(|member| member.left_revision == 0);
        Self {
            first: present().take(4).map(|member| member.user.clone()).collect(),
            count: present().count(),
            activity_micros: activity(&room, &me),
            room,
            me,
        }
    }
}

/// When a room was last active for a member: with its last message, if they see it, else when they joined. In the lists'
/// statements as well.
fn activity(room: &RoomState, me: &RoomMember) -> i64 {
    match room.message_at_micros {
        shown if shown > 0 && room.history() == History::All => shown,
        last => last.max(me.joined_at_micros),
    }
}

/// What somebody who is or was in a conversation may see of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Where.
    pub conversation: ConversationId,
    /// Messages from this number.
    pub first_seq: u64,
    /// Events from this one.
    pub first_revision: u64,
    /// The newest event.
    pub revision: u64,
    /// The newest message.
    pub last_seq: u64,
    /// Whether they are in it; who is not sees nothing.
    pub present: bool,
}

/// What a row says about that.
struct AccessRow {
    history: i32,
    joined_revision: u64,
    joined_seq: u64,
    cleared_seq: u64,
    revision: u64,
    last_seq: u64,
    left_revision: u64,
}

impl Access {
    fn new(conversation: ConversationId, row: &AccessRow) -> Self {
        let all = row.history == i32::from(History::All);
        Self {
            conversation,
            first_seq: if all { 1 } else { row.joined_seq + 1 }.max(row.cleared_seq + 1),
            first_revision: if all { 1 } else { row.joined_revision },
            revision: row.revision,
            last_seq: row.last_seq,
            present: row.left_revision == 0,
        }
    }
}

/// A user's place in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// Which.
    pub conversation: ConversationId,
    /// Direct or group, as on the wire.
    pub kind: i32,
    /// Whether they are in it now.
    pub present: bool,
}

/// Which of those who left a room are shown with it: a room of a long life has many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// All, with what they had set: what a home of the version before goes by.
    Whole,
    /// Those who left at this position of the log or later, without that.
    Since(Position),
}

impl Gone {
    /// Nobody.
    pub const NOBODY: Self = Self::Since(Position::MAX);

    /// From which position on, and whether with what they had set; as databases have it.
    fn parts(self) -> (i64, bool) {
        match self {
            Self::Whole => (0, true),
            Self::Since(position) => (number(position), false),
        }
    }
}

/// Conversations and their members.
#[async_trait]
pub trait GroupStore: comings::Comings + invites::Invites {
    /// How much of a shard's log the rows hold.
    async fn cursor(&self, shard: Shard) -> Result<Position, Error>;

    /// Applies events in order, and the cursor, which can only grow, in one transaction. A conversation's head and a
    /// member's read number are written once, however many messages are among the events.
    async fn apply(&self, shard: Shard, events: Vec<LoggedEvent>, position: Position) -> Result<(), Error>;

    /// Rooms with their members, and some of those who left; in the order asked for, without those that do not exist.
    async fn rooms(&self, ids: Vec<ConversationId>, gone: Gone) -> Result<Vec<RoomState>, Error>;

    /// A page of a user's list.
    async fn list(&self, wanted: Wanted) -> Result<Page, Error>;

    /// What a user may see of conversations that they are or were in; in any order.
    async fn access(&self, user: UserId, ids: Vec<ConversationId>) -> Result<Vec<Access>, Error>;

    /// The sum of what each of these users has not read, of what is not muted at this time; who is in nothing may be left
    /// out.
    async fn badges(&self, users: Vec<UserId>, now_ms: i64) -> Result<HashMap<UserId, u64>, Error>;

    /// In how many conversations each of these users is; who is in none is left out.
    async fn counts(&self, users: Vec<UserId>) -> Result<HashMap<UserId, usize>, Error>;

    /// What a user has set, and the newest message's number, of a conversation that they are or were in.
    async fn settings(&self, user: UserId, id: ConversationId) -> Result<Option<(Option<MemberSettings>, u64)>, Error>;

    /// Conversations that a user is or was in, by their ids, after one of them.
    async fn memberships(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<Membership>, Error>;

    /// Those of these users who are in a conversation with a user now; in any order.
    async fn acquainted(&self, user: UserId, users: Vec<UserId>) -> Result<Vec<UserId>, Error>;

    /// What an idempotency key stands for: `new`, if the key is new, or a day old.
    async fn made(&self, user: UserId, key: String, new: ConversationId, now_ms: i64) -> Result<Made, Error>;

    /// What a key stands for is made, as it was asked for; what was said first holds.
    async fn done(&self, user: UserId, key: String, asked: Asked) -> Result<(), Error>;
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
