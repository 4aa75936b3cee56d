//! Access tokens, checked at every door against the keys of account-svc: its own EdDSA JWTs, and those of the outside
//! identity provider that it was told of. What is wrong with a token is not told to who shows it: the answer is one
//! constant text.

mod ended;
mod ends;
mod form;
mod keys;
mod outside;

use crate::{
    channel::{Channel, Channels, InvalidAddress},
    clock::now_ms,
    status::from_status,
    vital::vital,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ended::Ended;
pub use ends::Ends;
use form::Form;
use http::{HeaderMap, header::AUTHORIZATION};
pub use keys::{Algorithm, Keys};
use madang_proto::{
    account::v1::{
        AdmitOutsideRequest, AdmitOutsideResponse, GetKeysRequest, GetKeysResponse,
        account_service_client::AccountServiceClient,
    },
    client::v1::Device,
    id::{SessionId, UserId},
    reason::{Reason, Refusal},
};
use outside::{Admitted, Provider};
use serde_json::Value;
use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

/// The `aud` of every token.
pub const AUDIENCE: &str = "madang";
/// How often keys are fetched at most, however many tokens name an unknown one.
const REFETCH: Duration = Duration::from_secs(5);
/// How often keys are fetched though none is missing: within the time that a key is known before it signs.
const RENEW: Duration = Duration::from_secs(60);

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

/// All keys that are known at a time.
#[derive(Debug, Default)]
struct Known {
    own: Keys,
    outside: Provider,
}

impl Known {
    fn new(answer: GetKeysResponse) -> Self {
        let GetKeysResponse { jwks, outside_issuer, outside_jwks } = answer;
        Self { own: Keys::parse(&jwks), outside: Provider { issuer: outside_issuer, keys: Keys::parse(&outside_jwks) } }
    }
}

/// Checks tokens.
#[derive(Clone)]
pub struct Verifier {
    account: AccountServiceClient<Channel>,
    issuer: String,
    keys: Arc<Mutex<Arc<Known>>>,
    ended: Ended,
    admitted: Arc<Admitted>,
    /// When keys were last fetched.
    fetched: Arc<tokio::sync::Mutex<Option<Instant>>>,
}

/// The bearer token of a request's head. A scheme's name is the same in capitals (RFC 9110, 11.1).
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

/// What everybody is told whose token is no good.
#[must_use]
pub fn bad_token() -> Refusal {
    Refusal::new(Reason::BadToken, "the token is missing, expired or not valid here: refresh it, or log in")
}

fn later() -> Refusal {
    let message = "tokens can't be checked at the moment: try again a little later";
    Refusal::new(Reason::Unavailable, message).after(500)
}

impl Verifier {
    /// With the keys of account-svc at an address, for tokens of this issuer and of the outside provider that account-svc
    /// names.
    pub fn new(channels: &Channels, account_address: &str, issuer: String) -> Result<Self, InvalidAddress> {
        let account = AccountServiceClient::new(channels.get(account_address)?);
        let ended = Ended::follow(account.clone());
        let (keys, admitted, fetched) = (Arc::default(), Arc::default(), Arc::default());
        let verifier = Self { account, issuer, keys, ended, admitted, fetched };
        let following = follow_keys(verifier.account.clone(), Arc::downgrade(&verifier.keys));
        tokio::spawn(vital("the list of token keys", following));
        Ok(verifier)
    }

    fn known(&self) -> Arc<Known> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who shows the token, and on which device, if they say hello. UNAVAILABLE if account-svc is needed and does not
    /// answer.
    pub async fn verify(&self, token: &str, device: Option<&Device>) -> Result<Claims, Refusal> {
        let form = Form::split(token).ok_or_else(bad_token)?;
        let (known, now) = (self.keys_for(&form).await?, now_ms() / 1000);
        if form.issuer() == Some(&self.issuer) {
            return own(&form, &known.own, now).ok_or_else(bad_token);
        }
        let said = outside::read(token, &form, &known.outside.keys, now).ok_or_else(bad_token)?;
        let key = Admitted::key(token, device);
        match self.admitted.get(&key, Instant::now()) {
            Some(claims) => Ok(claims),
            None => self.admit(key, AdmitOutsideRequest { device: device.cloned(), ..said }).await,
        }
    }

    /// The keys with the one that a token names.
    async fn keys_for(&self, form: &Form<'_>) -> Result<Arc<Known>, Refusal> {
        let ours = form.issuer() == Some(&self.issuer);
        let found = || {
            let known = self.known();
            let keys = if ours { Some(&known.own) } else { None };
            let theirs = || (form.issuer() == Some(&known.outside.issuer)).then_some(&known.outside.keys);
            keys.or_else(theirs).is_some_and(|keys| keys.has(&form.kid, form.algorithm)).then(|| known.clone())
        };
        if let Some(known) = found() {
            return Ok(known);
        }
        // One fetches; who comes meanwhile waits for what it brings.
        let mut fetched = self.fetched.lock().await;
        if let Some(known) = found() {
            return Ok(known);
        }
        if fetched.is_none_or(|at| at.elapsed() >= REFETCH) {
            let outside_kid = if ours { String::new() } else { form.kid.clone() };
            let answer = self.account.clone().get_keys(GetKeysRequest { outside_kid }).await.map_err(|_| later())?;
            *fetched = Some(Instant::now());
            *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Known::new(answer.into_inner()));
        }
        if let Some(known) = found() {
            return Ok(known);
        }
        let Provider { issuer, keys } = &self.known().outside;
        // As long as the provider has given no keys, its tokens are not known to be bad.
        Err(if form.issuer() == Some(issuer) && keys.is_empty() { later() } else { bad_token() })
    }

    /// Asks account-svc whose a good token of the outside provider is.
    async fn admit(&self, key: [u8; 32], request: AdmitOutsideRequest) -> Result<Claims, Refusal> {
        let expires_at = request.expires_at;
        let answer = self.account.clone().admit_outside(request).await.map_err(|status| from_status(&status))?;
        let AdmitOutsideResponse { user, session, ended, keep_ms } = answer.into_inner();
        let parsed = user.parse().ok().zip(session.parse().ok());
        let (user, session) = parsed.ok_or_else(later)?;
        let claims = Claims { user, session, expires_at };
        if ended {
            self.ended.add(session);
        } else {
            self.admitted.keep(key, claims, Instant::now(), Duration::from_millis(keep_ms.into()));
        }
        Ok(claims)
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

/// Who shows a token of ours, by these keys and at a time (seconds since 1970): the whole check but for which keys these
/// are and whether the session has ended.
#[must_use]
pub fn check(token: &str, keys: &Keys, issuer: &str, now: i64) -> Option<Claims> {
    let form = Form::split(token)?;
    if form.issuer() == Some(issuer) { own(&form, keys, now) } else { None }
}

fn own(form: &Form<'_>, keys: &Keys, now: i64) -> Option<Claims> {
    let expires_at = form.check(keys, now, 0)?;
    Some(Claims { user: form.text("sub")?.parse().ok()?, session: form.text("sid")?.parse().ok()?, expires_at })
}

/// Asks for the keys now and then, so that the next one is known before it signs.
async fn follow_keys(mut account: AccountServiceClient<Channel>, keys: Weak<Mutex<Arc<Known>>>) {
    loop {
        tokio::time::sleep(RENEW).await;
        if keys.strong_count() == 0 {
            return;
        }
        // Without an answer those that are known stay.
        let Ok(answer) = account.get_keys(GetKeysRequest::default()).await else { continue };
        let new = Known::new(answer.into_inner());
        if let (Some(keys), false) = (keys.upgrade(), new.own.is_empty()) {
            *keys.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        }
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
mod tests;
