//! What people say and who they are is in nothing that a cluster tells of itself: a run with a bit of everything, every
//! service a process of its own at `debug`, all traces collected; then all logs, spans, reported lines and metrics of all
//! processes are searched.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_proto::id::ClientId;
use madang_tests::{
    client::{Person, Socket, call_at, call_with, send, sign_up_at, text},
    cluster::{database, forget},
    collector::Collector,
    program::Services,
    push::{Browser, PushServer},
    until,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::SocketAddr};
use tokio::net::TcpStream;

/// What a collector is told: by every service, and of every kind.
const REPORTS: [&str; 10] = [
    "madang-account",
    "madang-store",
    "madang-group",
    "madang-chat",
    "madang-notify",
    "madang-gateway",
    "madang-api",
    "resource_spans",
    "resource_metrics",
    "resource_logs",
];
/// Where a proxy says that a client is.
const ADDRESS: &str = "203.0.113.77";

/// People at the doors, and what must not be found of them.
struct Run {
    api: SocketAddr,
    gateway: SocketAddr,
    secrets: Vec<String>,
}

impl Run {
    async fn call(&mut self, method: &str, path: &str, person: &Person, body: Value) -> Value {
        let head = format!("x-forwarded-for: {ADDRESS}\r\n");
        let (status, answer) = call_with(self.api, method, path, &person.token, &head, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    async fn person(&mut self, handle: &str) -> Person {
        let person = sign_up_at(self.api, handle).await;
        self.secrets.extend(person.token.split('.').map(str::to_owned));
        person
    }

    async fn socket(&self, person: &Person) -> Socket {
        Socket::connect_at(self.gateway, person, "").await.0
    }
}

async fn frame(socket: &mut Socket, id: u64, kind: &str, mut fields: Value) -> Value {
    if kind != "read" && kind != "watch" {
        fields["clientId"] = ClientId::now().to_string().into();
    }
    let mut frame = json!({ "id": id });
    frame[kind] = fields;
    let answer = socket.ask(frame).await;
    assert!(answer["ack"].is_object(), "{kind}: {answer}");
    answer["ack"].clone()
}

/// Texts of all kinds, written to somebody and changed.
async fn talk(run: &mut Run, ann: &Person, bob: &Person) {
    let mut at_ann = run.socket(ann).await;
    let mut at_bob = run.socket(bob).await;
    let ack = at_ann.ask(send(2, bob, "verbatim one\r\n200 OK", ClientId::now())).await["ack"].clone();
    let conversation = ack["conversation"].as_str().unwrap().to_owned();
    at_bob.message().await;
    let at = |seq: u64, mut fields: Value| {
        fields["conversation"] = conversation.as_str().into();
        fields["seq"] = seq.into();
        fields
    };
    frame(&mut at_ann, 3, "edit", at(1, json!({"text": "verbatim two"}))).await;
    frame(&mut at_bob, 4, "react", at(1, json!({"emoji": "verbatim3"}))).await;
    frame(&mut at_bob, 5, "read", at(1, json!({}))).await;
    let attachment = json!({"url": "https://verbatim4.example/x", "mediaType": "image/png", "name": "verbatim5"});
    let rich =
        json!({"user": bob.id, "text": "verbatim6", "attachments": [attachment], "data": {"verbatim7": "verbatim8"}});
    frame(&mut at_ann, 6, "send", rich).await;
    frame(&mut at_ann, 7, "delete", at(2, json!({}))).await;
    at_ann.send(json!({"typing": {"conversation": conversation}})).await;
    frame(&mut at_ann, 8, "watch", json!({"users": [bob.id]})).await;
    // What can't be understood, and what is too long.
    at_ann.send(json!({"id": 9, "send": {"verbatim9": 1, "text": 7}})).await;
    assert!(at_ann.answer(9).await["error"].is_object());
    at_ann.send(send(10, bob, &"verbatim10".repeat(7000), ClientId::now())).await;
    assert!(at_ann.answer(10).await["error"].is_object());
    let path = format!("/v1/conversations/{conversation}/messages?atLeast=5");
    let page = run.call("GET", &path, bob, Value::Null).await;
    assert_eq!(page["messages"][0]["text"], "verbatim two", "{page}");
    run.call("GET", &format!("/v1/conversations/{conversation}/changes?since=1"), bob, Value::Null).await;
    run.call("GET", "/v1/conversations", bob, Value::Null).await;
    let settings = format!("/v1/conversations/{conversation}/settings");
    run.call("PATCH", &settings, bob, json!({"data": {"verbatim11": "verbatim12"}})).await;
    run.secrets.push("verbatim".into());
}

/// A group, its invitation, and its names.
async fn gather(run: &mut Run, ann: &Person, bob: &Person, eve: &Person) {
    let made = json!({"name": "verbatim group", "members": [bob.id], "data": {"verbatim13": "verbatim14"}});
    let group = run.call("POST", "/v1/groups", ann, made).await["conversation"].as_str().unwrap().to_owned();
    let invite = run.call("POST", &format!("/v1/groups/{group}/invites"), ann, json!({"maxUses": 2})).await;
    let code = invite["code"].as_str().unwrap().to_owned();
    run.call("GET", &format!("/v1/invites/{code}"), eve, Value::Null).await;
    run.call("POST", &format!("/v1/invites/{code}"), eve, json!({})).await;
    run.secrets.push(code);
    run.call("PATCH", &format!("/v1/groups/{group}"), ann, json!({"name": "verbatim renamed"})).await;
    let sent = json!({"conversation": group, "clientId": ClientId::now().to_string(), "text": "verbatim15"});
    run.call("POST", "/v1/messages", eve, sent).await;
    run.call("DELETE", &format!("/v1/groups/{group}/members/{}", eve.id), ann, Value::Null).await;
}

/// Who they are: profiles, passwords, devices, log-ins that go wrong.
async fn manage(run: &mut Run, ann: &Person, eve: &Person, push: &PushServer) {
    let profile = json!({"name": "verbatim name", "statusMessage": "verbatim status", "handle": "anew_secret"});
    run.call("PATCH", "/v1/me", ann, profile).await;
    run.call("GET", "/v1/users?handle=bob_secret", ann, Value::Null).await;
    let changed = json!({"old": "correct horse", "new": "battery staple"});
    run.call("PUT", "/v1/me/password", ann, changed).await;
    let device = json!({"id": uuid::Uuid::new_v4().to_string(), "kind": "DEVICE_KIND_WEB", "name": "verbatim phone"});
    for (handle, password, wanted) in [("anew_secret", "battery staple", 201), ("anew_secret", "battery horse", 401)] {
        let log_in = json!({"handle": handle, "password": password, "device": device});
        let (status, answer) = call_at(run.api, "POST", "/v1/sessions", "", log_in).await;
        assert_eq!(status, wanted, "{answer}");
        for token in ["accessToken", "refreshToken"].iter().filter_map(|name| answer[name].as_str()) {
            run.secrets.extend(token.split('.').map(str::to_owned));
        }
        if let Some(token) = answer["refreshToken"].as_str() {
            let (status, _) =
                call_at(run.api, "POST", "/v1/sessions/refresh", "", json!({"refreshToken": token})).await;
            assert!((200..300).contains(&status));
        }
    }
    let (status, _) = call_at(run.api, "GET", "/v1/me", "verbatim.forged.token", Value::Null).await;
    assert_eq!(status, 401);
    let mut forged = Socket::over(TcpStream::connect(run.gateway).await.unwrap()).await;
    forged.send(json!({"id": 1, "hello": {"token": format!("{}x", eve.token), "device": device}})).await;
    forged.next().await;
    // One push that comes, one that can't be taken: nobody listens there.
    for (n, url) in [push.url.as_str(), "https://127.0.0.1:1"].into_iter().enumerate() {
        let person = run.person(&format!("away{n}_secret")).await;
        let subscription = Browser::default().subscription(&format!("{url}/send_secret/{n}"));
        run.secrets.extend(["p256dh", "auth"].map(|key| subscription["keys"][key].as_str().unwrap().to_owned()));
        let path = format!("/v1/devices/{}/push", person.device);
        run.call("PUT", &path, &person, json!({"webPush": subscription, "preview": true})).await;
        let sent = json!({"user": person.id, "clientId": ClientId::now().to_string(), "text": "verbatim push"});
        run.call("POST", "/v1/messages", eve, sent).await;
    }
    push.next(|_| true).await;
    run.call("PUT", &format!("/v1/blocks/{}", ann.id), eve, Value::Null).await;
    run.call("GET", "/v1/me/export", eve, Value::Null).await;
    run.call("POST", "/v1/me/deletion", eve, json!({"password": "correct horse", "eraseMessages": true})).await;
    run.secrets.extend(["_secret", "correct horse", "battery", ADDRESS].map(str::to_owned));
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests with `make test`"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_what_was_said_or_of_who_said_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let (collector, port) = Collector::start(None, None);
    forget(&variable("MADANG_TEST_NATS")).await;
    let (keyspace, postgres) = database().await;
    let set = BTreeMap::from([
        ("MADANG_TEST_POSTGRES", postgres),
        ("MADANG_CASSANDRA_KEYSPACE", keyspace),
        ("RUST_LOG", "debug".to_owned()),
        ("MADANG_OTLP", format!("http://127.0.0.1:{port}")),
        ("MADANG_TRACE_RATIO", "1".to_owned()),
        ("MADANG_ARGON2_KIB", "8".to_owned()),
        ("MADANG_DRAIN_WINDOW", "0".to_owned()),
        ("MADANG_TRUSTED_PROXIES", "127.0.0.1".to_owned()),
        ("MADANG_PUSH_LOOPBACK", "true".to_owned()),
        ("MADANG_PUSH_CA", push.ca.to_str().unwrap().to_owned()),
        ("MADANG_PUSH_WAIT_MS", "0".to_owned()),
    ]);
    let services = Services::start(folder.path(), &["--chats", "2", "--gateways", "2", "--tls"], &set).await;
    let door = |name: &str| services.state.processes.iter().find(|each| each.name.starts_with(name)).unwrap();
    let address = |name: &str| door(name).http.as_ref().unwrap().parse().unwrap();
    let mut run = Run { api: address("api"), gateway: address("gateway"), secrets: Vec::new() };
    let (ann, bob, eve) =
        (run.person("ann_secret").await, run.person("bob_secret").await, run.person("eve_secret").await);
    talk(&mut run, &ann, &bob).await;
    gather(&mut run, &ann, &bob, &eve).await;
    manage(&mut run, &ann, &eve, &push).await;
    let mut told = Vec::new();
    for process in &services.state.processes {
        let metrics = text(process.admin.parse().unwrap(), "/metrics").await;
        assert!(metrics.contains("process_cpu_seconds_total"), "{}: {metrics}", process.name);
        told.push((format!("metrics of {}", process.name), metrics));
    }
    // What a machine that is busy with other things does not get to tell at the end is lost.
    until("everything is reported", async || {
        let collected = collector.text();
        REPORTS.iter().all(|report| collected.contains(report)).then_some(())
    })
    .await;
    let logs = services.stop().await;
    assert_eq!(logs.len(), 9, "{:?}", logs.keys());
    for (name, log) in logs {
        assert!(log.contains("DEBUG"), "{name} says something: {log}");
        told.push((format!("log of {name}"), log));
    }
    told.push(("collector".into(), collector.text()));
    for secret in run.secrets {
        for (whose, text) in &told {
            let line = text.lines().find(|line| line.contains(&secret));
            let near = line.map(|line| {
                line[line.find(&secret).unwrap().saturating_sub(300)..].chars().take(600).collect::<String>()
            });
            assert_eq!(near, None, "{secret:?} is in the {whose}");
        }
    }
}
