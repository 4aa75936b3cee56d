//! A message that is read while its push is on its way: the device is told to clear it, though it came after that.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_tests::{
    device::{Device, Doors},
    push::{Answer, PushServer},
    start_with,
};
use serde_json::json;
use std::time::Duration;
use tokio::sync::mpsc;

const PHONE: &str = "DEVICE_KIND_MOBILE";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_while_its_push_is_on_its_way_is_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let flags = ["--push-loopback", "--push-ca", push.ca.to_str().unwrap(), "--push-wait-ms", "50"];
    let server = start_with(folder.path(), &flags).await;
    let ann = Device::sign_up(Doors::of(&server), "ann", PHONE).await;
    let phone = Device::sign_up(Doors::of(&server), "bob", PHONE).await;
    let tablet = phone.another(PHONE).await;
    phone.subscribe(&push).await;
    let (came, mut on_its_way) = mpsc::channel(1);
    push.answer(move |_| {
        // Who waits for it has heard of the first.
        let _ = came.try_send(());
        // Long enough for the mark to be read from the log; a push service may take five.
        Answer { after: Duration::from_secs(2), ..Answer::default() }
    });
    let ack = ann.say(phone.to(), "여기").await;
    on_its_way.recv().await.unwrap();
    tablet.read(&ack["conversation"], "1").await;
    assert_eq!(phone.told(&push).await["type"], "PUSH_TYPE_MESSAGE");
    push.answer(|_| Answer::default());
    let told = phone.told(&push).await;
    let fields = (&told["type"], &told["conversation"], &told["seq"], &told["badge"]);
    assert_eq!(fields, (&json!("PUSH_TYPE_READ"), &ack["conversation"], &json!("1"), &json!("0")));
    server.stop().await;
}
