//! A message is one trace: from its client's frame to the push of who is away, whichever processes had to do with it.
//! What is told to a collector has nothing of what was said, and of nobody who they are.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_proto::id::ClientId;
use madang_tests::{
    client::{Person, Socket, call_at, call_with, send, sign_up_at},
    cluster::{Cluster, Plan},
    collector::{Collector, Taken},
    push::{Browser, PushServer},
    start_with,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

/// What is done for a message, and for what of it each is done.
const TREE: [(&str, &str); 10] = [
    ("chat accept", "gateway send"),
    ("chat number", "chat accept"),
    ("chat append", "chat number"),
    ("chat fan_out", "chat number"),
    ("store project", "chat number"),
    ("group project", "chat number"),
    ("notify decide", "chat number"),
    ("notify push", "notify decide"),
    ("chat deliver", "chat number"),
    ("gateway write", "chat deliver"),
];

/// Where clients go.
struct Doors {
    http: SocketAddr,
    gateway: SocketAddr,
}

/// Who sends names a trace of its own; it has all of the tree, and each part of it once begun after its parent.
async fn a_message_is_one_trace(doors: &Doors, push: &PushServer) {
    let collector = Collector::get();
    let sign_up = |handle: String| async move { sign_up_at(doors.http, &handle).await };
    let ann = sign_up(format!("ann{}_handle", doors.http.port())).await;
    let (mut at_ann, _) = Socket::connect_at(doors.gateway, &ann, "").await;
    for n in 0..3 {
        let bob = sign_up(format!("bob{n}{}_handle", doors.http.port())).await;
        subscribe(doors.http, &bob, push).await;
        let (trace, parent): (u128, u64) = (rand::random(), rand::random());
        let mut frame = send(n + 2, &bob, "verbatim", ClientId::now());
        frame["traceparent"] = json!(format!("00-{trace:032x}-{parent:016x}-01"));
        at_ann.send(frame).await;
        let answer = at_ann.answer(n + 2).await;
        assert_eq!(answer["ack"]["seq"], "1", "{answer}");
        let names: Vec<_> = TREE.iter().flat_map(|(child, parent)| [*child, *parent]).collect();
        let spans = collector.trace(trace, &names).await;
        check(&spans, parent);
    }
    collector.exemplar("madang_gateway_answer_seconds").await;
    let text = collector.text();
    for secret in ["verbatim", "_handle", "correct horse", &ann.token, &push.url, &ann.id, &ann.device] {
        let at = text.find(secret).map(|at| text[..at].chars().rev().take(200).collect::<String>());
        assert_eq!(at, None, "{secret:?} is in what the collector was told (backwards)");
    }
}

fn check(spans: &[Taken], client: u64) {
    let by_id: BTreeMap<_, _> = spans.iter().map(|span| (&span.id, span)).collect();
    assert_eq!(by_id.len(), spans.len(), "ids are unique");
    let mut edges = BTreeSet::new();
    for span in spans {
        assert!(span.time.0 <= span.time.1, "{span:?}");
        match by_id.get(&span.parent) {
            Some(parent) => {
                assert!(parent.time.0 <= span.time.0 + 5_000_000, "{span:?} began before {parent:?}");
                edges.insert((span.name.as_str(), parent.name.as_str()));
            }
            None => {
                assert_eq!((span.name.as_str(), &span.parent[..]), ("gateway send", &client.to_be_bytes()[..]));
            }
        }
    }
    let expected = BTreeSet::from(TREE);
    let missing: Vec<_> = expected.difference(&edges).collect();
    assert!(missing.is_empty(), "not in the trace: {missing:?}; there is {edges:?}");
    let roots = spans.iter().filter(|span| span.name == "gateway send").count();
    assert_eq!(roots, 1, "one request, one root");
}

async fn subscribe(door: SocketAddr, person: &Person, push: &PushServer) {
    let subscription = Browser::default().subscription(&format!("{}/push/{}", push.url, person.id));
    let path = format!("/v1/devices/{}/push", person.device);
    let body = json!({"webPush": subscription, "preview": true});
    let (status, answer) = call_at(door, "PUT", &path, &person.token, body).await;
    assert_eq!(status, 204, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_one_process() {
    let collector = Collector::get();
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let ca = push.ca.to_str().unwrap().to_owned();
    let flags = ["--push-loopback", "--push-ca", &ca, "--push-wait-ms", "300"];
    let server = start_with(folder.path(), &flags).await;
    a_message_is_one_trace(&Doors { http: server.http, gateway: server.http }, &push).await;
    // A request over HTTP, and what it asks of the services.
    let trace: u128 = rand::random();
    let head = format!("traceparent: 00-{trace:032x}-00000000000000aa-01\r\n");
    let eve = sign_up_at(server.http, "eve_handle").await;
    let (status, me) = call_with(server.http, "GET", "/v1/me", &eve.token, &head, Value::Null).await;
    assert_eq!(status, 200, "{me}");
    let rpc = "rpc madang.account.v1.AccountService/GetUsers";
    let spans = collector.trace(trace, &["http GET /v1/me", rpc]).await;
    assert!(spans.iter().filter(|span| span.name == rpc).count() >= 1, "{spans:?}");
    assert!(collector.metric("madang_gateway_connections").await.help.contains("sockets"));
    collector.lines().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn across_a_cluster() {
    let _ = Collector::get();
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let flags = ["--push-ca", push.ca.to_str().unwrap(), "--push-wait-ms", "300"].map(str::to_owned).to_vec();
    let cluster = Cluster::with(Plan { chats: 2, push: flags, ..Plan::default() }).await;
    let address = |url: &str| url.strip_prefix("http://").unwrap().parse().unwrap();
    let doors = Doors { http: address(&cluster.api), gateway: address(&cluster.gateways[0]) };
    a_message_is_one_trace(&doors, &push).await;
    cluster.stop().await;
}
