//! Access tokens, against a fixed key and time.

use crate::seeds::{NOW, claims, key};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::Signer as _;
use madang_mesh::token::{AUDIENCE, Keys, check};
use serde_json::Value;

/// The issuer of the tokens.
pub(crate) const ISSUER: &str = "madang";

/// Any text is refused but the very token that the key's owner has made; and claims that are signed, but not as they
/// must be, open nothing.
pub fn tokens(data: &[u8]) {
    let x = URL_SAFE_NO_PAD.encode(key().verifying_key().as_bytes());
    let keys = serde_json::json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x}]});
    let keys = Keys::parse(&keys.to_string());
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(found) = check(text, &keys, ISSUER, NOW)
    {
        assert_eq!(found, claims(), "forged");
    }
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"k"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(data));
    let signature = URL_SAFE_NO_PAD.encode(key().sign(signed.as_bytes()).to_bytes());
    if let Some(found) = check(&format!("{signed}.{signature}"), &keys, ISSUER, NOW) {
        let claims: Value = serde_json::from_slice(data).unwrap();
        assert_eq!(claims["iss"], ISSUER);
        assert!(claims["aud"] == AUDIENCE || claims["aud"].as_array().unwrap().iter().any(|each| each == AUDIENCE));
        assert!(claims["exp"].as_i64().unwrap() == found.expires_at && found.expires_at > NOW);
        assert!(claims["nbf"].is_null() || claims["nbf"].as_i64().unwrap() <= NOW);
        assert_eq!(claims["sub"].as_str().unwrap().to_lowercase(), found.user.to_string());
    }
}
