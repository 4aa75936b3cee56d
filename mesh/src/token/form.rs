//! A token's form: taken apart, and checked for what every token must be, whoever has issued it.

use super::{
    AUDIENCE,
    keys::{Algorithm, Keys},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

/// The longest token that is looked at, in bytes.
const LONGEST: usize = 8192;

/// A token, taken apart.
pub(super) struct Form<'a> {
    signed: &'a str,
    signature: Vec<u8>,
    pub algorithm: Algorithm,
    pub kid: String,
    claims: Value,
}

impl<'a> Form<'a> {
    /// None: it is no token, or one that may not be understood by halves (RFC 7515, `crit`), or of another kind (RFC 8725,
    /// 3.11: the notice of a log-out is signed by the same key for the same audience).
    pub fn split(token: &'a str) -> Option<Self> {
        if token.len() > LONGEST {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let json = |text: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(text).ok()?).ok();
        let header = json(header)?;
        let kind = match &header["typ"] {
            Value::Null => "jwt".to_owned(),
            kind => kind.as_str()?.to_ascii_lowercase(),
        };
        if !header["crit"].is_null() || !["jwt", "at+jwt", "application/at+jwt"].contains(&kind.as_str()) {
            return None;
        }
        Some(Self {
            signed,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
            algorithm: Algorithm::from_word(header["alg"].as_str()?)?,
            kid: header["kid"].as_str()?.to_owned(),
            claims: json(claims)?,
        })
    }

    /// Whom it says to be of; to be believed once its signature is checked.
    pub fn issuer(&self) -> Option<&str> {
        self.text("iss")
    }

    /// A claim that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.claims[name].as_str()
    }

    /// A claim that is a whole number; a text that looks like one is none.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.claims[name].as_i64()
    }

    /// Until when it is good, in seconds since 1970, if one of these keys has signed it, it is for us, and its time is now;
    /// `leeway`: how many seconds its issuer's clock may be ahead.
    pub fn check(&self, keys: &Keys, now: i64, leeway: i64) -> Option<i64> {
        if !keys.signed(&self.kid, self.algorithm, self.signed.as_bytes(), &self.signature) {
            return None;
        }
        let audience = &self.claims["aud"];
        let for_us =
            audience == AUDIENCE || audience.as_array().is_some_and(|all| all.iter().any(|one| one == AUDIENCE));
        let expires_at = self.number("exp")?;
        let begun = match &self.claims["nbf"] {
            Value::Null => true,
            nbf => nbf.as_i64()? <= now.saturating_add(leeway),
        };
        (for_us && expires_at > now && begun).then_some(expires_at)
    }
}
