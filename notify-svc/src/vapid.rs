//! VAPID (RFC 8292): how a browser's push service knows who sends. One key for all replicas, made at the first start; a
//! token for each push service, signed anew well before it is too old.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use madang_mesh::clock::now_ms;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// How long a token is good, in seconds; the RFC allows 24 hours.
const GOOD: i64 = 12 * 3600;
/// How long one is used.
const USED: i64 = GOOD / 2;
/// For how many push services tokens are kept; there are a handful of real ones.
const MOST: usize = 10_000;

/// A key that can't be used. Says nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a P-256 key in PKCS #8")]
pub struct BadKey;

/// A new key, PKCS #8.
pub fn generate() -> Result<Vec<u8>, BadKey> {
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    Ok(key.map_err(|_| BadKey)?.as_ref().to_vec())
}

/// How long a header counts as new, in seconds.
const NEW: i64 = 60;

/// Who signs for this deployment.
pub struct Vapid {
    key: EcdsaKeyPair,
    random: SystemRandom,
    /// Where a push service may complain: `mailto:…` or `https://…`.
    contact: Option<String>,
    /// By origin: the header, and until when it is used, seconds since 1970.
    headers: Mutex<HashMap<String, (String, i64)>>,
}

impl Vapid {
    /// With a key, PKCS #8.
    pub fn new(key: &[u8], contact: Option<String>) -> Result<Self, BadKey> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key, &random).map_err(|_| BadKey)?;
        Ok(Self { key, random, contact, headers: Mutex::default() })
    }

    /// The public key, as browsers take it.
    #[must_use]
    pub fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.public_key())
    }

    /// The `Authorization` for a push service, by its origin.
    pub fn header(&self, origin: &str) -> Result<String, BadKey> {
        let now = now_ms() / 1000;
        // Not one either of a clock that was ahead.
        if let Some((header, until)) = self.lock().get(origin)
            && (now + 1..=now + USED).contains(until)
        {
            return Ok(header.clone());
        }
        let header = format!("vapid t={}, k={}", self.token(origin, now + GOOD)?, self.public());
        let mut headers = self.lock();
        if headers.len() >= MOST {
            headers.clear();
        }
        headers.insert(origin.to_owned(), (header.clone(), now + USED));
        Ok(header)
    }

    /// A push service does not believe the header that it was sent. True: that was signed over a minute ago, by a clock that
    /// may have been wrong, and another one is signed next time, or was since. False: it was new, so it is our key that is not
    /// believed.
    pub fn forget(&self, origin: &str, sent: &str) -> bool {
        let now = now_ms() / 1000;
        let mut headers = self.lock();
        let is_new = |until: i64| (now + USED - NEW..=now + USED).contains(&until);
        match headers.get(origin) {
            // Another one is signed already, or will be.
            Some((header, _)) if header != sent => true,
            None => true,
            Some((_, until)) if is_new(*until) => false,
            Some(_) => headers.remove(origin).is_some(),
        }
    }

    fn token(&self, origin: &str, until: i64) -> Result<String, BadKey> {
        let mut claims = serde_json::json!({"aud": origin, "exp": until});
        if let Some(contact) = &self.contact {
            claims["sub"] = contact.as_str().into();
        }
        let head = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ES256"}"#);
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.key.sign(&self.random, signed.as_bytes()).map_err(|_| BadKey)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (String, i64)>> {
        self.headers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    #[test]
    fn a_token_is_of_the_key_and_of_one_push_service() {
        let vapid = Vapid::new(&generate().unwrap(), Some("mailto:ops@example.com".into())).unwrap();
        let header = vapid.header("https://push.example.com").unwrap();
        let (token, key) = header.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
        assert_eq!(key, vapid.public());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, decoded(key))
            .verify(signed.as_bytes(), &decoded(signature))
            .unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&decoded(signed.split_once('.').unwrap().1)).unwrap();
        assert_eq!(
            (&claims["aud"], &claims["sub"]),
            (&"https://push.example.com".into(), &"mailto:ops@example.com".into())
        );
        let left = claims["exp"].as_i64().unwrap() - now_ms() / 1000;
        assert!((GOOD - 5..=GOOD).contains(&left), "{left}");
        assert_eq!(vapid.header("https://push.example.com").unwrap(), header, "signed once for many pushes");
        assert_ne!(vapid.header("https://other.example.com").unwrap(), header);
        assert!(!vapid.forget("https://push.example.com", &header), "it is new");
        assert_eq!(vapid.header("https://push.example.com").unwrap(), header);
        for (_, until) in vapid.lock().values_mut() {
            *until -= 2 * NEW;
        }
        // Many may have been sent with it.
        assert!(vapid.forget("https://push.example.com", &header) && vapid.forget("https://push.example.com", &header));
        assert_ne!(vapid.header("https://push.example.com").unwrap(), header, "signed anew");
        assert!(vapid.forget("https://push.example.com", &header), "another one is signed already");
        let header = vapid.header("https://push.example.com").unwrap();
        for (_, until) in vapid.lock().values_mut() {
            *until += 2 * NEW;
        }
        assert_ne!(vapid.header("https://push.example.com").unwrap(), header, "by a clock that was ahead");
        assert!(Vapid::new(b"no key", None).is_err());
    }
}
