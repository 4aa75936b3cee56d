//! Blocks over the public doors: what they keep from happening, and what goes on.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_proto::id::{ClientId, UserId};
use madang_solo::serve::Running;
use madang_tests::{
    client::{Person, Socket, call, send, sign_up},
    start,
};
use serde_json::{Value, json};

async fn block(server: &Running, method: &str, who: &Person, whom: &str) -> (u16, Value) {
    call(server, method, &format!("/v1/blocks/{whom}"), &who.token, Value::Null).await
}

/// What is said to a message: its reason, or nothing.
async fn said(socket: &mut Socket, id: u64, to: &Person) -> Value {
    socket.send(send(id, to, "안녕", ClientId::now())).await;
    let answer = socket.answer(id).await;
    assert!(answer["ack"].is_object() || answer["error"]["code"] == "PERMISSION_DENIED", "{answer}");
    answer["error"]["reason"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_holds_once_it_is_answered_and_ends_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    let ((mut at_ann, _), (mut at_bob, _)) =
        (Socket::connect(&server, &ann, "").await, Socket::connect(&server, &bob, "").await);
    let blocked = json!("BLOCKED");

    // Also for a first message, either way.
    assert_eq!(block(&server, "PUT", &ann, &bob.id).await.0, 204);
    assert_eq!(said(&mut at_bob, 2, &ann).await, blocked);
    assert_eq!(said(&mut at_ann, 2, &bob).await, blocked);
    let body = json!({"user": ann.id, "clientId": ClientId::now().to_string(), "text": "over HTTP"});
    let (status, problem) = call(&server, "POST", "/v1/messages", &bob.token, body).await;
    assert_eq!((status, &problem["reason"], &problem["code"]), (403, &blocked, &json!("PERMISSION_DENIED")));
    let (_, list) = call(&server, "GET", "/v1/conversations", &bob.token, Value::Null).await;
    assert_eq!(list["conversations"], json!([]), "no conversation was made");

    for id in 10..20 {
        assert_eq!(block(&server, "DELETE", &ann, &bob.id).await.0, 204);
        assert_eq!(said(&mut at_bob, id, &ann).await, Value::Null);
        assert_eq!(block(&server, "PUT", &ann, &bob.id).await.0, 204);
        assert_eq!(said(&mut at_bob, id + 100, &ann).await, blocked);
    }
    // Both block: it ends when both end it.
    assert_eq!(block(&server, "PUT", &bob, &ann.id).await.0, 204);
    assert_eq!(block(&server, "DELETE", &ann, &bob.id).await.0, 204);
    assert_eq!(said(&mut at_bob, 300, &ann).await, blocked);
    // Reading goes on, and notes to oneself do.
    let conversation = at_ann.message().await["conversation"].clone();
    at_ann.send(json!({"id": 301, "read": {"conversation": conversation, "seq": "1"}})).await;
    assert!(at_ann.answer(301).await["ack"].is_object());
    assert_eq!(said(&mut at_ann, 302, &ann).await, Value::Null);
    assert_eq!(block(&server, "DELETE", &bob, &ann.id).await.0, 204);
    assert_eq!(said(&mut at_ann, 303, &bob).await, Value::Null);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_outlives_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    let (mut socket, _) = Socket::connect(&server, &bob, "").await;
    assert_eq!(said(&mut socket, 2, &ann).await, Value::Null);
    assert_eq!(block(&server, "PUT", &ann, &bob.id).await.0, 204);
    server.stop().await;
    let server = start(folder.path()).await;
    let (mut socket, _) = Socket::connect(&server, &bob, "").await;
    assert_eq!(said(&mut socket, 3, &ann).await, json!("BLOCKED"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_adds_the_other_to_a_group() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut people = Vec::new();
    for handle in ["ann", "bob", "cho"] {
        people.push(sign_up(&server, handle).await);
    }
    let [ann, bob, cho] = &people[..] else { panic!() };
    assert_eq!(block(&server, "PUT", ann, &bob.id).await.0, 204);
    let nobody = UserId::new().to_string();
    for (owner, other) in [(ann, bob), (bob, ann)] {
        let body = json!({"name": "마당", "members": [other.id, cho.id, nobody]});
        let (status, group) = call(&server, "POST", "/v1/groups", &owner.token, body).await;
        assert_eq!((status, &group["memberCount"]), (201, &json!(2)));
        let refused = json!([{"user": other.id, "reason": "BLOCKED"}, {"user": nobody, "reason": "USER_NOT_FOUND"}]);
        assert_eq!(group["refused"], refused);
        let path = format!("/v1/groups/{}/members", group["conversation"].as_str().unwrap());
        let add = async |who: &Person| call(&server, "POST", &path, &who.token, json!({"users": [other.id]})).await;
        let (status, answer) = add(owner).await;
        assert_eq!((status, &answer["refused"]), (200, &json!([{"user": other.id, "reason": "BLOCKED"}])));
        let (status, answer) = add(cho).await;
        assert_eq!((status, &answer["refused"]), (200, &json!([])), "somebody else may");
        // In a group they go on to talk.
        let (mut socket, _) = Socket::connect(&server, other, "").await;
        let frame =
            json!({"conversation": group["conversation"], "clientId": ClientId::now().to_string(), "text": "hi"});
        socket.send(json!({"id": 5, "send": frame})).await;
        assert!(socket.answer(5).await["ack"].is_object());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sees_whom_one_blocks_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let ann = sign_up(&server, "ann").await;
    let mut others = Vec::new();
    for n in 0..5 {
        let other = sign_up(&server, &format!("other_{n}")).await;
        assert_eq!(block(&server, "PUT", &ann, &other.id).await.0, 204);
        assert_eq!(block(&server, "PUT", &ann, &other.id).await.0, 204, "the same again changes nothing");
        others.push(other.id);
    }
    others.sort_unstable();
    let (mut token, mut seen) = (String::new(), Vec::new());
    loop {
        let path = format!("/v1/blocks?limit=2&pageToken={token}");
        let (status, page) = call(&server, "GET", &path, &ann.token, Value::Null).await;
        assert_eq!(status, 200, "{page}");
        let users = page["users"].as_array().unwrap();
        assert!(users.len() <= 2 && users.iter().all(|user| user["handle"].as_str().unwrap().starts_with("other")));
        seen.extend(users.iter().map(|user| user["user"].as_str().unwrap().to_owned()));
        token = page["nextPageToken"].as_str().unwrap().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, others);

    let reason = |answer: (u16, Value)| (answer.0, answer.1["reason"].as_str().unwrap_or_default().to_owned());
    let is = |status: u16, word: &str| (status, word.to_owned());
    assert_eq!(reason(block(&server, "PUT", &ann, &ann.id).await), is(400, "INVALID_FIELD"));
    assert_eq!(reason(block(&server, "PUT", &ann, "somebody").await), is(400, "INVALID_FIELD"));
    assert_eq!(reason(block(&server, "PUT", &ann, &UserId::new().to_string()).await), is(404, "USER_NOT_FOUND"));
    assert_eq!(block(&server, "DELETE", &ann, &UserId::new().to_string()).await.0, 204);
    let (status, problem) = call(&server, "GET", "/v1/blocks?pageToken=x", &ann.token, Value::Null).await;
    assert_eq!(reason((status, problem)), is(400, "INVALID_FIELD"));
    let (status, _) = call(&server, "GET", "/v1/blocks", "", Value::Null).await;
    assert_eq!(status, 401);
    server.stop().await;
}
