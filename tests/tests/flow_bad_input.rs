//! What bad input gets, at a running server: its exact answer, and nobody else notices.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use futures_util::SinkExt;
use madang_proto::id::ClientId;
use madang_solo::serve::Running;
use madang_tests::{
    client::{Person, Socket, call, enter, send, sign_up, text},
    start, start_with,
};
use serde_json::{Value, json};
use std::{collections::HashSet, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

/// Reads to the close; its code, and the frames before it.
async fn close(socket: &mut Socket) -> (Value, Vec<Value>) {
    let mut frames = Vec::new();
    loop {
        let frame = socket.next().await;
        if let Some(code) = frame.get("close") {
            return (code.clone(), frames);
        }
        frames.push(frame);
    }
}

/// A handshake, as it is written; the status of the answer.
async fn handshake(server: &Running, protocol: &str) -> String {
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let request = format!(
        "GET /v1/connect HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[9..]).into_owned()
}

async fn still_serves(server: &Running, one: &Person, other: &Person) {
    let (mut at_one, _) = Socket::connect(server, one, "").await;
    let (mut at_other, _) = Socket::connect(server, other, "").await;
    let text = uuid::Uuid::new_v4().to_string();
    at_one.send(send(2, other, &text, ClientId::now())).await;
    assert!(at_one.answer(2).await["ack"].is_object());
    // Events of the last 30 s come first.
    while at_other.message().await["message"]["text"] != *text {}
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_frame_gets_its_close_code() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (alice, bob) = (sign_up(&server, "alice").await, sign_up(&server, "bob").await);

    for wrong in ["", "sec-websocket-protocol: chat\r\n", "sec-websocket-protocol: madang.v2.json\r\n"] {
        assert_eq!(handshake(&server, wrong).await, "400", "{wrong:?}");
    }
    assert_eq!(handshake(&server, "sec-websocket-protocol: chat, madang.v1.pb\r\n").await, "101");

    let mut silent = Socket::raw(&server).await;
    let text = "a".repeat(131_072);
    let not_text = Frame::message(vec![0xff, 0xfe], OpCode::Data(Data::Text), true);
    for (bad, code) in [
        (Message::Text(text.clone().into()), json!(4501)), // long, but allowed: it just is no JSON, ten times over
        (Message::Text(format!("{text}b").into()), json!(1009)),
        (Message::Frame(not_text), json!(1007)),
        (Message::Binary(vec![2, 8, 1].into()), json!(4501)),
    ] {
        let (mut socket, ready) = Socket::connect(&server, &alice, "").await;
        assert_eq!(ready["maxFrameBytes"], 131_072);
        let times = if code == 4501 && bad.is_text() { 10 } else { 1 };
        for _ in 0..times {
            socket.stream.send(bad.clone()).await.unwrap();
        }
        let (closed, frames) = close(&mut socket).await;
        assert_eq!(closed, code);
        let refused = frames.iter().filter(|frame| frame["error"]["reason"] == "INVALID_FRAME").count();
        assert_eq!(refused, if times == 10 { 10 } else { 0 });
    }
    for first in ["[]", "nonsense", r#"{"id":1,"ping":{}}"#, r#"{"id":1,"hello":{"token":""}}"#] {
        let mut socket = Socket::raw(&server).await;
        socket.stream.send(Message::Text(first.into())).await.unwrap();
        let (closed, frames) = close(&mut socket).await;
        assert_eq!((closed, frames.len()), (json!(4501), 1), "{first}");
        assert!(frames[0]["error"].is_object(), "{first}");
    }
    assert_eq!(close(&mut silent).await, (json!(4001), vec![]), "no hello in 5 s");
    still_serves(&server, &alice, &bob).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_sends_at_once_are_bounded_and_what_was_acked_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with(folder.path(), &["--send-rate", "10", "--send-burst", "40"]).await;
    let (alice, bob) = (sign_up(&server, "alice").await, sign_up(&server, "bob").await);
    let (mut at_alice, _) = Socket::connect(&server, &alice, "").await;
    for n in 0..1000 {
        at_alice.send(send(n + 2, &bob, &format!("message {n}"), ClientId::now())).await;
    }
    let (mut acked, mut conversation, mut waits) = (Vec::new(), String::new(), HashSet::new());
    for _ in 0..1000 {
        let frame = loop {
            let frame = at_alice.next().await;
            if frame["id"] != 0 {
                break frame;
            }
        };
        if frame["ack"].is_object() {
            acked.push(format!("message {}", frame["id"].as_u64().unwrap() - 2));
            frame["ack"]["conversation"].as_str().unwrap().clone_into(&mut conversation);
        } else {
            assert_eq!(frame["error"]["reason"], "RATE_LIMITED", "{frame}");
            assert_eq!(frame["error"]["retryable"], true);
            waits.insert(frame["error"]["retryAfterMs"].as_str().unwrap().to_owned());
        }
    }
    // The burst, and what the rate gave while it lasted, which is however long this machine took.
    assert!((40..500).contains(&acked.len()), "{} were acked", acked.len());
    assert!(!waits.contains("0"), "a client is told when to come again: {waits:?}");
    let path = format!("/v1/conversations/{conversation}/messages?limit=200&atLeast={}", acked.len() + 1);
    let (status, page) = call(&server, "GET", &path, &bob.token, Value::Null).await;
    assert_eq!(status, 200, "{page}");
    let read: Vec<_> = page["messages"].as_array().unwrap().iter().map(|message| message["text"].clone()).collect();
    assert_eq!(read, acked.iter().rev().take(200).rev().map(|text| json!(text)).collect::<Vec<_>>());
    server.stop().await;
}

/// Somebody on one more device.
async fn another_device(server: &Running, handle: &str) -> Person {
    let device = uuid::Uuid::new_v4().to_string();
    let of = json!({"id": device, "kind": "DEVICE_KIND_SERVICE"});
    let body = json!({"handle": handle, "password": "correct horse", "device": of});
    let answer = enter(server.http, "/v1/sessions", &body).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Person { id: text(&answer["user"]), token: text(&answer["accessToken"]), device }
}

/// Each of them alone is far below what its socket may send.
#[tokio::test(flavor = "multi_thread")]
async fn the_devices_of_a_user_have_one_rate_together() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with(folder.path(), &["--send-rate", "1", "--send-burst", "5"]).await;
    let alice = sign_up(&server, "alice").await;
    let mut devices = vec![alice];
    for _ in 0..3 {
        devices.push(another_device(&server, "alice").await);
    }
    let mut sockets = Vec::new();
    for device in &devices {
        sockets.push(Socket::connect(&server, device, "").await.0);
    }
    sockets[0].send(send(2, &devices[0], "to myself", ClientId::now())).await;
    let conversation = sockets[0].answer(2).await["ack"]["conversation"].clone();
    for id in 10..20 {
        for socket in &mut sockets {
            let (client_id, remove) = (ClientId::now().to_string(), id % 2 == 1);
            let react = json!({"conversation": conversation, "seq": "1", "emoji": "👍", "remove": remove, "clientId": client_id});
            socket.send(json!({"id": id, "react": react})).await;
        }
    }
    let (mut acked, mut waits) = (0, HashSet::new());
    for socket in &mut sockets {
        let mut answered = 0;
        while answered < 10 {
            let frame = socket.next().await;
            answered += u32::from(frame["id"].as_u64().is_some_and(|id| id >= 10));
            acked += u32::from(frame["ack"].is_object());
            if frame["error"]["reason"] == "RATE_LIMITED" {
                waits.insert(frame["error"]["retryAfterMs"].as_str().unwrap().to_owned());
            }
        }
    }
    assert!(acked < 40 && !waits.is_empty(), "{acked} were acked");
    assert!(!waits.contains("0"), "a client is told when to come again: {waits:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_is_allowed_in_flight_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with(folder.path(), &["--max-in-flight", "0"]).await;
    let alice = sign_up(&server, "alice").await;
    let (mut socket, ready) = Socket::connect(&server, &alice, "").await;
    assert_eq!(ready["maxInFlight"], 0);
    socket.send(send(2, &alice, "to myself", ClientId::now())).await;
    let answer = loop {
        let frame = socket.next().await;
        if frame["id"] == 2 {
            break frame;
        }
    };
    let error = &answer["error"];
    assert_eq!((&error["code"], &error["reason"]), (&json!("RESOURCE_EXHAUSTED"), &json!("TOO_MANY_IN_FLIGHT")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with(folder.path(), &["--token-seconds", "1"]).await;
    let alice = sign_up(&server, "alice").await;
    let expired = loop {
        let answer = call(&server, "GET", "/v1/me", &alice.token, Value::Null).await;
        if answer.0 != 200 {
            break answer;
        }
    };
    assert_eq!((expired.0, &expired.1["reason"]), (401, &json!("BAD_TOKEN")), "{expired:?}");
    let mut socket = Socket::raw(&server).await;
    let device = json!({"id": alice.device, "kind": "DEVICE_KIND_WEB"});
    socket.send(json!({"id": 1, "hello": {"token": alice.token, "device": device}})).await;
    let (closed, frames) = close(&mut socket).await;
    assert_eq!((closed, &frames[0]["error"]["reason"]), (json!(4500), &json!("BAD_TOKEN")));
    server.stop().await;
}

/// One socket was closed since a write was stuck.
const STUCK: &str = "madang_mesh_refused_total{what=\"stuck\"} 1";

/// Takes about 15 s: a write may be stuck for 10.
#[tokio::test(flavor = "multi_thread")]
async fn who_stops_reading_is_let_go_and_misses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (alice, bob, carol) =
        (sign_up(&server, "alice").await, sign_up(&server, "bob").await, sign_up(&server, "carol").await);
    let group = json!({"name": "stalled", "members": [bob.id, carol.id]});
    let (status, group) = call(&server, "POST", "/v1/groups", &alice.token, group).await;
    assert_eq!(status, 201, "{group}");

    let small = TcpSocket::new_v4().unwrap();
    small.set_recv_buffer_size(4096).unwrap();
    let mut stalled = Socket::over(small.connect(server.http).await.unwrap()).await;
    let ready = stalled.hello(&bob, "").await;
    // From here on, bob reads nothing.
    let (mut at_alice, _) = Socket::connect(&server, &alice, "").await;
    let (mut at_carol, _) = Socket::connect(&server, &carol, "").await;
    let long = "x".repeat(60_000);
    for n in 0..200_u64 {
        let frame = json!({"conversation": group["conversation"], "clientId": ClientId::now().to_string(), "text": format!("{n} {long}")});
        assert!(at_alice.ask(json!({"id": n + 2, "send": frame})).await["ack"].is_object());
        // Nobody else waits for bob.
        assert_eq!(at_carol.message().await["message"]["seq"], (n + 1).to_string());
    }
    // The server lets him go. He looks a good while after that, and learns why behind all that he had not read.
    let stuck = async {
        while !text(server.admin, "/metrics").await.contains(STUCK) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    };
    let was_stuck = tokio::time::timeout(Duration::from_secs(45), stuck).await.is_ok();
    let end = loop {
        match stalled.next_or_end().await {
            Some(frame) if frame.get("close").is_none() => {}
            end => break end.map(|frame| frame["close"].clone()),
        }
    };
    // On a machine that is busy with other things it may have been a ping that he did not take or answer.
    assert!(end == Some(json!(4002)) || !was_stuck && (end.is_none() || end == Some(json!(4003))), "{end:?}");
    // Back again from his old cursor: all of it, in order, or he is told to page.
    let (mut at_bob, again) = Socket::connect(&server, &bob, ready["cursor"].as_str().unwrap()).await;
    assert!(["RESUME_RESUMED", "RESUME_SNAPSHOT"].contains(&again["resume"].as_str().unwrap()), "{again}");
    if again["resume"] == "RESUME_RESUMED" {
        for n in 0..200_u64 {
            assert_eq!(at_bob.message().await["message"]["seq"], (n + 1).to_string());
        }
    }
    still_serves(&server, &alice, &carol).await;
    server.stop().await;
}
