//! Accounts with Apple and Google of the tests' own: what an operator has of them, and how they answer when all is well.

use crate::push::{Answer, Taken};
use rcgen::KeyPair;
use serde_json::{Value, json};
use std::path::Path;

/// A service account's key, for these tests alone.
pub const RSA: &str = include_str!("../fixtures/service-account-key.pem");

/// Flags of an account with Apple, which is at `url`; the key is in a folder.
#[must_use]
pub fn apple(folder: &Path, key: &KeyPair, url: &str) -> Vec<String> {
    let file = folder.join("key.p8");
    std::fs::write(&file, key.serialize_pem()).unwrap();
    let file = file.to_str().unwrap();
    let key = ["--apns-key", file, "--apns-key-id", "KEY1234567", "--apns-team", "TEAM123456"];
    let to = ["--apns-topic", "com.example.chat", "--apns-url", url, "--apns-sandbox-url", url];
    [key, to].concat().into_iter().map(str::to_owned).collect()
}

/// A service account of Google's, which gives tokens at `url`.
#[must_use]
pub fn account(url: &str) -> Value {
    json!({
        "type": "service_account", "project_id": "madang-test", "private_key_id": "kid-1", "private_key": RSA,
        "client_email": "push@madang-test.iam.gserviceaccount.com", "token_uri": format!("{url}/token"),
    })
}

/// Flags of an account with Google, which is at `url`; the service account is in a folder.
#[must_use]
pub fn google(folder: &Path, url: &str) -> Vec<String> {
    let file = folder.join("account.json");
    std::fs::write(&file, account(url).to_string()).unwrap();
    ["--fcm-account", file.to_str().unwrap(), "--fcm-url", url].map(str::to_owned).to_vec()
}

/// As Google answers: `token` is what it knows us by.
#[must_use]
pub fn well(taken: &Taken, token: &str) -> Answer {
    let granted = json!({"access_token": token, "expires_in": 3599, "token_type": "Bearer"});
    let body = if taken.path == "/token" { granted } else { json!({"name": "projects/madang-test/messages/1"}) };
    Answer { body: body.to_string(), ..Answer::status(200) }
}
