//! Accounts with Apple and Google of the tests' own: what an operator has of them, and how they answer when all is well; and
//! a server that is told of them.

use crate::{
    client::{Person, call},
    push::{Answer, Taken},
    start_with,
};
use madang_proto::id::ClientId;
use madang_solo::serve::Running;
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

/// A server that pushes at once and to this machine too, trusts a certificate, and has these flags besides.
pub async fn start(folder: &Path, ca: &Path, more: &[String]) -> Running {
    let usual = ["--push-loopback", "--push-ca", ca.to_str().unwrap(), "--push-wait-ms", "50"];
    let more: Vec<_> = more.iter().map(String::as_str).collect();
    start_with(folder, &[&usual[..], &more].concat()).await
}

/// Says where a person's device is pushed to; the status.
pub async fn register(server: &Running, person: &Person, body: Value) -> u16 {
    call(server, "PUT", &format!("/v1/devices/{}/push", person.device), &person.token, body).await.0
}

/// Somebody says something to a user; the ack.
pub async fn say(server: &Running, from: &Person, to: &str, text: &str) -> Value {
    let body = json!({"user": to, "clientId": ClientId::now().to_string(), "text": text});
    let (status, ack) = call(server, "POST", "/v1/messages", &from.token, body).await;
    assert_eq!(status, 200, "{ack}");
    ack
}

/// As Google answers: `token` is what it knows us by.
#[must_use]
pub fn well(taken: &Taken, token: &str) -> Answer {
    let granted = json!({"access_token": token, "expires_in": 3599, "token_type": "Bearer"});
    let body = if taken.path == "/token" { granted } else { json!({"name": "projects/madang-test/messages/1"}) };
    Answer { body: body.to_string(), ..Answer::status(200) }
}
