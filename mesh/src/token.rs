//! Access tokens: EdDSA JWTs, checked at every door against the keys of account-svc. What is wrong with a token is not
//! told to who shows it: the answer is one constant text.

mod ended;

use crate::{
    channel::{Channel, Channels, InvalidAddress},
    clock::now_ms,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, VerifyingKey};
use ended::Ended;
use madang_proto::{
    account::v1::{GetKeysRequest, account_service_client::AccountServiceClient},
    id::{SessionId, UserId},
    reason::{Reason, Refusal},
};
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

/// The `aud` of every token.
pub const AUDIENCE: &str = "madang";
/// How often keys are fetched at most, however many tokens name an unknown one.
const REFETCH: Duration = Duration::from_secs(10);
/// How often keys are fetched though none is missing: within the time that a key is known before it signs.
const RENEW: Duration = Duration::from_secs(60);
/// The longest token that is looked at, in bytes.
const LONGEST: usize = 8192;

/// Who shows a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    /// The user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// Until when the token is good, in seconds since 1970.
    pub expires_at: i64,
}

/// Checks tokens.
#[derive(Clone)]
pub struct Verifier {
    account: AccountServiceClient<Channel>,
    issuer: String,
    keys: Arc<Mutex<HashMap<String, VerifyingKey>>>,
    ended: Ended,
    /// When keys were last fetched.
    fetched: Arc<tokio::sync::Mutex<Option<Instant>>>,
}

/// What everybody is told whose token is no good.
#[must_use]
pub fn bad_token() -> Refusal {
    Refusal::new(Reason::BadToken, "the token is missing, expired or not valid here: refresh it, or log in")
}

impl Verifier {
    /// With the keys of account-svc at an address, for tokens of this issuer.
    pub fn new(channels: &Channels, account_address: &str, issuer: String) -> Result<Self, InvalidAddress> {
        let account = AccountServiceClient::new(channels.get(account_address)?);
        let ended = Ended::follow(account.clone());
        let verifier = Self { account, issuer, keys: Arc::default(), ended, fetched: Arc::default() };
        tokio::spawn(follow_keys(verifier.account.clone(), Arc::downgrade(&verifier.keys)));
        Ok(verifier)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, VerifyingKey>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who shows the token; UNAVAILABLE if keys are needed and account-svc does not answer.
    pub async fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        let parts = Parts::split(token).ok_or_else(bad_token)?;
        let key = self.key(&parts.kid).await?;
        parts.check(&key, &self.issuer, now_ms() / 1000).ok_or_else(bad_token)
    }

    async fn key(&self, kid: &str) -> Result<VerifyingKey, Refusal> {
        if let Some(key) = self.lock().get(kid) {
            return Ok(*key);
        }
        // One fetches; who comes meanwhile waits for what it brings.
        let mut fetched = self.fetched.lock().await;
        if let Some(key) = self.lock().get(kid) {
            return Ok(*key);
        }
        if fetched.is_some_and(|at| at.elapsed() < REFETCH) {
            return Err(bad_token());
        }
        let Ok(answer) = self.account.clone().get_keys(GetKeysRequest {}).await else {
            let message = "tokens can't be checked at the moment: try again a little later";
            return Err(Refusal::new(Reason::Unavailable, message).after(500));
        };
        *fetched = Some(Instant::now());
        let mut keys = self.lock();
        *keys = parse_keys(&answer.into_inner().jwks);
        keys.get(kid).copied().ok_or_else(bad_token)
    }

    /// Whether a session has ended, as of half a second ago.
    pub async fn ended(&self, session: SessionId) -> bool {
        self.ended.has(session).await
    }

    /// The same, as far as it is known here: never waits.
    #[must_use]
    pub fn has_ended(&self, session: SessionId) -> bool {
        self.ended.knows(session)
    }

    /// A session has ended by way of this very process, where that holds at once.
    pub fn note_end(&self, session: SessionId) {
        self.ended.add(session);
    }
}

/// Who shows a token, by one key and at a time (seconds since 1970): the whole check but for which key it is and whether
/// the session has ended.
#[must_use]
pub fn check(token: &str, key: &VerifyingKey, issuer: &str, now: i64) -> Option<Claims> {
    Parts::split(token)?.check(key, issuer, now)
}

/// Asks for the keys now and then, so that the next one is known before it signs.
async fn follow_keys(mut account: AccountServiceClient<Channel>, keys: Weak<Mutex<HashMap<String, VerifyingKey>>>) {
    loop {
        tokio::time::sleep(RENEW).await;
        if keys.strong_count() == 0 {
            return;
        }
        // Without an answer those that are known stay.
        let Ok(answer) = account.get_keys(GetKeysRequest {}).await else { continue };
        let new = parse_keys(&answer.into_inner().jwks);
        if let (Some(keys), false) = (keys.upgrade(), new.is_empty()) {
            *keys.lock().unwrap_or_else(PoisonError::into_inner) = new;
        }
    }
}

fn parse_keys(jwks: &str) -> HashMap<String, VerifyingKey> {
    let set: Value = serde_json::from_str(jwks).unwrap_or_default();
    let keys = set["keys"].as_array().cloned().unwrap_or_default();
    let key = |key: &Value| {
        let bytes = URL_SAFE_NO_PAD.decode(key["x"].as_str()?).ok()?;
        let is_ours = key["kty"] == "OKP" && key["crv"] == "Ed25519";
        let verifying = VerifyingKey::from_bytes(bytes.as_slice().try_into().ok()?).ok()?;
        is_ours.then_some((key["kid"].as_str()?.to_owned(), verifying))
    };
    keys.iter().filter_map(key).collect()
}

/// A token, taken apart.
struct Parts<'a> {
    signed: &'a str,
    kid: String,
    claims: Value,
    signature: Signature,
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Option<Self> {
        if token.len() > LONGEST {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let json = |text: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(text).ok()?).ok();
        let header = json(header)?;
        if header["alg"] != "EdDSA" {
            return None;
        }
        let signature = Signature::from_slice(&URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        Some(Self { signed, kid: header["kid"].as_str()?.to_owned(), claims: json(claims)?, signature })
    }

    fn check(&self, key: &VerifyingKey, issuer: &str, now: i64) -> Option<Claims> {
        key.verify_strict(self.signed.as_bytes(), &self.signature).ok()?;
        let claims = &self.claims;
        let audience = &claims["aud"];
        let for_us =
            audience == AUDIENCE || audience.as_array().is_some_and(|all| all.iter().any(|one| one == AUDIENCE));
        // A number and nothing else: a text in `exp` must not skip the check.
        let expires_at = claims["exp"].as_i64()?;
        let begun = match &claims["nbf"] {
            Value::Null => true,
            nbf => nbf.as_i64()? <= now,
        };
        if !for_us || claims["iss"] != issuer || expires_at <= now || !begun {
            return None;
        }
        Some(Claims {
            user: claims["sub"].as_str()?.parse().ok()?,
            session: claims["sid"].as_str()?.parse().ok()?,
            expires_at,
        })
    }
}

/// Makes a token: what account-svc does, here beside its check so that the two agree.
#[must_use]
pub fn sign(key: &ed25519_dalek::SigningKey, kid: &str, issuer: &str, claims: Claims, issued_at: i64) -> String {
    use ed25519_dalek::Signer as _;
    let header = serde_json::json!({"alg": "EdDSA", "typ": "JWT", "kid": kid});
    let claims = serde_json::json!({
        "iss": issuer, "sub": claims.user.to_string(), "aud": AUDIENCE, "iat": issued_at,
        "exp": claims.expires_at, "sid": claims.session.to_string(),
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = key.sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;

    fn claims() -> Claims {
        Claims { user: UserId::new(), session: SessionId::new(), expires_at: 1000 }
    }

    #[test]
    fn only_a_token_of_the_key_in_its_time_is_good() {
        let (key, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let claims = claims();
        let token = sign(&key, "k", "madang", claims, 100);
        let parts = Parts::split(&token).unwrap();
        assert_eq!(parts.kid, "k");
        assert_eq!(parts.check(&key.verifying_key(), "madang", 999), Some(claims));
        assert_eq!(parts.check(&key.verifying_key(), "madang", 1000), None);
        assert_eq!(parts.check(&key.verifying_key(), "other", 999), None);
        assert_eq!(parts.check(&other.verifying_key(), "madang", 999), None);
    }

    #[test]
    fn forged_forms_are_refused() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let token = sign(&key, "k", "madang", claims(), 100);
        let (_, rest) = token.split_once('.').unwrap();
        for header in [r#"{"alg":"none","kid":"k"}"#, r#"{"alg":"HS256","kid":"k"}"#, r#"{"alg":"EdDSA"}"#] {
            let forged = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
            assert!(Parts::split(&forged).is_none(), "{header}");
        }
        let text = serde_json::json!({"iss":"madang","sub":UserId::new().to_string(),"sid":SessionId::new().to_string(),
            "aud":"madang","exp":"9999999999"});
        use ed25519_dalek::Signer as _;
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"k"}"#);
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(text.to_string()));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes());
        let token = format!("{signed}.{signature}");
        assert_eq!(Parts::split(&token).unwrap().check(&key.verifying_key(), "madang", 1), None, "exp is a text");
        assert!(Parts::split("").is_none() && Parts::split("a.b.c").is_none());
    }
}
