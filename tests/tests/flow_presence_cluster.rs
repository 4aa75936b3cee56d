//! Presence where users have different homes: who watches is told by another process, also while that is restarted; and
//! blocks count there.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_proto::id::ClientId;
use madang_tests::{
    client::{Person, Socket, call_at, sign_up_at},
    cluster::Cluster,
    until,
};
use serde_json::{Value, json};
use std::{collections::HashSet, net::SocketAddr, time::Duration};

async fn connect(door: SocketAddr, person: &Person) -> Socket {
    let (socket, ready) = Socket::connect_at(door, person, "").await;
    assert_eq!(ready["user"], person.id.as_str());
    socket
}

/// Waits until a watcher was told of all of these that they are there, or that they are not.
async fn told(socket: &mut Socket, watched: &[&str], people: &[&Person], online: bool) {
    let mut waiting: HashSet<&str> = people.iter().map(|person| person.id.as_str()).collect();
    let mut id = 100;
    while !waiting.is_empty() {
        let frame = socket.next().await;
        if frame["interrupted"].is_object() {
            // The shard of the watcher has gone to another home.
            id += 1;
            socket.send(json!({"id": id, "watch": {"users": watched}})).await;
        }
        if frame["presence"]["online"] == online {
            waiting.remove(frame["presence"]["user"].as_str().unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn homes_tell_each_other_who_is_there() {
    let mut cluster = Cluster::start(2, 1).await;
    let at = |url: &str| -> SocketAddr { url.strip_prefix("http://").unwrap().parse().unwrap() };
    let (api, gateway) = (at(&cluster.api), at(&cluster.gateways[0]));
    // Twelve, so that both processes are home of some.
    let mut people = Vec::new();
    for n in 0..12 {
        people.push(sign_up_at(api, &format!("user_{n}")).await);
    }
    let (ann, others) = people.split_first().unwrap();
    let members: Vec<&str> = others.iter().map(|person| person.id.as_str()).collect();
    let body = json!({"name": "모두", "members": members});
    let (status, group) = call_at(api, "POST", "/v1/groups", &ann.token, body).await;
    assert_eq!(status, 201, "{group}");
    let all: Vec<&Person> = others.iter().collect();
    let mut at_ann = connect(gateway, ann).await;
    at_ann.send(json!({"id": 2, "watch": {"users": members}})).await;
    assert!(at_ann.answer(2).await["ack"].is_object());
    let mut sockets = Vec::new();
    for person in others {
        sockets.push(connect(gateway, person).await);
    }
    told(&mut at_ann, &members, &all, true).await;
    // Who blocks her is told no more, and she is not told of them: at once, though she has watched before.
    let mut bob = sockets.remove(0);
    let block = format!("/v1/blocks/{}", ann.id);
    assert_eq!(call_at(api, "PUT", &block, &others[0].token, Value::Null).await.0, 204);
    drop(sockets);
    told(&mut at_ann, &members, &all[1..], false).await;
    let watch = json!({"id": 2, "watch": {"users": [ann.id, others[1].id]}});
    assert!(bob.ask(watch.clone()).await["ack"].is_object());
    let cho = connect(gateway, &others[1]).await;
    loop {
        let frame = bob.next().await;
        if frame["interrupted"].is_object() {
            bob.send(watch.clone()).await;
        }
        assert!(frame["presence"]["user"] != ann.id.as_str(), "{frame}");
        if frame["presence"]["user"] == others[1].id.as_str() && frame["presence"]["online"] == true {
            break;
        }
    }
    drop(cho);
    // Nor are they told that she writes, whichever process is home of the group and of what the two say to each other.
    let group = group["conversation"].clone();
    let typing = json!({"typing": {"conversation": group}});
    for (person, n) in others[1..6].iter().zip(20..) {
        let mut socket = connect(gateway, person).await;
        until("they see her write", async || {
            at_ann.send(typing.clone()).await;
            let seen = async { while !socket.next().await["typing"].is_object() {} };
            tokio::time::timeout(Duration::from_secs(3), seen).await.ok()
        })
        .await;
        assert_eq!(call_at(api, "PUT", &block, &person.token, Value::Null).await.0, 204);
        at_ann.send(typing.clone()).await;
        let text = n.to_string();
        let said = json!({"conversation": group, "clientId": ClientId::now().to_string(), "text": text});
        assert!(at_ann.ask(json!({"id": n, "send": said})).await["ack"].is_object());
        loop {
            let frame = socket.next().await;
            assert!(!frame["typing"].is_object(), "{frame}");
            if frame["event"]["message"]["text"] == text.as_str() {
                break;
            }
        }
        assert_eq!(call_at(api, "DELETE", &block, &person.token, Value::Null).await.0, 204);
    }
    // A home is restarted: watches begin anew, by the client, and find everybody where they are then.
    let restarted = cluster.chats.pop().unwrap().restart().await;
    cluster.chats.push(restarted);
    let mut back = Vec::new();
    for person in &others[1..] {
        back.push(connect(gateway, person).await);
    }
    let mut again = connect(gateway, ann).await;
    again.send(json!({"id": 3, "watch": {"users": members}})).await;
    told(&mut again, &members, &all[1..], true).await;
    cluster.stop().await;
}
