//! Invites: what a group's admins give out, and who has come by it. A place is taken before the home is asked to let
//! somebody in, and given back if it refuses; so however many come at once, at most as many succeed as may, and whoever
//! asks again finds their place.

use super::{Error, keys::Asked};
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use madang_proto::{
    group::v1::Invite,
    id::{ConversationId, UserId},
};
use sha2::{Digest, Sha256};

/// How many invites a group has at most.
pub const INVITES: usize = 50;
/// How long a place that somebody took is theirs while nobody knows whether they came in, in ms: longer than a home is asked.
pub const TAKEN_MS: i64 = 60_000;

/// What a code is found by.
pub type Hash = [u8; 32];

/// A new code, of 128 random bits.
#[must_use]
pub fn new_code() -> String {
    code(rand::random())
}

/// The code of these random bits.
#[must_use]
pub fn code(random: [u8; 16]) -> String {
    URL_SAFE_NO_PAD.encode(random)
}

/// What a code is found by: a database's comparing tells nothing of it.
#[must_use]
pub fn hash(code: &str) -> Hash {
    Sha256::digest(code.as_bytes()).into()
}

/// An invite as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its code.
    pub code: String,
    /// To which group.
    pub conversation: ConversationId,
    /// Who made it.
    pub by: UserId,
    /// Until when, ms since 1970; 0: for good.
    pub expires_at: i64,
    /// How many may come by it; 0: any number.
    pub max_uses: u32,
    /// How many places are taken.
    pub uses: u32,
}

impl Kept {
    /// Whether its time is over.
    #[must_use]
    pub fn expired(&self, now_ms: i64) -> bool {
        self.expires_at != 0 && self.expires_at <= now_ms
    }

    /// Whether all places are taken.
    #[must_use]
    pub fn used_up(&self) -> bool {
        self.max_uses != 0 && self.uses >= self.max_uses
    }

    /// As admins see it.
    #[must_use]
    pub fn view(self) -> Invite {
        let Self { code, expires_at, max_uses, uses, by, .. } = self;
        Invite { code, expires_at, max_uses, uses, by: by.to_string() }
    }
}

/// What came of making one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invited {
    /// It is there.
    Made,
    /// The group has [`INVITES`] that are of use.
    Full,
    /// The key has made one before, which may be gone.
    Before,
}

/// What came of taking a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// There is one.
    Place,
    /// Its time is over.
    Expired,
    /// All are taken.
    UsedUp,
    /// There is no such invite.
    Gone,
}

/// Where invites are kept.
#[async_trait]
pub trait Invites: Send + Sync + 'static {
    /// Keeps a new one; under a key of its maker's, with what was asked for, only the first. Those of no use give way.
    async fn invite(&self, invite: Kept, under: Option<(String, Asked)>, now_ms: i64) -> Result<Invited, Error>;

    /// Those of a group, the newest first.
    async fn invites(&self, conversation: ConversationId) -> Result<Vec<Kept>, Error>;

    /// One.
    async fn find_invite(&self, hash: Hash) -> Result<Option<Kept>, Error>;

    /// Takes one back; false: the group has no such invite.
    async fn take_back(&self, conversation: ConversationId, hash: Hash) -> Result<bool, Error>;

    /// Takes a place for somebody who was not in the group at the revision at which they were looked for; the one that they
    /// have, if it is not known whether they came in, or if they did since: who asks twice at once takes one. Places of
    /// others that were taken [`TAKEN_MS`] ago and of whom the members know nothing are given back first, if there is none
    /// else.
    async fn take_place(&self, hash: Hash, user: UserId, now_ms: i64, looked_at: u64) -> Result<Taken, Error>;

    /// They have come in, as of a revision of the group, or were refused: then the place is given back, once nobody else asks
    /// for the same user.
    async fn settle(&self, hash: Hash, user: UserId, joined: Option<u64>) -> Result<(), Error>;
}
