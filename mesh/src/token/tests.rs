//! Which tokens are good: of the right key, in its time, for us; and none that was made up.

use super::*;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::json;

fn claims() -> Claims {
    Claims { user: UserId::new(), session: SessionId::new(), expires_at: 1000 }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn jwk(key: &SigningKey, kid: &str) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes())})
}

fn keys(all: &[Value]) -> Keys {
    Keys::parse(&json!({ "keys": all }).to_string())
}

/// A token as anybody could write one, signed by a key.
fn signed(key: &SigningKey, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()).to_bytes()))
}

#[test]
fn only_a_token_of_the_key_in_its_time_is_good() {
    let claims = claims();
    let token = sign(&key(1), "k", "madang", claims, 100);
    let right = keys(&[jwk(&key(1), "k")]);
    assert_eq!(check(&token, &right, "madang", 999), Some(claims));
    assert_eq!(check(&token, &right, "madang", 1000), None);
    assert_eq!(check(&token, &right, "other", 999), None);
    assert_eq!(check(&token, &keys(&[jwk(&key(2), "k")]), "madang", 999), None, "another key");
    assert_eq!(check(&token, &keys(&[jwk(&key(1), "j")]), "madang", 999), None, "another id");
}

#[test]
fn forged_forms_are_refused() {
    let right = keys(&[jwk(&key(1), "k")]);
    let good = json!({"iss": "madang", "sub": UserId::new().to_string(), "sid": SessionId::new().to_string(),
        "aud": ["madang"], "exp": 1000});
    let usual = json!({"alg": "EdDSA", "kid": "k"});
    assert!(check(&signed(&key(1), &usual, &good), &right, "madang", 1).is_some());
    for header in [
        json!({"alg": "none", "kid": "k"}),
        json!({"alg": "HS256", "kid": "k"}),
        json!({"alg": "ES256", "kid": "k"}),
        json!({"alg": "RS256", "kid": "k"}),
        json!({"alg": "EdDSA"}),
        json!({"alg": "EdDSA", "kid": "k", "crit": ["b64"], "b64": false}),
        json!({"alg": "EdDSA", "kid": "k", "typ": "logout+jwt"}),
    ] {
        assert_eq!(check(&signed(&key(1), &header, &good), &right, "madang", 1), None, "{header}");
    }
    for (claim, value) in [
        ("exp", json!("9999999999")),
        ("exp", Value::Null),
        ("exp", json!(1)),
        ("nbf", json!(2)),
        ("nbf", json!("0")),
        ("aud", json!("other")),
        ("aud", json!(["other"])),
        ("aud", Value::Null),
        ("sub", json!("ann")),
        ("sid", Value::Null),
    ] {
        let mut claims = good.clone();
        claims[claim] = value;
        assert_eq!(check(&signed(&key(1), &usual, &claims), &right, "madang", 1), None, "{claims}");
    }
    assert!(Form::split("").is_none() && Form::split("a.b.c").is_none());
    let token = signed(&key(1), &usual, &good);
    let unsigned = token.rsplit_once('.').unwrap().0;
    assert_eq!(check(&format!("{unsigned}."), &right, "madang", 1), None);
}

#[test]
fn a_key_is_for_its_algorithm_alone() {
    let plain = jwk(&key(1), "k");
    for (field, value) in [("alg", "ES256"), ("alg", "HS256"), ("use", "enc"), ("kty", "oct"), ("crv", "X25519")] {
        let mut key = plain.clone();
        key[field] = value.into();
        assert!(keys(&[key]).is_empty(), "{field} {value}");
    }
    let mut fits = plain.clone();
    (fits["alg"], fits["use"]) = ("EdDSA".into(), "sig".into());
    assert!(keys(&[fits]).has("k", Algorithm::EdDsa));
    for nothing in ["", "[]", "{}", "{\"keys\": 7}", "{\"keys\": [7, {}]}"] {
        assert!(Keys::parse(nothing).is_empty(), "{nothing}");
    }
    let many: Vec<Value> = (0..1000).map(|n| jwk(&key(1), &n.to_string())).collect();
    let many = keys(&many);
    assert!(many.has_id("99") && !many.has_id("100"), "so many of a set are looked at");
}

#[test]
fn what_an_outside_token_says() {
    let right = keys(&[jwk(&key(1), "k")]);
    let usual = json!({"alg": "EdDSA", "kid": "k", "typ": "at+JWT"});
    let read = |claims: &Value| {
        let token = signed(&key(1), &usual, claims);
        outside::read(&token, &Form::split(&token).unwrap(), &right, 1)
    };
    let claims = json!({"iss": "x", "sub": "그 사람", "aud": "madang", "exp": 1000, "nbf": 60, "sid": "one",
        "preferred_username": "Ann", "auth_time": 7});
    let said = read(&claims).unwrap();
    assert_eq!((said.subject.as_str(), said.handle.as_str(), said.name.as_str()), ("그 사람", "Ann", ""));
    assert_eq!((said.has_session, said.logged_in_at, said.expires_at), (true, 7, 1000));
    let with = |claim: &str, value: Value| {
        let mut claims = claims.clone();
        claims[claim] = value;
        read(&claims)
    };
    assert_eq!(with("exp", json!(2000)).unwrap().log_in, said.log_in, "a log-in's tokens are of one session");
    assert_ne!(with("sid", json!("two")).unwrap().log_in, said.log_in);
    let without = with("sid", Value::Null).unwrap();
    assert!(!without.has_session && without.log_in.len() == 32 && without.log_in != said.log_in);
    assert!(with("sub", json!("a".repeat(256))).is_none() && with("sub", json!("")).is_none());
    assert!(with("sub", json!("a\nb")).is_none() && with("sub", json!(7)).is_none());
    assert!(with("nbf", json!(62)).is_none() && with("aud", json!("other")).is_none());
}
