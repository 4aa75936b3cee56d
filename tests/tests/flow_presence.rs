//! Presence as clients meet it: whom one watches, when they come and go, and who is told nothing.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_proto::id::ClientId;
use madang_tests::{
    client::{Person, Socket, call, send, sign_up},
    start, until,
};
use serde_json::{Value, json};
use std::time::Duration;

async fn presence(socket: &mut Socket) -> (String, bool) {
    loop {
        let frame = socket.next().await;
        if let Some(presence) = frame["presence"].as_object() {
            assert_eq!(frame["id"], 0);
            let seen: i64 = presence["lastSeen"].as_str().unwrap().parse().unwrap();
            assert!(seen > 0 || presence["online"] == false, "{frame}");
            return (presence["user"].as_str().unwrap().to_owned(), presence["online"].as_bool().unwrap());
        }
    }
}

async fn watch(socket: &mut Socket, id: u64, users: &[&Person]) -> Value {
    let users: Vec<&str> = users.iter().map(|person| person.id.as_str()).collect();
    socket.send(json!({"id": id, "watch": {"users": users}})).await;
    socket.answer(id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_share_a_conversation_see_each_other_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let [alice, bob, cho, eve] = [
        sign_up(&server, "alice").await,
        sign_up(&server, "bob").await,
        sign_up(&server, "cho").await,
        sign_up(&server, "eve").await,
    ];
    let group = json!({"name": "방", "members": [bob.id, cho.id]});
    let (status, group) = call(&server, "POST", "/v1/groups", &alice.token, group).await;
    assert_eq!(status, 201, "{group}");
    let id = group["conversation"].as_str().unwrap();
    let (at_bob, _) = Socket::connect(&server, &bob, "").await;
    let (at_eve, _) = Socket::connect(&server, &eve, "").await;
    let (mut at_alice, _) = Socket::connect(&server, &alice, "").await;
    assert!(watch(&mut at_alice, 2, &[&bob, &eve]).await["ack"].is_object());
    assert_eq!(presence(&mut at_alice).await, (bob.id.clone(), true), "eve is there, and no acquaintance");
    drop(at_bob);
    assert_eq!(presence(&mut at_alice).await, (bob.id.clone(), false));
    let (mut at_bob, _) = Socket::connect(&server, &bob, "").await;
    assert_eq!(presence(&mut at_alice).await, (bob.id.clone(), true));

    // A new watch replaces the last; cho is there, and eve is no stranger once she has written.
    let (at_cho, _) = Socket::connect(&server, &cho, "").await;
    watch(&mut at_alice, 3, &[&cho, &eve]).await;
    assert_eq!(presence(&mut at_alice).await, (cho.id.clone(), true));
    let (mut eve_too, _) = Socket::connect(&server, &eve, "").await;
    eve_too.send(send(2, &alice, "hello", ClientId::now())).await;
    assert!(eve_too.answer(2).await["ack"].is_object());
    assert_eq!(presence(&mut at_alice).await, (eve.id.clone(), true));

    // Who blocked her is not there for her, and is again once that is over; also for a watch that went on.
    assert_eq!(call(&server, "PUT", &format!("/v1/blocks/{}", alice.id), &eve.token, Value::Null).await.0, 204);
    drop((eve_too, at_eve));
    drop(at_cho);
    assert_eq!(presence(&mut at_alice).await, (cho.id.clone(), false), "not eve, who has gone first");
    let (at_cho, _) = Socket::connect(&server, &cho, "").await;
    assert_eq!(presence(&mut at_alice).await, (cho.id.clone(), true));
    watch(&mut at_alice, 4, &[&cho, &eve]).await;
    assert_eq!(presence(&mut at_alice).await, (cho.id.clone(), true));
    watch(&mut at_alice, 5, &[&eve, &cho]).await;
    assert_eq!(presence(&mut at_alice).await, (cho.id.clone(), true), "not eve, who would be told of first or next");
    watch(&mut at_alice, 6, &[&cho]).await;
    assert_eq!(presence(&mut at_alice).await, (cho.id.clone(), true));

    // Who was removed sees nobody: bob watches, goes, and cho leaves after that.
    watch(&mut at_bob, 2, &[&cho]).await;
    assert_eq!(presence(&mut at_bob).await, (cho.id.clone(), true));
    let removed = format!("/v1/groups/{id}/members/{}", bob.id);
    assert_eq!(call(&server, "DELETE", &removed, &alice.token, Value::Null).await.0, 200);
    drop(at_cho);
    assert_eq!(presence(&mut at_alice).await, (cho.id.clone(), false), "the news is out");
    at_bob.send(json!({"id": 3, "watch": {"users": [bob.id]}})).await;
    loop {
        let frame = at_bob.next().await;
        assert!(frame["presence"]["user"] != cho.id.as_str(), "{frame}");
        if frame["presence"]["user"] == bob.id.as_str() {
            break;
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_somebody_was_there_is_zero_until_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let [alice, bob] = [sign_up(&server, "alice").await, sign_up(&server, "bob").await];
    let (mut at_alice, _) = Socket::connect(&server, &alice, "").await;
    at_alice.send(send(2, &bob, "hello", ClientId::now())).await;
    assert!(at_alice.answer(2).await["ack"].is_object());
    watch(&mut at_alice, 3, &[&bob]).await;
    let since = std::time::Instant::now();
    let mut told = async || loop {
        let frame = at_alice.next().await;
        if frame["presence"].is_object() {
            let seen: i64 = frame["presence"]["lastSeen"].as_str().unwrap().parse().unwrap();
            return (frame["presence"]["online"].as_bool().unwrap(), seen > 0);
        }
    };
    assert_eq!(told().await, (false, false), "he never was");
    assert!(since.elapsed() < Duration::from_secs(5), "there is no other gateway that could bring him");
    let (at_bob, _) = Socket::connect(&server, &bob, "").await;
    assert_eq!(told().await, (true, true));
    drop(at_bob);
    assert_eq!(told().await, (false, true));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_are_watched_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let alice = sign_up(&server, "alice").await;
    let (mut socket, _) = Socket::connect(&server, &alice, "").await;
    let strangers: Vec<String> = (0..201).map(|_| uuid::Uuid::new_v4().to_string()).collect();
    socket.send(json!({"id": 2, "watch": {"users": strangers[..200]}})).await;
    assert!(socket.answer(2).await["ack"].is_object());
    socket.send(json!({"id": 3, "watch": {"users": strangers}})).await;
    let error = socket.answer(3).await["error"].clone();
    assert_eq!((&error["code"], &error["reason"]), (&json!("INVALID_ARGUMENT"), &json!("TOO_LARGE")), "{error}");
    socket.send(json!({"id": 4, "watch": {"users": ["alice"]}})).await;
    assert_eq!(socket.answer(4).await["error"]["reason"], "INVALID_FIELD");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_in_a_group_is_not_shown_where_there_is_a_block() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let [alice, bob, cho] =
        [sign_up(&server, "alice").await, sign_up(&server, "bob").await, sign_up(&server, "cho").await];
    let group = json!({"name": "방", "members": [bob.id, cho.id]});
    let (_, group) = call(&server, "POST", "/v1/groups", &alice.token, group).await;
    assert_eq!(call(&server, "PUT", &format!("/v1/blocks/{}", alice.id), &cho.token, Value::Null).await.0, 204);
    let (mut at_alice, _) = Socket::connect(&server, &alice, "").await;
    let (mut at_bob, _) = Socket::connect(&server, &bob, "").await;
    let (mut at_cho, _) = Socket::connect(&server, &cho, "").await;
    // The second is told by what was found out for the first.
    for id in [2, 3] {
        // It may be dropped, and is said again while it lasts.
        until("bob sees her write", async || {
            at_alice.send(json!({"typing": {"conversation": group["conversation"]}})).await;
            let seen = async {
                loop {
                    let frame = at_bob.next().await;
                    if frame["typing"].is_object() {
                        break frame["typing"]["user"].clone();
                    }
                }
            };
            let user = tokio::time::timeout(Duration::from_secs(3), seen).await.ok()?;
            assert_eq!(user, alice.id.as_str());
            Some(())
        })
        .await;
        let said = json!({"conversation": group["conversation"], "clientId": ClientId::now().to_string(), "text": "a"});
        at_alice.send(json!({"id": id, "send": said})).await;
        assert!(at_alice.answer(id).await["ack"].is_object());
        loop {
            let frame = at_cho.next().await;
            assert!(!frame["typing"].is_object(), "{frame}");
            if frame["event"]["message"].is_object() {
                break;
            }
        }
    }
    // A block begins and ends at once, also where it was just known who may know.
    let block = format!("/v1/blocks/{}", alice.id);
    let typing = json!({"typing": {"conversation": group["conversation"]}});
    for id in [4, 6] {
        assert_eq!(call(&server, "PUT", &block, &bob.token, Value::Null).await.0, 204);
        at_alice.send(typing.clone()).await;
        let said = json!({"conversation": group["conversation"], "clientId": ClientId::now().to_string(), "text": "b"});
        at_alice.send(json!({"id": id, "send": said})).await;
        assert!(at_alice.answer(id).await["ack"].is_object());
        loop {
            let frame = at_bob.next().await;
            assert!(!frame["typing"].is_object(), "{frame}");
            if frame["event"]["message"]["text"] == "b" {
                break;
            }
        }
        assert_eq!(call(&server, "DELETE", &block, &bob.token, Value::Null).await.0, 204);
        until("bob sees her write again", async || {
            at_alice.send(typing.clone()).await;
            let seen = async { while !at_bob.next().await["typing"].is_object() {} };
            tokio::time::timeout(Duration::from_secs(1), seen).await.ok()
        })
        .await;
    }
    server.stop().await;
}
