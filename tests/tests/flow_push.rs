//! Whoever was not reached is told, once, and nobody else: over a push service and to browsers of the tests' own. All of
//! it in one process, and on the real backends.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use madang_proto::id::ClientId;
use madang_solo::serve::Running;
use madang_tests::{
    client::send,
    cluster::{Cluster, Plan},
    device::{Device, Doors},
    push::{Answer, PushServer},
    start_with,
};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use tempfile::TempDir;
use tokio::task::JoinHandle;

const MOBILE: &str = "DEVICE_KIND_MOBILE";
const WEB: &str = "DEVICE_KIND_WEB";

/// How long is waited for devices to show that they have it.
const SHORT: &str = "1000";
/// The same, where something is done meanwhile, also on a machine that is busy with other things.
const LONG: &str = "10000";

fn flags<'a>(push: &'a PushServer, wait_ms: &'a str) -> [&'a str; 6] {
    ["--push-ca", push.ca.to_str().unwrap(), "--push-wait-ms", wait_ms, "--push-contact", "mailto:ops@example.com"]
}

async fn start(folder: &Path, push: &PushServer, wait_ms: &str) -> Running {
    start_with(folder, &[&flags(push, wait_ms)[..], &["--push-loopback"]].concat()).await
}

struct Stage {
    _folder: TempDir,
    push: PushServer,
    doors: Doors,
}

impl Stage {
    async fn embedded(wait_ms: &str) -> (Self, Running) {
        let folder = tempfile::tempdir().unwrap();
        let push = PushServer::start(folder.path()).await;
        let server = start(folder.path(), &push, wait_ms).await;
        (Self { _folder: folder, push, doors: Doors::of(&server) }, server)
    }

    async fn cluster(wait_ms: &str) -> (Self, Cluster) {
        let folder = tempfile::tempdir().unwrap();
        let push = PushServer::start(folder.path()).await;
        let flags = flags(&push, wait_ms).map(str::to_owned).to_vec();
        let cluster = Cluster::with(Plan { chats: 2, push: flags, ..Plan::default() }).await;
        (Self { _folder: folder, push, doors: Doors::of_cluster(&cluster) }, cluster)
    }

    /// Somebody who is told by push.
    async fn sign_up(&self, name: &str, kind: &'static str) -> Device {
        let device = Device::sign_up(self.doors, name, kind).await;
        device.subscribe(&self.push).await;
        device
    }
}

/// Somebody who is there: reads, and shows to have what was read.
async fn reading(device: &Device) -> JoinHandle<()> {
    let mut socket = device.connect().await;
    tokio::spawn(async move {
        loop {
            socket.next().await;
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_away_is_told_what_was_said_and_that_it_was_read() {
    let (stage, server) = Stage::embedded(SHORT).await;
    away(&stage).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_it_is_not_told_but_browsers_are() {
    let (stage, server) = Stage::embedded(LONG).await;
    here(&stage).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_want_to_be_told_or_has_left_is_not() {
    let (stage, server) = Stage::embedded(LONG).await;
    unwilling(&stage).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_service_that_fails_is_tried_again_and_one_that_knows_nobody_is_believed() {
    let (stage, server) = Stage::embedded(SHORT).await;
    failing(&stage).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_is_not_told_and_what_was_edited_is_told_as_it_is() {
    let (stage, server) = Stage::embedded(LONG).await;
    amended(&stage).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_told_as_one() {
    let (stage, server) = Stage::embedded(LONG).await;
    burst(&stage).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_that_is_so_on_the_real_backends() {
    let (stage, cluster) = Stage::cluster(SHORT).await;
    away(&stage).await;
    failing(&stage).await;
    cluster.stop().await;
    let (stage, cluster) = Stage::cluster(LONG).await;
    here(&stage).await;
    unwilling(&stage).await;
    amended(&stage).await;
    burst(&stage).await;
    cluster.stop().await;
}

async fn away(stage: &Stage) {
    let push = &stage.push;
    let (ann, bob) = (stage.sign_up("ann", MOBILE).await, stage.sign_up("bob", MOBILE).await);
    let ack = ann.say(bob.to(), "안녕 👋").await;
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
    assert_eq!(bob.call("GET", "/v1/push/key", Value::Null).await.1["key"], key);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes(key)).verify(signed.as_bytes(), &bytes(signature)).unwrap();
    let claims: Value = serde_json::from_slice(&bytes(signed.split_once('.').unwrap().1)).unwrap();
    assert_eq!((&claims["aud"], &claims["sub"]), (&json!(push.url), &json!("mailto:ops@example.com")));

    bob.another("DEVICE_KIND_DESKTOP").await.read(&ack["conversation"], "1").await;
    let taken = push.at(&bob.path).await;
    let told = bob.browser.decrypt(&taken.body);
    assert_eq!((&told["type"], &told["seq"], &told["badge"]), (&json!("PUSH_TYPE_READ"), &json!("1"), &json!("0")));
    assert!(told.get("body").is_none() && taken.header("urgency") == "low");

    ann.say(bob.to(), "1").await;
    assert_eq!(bob.told(push).await["seq"], "2");
    bob.register(json!({"webPush": bob.subscription(push), "locale": "ko"})).await;
    ann.say(bob.to(), "비밀").await;
    let told = bob.told(push).await;
    assert_eq!((&told["seq"], &told["badge"]), (&json!("3"), &json!("2")));
    assert!(told.get("title").is_none() && told.get("body").is_none(), "{told}");
    assert_eq!(push.paths(), [""; 0], "nobody was told twice, and the sender not at all");
}

async fn here(stage: &Stage) {
    let push = &stage.push;
    let ann = stage.sign_up("ann", MOBILE).await;
    let phone = stage.sign_up("bob", MOBILE).await;
    let web = phone.another(WEB).await;
    web.subscribe(push).await;
    let (only, surfer) = (stage.sign_up("only", MOBILE).await, stage.sign_up("surfer", WEB).await);
    let (lost, witness) = (stage.sign_up("lost", MOBILE).await, stage.sign_up("witness", MOBILE).await);
    let group = ann.group("마당", &[&phone, &only, &surfer, &lost, &witness]).await;
    let group = json!({"conversation": group});
    // Browsers are connected, and show to have all of it: nobody may be looking.
    let there = [reading(&only).await, reading(&surfer).await, reading(&web).await];
    let at_phone = reading(&phone).await;
    // It has lost coverage: its socket is open, and nothing is read any more.
    let _at_lost = lost.connect().await;
    let mut said = 0;
    for _ in 0..3 {
        told_alone(&ann, &group, &mut said, push, &[&web, &surfer, &lost, &witness]).await;
    }
    at_phone.abort();
    drop(at_phone.await);
    // One phone's socket has gone, the other's not.
    told_alone(&ann, &group, &mut said, push, &[&phone, &web, &surfer, &lost, &witness]).await;
    there.iter().for_each(JoinHandle::abort);
}

/// Something is said in a group, of which these devices are told, and no others. A home that this machine holds up for a
/// second can't say what the others have shown to have: they are told then, and something else is said.
async fn told_alone(ann: &Device, group: &Value, said: &mut u32, push: &PushServer, devices: &[&Device]) {
    for _ in 0..5 {
        *said += 1;
        ann.say(group.clone(), &said.to_string()).await;
        for device in devices {
            let told = loop {
                let told = device.told(push).await;
                // Of what was said before, in such a case.
                if told["seq"].as_str() == Some(&said.to_string()) {
                    break told;
                }
            };
            assert_eq!((&told["title"], &told["body"]), (&json!("마당"), &json!(format!("ann 이름: {said}"))));
        }
        let others = push.paths();
        if others.is_empty() {
            return;
        }
        for path in others {
            push.at(&path).await;
        }
    }
    panic!("who has shown to have it is told each time");
}

async fn unwilling(stage: &Stage) {
    let push = &stage.push;
    let mut people = Vec::new();
    for name in ["ann", "muted", "mentions", "none", "removed", "blocker", "witness"] {
        people.push(stage.sign_up(name, MOBILE).await);
    }
    let [ann, muted, mentions, none, removed, blocker, witness] = &people[..] else { panic!() };
    let id = ann.group("방", &people[1..].iter().collect::<Vec<_>>()).await;
    for (device, settings) in [
        (muted, json!({"mutedUntil": "99999999999999"})),
        (mentions, json!({"notify": "NOTIFY_MENTIONS"})),
        (none, json!({"notify": "NOTIFY_NONE"})),
    ] {
        let (status, answer) = device.call("PATCH", &format!("/v1/conversations/{id}/settings"), settings).await;
        assert_eq!(status, 200, "{answer}");
    }
    let (status, answer) = blocker.call("PUT", &format!("/v1/blocks/{}", ann.person.id), Value::Null).await;
    assert!(status < 300, "{answer}");
    ann.say(json!({"conversation": id}), "just before").await;
    let path = format!("/v1/groups/{id}/members/{}", removed.person.id);
    assert_eq!(ann.call("DELETE", &path, Value::Null).await.0, 200);
    assert_eq!(witness.told(push).await["seq"], "1");
    let named = json!({"conversation": id, "mentions": [{"user": mentions.person.id, "offset": 0, "length": 1},
        {"user": none.person.id, "offset": 0, "length": 1}, {"user": muted.person.id, "offset": 0, "length": 1}]});
    ann.say(named, "@").await;
    assert_eq!(
        (witness.told(push).await["seq"].clone(), mentions.told(push).await["seq"].clone()),
        (json!("2"), json!("2"))
    );
    ann.say(json!({"conversation": id}), "3").await;
    assert_eq!(witness.told(push).await["seq"], "3");
    assert_eq!(push.paths(), [""; 0], "nobody else");
}

async fn amended(stage: &Stage) {
    let push = &stage.push;
    let (ann, bob) = (stage.sign_up("ann", MOBILE).await, stage.sign_up("bob", MOBILE).await);
    let witness = stage.sign_up("witness", MOBILE).await;
    let group = json!({"conversation": ann.group("방", &[&bob, &witness]).await});
    let mut at_ann = ann.connect().await;
    let gone = ann.say(group.clone(), "gone").await;
    let id = || ClientId::now().to_string();
    let delete = json!({"conversation": gone["conversation"], "seq": gone["seq"], "clientId": id()});
    assert!(at_ann.ask(json!({"id": 2, "delete": delete})).await["ack"].is_object());
    let said = ann.say(group, "as it was").await;
    let edit = json!({"conversation": said["conversation"], "seq": said["seq"], "clientId": id(), "text": "as it is"});
    assert!(at_ann.ask(json!({"id": 3, "edit": edit})).await["ack"].is_object());
    for device in [&witness, &bob] {
        let told = device.told(push).await;
        assert_eq!((&told["seq"], &told["body"]), (&json!("2"), &json!("ann 이름: as it is")));
    }
    assert_eq!(push.paths(), [""; 0], "what was taken back is told to nobody");
}

async fn failing(stage: &Stage) {
    let push = &stage.push;
    let (ann, bob) = (stage.sign_up("ann", MOBILE).await, stage.sign_up("bob", MOBILE).await);
    let (gone, elsewhere) = (stage.sign_up("gone", MOBILE).await, stage.sign_up("else", MOBILE).await);
    let mut tries = 0;
    let (away, at_gone, at_elsewhere) = (format!("{}/elsewhere", push.url), gone.path.clone(), elsewhere.path.clone());
    push.answer(move |taken| {
        if taken.path == at_gone {
            return Answer::status(410);
        }
        if taken.path == at_elsewhere {
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
    ann.say(bob.to(), &"길다 ".repeat(60)).await;
    for _ in 0..3 {
        assert_eq!(bob.told(push).await["body"].as_str().unwrap().chars().count(), 180 - 1);
    }
    let told = bob.told(push).await;
    assert_eq!((&told["seq"], told.get("body")), (&json!("1"), None), "too long for it: without what is shown");
    for device in [&gone, &elsewhere] {
        ann.say(device.to(), "1").await;
        assert_eq!(device.told(push).await["seq"], "1");
    }
    for device in [&gone, &elsewhere, &bob] {
        ann.say(device.to(), "2").await;
    }
    assert_eq!(elsewhere.told(push).await["seq"], "2");
    assert_eq!(bob.told(push).await["seq"], "2");
    assert_eq!(push.paths(), [""; 0], "not to who is gone, and not to where somebody else says");
    push.answer(|_| Answer::default());
}

async fn burst(stage: &Stage) {
    let push = &stage.push;
    let (ann, bob) = (stage.sign_up("ann", MOBILE).await, stage.sign_up("bob", MOBILE).await);
    let cho = stage.sign_up("cho", MOBILE).await;
    ann.say(cho.to(), "1").await;
    let elsewhere = push.at(&cho.path).await;
    // While its first push is on its way, the others are said.
    let mut first = true;
    push.answer(move |_| Answer {
        after: Duration::from_secs(2 * u64::from(std::mem::take(&mut first))),
        ..Answer::default()
    });
    for n in 1..=20 {
        ann.say(bob.to(), &n.to_string()).await;
    }
    let mut told = Vec::new();
    while told.last() != Some(&20) {
        let taken = push.at(&bob.path).await;
        assert_ne!(taken.header("topic"), elsewhere.header("topic"), "one of each conversation is shown");
        let seq = bob.browser.decrypt(&taken.body)["seq"].as_str().unwrap().parse::<u32>().unwrap();
        told.push(seq);
    }
    assert!(told.is_sorted() && told.len() < 20, "{told:?}");
    push.answer(|_| Answer::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_push_service_was_to_be_told_survives_a_restart_and_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (push, dead) = (PushServer::start(folder.path()).await, PushServer::start(folder.path()).await);
    let both = [std::fs::read_to_string(&push.ca).unwrap(), std::fs::read_to_string(&dead.ca).unwrap()].concat();
    std::fs::write(&push.ca, both).unwrap();
    dead.answer(|_| Answer::status(503));
    let server = start(folder.path(), &push, SHORT).await;
    let doors = Doors::of(&server);
    let ann = Device::sign_up(doors, "ann", MOBILE).await;
    let (bob, eve) = (Device::sign_up(doors, "bob", MOBILE).await, Device::sign_up(doors, "eve", MOBILE).await);
    bob.subscribe(&dead).await;
    eve.subscribe(&push).await;
    for n in 1..=3 {
        ann.say(bob.to(), &n.to_string()).await;
    }
    dead.at(&bob.path).await;
    let mut socket = ann.connect().await;
    socket.send(send(2, &eve.person, "hello", ClientId::now())).await;
    assert_eq!(eve.told(&push).await["seq"], "1", "others are told");
    server.stop().await;
    dead.answer(|_| Answer::default());
    let server = start(folder.path(), &push, SHORT).await;
    loop {
        // The newest stands for those before it.
        if bob.told(&dead).await["seq"] == "3" {
            break;
        }
    }
    assert_eq!(push.paths(), [""; 0], "who was told is not told again");
    server.stop().await;
}
