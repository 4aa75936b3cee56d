//! The port to who blocks whom.
//!
//! A change is kept before the home of the conversation is told of it, and stays untold until it was: so it is told in
//! the end, whatever dies in between.

use super::Error;
use async_trait::async_trait;
use madang_proto::id::UserId;

/// A change of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is kept; the version to tell.
    Kept(i64),
    /// There was nothing to change, and nothing is untold.
    Nothing,
    /// The user blocks as many as one may.
    TooMany,
}

/// A change that nobody was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Untold {
    /// Who blocks, or did.
    pub user: UserId,
    /// Whom.
    pub other: UserId,
    /// Which change of the two.
    pub version: i64,
}

/// Who blocks whom.
#[async_trait]
pub trait BlockStore: Send + Sync + 'static {
    /// Begins a block, or ends it; of more than `most` by one user the last is not kept. A change that is there but was
    /// not told is kept again.
    async fn set_block(
        &self,
        user: UserId,
        other: UserId,
        blocked: bool,
        most: usize,
        now: i64,
    ) -> Result<Change, Error>;

    /// The home was told of a version; a newer one stays untold.
    async fn told(&self, told: Untold) -> Result<(), Error>;

    /// Changes before a time (ms since 1970) that nobody was told of, the oldest first.
    async fn untold(&self, before: i64, limit: usize) -> Result<Vec<Untold>, Error>;

    /// Whom a user blocks, by their ids, after one of them.
    async fn blocks(&self, user: UserId, after: Option<UserId>, limit: usize) -> Result<Vec<UserId>, Error>;

    /// Whether there is a block of either by the other, for each pair.
    async fn blocked(&self, pairs: Vec<(UserId, UserId)>) -> Result<Vec<bool>, Error>;
}
