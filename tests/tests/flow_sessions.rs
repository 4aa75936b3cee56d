//! Sessions at their limits: sixteen devices, sixteen sockets, one session a device, a minute for a refresh token that has
//! been replaced; and that an end is in force.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use futures_util::future::join_all;
use madang_solo::serve::Running;
use madang_tests::{
    PATIENCE,
    client::{Person, Socket, call, sign_up},
    start,
};
use serde_json::{Value, json};

async fn log_in(server: &Running, device: &str) -> Value {
    let device = json!({"id": device, "kind": "DEVICE_KIND_WEB"});
    let body = json!({"handle": "ann", "password": "correct horse", "device": device});
    let (status, tokens) = call(server, "POST", "/v1/sessions", "", body).await;
    assert_eq!(status, 201, "{tokens}");
    tokens
}

fn device() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn person(tokens: &Value, device: &str) -> Person {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Person { id: text(&tokens["user"]), token: text(&tokens["accessToken"]), device: device.into() }
}

async fn closed(socket: &mut Socket) -> Value {
    loop {
        let frame = socket.next().await;
        if !frame["close"].is_null() {
            return frame["close"].clone();
        }
    }
}

async fn sessions(server: &Running, token: &str) -> Vec<Value> {
    let (status, answer) = call(server, "GET", "/v1/sessions", token, Value::Null).await;
    assert_eq!(status, 200, "{answer}");
    answer["sessions"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seventeenth_device_ends_the_one_unused_longest() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let first = sign_up(&server, "ann").await;
    let mut all = Vec::new();
    for _ in 1..16 {
        let device = device();
        all.push((log_in(&server, &device).await, device));
    }
    assert_eq!(sessions(&server, &first.token).await.len(), 16);
    // The earliest but one is used again: it is not the one.
    let used = &all[0].0;
    let body = json!({"refreshToken": used["refreshToken"]});
    let (status, fresh) = call(&server, "POST", "/v1/sessions/refresh", "", body).await;
    assert_eq!(status, 200);
    let listed = sessions(&server, &first.token).await;
    let of = |session: &Value| listed.iter().find(|each| each["session"] == *session).unwrap().clone();
    let time = |value: &Value| value.as_str().unwrap().parse::<i64>().unwrap();
    let it = of(&fresh["session"]);
    assert!(time(&it["usedAt"]) > time(&it["createdAt"]), "{it}");
    assert_eq!(listed[0]["session"], fresh["session"], "the latest used comes first");

    let (mut socket, _) = Socket::connect(&server, &first, "").await;
    log_in(&server, &device()).await;
    assert_eq!(closed(&mut socket).await, json!(4503), "the one unused longest has ended");
    assert_eq!(call(&server, "GET", "/v1/me", &first.token, Value::Null).await.0, 401);
    let mut late = Socket::raw(&server).await;
    let hello = json!({"token": first.token, "device": {"id": first.device, "kind": "DEVICE_KIND_WEB"}});
    late.send(json!({"id": 1, "hello": hello})).await;
    assert_eq!(closed(&mut late).await, json!(4503));
    let there = sessions(&server, fresh["accessToken"].as_str().unwrap()).await;
    assert_eq!(there.len(), 16);
    assert!(all.iter().all(|(tokens, _)| there.iter().any(|each| each["session"] == tokens["session"])));
    server.stop().await;
}

/// Also where all sixteen are connected, and it comes before the one that gives way has gone.
#[tokio::test(flavor = "multi_thread")]
async fn the_seventeenth_device_connects_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let first = sign_up(&server, "ann").await;
    let (mut oldest, _) = Socket::connect(&server, &first, "").await;
    let mut sockets = Vec::new();
    for _ in 0..16 {
        let device = device();
        let tokens = log_in(&server, &device).await;
        let hello = json!({"token": tokens["accessToken"], "device": {"id": device, "kind": "DEVICE_KIND_WEB"}});
        let mut socket = Socket::raw(&server).await;
        socket.send(json!({"id": 1, "hello": hello})).await;
        let frame = socket.next().await;
        assert!(frame["ready"].is_object(), "{frame}");
        sockets.push(socket);
    }
    assert_eq!(closed(&mut oldest).await, json!(4503));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_log_ins_at_once_leave_sixteen_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    sign_up(&server, "ann").await;
    let devices: Vec<_> = (0..24).map(|_| device()).collect();
    let all = join_all(devices.iter().map(|device| log_in(&server, device))).await;
    let mut there = Vec::new();
    for tokens in &all {
        let token = tokens["accessToken"].as_str().unwrap();
        let (status, answer) = call(&server, "GET", "/v1/sessions", token, Value::Null).await;
        if status == 200 {
            there = answer["sessions"].as_array().unwrap().clone();
        }
    }
    assert_eq!(there.len(), 16);
    // And those of one device at once leave one.
    let same = device();
    let again = join_all((0..8).map(|_| log_in(&server, &same))).await;
    for tokens in again {
        let token = tokens["accessToken"].as_str().unwrap();
        let (status, answer) = call(&server, "GET", "/v1/sessions", token, Value::Null).await;
        if status == 200 {
            let sessions = answer["sessions"].as_array().unwrap();
            assert_eq!(sessions.iter().filter(|each| each["device"]["id"] == same.as_str()).count(), 1);
            assert_eq!(sessions.len(), 16);
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_has_one_session_and_nobody_ends_anothers() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    let (mut socket, _) = Socket::connect(&server, &ann, "").await;
    let again = log_in(&server, &ann.device).await;
    assert_eq!(closed(&mut socket).await, json!(4503));
    let path = format!("/v1/sessions/{}", again["session"].as_str().unwrap());
    assert_eq!(call(&server, "DELETE", &path, &bob.token, Value::Null).await.0, 204, "as if it were not there");
    let token = again["accessToken"].as_str().unwrap();
    assert_eq!(call(&server, "GET", "/v1/me", token, Value::Null).await.0, 200);
    assert_eq!(call(&server, "DELETE", &path, token, Value::Null).await.0, 204);
    assert_eq!(call(&server, "GET", "/v1/me", token, Value::Null).await.0, 401, "at once where it was ended");
    let body = json!({"refreshToken": again["refreshToken"]});
    assert_eq!(call(&server, "POST", "/v1/sessions/refresh", "", body).await.0, 401);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seventeenth_socket_is_closed_and_the_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let ann = sign_up(&server, "ann").await;
    let tokens = log_in(&server, &device()).await;
    let mut sockets = Vec::new();
    for _ in 0..16 {
        let (socket, ready) = Socket::connect(&server, &person(&tokens, &device()), "").await;
        assert_eq!(ready["user"], ann.id.as_str());
        sockets.push(socket);
    }
    let mut one_more = Socket::raw(&server).await;
    let hello = json!({"token": tokens["accessToken"], "device": {"id": device(), "kind": "DEVICE_KIND_WEB"}});
    one_more.send(json!({"id": 1, "hello": hello})).await;
    assert_eq!(closed(&mut one_more).await, json!(4504));
    for (id, socket) in (10..).zip(&mut sockets) {
        socket.send(json!({"id": id, "ping": {}})).await;
        assert!(socket.answer(id).await["pong"].is_object());
    }
    // One that goes makes room.
    drop(sockets.pop());
    loop {
        let mut another = Socket::raw(&server).await;
        let hello = json!({"token": tokens["accessToken"], "device": {"id": device(), "kind": "DEVICE_KIND_WEB"}});
        another.send(json!({"id": 1, "hello": hello})).await;
        let frame = another.next().await;
        if frame["ready"].is_object() {
            break;
        }
        assert!(frame["error"].is_object() || frame["close"] == 4504, "{frame}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_works_until_a_minute_after_the_next_one_was_used() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    sign_up(&server, "ann").await;
    let refresh = async |tokens: &Value| {
        let body = json!({"refreshToken": tokens["refreshToken"]});
        call(&server, "POST", "/v1/sessions/refresh", "", body).await
    };
    let good = async |tokens: &Value| {
        let (status, next) = refresh(tokens).await;
        assert_eq!((status, &next["session"]), (200, &tokens["session"]), "{next}");
        assert_ne!(next["refreshToken"], tokens["refreshToken"]);
        next
    };
    let works = async |tokens: &Value| {
        let token = tokens["accessToken"].as_str().unwrap();
        call(&server, "GET", "/v1/me", token, Value::Null).await.0 == 200
    };
    // As if all that has happened had done so earlier.
    let pass = |ms: i64| {
        let accounts = rusqlite::Connection::open(folder.path().join("accounts.db")).unwrap();
        accounts.busy_timeout(PATIENCE).unwrap();
        let aged = "UPDATE refresh SET next_used_at = next_used_at - ?1 WHERE next_used_at > 0";
        accounts.execute(aged, [ms]).unwrap()
    };
    let (mine, others) = (device(), device());
    let (first, other) = (log_in(&server, &mine).await, log_in(&server, &others).await);
    // An answer may be lost: as long as nobody uses the new pair, the old token gives another.
    let lost = good(&first).await;
    assert_eq!(pass(3_600_000), 0, "that has no end");
    let second = good(&first).await;
    assert!(works(&first).await && works(&lost).await && works(&second).await, "all are of one session");
    // Once it is used, those before it have a minute.
    let third = good(&second).await;
    assert_eq!(pass(30_000), 2);
    good(&first).await;
    let fourth = good(&third).await;
    let (mut socket, _) = Socket::connect(&server, &person(&fourth, &mine), "").await;
    assert!(pass(60_000) > 2);
    assert!(works(&fourth).await);
    // Whoever has it now should not: the whole family ends, also what was good.
    let (status, refused) = refresh(&first).await;
    assert_eq!((status, &refused["code"], &refused["reason"]), (401, &json!("UNAUTHENTICATED"), &json!("BAD_TOKEN")));
    assert_eq!(closed(&mut socket).await, json!(4503));
    for tokens in [&fourth, &third, &first] {
        assert_eq!(refresh(tokens).await.0, 401);
        assert!(!works(tokens).await);
    }
    good(&other).await;
    server.stop().await;
}

/// An app that is newer than the server says of its device what the server has no word for yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_a_kind_that_is_not_known_counts_as_a_browser() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    for (handle, kind) in [("word", json!("DEVICE_KIND_FRIDGE")), ("number", json!(77))] {
        let device = json!({"id": device(), "kind": kind, "future": {"a": [1]}});
        let body = json!({"handle": handle, "password": "correct horse", "device": device, "future": 1});
        let (status, tokens) = call(&server, "POST", "/v1/accounts", "", body.clone()).await;
        assert_eq!(status, 201, "{tokens}");
        let (status, tokens) = call(&server, "POST", "/v1/sessions", "", body).await;
        assert_eq!(status, 201, "{tokens}");
        let token = tokens["accessToken"].as_str().unwrap();
        assert_eq!(sessions(&server, token).await[0]["device"]["kind"], "DEVICE_KIND_WEB");
        let mut socket = Socket::raw(&server).await;
        socket.send(json!({"id": 1, "hello": {"token": token, "device": device, "future": "x"}})).await;
        let frame = socket.next().await;
        assert!(frame["ready"].is_object(), "{frame}");
        // Nor is it named at sign-up what somebody is called: they are called by their handle then.
        assert_eq!(call(&server, "GET", "/v1/me", token, Value::Null).await.1["name"], handle);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_come_in_pages_and_end_by_their_id() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let first = sign_up(&server, "ann").await;
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(log_in(&server, &device()).await);
    }
    let ask = async |method: &str, path: &str| call(&server, method, path, &first.token, Value::Null).await;
    let (mut found, mut path) = (Vec::new(), "/v1/sessions?limit=2".to_owned());
    loop {
        let (status, page) = ask("GET", &path).await;
        assert_eq!(status, 200, "{page}");
        let sessions = page["sessions"].as_array().unwrap();
        assert!(sessions.len() <= 2, "{page}");
        found.extend(sessions.iter().map(|each| each["session"].as_str().unwrap().to_owned()));
        // One that comes later is used meanwhile, and another begins.
        let body = json!({"refreshToken": all[0]["refreshToken"]});
        all[0] = call(&server, "POST", "/v1/sessions/refresh", "", body).await.1;
        log_in(&server, &device()).await;
        let token = page["nextPageToken"].as_str().unwrap();
        if token.is_empty() {
            break;
        }
        path = format!("/v1/sessions?limit=2&pageToken={token}");
    }
    assert_eq!(found.len(), 5);
    assert!(all.iter().all(|each| found.iter().any(|one| each["session"] == one.as_str())));
    let (status, refused) = ask("GET", "/v1/sessions?pageToken=x").await;
    assert_eq!((status, &refused["field"]), (400, &json!("pageToken")));

    let (status, refused) = ask("DELETE", "/v1/sessions/garbage").await;
    assert_eq!((status, &refused["reason"], &refused["field"]), (400, &json!("INVALID_FIELD"), &json!("session")));
    // One that is not there is ended already; whose it was, if anybody's, is not said, and it goes on.
    let bob = sign_up(&server, "bob").await;
    let his = sessions(&server, &bob.token).await[0]["session"].as_str().unwrap().to_owned();
    for gone in [his, device(), found[0].clone(), found[0].clone()] {
        assert_eq!(ask("DELETE", &format!("/v1/sessions/{gone}")).await.0, 204, "{gone}");
    }
    assert_eq!(sessions(&server, &bob.token).await.len(), 1);
    server.stop().await;
}
