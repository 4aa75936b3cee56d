//! Signed tokens that providers know this deployment by (RFC 7519).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::Value;

/// A key that can't be used. Says nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a private key in PKCS #8 (PEM) of the right kind")]
pub struct BadKey;

/// What tokens are signed with.
pub enum Key {
    /// ES256.
    Ecdsa(Box<EcdsaKeyPair>),
    /// RS256.
    Rsa(Box<RsaKeyPair>),
}

impl Key {
    /// P-256, from PEM.
    pub fn ecdsa(pem: &str) -> Result<Self, BadKey> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| BadKey)?;
        let key = key.secret_pkcs8_der();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key, &SystemRandom::new());
        key.map(|key| Self::Ecdsa(Box::new(key))).map_err(|_| BadKey)
    }

    /// RSA, from PEM.
    pub fn rsa(pem: &str) -> Result<Self, BadKey> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| BadKey)?;
        RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).map(|key| Self::Rsa(Box::new(key))).map_err(|_| BadKey)
    }

    /// A token with these claims.
    pub fn sign(&self, id: &str, claims: &Value) -> Result<String, BadKey> {
        let algorithm = match self {
            Self::Ecdsa(_) => "ES256",
            Self::Rsa(_) => "RS256",
        };
        let head = serde_json::json!({"alg": algorithm, "typ": "JWT", "kid": id});
        let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encoded(&head), encoded(claims));
        let random = SystemRandom::new();
        let signature = match self {
            Self::Ecdsa(key) => key.sign(&random, signed.as_bytes()).map_err(|_| BadKey)?.as_ref().to_vec(),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).map_err(|_| BadKey)?;
                signature
            }
        };
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
