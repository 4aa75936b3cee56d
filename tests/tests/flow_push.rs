//! Whoever was not reached is told, once, and nobody else: over a push service and to browsers of the tests' own.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use madang_proto::id::ClientId;
use madang_solo::serve::Running;
use madang_tests::{
    client::{Person, Socket, call, insist, send},
    push::{Answer, Browser, PushServer},
    start_with,
};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

/// Somebody on a device that is notified.
struct Device {
    person: Person,
    kind: &'static str,
    browser: Browser,
    path: String,
}

async fn sign_up(server: &Running, handle: &str, kind: &'static str) -> Device {
    session(server, "/v1/accounts", handle, kind).await
}

async fn session(server: &Running, path: &str, handle: &str, kind: &'static str) -> Device {
    let device = uuid::Uuid::new_v4().to_string();
    let body = json!({"handle": handle, "password": "correct horse", "name": format!("{handle} 이름"),
        "device": {"id": device, "kind": kind}});
    let (status, answer) = call(server, "POST", path, "", body).await;
    assert_eq!(status, 201, "{answer}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let person = Person { id: text(&answer["user"]), token: text(&answer["accessToken"]), device };
    Device { person, kind, browser: Browser::default(), path: format!("/push/{handle}/{kind}") }
}

impl Device {
    async fn subscribe(&self, server: &Running, push: &PushServer) {
        let subscription = self.browser.subscription(&format!("{}{}", push.url, self.path));
        self.register(server, json!({"webPush": subscription, "locale": "ko", "preview": true})).await;
    }

    async fn register(&self, server: &Running, body: Value) {
        let path = format!("/v1/devices/{}/push", self.person.device);
        let (status, answer) = call(server, "PUT", &path, &self.person.token, body).await;
        assert_eq!(status, 204, "{answer}");
    }

    async fn connect(&self, server: &Running) -> Socket {
        let mut socket = Socket::raw(server).await;
        let device = json!({"id": self.person.device, "kind": self.kind});
        socket.send(json!({"id": 1, "hello": {"token": self.person.token, "device": device}})).await;
        while socket.next().await["live"].is_null() {}
        socket
    }

    async fn say(&self, server: &Running, to: Value, text: &str) -> Value {
        let mut body = json!({"clientId": ClientId::now().to_string(), "text": text});
        body.as_object_mut().unwrap().extend(to.as_object().unwrap().clone());
        let (status, ack) = insist(server, "POST", "/v1/messages", &self.person.token, body).await;
        assert_eq!(status, 200, "{ack}");
        ack
    }

    /// The next that it is told.
    async fn told(&self, push: &PushServer) -> Value {
        self.browser.decrypt(&push.at(&self.path).await.body)
    }
}

struct Stage {
    _folder: TempDir,
    push: PushServer,
    server: Running,
}

async fn start(folder: &Path, push: &PushServer) -> Running {
    let flags = [
        "--push-loopback",
        "--push-ca",
        push.ca.to_str().unwrap(),
        "--push-wait-ms",
        "1000",
        "--push-contact",
        "mailto:ops@example.com",
    ];
    start_with(folder, &flags).await
}

impl Stage {
    async fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let push = PushServer::start(folder.path()).await;
        let server = start(folder.path(), &push).await;
        Self { _folder: folder, push, server }
    }
}

fn to(device: &Device) -> Value {
    json!({"user": device.person.id})
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_away_is_told_what_was_said_and_that_it_was_read() {
    let Stage { push, server, _folder } = Stage::set().await;
    let ann = sign_up(&server, "ann", "DEVICE_KIND_MOBILE").await;
    let bob = sign_up(&server, "bob", "DEVICE_KIND_MOBILE").await;
    bob.subscribe(&server, &push).await;
    ann.subscribe(&server, &push).await;
    let ack = ann.say(&server, to(&bob), "안녕 👋").await;
    let taken = push.at(&bob.path).await;
    let told = bob.browser.decrypt(&taken.body);
    assert_eq!(
        told,
        json!({"type": "PUSH_TYPE_MESSAGE", "conversation": ack["conversation"], "seq": "1", "sender": ann.person.id,
            "badge": "1", "title": "ann 이름", "body": "안녕 👋"})
    );
    assert!(taken.http2, "over HTTP/2 where there is it");
    assert_eq!(
        (taken.header("ttl"), taken.header("urgency"), taken.header("content-encoding")),
        ("86400", "high", "aes128gcm")
    );
    assert!((1..=32).contains(&taken.header("topic").len()));
    let (token, key) = taken.header("authorization").strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
    let (_, answer) = call(&server, "GET", "/v1/push/key", &bob.person.token, Value::Null).await;
    assert_eq!(answer["key"], key);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes(key)).verify(signed.as_bytes(), &bytes(signature)).unwrap();
    let claims: Value = serde_json::from_slice(&bytes(signed.split_once('.').unwrap().1)).unwrap();
    assert_eq!((&claims["aud"], &claims["sub"]), (&json!(push.url), &json!("mailto:ops@example.com")));

    let laptop = session(&server, "/v1/sessions", "bob", "DEVICE_KIND_DESKTOP").await;
    let path = format!("/v1/conversations/{}/read", ack["conversation"].as_str().unwrap());
    let (status, _) = call(&server, "PUT", &path, &laptop.person.token, json!({"seq": "1"})).await;
    assert_eq!(status, 200);
    let taken = push.at(&bob.path).await;
    let told = bob.browser.decrypt(&taken.body);
    assert_eq!((&told["type"], &told["seq"], &told["badge"]), (&json!("PUSH_TYPE_READ"), &json!("1"), &json!("0")));
    assert!(told.get("body").is_none() && taken.header("urgency") == "low");

    ann.say(&server, to(&bob), "1").await;
    assert_eq!(bob.told(&push).await["seq"], "2");
    let hidden = json!({"webPush": bob.browser.subscription(&format!("{}{}", push.url, bob.path)), "locale": "ko"});
    bob.register(&server, hidden).await;
    ann.say(&server, to(&bob), "비밀").await;
    let told = bob.told(&push).await;
    assert_eq!((&told["seq"], &told["badge"]), (&json!("3"), &json!("2")));
    assert!(told.get("title").is_none() && told.get("body").is_none(), "{told}");
    assert_eq!(push.paths(), [""; 0], "nobody was told twice, and the sender not at all");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_it_is_not_told_but_browsers_are() {
    let Stage { push, server, _folder } = Stage::set().await;
    let ann = sign_up(&server, "ann", "DEVICE_KIND_MOBILE").await;
    let phone = sign_up(&server, "bob", "DEVICE_KIND_MOBILE").await;
    let web = session(&server, "/v1/sessions", "bob", "DEVICE_KIND_WEB").await;
    let lost = sign_up(&server, "lost", "DEVICE_KIND_MOBILE").await;
    let witness = sign_up(&server, "witness", "DEVICE_KIND_MOBILE").await;
    for device in [&phone, &web, &lost, &witness] {
        device.subscribe(&server, &push).await;
    }
    let members = json!([phone.person.id, lost.person.id, witness.person.id]);
    let body = json!({"name": "마당", "members": members});
    let (status, group) = call(&server, "POST", "/v1/groups", &ann.person.token, body).await;
    assert_eq!(status, 201, "{group}");
    let here = json!({"conversation": group["conversation"]});
    let (mut at_phone, _at_web) = (phone.connect(&server).await, web.connect(&server).await);
    // It has lost coverage: its socket is open, and nothing is read any more.
    let _at_lost = lost.connect(&server).await;
    let reading = tokio::spawn(async move {
        loop {
            at_phone.next().await;
        }
    });
    for n in 1..=3 {
        ann.say(&server, here.clone(), &n.to_string()).await;
        for device in [&web, &lost, &witness] {
            let told = device.told(&push).await;
            assert_eq!((&told["seq"], &told["title"]), (&json!(n.to_string()), &json!("마당")), "{}", device.path);
            assert_eq!(told["body"], format!("ann 이름: {n}"));
        }
    }
    assert_eq!(push.paths(), [""; 0], "the phone has shown to have all of it");
    reading.abort();
    drop(reading.await);
    ann.say(&server, here, "4").await;
    assert_eq!(phone.told(&push).await["seq"], "4", "its socket has gone");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_want_to_be_told_or_has_left_is_not() {
    let Stage { push, server, _folder } = Stage::set().await;
    let mut people = Vec::new();
    for handle in ["ann", "muted", "mentions", "none", "removed", "blocker", "witness"] {
        let device = sign_up(&server, handle, "DEVICE_KIND_MOBILE").await;
        device.subscribe(&server, &push).await;
        people.push(device);
    }
    let [ann, muted, mentions, none, removed, blocker, witness] = &people[..] else { panic!() };
    let members: Vec<_> = people[1..].iter().map(|device| &device.person.id).collect();
    let body = json!({"name": "방", "members": members});
    let (_, group) = call(&server, "POST", "/v1/groups", &ann.person.token, body).await;
    let id = group["conversation"].as_str().unwrap();
    for (device, settings) in [
        (muted, json!({"mutedUntil": "99999999999999"})),
        (mentions, json!({"notify": "NOTIFY_MENTIONS"})),
        (none, json!({"notify": "NOTIFY_NONE"})),
    ] {
        let path = format!("/v1/conversations/{id}/settings");
        let (status, answer) = call(&server, "PATCH", &path, &device.person.token, settings).await;
        assert_eq!(status, 200, "{answer}");
    }
    let path = format!("/v1/blocks/{}", ann.person.id);
    let (status, answer) = call(&server, "PUT", &path, &blocker.person.token, Value::Null).await;
    assert!(status < 300, "{answer}");
    ann.say(&server, json!({"conversation": id}), "just before").await;
    let path = format!("/v1/groups/{id}/members/{}", removed.person.id);
    assert_eq!(call(&server, "DELETE", &path, &ann.person.token, Value::Null).await.0, 200);
    assert_eq!(witness.told(&push).await["seq"], "1");
    let named = json!({"conversation": id, "mentions": [{"user": mentions.person.id, "offset": 0, "length": 1},
        {"user": none.person.id, "offset": 0, "length": 1}, {"user": muted.person.id, "offset": 0, "length": 1}]});
    ann.say(&server, named, "@").await;
    assert_eq!(
        (witness.told(&push).await["seq"].clone(), mentions.told(&push).await["seq"].clone()),
        (json!("2"), json!("2"))
    );
    ann.say(&server, json!({"conversation": id}), "3").await;
    assert_eq!(witness.told(&push).await["seq"], "3");
    assert_eq!(push.paths(), [""; 0], "nobody else");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_service_that_fails_is_tried_again_and_one_that_knows_nobody_is_believed() {
    let Stage { push, server, _folder } = Stage::set().await;
    let ann = sign_up(&server, "ann", "DEVICE_KIND_MOBILE").await;
    let bob = sign_up(&server, "bob", "DEVICE_KIND_MOBILE").await;
    let (gone, elsewhere) =
        (sign_up(&server, "gone", "DEVICE_KIND_MOBILE").await, sign_up(&server, "else", "DEVICE_KIND_MOBILE").await);
    for device in [&bob, &gone, &elsewhere] {
        device.subscribe(&server, &push).await;
    }
    let mut tries = 0;
    let away = format!("{}/elsewhere", push.url);
    push.answer(move |taken| {
        if taken.path.starts_with("/push/gone") {
            return Answer::status(410);
        }
        if taken.path.starts_with("/push/else") {
            return Answer { headers: vec![("location", away.clone())], ..Answer::status(307) };
        }
        tries += 1;
        match tries {
            1 => Answer::status(500),
            2 => Answer { headers: vec![("retry-after", "1".into())], ..Answer::status(429) },
            _ if taken.body.len() > 400 => Answer::status(413),
            _ => Answer::default(),
        }
    });
    ann.say(&server, to(&bob), &"길다 ".repeat(60)).await;
    for _ in 0..3 {
        assert_eq!(bob.told(&push).await["body"].as_str().unwrap().chars().count(), 180 - 1);
    }
    let told = bob.told(&push).await;
    assert_eq!((&told["seq"], told.get("body")), (&json!("1"), None), "too long for it: without what is shown");
    for device in [&gone, &elsewhere] {
        ann.say(&server, to(device), "1").await;
        assert_eq!(device.told(&push).await["seq"], "1");
    }
    for device in [&gone, &elsewhere, &bob] {
        ann.say(&server, to(device), "2").await;
    }
    assert_eq!(elsewhere.told(&push).await["seq"], "2");
    assert_eq!(bob.told(&push).await["seq"], "2");
    assert_eq!(push.paths(), [""; 0], "not to who is gone, and not to where somebody else says");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_push_service_was_to_be_told_survives_a_restart_and_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (push, dead) = (PushServer::start(folder.path()).await, PushServer::start(folder.path()).await);
    let both = [std::fs::read_to_string(&push.ca).unwrap(), std::fs::read_to_string(&dead.ca).unwrap()].concat();
    std::fs::write(&push.ca, both).unwrap();
    dead.answer(|_| Answer::status(503));
    let server = start(folder.path(), &push).await;
    let ann = sign_up(&server, "ann", "DEVICE_KIND_MOBILE").await;
    let (bob, eve) =
        (sign_up(&server, "bob", "DEVICE_KIND_MOBILE").await, sign_up(&server, "eve", "DEVICE_KIND_MOBILE").await);
    bob.subscribe(&server, &dead).await;
    eve.subscribe(&server, &push).await;
    for n in 1..=3 {
        ann.say(&server, to(&bob), &n.to_string()).await;
    }
    dead.at(&bob.path).await;
    let (mut socket, n) = (ann.connect(&server).await, ClientId::now());
    socket.send(send(2, &eve.person, "hello", n)).await;
    assert_eq!(eve.told(&push).await["seq"], "1", "others are told");
    server.stop().await;
    dead.answer(|_| Answer::default());
    let server = start(folder.path(), &push).await;
    loop {
        // The newest stands for those before it.
        if bob.told(&dead).await["seq"] == "3" {
            break;
        }
    }
    assert_eq!(push.paths(), [""; 0], "who was told is not told again");
    server.stop().await;
}
