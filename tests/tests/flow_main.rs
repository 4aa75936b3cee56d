//! The main job, as a client meets it: sign up, connect, send, receive, read back, start again.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_proto::id::ClientId;
use madang_tests::{
    client::{Socket, call, send, sign_up},
    start,
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_saved_once_in_order_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (alice, bob) = (sign_up(&server, "alice").await, sign_up(&server, "bob").await);
    let (mut at_alice, ready) = Socket::connect(&server, &alice, "").await;
    assert_eq!(ready["resume"], "RESUME_NEW");
    let (mut at_bob, _) = Socket::connect(&server, &bob, "").await;
    let texts: Vec<String> = (0..50).map(|n| format!("안녕 👋 {n} \u{2028}")).collect();
    let ids: Vec<ClientId> = texts.iter().map(|_| ClientId::now()).collect();
    for (n, text) in texts.iter().enumerate() {
        at_alice.send(send(n as u64 + 2, &bob, text, ids[n])).await;
    }
    let mut numbers = Vec::new();
    for n in 0..50 {
        let ack = at_alice.answer(n as u64 + 2).await["ack"].clone();
        numbers.push((ack["seq"].as_str().unwrap().parse::<u64>().unwrap(), n));
    }
    // In the order in which they were sent; which may be another one where this machine held up the home.
    assert!(at_alice.again > 0 || numbers.is_sorted(), "{numbers:?}");
    numbers.sort_unstable();
    let texts: Vec<String> = numbers.iter().map(|(_, n)| texts[*n].clone()).collect();
    let ids: Vec<ClientId> = numbers.iter().map(|(_, n)| ids[*n]).collect();
    let mut conversation = String::new();
    for (n, text) in texts.iter().enumerate() {
        let event = at_bob.message().await;
        assert_eq!((numbers[n].0, &event["message"]["seq"]), (n as u64 + 1, &json!((n + 1).to_string())));
        assert_eq!(event["message"]["text"], **text);
        assert_eq!(event["revision"], (n + 2).to_string());
        conversation = event["conversation"].as_str().unwrap().to_owned();
    }
    server.stop().await;

    let server = start(folder.path()).await;
    let (mut at_alice, _) = Socket::connect(&server, &alice, "").await;
    at_alice.send(send(2, &bob, &texts[7], ids[7])).await;
    let again = at_alice.answer(2).await;
    assert_eq!((&again["ack"]["seq"], &again["ack"]["duplicate"]), (&json!("8"), &json!(true)), "{again}");
    at_alice.send(send(3, &bob, "after", ClientId::now())).await;
    assert_eq!(at_alice.answer(3).await["ack"]["seq"], "51");
    let path = format!("/v1/conversations/{conversation}/messages?limit=200&atLeast=52");
    let (status, page) = call(&server, "GET", &path, &bob.token, Value::Null).await;
    assert_eq!(status, 200, "{page}");
    let read: Vec<&str> =
        page["messages"].as_array().unwrap().iter().map(|each| each["text"].as_str().unwrap()).collect();
    let expected: Vec<&str> = texts.iter().map(String::as_str).chain(["after"]).collect();
    assert_eq!(read, expected);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_nothing_and_bad_input_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (alice, bob, eve) =
        (sign_up(&server, "alice").await, sign_up(&server, "bob").await, sign_up(&server, "eve").await);
    let group = json!({"name": "방", "members": [bob.id]});
    let (status, group) = call(&server, "POST", "/v1/groups", &alice.token, group).await;
    assert_eq!((status, &group["memberCount"]), (201, &json!(2)), "{group}");
    let id = group["conversation"].as_str().unwrap();
    let path = format!("/v1/conversations/{id}/messages");
    let (foreign, missing) = (call(&server, "GET", &path, &eve.token, Value::Null).await, uuid::Uuid::new_v4());
    let nowhere = call(&server, "GET", &format!("/v1/conversations/{missing}/messages"), &eve.token, Value::Null).await;
    assert_eq!((foreign.0, &foreign), (404, &nowhere), "a foreign conversation answers like one that does not exist");

    let (mut at_eve, _) = Socket::connect(&server, &eve, "").await;
    let to_group = |text: &str| json!({"conversation": id, "clientId": ClientId::now().to_string(), "text": text});
    at_eve.send(json!({"id": 2, "send": to_group("let me in")})).await;
    assert_eq!(at_eve.answer(2).await["error"]["reason"], "CONVERSATION_NOT_FOUND");
    let (mut at_bob, _) = Socket::connect(&server, &bob, "").await;
    for (id, frame, reason) in [
        (3, json!({"send": to_group("")}), "INVALID_FIELD"),
        (4, json!({"send": to_group(&"a".repeat(65_537))}), "TOO_LARGE"),
        (5, json!({"send": to_group("a\0b")}), "INVALID_FIELD"),
        (6, json!({"teleport": {}}), "UNIMPLEMENTED"),
        (7, json!({"edit": {}}), "INVALID_FIELD"),
        (8, json!({"read": {"seq": "x"}}), "INVALID_FRAME"),
    ] {
        let mut frame = frame;
        frame["id"] = id.into();
        at_bob.send(frame).await;
        assert_eq!(at_bob.answer(id).await["error"]["reason"], reason);
    }
    let removed = format!("/v1/groups/{id}/members/{}", bob.id);
    assert_eq!(call(&server, "DELETE", &removed, &alice.token, Value::Null).await.0, 200);
    at_bob.send(json!({"id": 9, "send": to_group("still here")})).await;
    assert_eq!(at_bob.answer(9).await["error"]["reason"], "CONVERSATION_NOT_FOUND");
    assert_eq!(call(&server, "GET", &path, &bob.token, Value::Null).await.0, 404);

    let mut forged = Socket::raw(&server).await;
    let device = json!({"id": uuid::Uuid::new_v4().to_string(), "kind": "DEVICE_KIND_WEB"});
    forged.send(json!({"id": 1, "hello": {"token": format!("{}x", bob.token), "device": device}})).await;
    assert_eq!(forged.next().await["error"]["reason"], "BAD_TOKEN");
    assert_eq!(forged.next().await["close"], 4500);
    assert_eq!(call(&server, "DELETE", "/v1/sessions/current", &eve.token, Value::Null).await.0, 204);
    loop {
        let frame = at_eve.next().await;
        if let Some(code) = frame.get("close") {
            assert_eq!(code, 4503);
            break;
        }
    }
    assert_eq!(call(&server, "GET", "/v1/me", &eve.token, Value::Null).await.0, 401);
    server.stop().await;
}
