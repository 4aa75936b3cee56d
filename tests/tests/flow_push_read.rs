//! What was read is cleared on the other devices that show it: also where it was read while its push was on its way, but not on
//! the one that has read it.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_proto::notify::v1::Outcome;
use madang_tests::{
    device::{Device, Doors},
    notify::Notify,
    push::{Answer, PushServer},
    until, vendors,
};
use serde_json::json;
use std::time::Duration;
use tokio::sync::mpsc;

const PHONE: &str = "DEVICE_KIND_MOBILE";
const WEB: &str = "DEVICE_KIND_WEB";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_while_its_push_is_on_its_way_is_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let server = vendors::start(folder.path(), &push.ca, &[]).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn who_has_read_a_message_is_not_told_that_it_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let server = vendors::start(folder.path(), &push.ca, &[]).await;
    let ann = Device::sign_up(Doors::of(&server), "ann", PHONE).await;
    let browser = Device::sign_up(Doors::of(&server), "bob", WEB).await;
    let phone = browser.another(PHONE).await;
    let reports = Notify::of(&server, folder.path());
    for device in [&browser, &phone] {
        device.subscribe(&push).await;
    }
    let ack = ann.say(browser.to(), "여기").await;
    for device in [&browser, &phone] {
        assert_eq!(device.told(&push).await["type"], "PUSH_TYPE_MESSAGE");
    }
    // It is known what they show once the answers have come.
    until("both are known to show it", async || {
        let all = reports.deliveries(&browser.person.id).await;
        (all.iter().filter(|each| each.outcome() == Outcome::Sent).count() == 2).then_some(())
    })
    .await;
    let mut socket = browser.connect().await;
    socket.send(json!({"id": 7, "read": {"conversation": ack["conversation"], "seq": "1"}})).await;
    assert_eq!(phone.told(&push).await["type"], "PUSH_TYPE_READ");
    ann.say(browser.to(), "저기").await;
    let told = browser.told(&push).await;
    assert_eq!((&told["type"], &told["seq"]), (&json!("PUSH_TYPE_MESSAGE"), &json!("2")));
    server.stop().await;
}
