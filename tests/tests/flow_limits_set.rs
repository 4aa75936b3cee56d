//! Limits that an operator sets to something else than what they are by default.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use futures_util::SinkExt;
use madang_proto::id::ClientId;
use madang_solo::serve::Running;
use madang_tests::{
    client::{Person, Socket, call, send, sign_up, text},
    doors::{Doors, too_large},
    start_with,
};
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test(flavor = "multi_thread")]
async fn sizes_of_messages_frames_and_pages() {
    let flags =
        ["--max-message-bytes", "1000", "--max-frame-bytes", "5000", "--page-size", "2", "--max-page-size", "3"];
    let mut doors = Doors::open(&flags).await;
    assert_eq!(doors.send(&json!({"text": "a".repeat(1000)})).await, [None, None, None, None]);
    for said in doors.send(&json!({"text": "a".repeat(1001)})).await {
        assert_eq!(said, too_large());
    }
    let (mut socket, ready) = Socket::connect(&doors.server, &doors.ann, "").await;
    assert_eq!(ready["maxFrameBytes"], 5000);
    let ping = |size: usize| {
        let ping = json!({"id": 9, "ping": {}}).to_string();
        Message::Text(format!("{ping}{}", " ".repeat(size - ping.len())).into())
    };
    socket.stream.send(ping(5000)).await.unwrap();
    assert!(socket.answer(9).await["pong"].is_object());
    socket.stream.send(ping(5001)).await.unwrap();
    while socket.next().await != json!({"close": 1009}) {}
    // Four messages are there, and four conversations, with oneself among them.
    for number in 0..3 {
        let other = sign_up(&doors.server, &format!("other{number}")).await;
        let send = json!({"user": other.id, "clientId": ClientId::now().to_string(), "text": "a"});
        assert_eq!(call(&doors.server, "POST", "/v1/messages", &doors.ann.token, send).await.0, 200);
    }
    let send = json!({"user": doors.ann.id, "clientId": ClientId::now().to_string(), "text": "a"});
    let (_, ack) = call(&doors.server, "POST", "/v1/messages", &doors.ann.token, send).await;
    let (conversation, revision) = (ack["conversation"].as_str().unwrap(), ack["revision"].as_str().unwrap());
    for (limit, given) in [(0, 2), (1, 1), (3, 3), (4, 3)] {
        let path = format!("/v1/conversations/{conversation}/messages?limit={limit}&atLeast={revision}");
        let (_, page) = call(&doors.server, "GET", &path, &doors.ann.token, Value::Null).await;
        assert_eq!(page["messages"].as_array().map(Vec::len), Some(given), "{limit}: {page}");
        let path = format!("/v1/conversations?limit={limit}");
        let (_, page) = call(&doors.server, "GET", &path, &doors.ann.token, Value::Null).await;
        assert_eq!(page["conversations"].as_array().map(Vec::len), Some(given), "{limit}: {page}");
    }
    doors.server.stop().await;
}

/// How often a socket was too slow for what waits for it, in this process.
async fn caught_up(server: &Running) -> u64 {
    let metrics = text(server.admin, "/metrics").await;
    let line = metrics.lines().find_map(|line| line.strip_prefix("madang_gateway_catch_ups_total "));
    line.map_or(0, |times| times.parse().unwrap())
}

/// Somebody's messages to who takes none of them until all are sent, and then finds all of them, in order; how often they had to catch up.
async fn unread(server: &Running, from: &Person, to: &Person) -> u64 {
    let before = caught_up(server).await;
    let little = TcpSocket::new_v4().unwrap();
    little.set_recv_buffer_size(4096).unwrap();
    let mut slow = Socket::over(little.connect(server.http).await.unwrap()).await;
    slow.hello(to, "").await;
    let (mut socket, _) = Socket::connect(server, from, "").await;
    for number in 1..=160 {
        // More of them than go into what the system keeps of a connection.
        let text = format!("{number} {}", "a".repeat(60_000));
        assert!(socket.ask(send(number, to, &text, ClientId::now())).await["ack"].is_object());
    }
    for number in 1..=160 {
        let event = slow.message().await;
        let text = event["message"]["text"].as_str().unwrap();
        assert_eq!(text.split(' ').next(), Some(number.to_string().as_str()));
    }
    caught_up(server).await - before
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_slow_socket() {
    for (flags, catches_up) in [
        (&["--queue-frames", "4096", "--queue-bytes", "67108864"], false),
        (&["--queue-frames", "4096", "--queue-bytes", "524288"], true),
        (&["--queue-frames", "16", "--queue-bytes", "67108864"], true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let server = start_with(folder.path(), flags).await;
        let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
        assert_eq!(unread(&server, &ann, &bob).await > 0, catches_up, "{flags:?}");
        server.stop().await;
    }
}
