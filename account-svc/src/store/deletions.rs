//! The port to the ends of accounts: by their owner for good, by an operator for a time; and what is left to do after one.

use super::Error;
use async_trait::async_trait;
use madang_proto::id::{ConversationId, UserId};

/// What is left to do for a deleted account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Whose account it was.
    pub user: UserId,
    /// Whether what they said is erased.
    pub erase: bool,
    /// The picture that they showed; empty: none.
    pub picture: String,
    /// The how manieth time their conversations are gone through, from 0.
    pub round: i32,
    /// The last conversation that was done in this round.
    pub place: Option<ConversationId>,
}

/// The ends of accounts.
#[async_trait]
pub trait DeletionStore: Send + Sync + 'static {
    /// Deletes an account: in one, nothing but its id and handle is kept of it, its sessions end, and what is left to do is
    /// noted. False: there is none, or its password's hash is not what it was.
    async fn delete(&self, user: UserId, was: String, erase: bool, now: i64) -> Result<bool, Error>;

    /// Takes what is due, the earliest first; nobody else does until `until` (ms since 1970).
    async fn take_deletion(&self, now: i64, until: i64) -> Result<Option<Job>, Error>;

    /// Notes how far it has come, and when to go on at the latest.
    async fn keep_deletion(&self, job: Job, due_at: i64) -> Result<(), Error>;

    /// Nothing is left to do.
    async fn finish_deletion(&self, user: UserId) -> Result<(), Error>;

    /// Suspends an account and ends its sessions, or ends that. False: there is none.
    async fn suspend(&self, user: UserId, suspended: bool, now: i64) -> Result<bool, Error>;
}
