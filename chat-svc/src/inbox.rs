//! The port to the inboxes: for each shard, what the homes of rooms have for the users there. An inbox may be lost at
//! any time and begins again at 1; the time of its entries tells the two apart.

pub mod jetstream;
pub mod memory;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use madang_mesh::shard::Shard;
use madang_proto::id::UserId;

/// What an inbox holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxEntry {
    /// Its place: 1, 2, 3, …
    pub sequence: u64,
    /// When the inbox took it, microseconds since 1970, by the inbox's clock.
    pub at_micros: i64,
    /// An encoded `InboxBatch`.
    pub payload: Bytes,
}

/// What a reader of an inbox hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// An entry.
    Entry(InboxEntry),
    /// All that the inbox held at this moment has been given. Said when the reading begins, as soon as that is so, and
    /// at least once after every entry behind which there was none.
    End,
    /// An encoded `InboxBeacon`, which never was in the inbox. May be dropped, but never comes before what it speaks of
    /// is in the inbox.
    Beacon(Bytes),
}

/// The inbox does not answer, or refuses.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the inbox does not answer, or refuses: {0}")]
pub struct Unavailable(pub String);

/// The inboxes of all shards.
#[async_trait]
pub trait Inbox: Send + Sync + 'static {
    /// Makes the shard's inbox if it is not there.
    async fn create(&self, shard: Shard) -> Result<(), Unavailable>;
    /// Puts an entry in; `user`: all of it is for this one.
    async fn publish(&self, shard: Shard, user: Option<UserId>, payload: Bytes) -> Result<(), Unavailable>;
    /// Tells those who read the inbox now; dropped where nobody does.
    async fn announce(&self, shard: Shard, payload: Bytes) -> Result<(), Unavailable>;
    /// Since when it has what was put in, microseconds since 1970 by its clock: what was sent before that is not in it. 0:
    /// for long, or that is not known.
    async fn since(&self, _shard: Shard) -> Result<i64, Unavailable> {
        Ok(0)
    }
    /// Reads from the oldest entry kept, then follows; ends when the inbox is lost, or an entry was.
    async fn read(&self, shard: Shard) -> Result<BoxStream<'static, Heard>, Unavailable>;
}
