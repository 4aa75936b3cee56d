//! The port to what account-svc keeps. What was answered is there: every commit is fsynced.

pub mod blocks;
pub mod conformance;
pub mod deletions;
pub mod gone;
pub mod keys;
pub mod outside;
pub mod postgres;
pub mod requests;
pub mod sqlite;

use async_trait::async_trait;
use blocks::BlockStore;
use deletions::DeletionStore;
use gone::GonePictures;
use keys::KeyStore;
use madang_proto::{
    client::v1::{Device, User, UserKind},
    id::{SessionId, UserId},
};
use outside::OutsideStore;
use requests::RequestStore;

/// The store failed.
#[derive(Debug, thiserror::Error)]
#[error("the database failed: {0}")]
pub struct Error(pub String);

/// An account that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    /// Its id.
    pub id: UserId,
    /// Its handle, in lower case.
    pub handle: String,
    /// Its name.
    pub name: String,
    /// The hash of its password; empty: it has none, and nobody logs in with one.
    pub password: String,
    /// Who is behind it.
    pub kind: UserKind,
    /// When it is made, ms since 1970.
    pub at: i64,
}

/// A session as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// On what.
    pub device: Device,
    /// When it began, ms since 1970.
    pub created_at: i64,
    /// When it was last used, ms since 1970.
    pub used_at: i64,
}

/// What became of a session that was to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// It has; whether the user has others.
    Yes(bool),
    /// There is no such account (any more).
    NoAccount,
    /// The account is suspended.
    Suspended,
}

/// What became of a refresh token that was used.
#[derive(Debug, Clone, PartialEq)]
pub enum Renewed {
    /// It is unknown, or its session has ended.
    Unknown,
    /// The one after it was used long ago: somebody has it who should not.
    Late(Session),
    /// The next one is good; whose it is.
    Next(Session, User),
}

/// What changes of a profile; what is none stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The handle.
    pub handle: Option<String>,
    /// The name.
    pub name: Option<String>,
    /// The line about oneself.
    pub status: Option<String>,
    /// The picture's id; empty: none.
    pub picture: Option<String>,
}

/// How many refresh tokens of a session are known that are good no more: enough that the use of a stolen one shows.
pub const KEPT_TOKENS: i64 = 256;

/// Whether those beyond [`KEPT_TOKENS`] are looked for behind a token: with one in sixteen, since many are made at once.
fn tidies(next: [u8; 32]) -> bool {
    next[0] < 16
}

/// How long it is known that a session has ended, in ms: longer than its tokens could be good.
pub const KEEP_MS: i64 = 3_600_000;

/// The accounts.
#[async_trait]
pub trait AccountStore: BlockStore + DeletionStore + GonePictures + KeyStore + OutsideStore + RequestStore {
    /// Makes an account; false: its handle is taken.
    async fn create(&self, new: NewAccount) -> Result<bool, Error>;

    /// The account of a handle, with its password's hash; none: it was deleted, or never was.
    async fn by_handle(&self, handle: String) -> Result<Option<(User, String)>, Error>;

    /// Accounts by id, in that order; those that never were are left out, of those that were deleted there is only the id.
    async fn by_ids(&self, ids: Vec<UserId>) -> Result<Vec<User>, Error>;

    /// Changes a profile; with the picture that it showed and shows no more, or nothing. None: the handle is taken, or there is
    /// no such account.
    async fn update(&self, id: UserId, change: Change) -> Result<Option<(User, String)>, Error>;

    /// The hash of an account's password; none: there is no such account.
    async fn password(&self, id: UserId) -> Result<Option<String>, Error>;

    /// Sets the hash of an account's password, and ends all its sessions but `keep`, in one. With `was`: only where that is
    /// its hash still, for checking one takes time. False: it is not, or there is no such account.
    async fn set_password(
        &self,
        id: UserId,
        password: String,
        was: Option<String>,
        keep: Option<SessionId>,
        now: i64,
    ) -> Result<bool, Error>;

    /// Begins a session: ends the same device's, and of more than `most` the one unused longest, at its beginning. With
    /// `checked`, the hash that a password was checked against: only where the account has it still.
    async fn begin(
        &self,
        new: Session,
        refresh: [u8; 32],
        most: usize,
        checked: Option<String>,
    ) -> Result<Begun, Error>;

    /// Puts a new refresh token behind `used`, in one: refreshes come in storms. The ones before `used` are done with from
    /// now on, and good for `grace` ms more. Of those that are good no more the oldest are forgotten, beyond [`KEPT_TOKENS`].
    async fn renew(&self, used: [u8; 32], next: [u8; 32], grace: i64, now: i64) -> Result<Renewed, Error>;

    /// Ends a session; also one of `user` alone.
    async fn end(&self, user: Option<UserId>, session: SessionId, now: i64) -> Result<(), Error>;

    /// A user's sessions, the latest used first.
    async fn sessions(&self, user: UserId) -> Result<Vec<Session>, Error>;

    /// Those that ended at or after a time, with their times, the earliest first; what ended over [`KEEP_MS`] ago may be
    /// missing.
    async fn ended(&self, since: i64, limit: usize) -> Result<Vec<(SessionId, i64)>, Error>;
}
