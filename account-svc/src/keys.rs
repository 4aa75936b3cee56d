//! The keys that access tokens are signed with: one signs, those before it are known for as long as their tokens are good,
//! and the next one is known before it signs. All processes have them from the database.

use crate::store::{
    self, AccountStore,
    keys::{Key, Rotation},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::SigningKey;
use madang_mesh::{
    clock::now_ms,
    token::{self, Claims},
};
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How long before it signs a key is known: longer than anybody keeps keys without asking anew.
const LEAD: Duration = Duration::from_secs(600);
/// How long a key is known after the next one signs: a token's 15 minutes, and what processes are late.
const KEEP: Duration = Duration::from_secs(1800);
/// How often the database is asked.
const LOOK: Duration = Duration::from_secs(30);

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// The keys.
pub struct Keys {
    store: Arc<dyn AccountStore>,
    rotation: Rotation,
    known: RwLock<Vec<Key>>,
}

impl Keys {
    /// As the database has them; each signs for `period`.
    pub async fn open(store: Arc<dyn AccountStore>, period: Duration) -> Result<Self, store::Error> {
        let lead = ms(LEAD.min(period / 4));
        let rotation = Rotation { period: ms(period), lead, keep: ms(KEEP) };
        let known = RwLock::new(store.keys(rotation, now_ms()).await?);
        Ok(Self { store, rotation, known })
    }

    /// Follows the database, and makes the next key in time.
    pub async fn follow(&self, drain: CancellationToken) {
        loop {
            tokio::select! {
                () = drain.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            match self.store.keys(self.rotation, now_ms()).await {
                Ok(keys) => *self.known.write().unwrap_or_else(PoisonError::into_inner) = keys,
                // What is known signs on.
                Err(error) => tracing::warn!(%error, "signing keys can't be asked for; trying again"),
            }
        }
    }

    /// A token, signed with the newest key that signs already; none without any key.
    #[must_use]
    pub fn sign(&self, issuer: &str, claims: Claims, now: i64) -> Option<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let signs = known.iter().rev().find(|key| key.signs_from <= now * 1000).or(known.first())?;
        Some(token::sign(&SigningKey::from_bytes(&signs.seed), &signs.kid, issuer, claims, now))
    }

    /// The public keys, as a JWK set.
    #[must_use]
    pub fn public(&self) -> String {
        let key = |key: &Key| {
            let x = URL_SAFE_NO_PAD.encode(SigningKey::from_bytes(&key.seed).verifying_key().as_bytes());
            serde_json::json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": key.kid, "x": x})
        };
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        serde_json::json!({ "keys": known.iter().map(key).collect::<Vec<_>>() }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{keys::KeyStore, sqlite::SqliteAccounts};
    use madang_proto::id::{SessionId, UserId};

    #[tokio::test]
    async fn the_next_key_is_published_before_it_signs_and_the_last_one_after() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteAccounts::open(folder.path()).unwrap());
        let day = Duration::from_secs(86_400);
        let keys = Keys::open(store.clone(), day).await.unwrap();
        let now = now_ms() / 1000;
        let claims = Claims { user: UserId::new(), session: SessionId::new(), expires_at: now + 900_000 };
        let signer = |keys: &Keys, at: i64| {
            let token = keys.sign("madang", claims, at).unwrap();
            let (head, _) = token.split_once('.').unwrap();
            let head: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap();
            assert!(keys.public().contains(head["kid"].as_str().unwrap()), "who gets it can check it");
            head["kid"].as_str().unwrap().to_owned()
        };
        let first = signer(&keys, now);
        // The end of the period comes near.
        let later = store.keys(keys.rotation, now_ms() + ms(day) - 1000).await.unwrap();
        *keys.known.write().unwrap() = later.clone();
        assert_eq!(later.len(), 2);
        assert_eq!(signer(&keys, now + 86_000), first, "not before everybody can know it");
        let second = signer(&keys, later[1].signs_from / 1000 + 1);
        assert_ne!(first, second);
        assert!(keys.public().contains(&first));
        assert_eq!(signer(&Keys::open(store, day).await.unwrap(), now), first, "as other processes do");
        assert!(!format!("{later:?}").contains("seed"));
    }
}
