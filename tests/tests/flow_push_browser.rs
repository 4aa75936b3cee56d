//! From a message to what somebody sees: a real browser, whose service worker shows what was pushed. A push service of the
//! test's own stands in for the vendor's: it decrypts with the subscription's key, and hands the text to the browser.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_tests::{
    browser::Chromium,
    cluster::{Cluster, Plan},
    device::{Device, Doors},
    push::PushServer,
};
use serde_json::{Value, json};

const WORKER: &str = include_str!("../../docs/examples/push-worker.js");

/// What the push service does with what comes for a device.
async fn deliver(push: &PushServer, to: &Device, chromium: &mut Chromium) -> Value {
    let text = to.browser.open(&push.at(&to.path).await.body);
    chromium.push(&text).await;
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_what_was_said_until_it_is_read_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let flags = ["--push-ca", push.ca.to_str().unwrap(), "--push-wait-ms", "100"].map(str::to_owned).to_vec();
    let cluster = Cluster::with(Plan { push: flags, ..Plan::default() }).await;
    let doors = Doors::of_cluster(&cluster);
    let mut chromium = Chromium::start(folder.path(), WORKER).await;
    let ann = Device::sign_up(doors, "ann", "DEVICE_KIND_MOBILE").await;
    let bob = Device::sign_up(doors, "bob", "DEVICE_KIND_WEB").await;
    bob.subscribe(&push).await;
    // It is connected, and is told all the same.
    let _socket = bob.connect().await;
    let group = ann.group("마당", &[&bob]).await;

    let ack = ann.say(bob.to(), "안녕 👋").await;
    let direct = ack["conversation"].as_str().unwrap();
    deliver(&push, &bob, &mut chromium).await;
    chromium.shows(&[["ann 이름", "안녕 👋", direct]]).await;
    ann.say(json!({"conversation": group}), "모두 모여요").await;
    let first = deliver(&push, &bob, &mut chromium).await;
    let in_group = ["마당", "ann 이름: 모두 모여요", &*group];
    chromium.shows(&[["ann 이름", "안녕 👋", direct], in_group]).await;
    ann.say(bob.to(), "거기 있어?").await;
    assert_eq!(deliver(&push, &bob, &mut chromium).await["badge"], "3");
    chromium.shows(&[["ann 이름", "거기 있어?", direct], in_group]).await;

    // On another device.
    bob.another("DEVICE_KIND_DESKTOP").await.read(&ack["conversation"], "2").await;
    let read = deliver(&push, &bob, &mut chromium).await;
    assert_eq!((&read["type"], &read["badge"]), (&json!("PUSH_TYPE_READ"), &json!("1")));
    chromium.shows(&[in_group]).await;

    bob.register(json!({"webPush": bob.subscription(&push), "locale": "ko"})).await;
    ann.say(json!({"conversation": group}), "비밀").await;
    deliver(&push, &bob, &mut chromium).await;
    let hidden = ["New message", "", &*group];
    chromium.shows(&[hidden]).await;
    // Push services promise no order.
    chromium.push(&first.to_string()).await;
    ann.say(bob.to(), "3").await;
    deliver(&push, &bob, &mut chromium).await;
    chromium.shows(&[hidden, ["New message", "", direct]]).await;
    chromium.stop().await;
    cluster.stop().await;
}
