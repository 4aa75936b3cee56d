//! The port to the keys that tokens are signed with. All processes share them, so a key is made once, and signs nothing
//! before everybody can know it.

use super::Error;
use async_trait::async_trait;

/// A key.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub kid: String,
    /// What it is made from.
    pub seed: [u8; 32],
    /// From when on it signs, ms since 1970; until the next one does.
    pub signs_from: i64,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("signs_from", &self.signs_from).finish_non_exhaustive()
    }
}

/// How keys come and go; all in ms.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    /// How long one signs.
    pub period: i64,
    /// How long before that it is made, and known to those who ask.
    pub lead: i64,
    /// How long it is known after the next one signs: longer than its tokens are good.
    pub keep: i64,
}

/// What a rotation changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changes {
    /// When a new one is to sign from.
    pub make: Option<i64>,
    /// Those that nobody needs any more.
    pub drop: Vec<String>,
}

impl Rotation {
    /// What is due, with these keys: in the order in which they sign.
    pub(super) fn due(&self, keys: &[Key], now: i64) -> Changes {
        let make = match keys.last() {
            None => Some(now),
            Some(last) if now >= last.signs_from + self.period - self.lead => Some(now + self.lead),
            Some(_) => None,
        };
        let over = |pair: &&[Key]| pair[1].signs_from + self.keep < now;
        let drop = keys.windows(2).filter(over).map(|pair| pair[0].kid.clone()).collect();
        Changes { make, drop }
    }
}

/// The keys.
#[async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// All that are known, in the order in which they sign, after what is due has been done: by one process alone.
    async fn keys(&self, rotation: Rotation, now: i64) -> Result<Vec<Key>, Error>;
}

/// A new key.
pub(super) fn new(signs_from: i64) -> Key {
    Key { kid: uuid::Uuid::new_v4().simple().to_string(), seed: rand::random(), signs_from }
}
