//! Public keys that tokens are checked with: a JWK set, of which only what can check one of three algorithms is taken.
//! Each key is for one algorithm, whatever a token says of itself.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::Value;
use std::collections::HashMap;

/// How many keys of a set are looked at.
const MOST: usize = 100;

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSA PKCS #1 v1.5 with SHA-256, of 2,048 bits at least.
    Rs256,
}

impl Algorithm {
    pub(super) fn from_word(word: &str) -> Option<Self> {
        match word {
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            "ES256" => Some(Self::Es256),
            "RS256" => Some(Self::Rs256),
            _ => None,
        }
    }
}

#[derive(Debug, Clone)]
enum Key {
    EdDsa(Vec<u8>),
    Es256(Vec<u8>),
    Rs256 { n: Vec<u8>, e: Vec<u8> },
}

/// The keys of an issuer, by their ids.
#[derive(Debug, Clone, Default)]
pub struct Keys(HashMap<(String, Algorithm), Key>);

impl Keys {
    /// Those of a JWK set that can check tokens; none of what is no such set.
    #[must_use]
    pub fn parse(jwks: &str) -> Self {
        let set: Value = serde_json::from_str(jwks).unwrap_or_default();
        let keys = set["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
        Self(keys.iter().take(MOST).filter_map(parse).collect())
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is one of this id, for some algorithm.
    #[must_use]
    pub fn has_id(&self, id: &str) -> bool {
        self.0.keys().any(|(kid, _)| kid == id)
    }

    pub(super) fn has(&self, id: &str, algorithm: Algorithm) -> bool {
        self.0.contains_key(&(id.to_owned(), algorithm))
    }

    /// Whether the key of an id has signed this by its algorithm.
    pub(super) fn signed(&self, id: &str, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let checked = match self.0.get(&(id.to_owned(), algorithm)) {
            Some(Key::EdDsa(key)) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
            Some(Key::Es256(key)) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(message, signature),
            Some(Key::Rs256 { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            None => return false,
        };
        checked.is_ok()
    }
}

fn parse(key: &Value) -> Option<((String, Algorithm), Key)> {
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str()?).ok();
    let (algorithm, parsed) = match (key["kty"].as_str()?, key["crv"].as_str()) {
        ("OKP", Some("Ed25519")) => (Algorithm::EdDsa, Key::EdDsa(bytes("x")?)),
        // An uncompressed point.
        ("EC", Some("P-256")) => (Algorithm::Es256, Key::Es256([vec![4], bytes("x")?, bytes("y")?].concat())),
        ("RSA", None) => {
            let number = |name| Some(bytes(name)?.into_iter().skip_while(|byte| *byte == 0).collect());
            (Algorithm::Rs256, Key::Rs256 { n: number("n")?, e: number("e")? })
        }
        _ => return None,
    };
    let says = |name: &str, right: &dyn Fn(&str) -> bool| match &key[name] {
        Value::Null => true,
        word => word.as_str().is_some_and(right),
    };
    let fits = says("alg", &|word| Algorithm::from_word(word) == Some(algorithm)) && says("use", &|word| word == "sig");
    fits.then_some(((key["kid"].as_str()?.to_owned(), algorithm), parsed))
}
