//! The port to messages at rest: a row for each message and each notice, each conversation's head, and for each shard
//! how much of the log the rows hold. Every write is idempotent, so that the log may be replayed over it.

pub mod cassandra;
pub mod conformance;
pub mod feed;
pub mod sqlite;

use async_trait::async_trait;
use feed::{Feed, Kept};
use madang_mesh::{log::Position, shard::Shard};
use madang_proto::{
    client::v1::{Content, Event, Message, Reaction},
    id::ConversationId,
    store::v1::ClientIdUse,
};
use std::collections::{BTreeMap, HashSet};

/// How many notices are given at once, at most.
pub const NOTICES: usize = 1000;

/// The store failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database can't be reached, or does not do what it should.
    #[error("the database failed: {0}")]
    Unavailable(String),
    /// It refuses who comes: waiting does not help, unless its password is changed.
    #[error("it does not let the user of --cassandra-user in ({0}): check that and --cassandra-password")]
    Denied(String),
    /// A row can't be read.
    #[error("a row can't be read: {0}")]
    Row(#[from] prost::DecodeError),
    /// A message that must be there is not: nothing is shown rather than less than there is.
    #[error("message {seq} of {conversation} is not there, though later ones are")]
    Hole {
        /// Where.
        conversation: ConversationId,
        /// Which.
        seq: u64,
    },
}

/// What the log says, as rows.
#[allow(clippy::large_enum_variant)] // most are messages, and live for one batch
#[derive(Debug, Clone)]
pub enum Entry {
    /// A message.
    Message {
        /// Where.
        conversation: ConversationId,
        /// As clients see it.
        message: Box<Message>,
        /// Its client id's use, for late retries.
        used: ClientIdUse,
    },
    /// A change of a message that was sent before.
    Change {
        /// Where.
        conversation: ConversationId,
        /// The last message before it.
        last_seq: u64,
        /// Its client id's use: of which message, by whom, with which event, when.
        used: ClientIdUse,
        /// What became of it.
        change: Change,
    },
    /// Who came or went, and what was renamed.
    Notice {
        /// Where.
        conversation: ConversationId,
        /// As clients see it.
        event: Event,
    },
    /// A record of the log, for who reads all conversations.
    Record(Kept),
    /// Something that history does not show, but that moves the revision on.
    Other {
        /// Where.
        conversation: ConversationId,
        /// Its number.
        revision: u64,
        /// The last message before it.
        last_seq: u64,
        /// When, microseconds since 1970.
        at_micros: i64,
    },
}

/// What became of a message.
#[derive(Debug, Clone)]
pub enum Change {
    /// Its content is this now.
    Edited(Box<Content>),
    /// Content and reactions are gone.
    Deleted,
    /// An emoji came or went.
    Reacted {
        /// Which, without U+FE0F.
        key: String,
        /// Whose, 16 bytes.
        user: Vec<u8>,
        /// It went.
        removed: bool,
        /// The event with which it came to be there.
        began: u64,
        /// All that there are now.
        now: Vec<Reaction>,
    },
}

impl Change {
    /// Does it to a message.
    pub(crate) fn apply(&self, message: &mut Message, used: &ClientIdUse) {
        message.revision = used.revision;
        match self {
            Self::Edited(content) => {
                put(message, (**content).clone());
                message.edited_at = used.at_micros / 1000;
            }
            Self::Deleted => {
                put(message, Content::default());
                (message.deleted, message.edited_at) = (true, 0);
                message.reactions = Vec::new();
            }
            Self::Reacted { now, .. } => message.reactions = now.clone(),
        }
    }
}

fn put(message: &mut Message, content: Content) {
    let Content { text, reply_to, mentions, attachments, r#type, data } = content;
    (message.text, message.reply_to, message.mentions) = (text, reply_to, mentions);
    (message.attachments, message.r#type, message.data) = (attachments, r#type, data);
}

/// An emoji without U+FE0F: those that differ in it only are one.
#[must_use]
pub fn emoji_key(emoji: &str) -> String {
    emoji.chars().filter(|c| *c != '\u{fe0f}').collect()
}

/// A message with all who reacted to it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// It.
    pub message: Message,
    /// Who put which emoji there: its key, the event with which it came, and their ids, 16 bytes each.
    pub reactors: BTreeMap<String, (u64, Vec<u8>)>,
    /// When it was last changed, microseconds since 1970.
    pub changed_micros: i64,
}

/// What has changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Messages, by the event that changed them last.
    pub messages: Vec<Message>,
    /// All up to this event are there.
    pub revision: u64,
    /// But for those that were changed again after [`Since::until`]: as they are now; the newest, at most [`Since::limit`].
    pub again: Vec<Message>,
}

/// How far a conversation's rows have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    /// The newest event that they hold; 0: none.
    pub revision: u64,
    /// The last message that was there by then.
    pub last_seq: u64,
}

/// Which changes.
#[derive(Debug, Clone, Copy)]
pub struct Since {
    /// Those after this revision.
    pub revision: u64,
    /// And up to this one.
    pub until: u64,
    /// Of messages from this number.
    pub first_seq: u64,
    /// The last message that was there by `until`.
    pub last_seq: u64,
    /// So many at most.
    pub limit: usize,
    /// It is too old if something that came after it is older than this, microseconds since 1970.
    pub oldest_micros: i64,
}

/// The messages.
#[async_trait]
pub trait Messages: Feed + Send + Sync + 'static {
    /// How much of a shard's log the rows hold.
    async fn cursor(&self, shard: Shard) -> Result<Position, Error>;

    /// From which position on the log should be read again when a shard is gained: that of the cursor, or an earlier
    /// one where the database's acknowledgement is not an fsync.
    async fn again_from(&self, shard: Shard) -> Result<Position, Error>;

    /// Writes what entries of the log say, and then the cursor, which can only grow.
    async fn apply(&self, shard: Shard, entries: Vec<Entry>, position: Position) -> Result<(), Error>;

    /// How far the rows of a conversation have come.
    async fn head(&self, conversation: ConversationId) -> Result<Head, Error>;

    /// The same of many, in the order asked for.
    async fn heads(&self, conversations: Vec<ConversationId>) -> Result<Vec<Head>, Error>;

    /// Completes when what a shard's rows were acknowledged for may be lost all the same: what [`Messages::again_from`]
    /// says then is to be read again.
    async fn lost(&self, _shard: Shard) {
        std::future::pending().await
    }

    /// Done now and then: what was overwritten is gone from the disk after it, as far as that is this store's to do.
    async fn tidy(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The shard is written by another process now.
    fn released(&self, _shard: Shard) {}

    /// Up to `limit` messages with `low <= seq <= high`, from the upper end or from the lower; by seq upwards, and none
    /// missing between them: else [`Error::Hole`].
    async fn page(
        &self,
        conversation: ConversationId,
        low: u64,
        high: u64,
        limit: usize,
        newest: bool,
    ) -> Result<Vec<Message>, Error>;

    /// Messages whose last change came since a revision, as they are now, by that change's revision upwards; none if the
    /// revision is too old to say. Fewer than the limit, and not all, where that would take long.
    async fn changes(&self, conversation: ConversationId, since: Since) -> Result<Option<Changes>, Error>;

    /// A message with all who reacted to it.
    async fn load(&self, conversation: ConversationId, seq: u64) -> Result<Option<Loaded>, Error>;

    /// Which emoji (their keys) a user (16 bytes) has put under which of these messages.
    async fn reacted(
        &self,
        conversation: ConversationId,
        user: Vec<u8>,
        seqs: Vec<u64>,
    ) -> Result<HashSet<(u64, String)>, Error>;

    /// Messages of many conversations, in the order asked for; those that are not there are left out.
    async fn messages(&self, wanted: Vec<(ConversationId, u64)>) -> Result<Vec<(ConversationId, Message)>, Error>;

    /// Notices that stand behind messages `seqs.0` to `seqs.1` (a notice stands behind the message before it), of
    /// revisions from the first to the last; at most [`NOTICES`].
    async fn notices(
        &self,
        conversation: ConversationId,
        seqs: (u64, u64),
        revisions: (u64, u64),
    ) -> Result<Vec<Event>, Error>;

    /// The client ids used since a time; at most `limit`.
    async fn uses(
        &self,
        conversation: ConversationId,
        since_micros: i64,
        limit: usize,
    ) -> Result<Vec<ClientIdUse>, Error>;
}

/// Checks that messages are those from a number on, without a hole.
pub(crate) fn whole<'a>(
    conversation: ConversationId,
    messages: impl IntoIterator<Item = &'a Message>,
    first: u64,
) -> Result<(), Error> {
    match (first..).zip(messages).find(|(seq, message)| message.seq != *seq) {
        Some((seq, _)) => Err(Error::Hole { conversation, seq }),
        None => Ok(()),
    }
}

/// A number as databases keep it.
pub(crate) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
