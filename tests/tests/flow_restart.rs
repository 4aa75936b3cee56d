//! Whoever logs in just after a restart is told what happened in the half minute before it.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_proto::id::ClientId;
use madang_solo::serve::Running;
use madang_tests::{
    client::{Person, Socket, call, sign_up},
    start,
};
use serde_json::{Value, json};

fn other_device(person: &Person) -> Person {
    Person { id: person.id.clone(), token: person.token.clone(), device: uuid::Uuid::new_v4().to_string() }
}

/// The revisions of what is told of a conversation before what is live.
async fn told(socket: &mut Socket, conversation: &str) -> Vec<u64> {
    let mut revisions = Vec::new();
    loop {
        let frame = socket.next().await;
        if frame["live"].is_object() {
            return revisions;
        }
        if frame["event"]["conversation"] == conversation {
            revisions.push(frame["event"]["revision"].as_str().unwrap().parse().unwrap());
        }
    }
}

async fn say(server: &Running, who: &Person, conversation: &str, text: &str) -> Value {
    let body = json!({"conversation": conversation, "clientId": ClientId::now().to_string(), "text": text});
    let (status, ack) = call(server, "POST", "/v1/messages", &who.token, body).await;
    assert_eq!(status, 200, "{ack}");
    ack
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_just_before_a_restart_is_told_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path()).await;
    let [ann, bob] = [sign_up(&server, "ann").await, sign_up(&server, "bob").await];
    let group = json!({"name": "마당", "members": [bob.id]});
    let (status, group) = call(&server, "POST", "/v1/groups", &ann.token, group).await;
    assert_eq!(status, 201, "{group}");
    let group = group["conversation"].as_str().unwrap();
    let (mut at_bob, ready) = Socket::connect(&server, &bob, "").await;
    let cursor = ready["cursor"].as_str().unwrap().to_owned();
    for n in 2..=6 {
        assert_eq!(say(&server, &ann, group, &format!("m{n}")).await["revision"], n.to_string());
    }
    while at_bob.message().await["message"]["text"] != "m6" {}
    for revision in 7..=9_u64 {
        server.stop().await;
        server = start(folder.path()).await;
        let (mut new, ready) = Socket::connect(&server, &other_device(&bob), "").await;
        assert_eq!(ready["resume"], "RESUME_NEW");
        assert_eq!(told(&mut new, group).await, (1..revision).collect::<Vec<_>>());
        let (mut old, ready) = Socket::connect(&server, &bob, &cursor).await;
        assert_eq!(ready["resume"], "RESUME_SNAPSHOT", "its cursor is of an inbox that is gone");
        assert_eq!(told(&mut old, group).await, (1..revision).collect::<Vec<_>>());
        let ack = say(&server, &ann, group, "again").await;
        assert_eq!(ack["revision"], revision.to_string());
        for socket in [&mut new, &mut old] {
            assert_eq!(socket.message().await["revision"], ack["revision"], "and it goes on behind that");
        }
    }
    server.stop().await;
}
