//! Where devices are notified: registered by whose they are, of the last who does, until the session ends; with one key.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // a test: a panic is its failure

use madang_proto::notify::v1::Provider;
use madang_solo::serve::Running;
use madang_tests::{
    PATIENCE,
    client::{Person, call, sign_up},
    notify::Notify,
    start,
};
use serde_json::{Value, json};
use std::time::Duration;

// Of RFC 8291, section 5.
const KEY: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";

fn browser(endpoint: &str) -> Value {
    json!({
        "webPush": {"endpoint": endpoint, "expirationTime": null, "keys": {"p256dh": KEY, "auth": "BTBZMqHH6r4Tts7J_aSIgg"}},
        "locale": "ko", "preview": true,
    })
}

async fn put(server: &Running, person: &Person, device: &str, body: Value) -> (u16, Value) {
    call(server, "PUT", &format!("/v1/devices/{device}/push"), &person.token, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_of_the_last_who_registers_it_until_the_session_ends() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    let (status, answer) = call(&server, "GET", "/v1/push/key", &ann.token, Value::Null).await;
    let key = answer["key"].as_str().unwrap().to_owned();
    assert_eq!((status, key.len()), (200, 87), "{answer}");
    let inside = Notify::of(&server, folder.path());
    assert_eq!(inside.key().await, key);

    let place = "https://push.example.com/send/1";
    assert_eq!(put(&server, &ann, &ann.device, browser(place)).await.0, 204);
    let places = inside.places(&ann.id).await;
    assert_eq!(
        (places.len(), places[0].device.as_str(), places[0].host.as_str()),
        (1, &*ann.device, "push.example.com")
    );
    assert_eq!((places[0].provider(), places[0].locale.as_str(), places[0].preview), (Provider::WebPush, "ko", true));
    for (device, expected) in [(&*bob.device, 404), ("nothing", 400), ("00000000-0000-4000-8000-000000000000", 404)] {
        assert_eq!(put(&server, &ann, device, browser(place)).await.0, expected, "{device} is none of hers");
    }
    for body in [
        json!({}),
        json!({"fcm": {"token": "t"}, "apns": {"token": "ab".repeat(32)}}),
        browser("https://127.0.0.1/x"),
        browser("http://push.example.com/send/1"),
        json!({"webPush": {"endpoint": place, "keys": {"p256dh": "AAAA", "auth": "BTBZMqHH6r4Tts7J_aSIgg"}}}),
    ] {
        let (status, answer) = put(&server, &ann, &ann.device, body.clone()).await;
        assert_eq!((status, answer["code"].as_str()), (400, Some("INVALID_ARGUMENT")), "{body}: {answer}");
    }
    assert_eq!(inside.places(&ann.id).await, places, "what was refused changed nothing");

    assert_eq!(put(&server, &bob, &bob.device, browser(place)).await.0, 204);
    assert_eq!((inside.places(&ann.id).await.len(), inside.places(&bob.id).await.len()), (0, 1), "it is his now");
    let path = format!("/v1/devices/{}/push", bob.device);
    assert_eq!(call(&server, "DELETE", &path, &ann.token, Value::Null).await.0, 204, "she has nothing there");
    assert_eq!(inside.places(&bob.id).await.len(), 1);
    assert_eq!(call(&server, "DELETE", &path, &bob.token, Value::Null).await.0, 204);
    assert_eq!(inside.places(&bob.id).await.len(), 0);

    assert_eq!(
        put(&server, &ann, &ann.device, json!({"webhook": {"url": place, "secret": "0123456789abcdef"}})).await.0,
        204
    );
    assert_eq!(inside.places(&ann.id).await[0].provider(), Provider::Webhook);
    assert_eq!(call(&server, "DELETE", "/v1/sessions/current", &ann.token, Value::Null).await.0, 204);
    let ended = async {
        while !inside.places(&ann.id).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("a session's end drops its push");
    server.stop().await;

    let server = start(folder.path()).await;
    let (_, answer) = call(&server, "GET", "/v1/push/key", &bob.token, Value::Null).await;
    assert_eq!(answer["key"], *key, "the key outlives the process: subscriptions depend on it");
    server.stop().await;
}
