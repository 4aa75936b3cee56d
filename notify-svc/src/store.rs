//! The port to what notify-svc keeps: where devices are notified, what is still to be sent, and how far it has come.
//! What was answered is there; keys and addresses are in no error.

pub mod conformance;
pub mod postgres;
pub mod sqlite;

use async_trait::async_trait;
use madang_mesh::{log::Position, shard::Shard};
use madang_proto::{
    client::v1::DeviceKind,
    id::{ConversationId, DeviceId, SessionId, UserId},
    notify::v1::Provider,
};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};
use uuid::Uuid;

/// How long it is remembered what a device was notified of, in ms: 30 days.
pub const SHOWN_MS: i64 = 30 * 24 * 3600 * 1000;

/// As many messages as this, or more.
pub const SEVERAL: u32 = 2;

/// How many messages a push stands for that takes the place of an older one.
#[must_use]
pub fn stand_for(newer: u32, older: u32) -> u32 {
    // What was read is told of no more.
    if newer == 0 { 0 } else { (newer + older).min(SEVERAL) }
}

/// The newest message that names its user, of those that a push stands for that takes the place of an older one: of how many
/// it is itself, and which one each of the two knew of; 0: none.
#[must_use]
pub fn newest_mention(messages: u32, newer: u64, older: u64) -> u64 {
    if messages == 0 { 0 } else { newer.max(older) }
}

/// The store failed.
#[derive(Debug, thiserror::Error)]
#[error("the database failed: {0}")]
pub struct Error(pub String);

/// Where a device is notified.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// By whom.
    pub provider: Provider,
    /// An endpoint, a token or a URL: a secret all of it.
    pub address: String,
    /// What is encrypted or signed with: of Web Push the browser's key (65 bytes) and then what it shares (16); of APNs
    /// one byte, 1: a build for development; of a webhook its secret.
    pub secret: Vec<u8>,
}

impl Target {
    /// What tells one place from another.
    #[must_use]
    pub fn place(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(i32::from(self.provider).to_be_bytes());
        hash.update(self.address.as_bytes());
        hash.finalize().into()
    }

    /// The host that is called, and its port if it is not the usual one; empty where the provider alone knows.
    #[must_use]
    pub fn host(&self) -> String {
        let uri = self.address.parse::<http::Uri>().ok().filter(|uri| uri.scheme().is_some());
        uri.and_then(|uri| Some(uri.authority()?.to_string())).unwrap_or_default()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.provider)
    }
}

/// A device that is notified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Of this registration; the next one of the same device has another.
    pub id: Uuid,
    /// Whose.
    pub user: UserId,
    /// Which device.
    pub device: DeviceId,
    /// The session that it ends with.
    pub session: SessionId,
    /// What the device is.
    pub kind: DeviceKind,
    /// Where.
    pub target: Target,
    /// The language of texts.
    pub locale: String,
    /// Whether a push shows who wrote what.
    pub preview: bool,
    /// Since when, ms since 1970.
    pub created_at: i64,
}

/// A device's place among conversations.
pub type Where = (UserId, DeviceId, ConversationId);

/// A push that a provider did not take at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// To which device, of which conversation: the newest alone is kept.
    pub whom: Where,
    /// Of which message, or up to which one.
    pub seq: u64,
    /// Whose reader sends it.
    pub shard: Shard,
    /// When, ms since 1970.
    pub due_at: i64,
    /// How many messages it stands for. 0: it tells that something was read; [`SEVERAL`]: also for some that it has taken
    /// the place of.
    pub messages: u32,
    /// The newest of them that names its user; 0: none does.
    pub mentioned: u64,
    /// What it is, encoded.
    pub push: Vec<u8>,
}

/// What has become of pushes.
#[derive(Debug, Clone, Default)]
pub struct Settled {
    /// Devices were told of these messages: they show them.
    pub shown: BTreeMap<Where, u64>,
    /// Devices were told that up to these it was read: they show them no more.
    pub cleared: BTreeMap<Where, u64>,
    /// What is kept of messages up to these is done with.
    pub done: BTreeMap<Where, u64>,
    /// What is kept of these messages is: of another of the conversation it is not said.
    pub dropped: BTreeSet<(Where, u64)>,
    /// What is to be sent later, where nothing newer is. What takes the place of something older stands for it as well
    /// ([`stand_for`], [`newest_mention`]).
    pub late: BTreeMap<Where, Late>,
}

impl Settled {
    /// A device was told of a message, and so of those before it.
    pub fn done(&mut self, whom: Where, seq: u64) {
        let done = self.done.entry(whom).or_default();
        *done = seq.max(*done);
        self.unless(whom, |late| late.seq <= seq);
    }

    /// A device is not told of a message; of those before it, it may be.
    pub fn drop_one(&mut self, whom: Where, seq: u64) {
        self.dropped.insert((whom, seq));
        self.unless(whom, |late| late.seq == seq);
    }

    /// A device is told later.
    pub fn keep(&mut self, mut late: Late) {
        if let Some(kept) = self.late.get(&late.whom)
            && kept.seq <= late.seq
        {
            late.mentioned = newest_mention(late.messages, late.mentioned, kept.mentioned);
            // The same once more stands for no more than before.
            let is_newer = kept.seq < late.seq || late.messages == 0;
            let (newer, older) = (late.messages, kept.messages);
            late.messages = if is_newer { stand_for(newer, older) } else { newer.max(older) };
        }
        self.unless(late.whom, |kept| kept.seq <= late.seq);
        self.late.entry(late.whom).or_insert(late);
    }

    fn unless(&mut self, whom: Where, moot: impl Fn(&Late) -> bool) {
        if self.late.get(&whom).is_some_and(moot) {
            self.late.remove(&whom);
        }
    }
}

/// What notify-svc keeps.
#[async_trait]
pub trait Subscriptions: Send + Sync + 'static {
    /// The key that all processes sign with: `new`, where there is none yet. PKCS #8.
    async fn key(&self, new: Vec<u8>) -> Result<Vec<u8>, Error>;

    /// Clears from the disk what was overwritten.
    async fn tidy(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Notifies a device here, nobody else at this place, and the device nowhere else.
    async fn put(&self, subscription: Subscription) -> Result<(), Error>;

    /// Notifies a device no more.
    async fn remove(&self, user: UserId, device: DeviceId) -> Result<(), Error>;

    /// A registration is good no more; one that was made anew stays.
    async fn drop_one(&self, id: Uuid) -> Result<(), Error>;

    /// Sessions have ended.
    async fn end(&self, sessions: Vec<SessionId>) -> Result<(), Error>;

    /// The devices of some users that are notified.
    async fn of_users(&self, users: Vec<UserId>) -> Result<Vec<Subscription>, Error>;

    /// All sessions that devices are notified for, in the order of user and device, after one of these.
    async fn sessions(&self, after: (Uuid, Uuid), limit: usize) -> Result<Vec<(UserId, DeviceId, SessionId)>, Error>;

    /// Up to when it is known which sessions have ended, ms since 1970; 0: never asked.
    async fn ended_until(&self) -> Result<i64, Error>;

    /// It is known up to then.
    async fn set_ended_until(&self, until: i64) -> Result<(), Error>;

    /// Up to where a shard of the log is done with.
    async fn cursor(&self, shard: Shard) -> Result<Position, Error>;

    /// It is done with up to there; never goes back.
    async fn save_cursor(&self, shard: Shard, position: Position) -> Result<(), Error>;

    /// What a shard's reader is to send until then, the earliest first, but nothing to some devices.
    async fn due(
        &self,
        shard: Shard,
        until: i64,
        limit: usize,
        except: Vec<(UserId, DeviceId)>,
    ) -> Result<Vec<Late>, Error>;

    /// What is kept for later of some conversations of a shard.
    async fn late_of(&self, shard: Shard, conversations: Vec<ConversationId>) -> Result<Vec<Late>, Error>;

    /// Keeps something else, or nothing, instead of what was kept, where that is still so.
    async fn change(&self, changes: Vec<(Late, Option<Vec<u8>>)>) -> Result<(), Error>;

    /// Writes what has become of pushes, all of it or nothing; now: ms since 1970. What is older touches nothing that is
    /// newer. What was shown longer than [`SHOWN_MS`] ago is forgotten.
    async fn settle(&self, settled: Settled, now: i64) -> Result<(), Error>;

    /// Which devices show what users have read: each with a message up to that number.
    async fn showing(&self, read: Vec<(UserId, ConversationId, u64)>) -> Result<Vec<(Where, u64)>, Error>;
}

/// A number as databases keep it.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_comes_together_the_older_touches_nothing_that_is_newer() {
        let whom = (UserId::new(), DeviceId::new(), ConversationId::new());
        let keep = |settled: &mut Settled, seq| {
            let messages = u32::from(seq < 9);
            settled.keep(Late {
                whom,
                seq,
                shard: 0,
                due_at: 0,
                messages,
                mentioned: if seq == 7 { 7 } else { 0 },
                push: Vec::new(),
            });
        };
        let kept = |settled: &Settled| settled.late.get(&whom).map(|late| late.seq);
        let mut settled = Settled::default();
        keep(&mut settled, 6);
        keep(&mut settled, 5);
        settled.done(whom, 5);
        settled.drop_one(whom, 7);
        assert_eq!(kept(&settled), Some(6));
        settled.drop_one(whom, 6);
        assert_eq!(kept(&settled), None);
        keep(&mut settled, 7);
        keep(&mut settled, 7);
        assert_eq!(settled.late[&whom].messages, 1, "the same once more");
        keep(&mut settled, 8);
        keep(&mut settled, 8);
        let late = &settled.late[&whom];
        assert_eq!((late.messages, late.mentioned), (SEVERAL, 7), "it stands for one that names its user");
        settled.done(whom, 9);
        settled.done(whom, 8);
        assert_eq!((kept(&settled), settled.done[&whom]), (None, 9));
        keep(&mut settled, 9);
        assert_eq!(kept(&settled), Some(9), "that it was read, after the message");
        assert_eq!((settled.late[&whom].messages, settled.late[&whom].mentioned), (0, 0));
        assert_eq!(settled.dropped, [(whom, 6), (whom, 7)].into());
    }
}
