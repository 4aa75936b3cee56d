//! An outside identity provider of the tests' own: its keys over real HTTPS, and tokens as it, or somebody who only
//! pretends to be it, would sign them.

use crate::push::{Answer, PushServer};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
        RsaPublicKeyComponents,
    },
};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};

/// The `iss` of its tokens.
pub const ISSUER: &str = "https://id.example.com/realms/madang";

/// It signs tokens.
pub struct Key {
    /// Its id.
    pub kid: String,
    pair: Pair,
}

enum Pair {
    EdDsa(Ed25519KeyPair),
    Es256(EcdsaKeyPair, SystemRandom),
    Rs256(RsaKeyPair, SystemRandom),
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Key {
    /// A new Ed25519 key.
    #[must_use]
    pub fn ed_dsa(kid: &str) -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { kid: kid.into(), pair: Pair::EdDsa(Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap()) }
    }

    /// A new P-256 key.
    #[must_use]
    pub fn es256(kid: &str) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random).unwrap();
        Self { kid: kid.into(), pair: Pair::Es256(pair, random) }
    }

    /// The RSA key of the tests: ring makes none.
    #[must_use]
    pub fn rs256(kid: &str) -> Self {
        let pem = include_bytes!("../fixtures/service-account-key.pem");
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem).unwrap();
        let pair = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
        Self { kid: kid.into(), pair: Pair::Rs256(pair, SystemRandom::new()) }
    }

    /// What it is called in a token.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::EdDsa(_) => "EdDSA",
            Pair::Es256(..) => "ES256",
            Pair::Rs256(..) => "RS256",
        }
    }

    /// What everybody may know of it.
    #[must_use]
    pub fn public(&self) -> Value {
        let mut key = match &self.pair {
            Pair::EdDsa(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())}),
            Pair::Es256(pair, _) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])})
            }
            Pair::Rs256(pair, _) => {
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "alg": "RS256", "n": encode(&n), "e": encode(&e)})
            }
        };
        (key["kid"], key["use"]) = (self.kid.as_str().into(), "sig".into());
        key
    }

    /// A token with any header.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let message = signed.as_bytes();
        let signature = match &self.pair {
            Pair::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Es256(pair, random) => pair.sign(random, message).unwrap().as_ref().to_vec(),
            Pair::Rs256(pair, random) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, random, message, &mut signature).unwrap();
                signature
            }
        };
        format!("{signed}.{}", encode(&signature))
    }

    /// A token as the provider gives it.
    #[must_use]
    pub fn token(&self, claims: &Value) -> String {
        self.sign(&json!({"alg": self.algorithm(), "kid": self.kid, "typ": "JWT"}), claims)
    }
}

/// What a good token says of somebody, for an hour from now on.
#[must_use]
pub fn claims(subject: &str, sid: Option<&str>) -> Value {
    let now = madang_mesh::clock::now_ms() / 1000;
    let mut claims = json!({"iss": ISSUER, "sub": subject, "aud": ["other", "madang"], "iat": now, "nbf": now,
        "exp": now + 3600, "jti": uuid::Uuid::new_v4().to_string()});
    if let Some(sid) = sid {
        claims["sid"] = sid.into();
    }
    claims
}

/// A provider at work.
pub struct Provider {
    server: PushServer,
    keys: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    /// Starts one with these keys, its certificate in a folder.
    pub async fn start(folder: &Path, keys: &[&Key]) -> Self {
        let server = PushServer::start(folder).await;
        let (answer, asked) = (Arc::new(Mutex::new(Answer::default())), Arc::new(AtomicUsize::new(0)));
        let (answers, count) = (answer.clone(), asked.clone());
        server.answer(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            answers.lock().unwrap().clone()
        });
        let provider = Self { server, keys: answer, asked };
        provider.publish(keys);
        provider
    }

    /// These are its keys from now on.
    pub fn publish(&self, keys: &[&Key]) {
        let all: Vec<Value> = keys.iter().map(|key| key.public()).collect();
        self.answer(Answer { status: 200, body: json!({ "keys": all }).to_string(), ..Answer::default() });
    }

    /// It answers so from now on.
    pub fn answer(&self, answer: Answer) {
        *self.keys.lock().unwrap() = answer;
    }

    /// How often it was asked.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// What account-svc is told of it.
    #[must_use]
    pub fn flags(&self) -> Vec<String> {
        let (jwks, ca) = (format!("{}/keys", self.server.url), self.server.ca.to_str().unwrap().to_owned());
        ["--issuer", ISSUER, "--jwks", &jwks, "--jwks-ca", &ca].map(str::to_owned).to_vec()
    }
}
