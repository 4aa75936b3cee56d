//! Frames and closes to the letter, at a running server, in both subprotocols: what comes first, what has no answer, what
//! JSON allows, and how a socket ends.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use futures_util::{SinkExt, StreamExt};
use madang_proto::{
    client::v1::{
        ClientFrame, Device, DeviceKind, Hello, Ping, Send, ServerFrame, Typing, client_frame::Body, server_frame,
    },
    id::ClientId,
};
use madang_solo::serve::Running;
use madang_tests::{
    client::{Person, Socket, sign_up},
    start, start_with,
};
use prost::Message as _;
use serde_json::{Value, json};
use std::{collections::VecDeque, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

type Stream = WebSocketStream<TcpStream>;

async fn open(server: &Running, protocol: &str) -> Stream {
    let mut request = "ws://test/v1/connect".into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
    let stream = TcpStream::connect(server.http).await.unwrap();
    tokio_tungstenite::client_async(request, stream).await.unwrap().0
}

/// A WebSocket that speaks protobuf.
struct Binary {
    stream: Stream,
    frames: VecDeque<ServerFrame>,
}

fn frame(id: u32, body: Body) -> ClientFrame {
    ClientFrame { id, body: Some(body), ..ClientFrame::default() }
}

fn hello(person: &Person) -> ClientFrame {
    let device = Device { id: person.device.clone(), kind: DeviceKind::Service.into(), ..Device::default() };
    frame(1, Body::Hello(Hello { token: person.token.clone(), device: Some(device), resume: String::new() }))
}

fn ping(id: u32) -> ClientFrame {
    frame(id, Body::Ping(Ping {}))
}

impl Binary {
    async fn raw(server: &Running) -> Self {
        Self { stream: open(server, "madang.v1.pb").await, frames: VecDeque::new() }
    }

    /// Sends frames in one message.
    async fn send(&mut self, frames: &[ClientFrame]) {
        let bytes: Vec<u8> = frames.iter().flat_map(ClientFrame::encode_length_delimited_to_vec).collect();
        self.stream.send(Message::Binary(bytes.into())).await.unwrap();
    }

    /// The next answer, or the code of the close.
    async fn next(&mut self) -> Result<ServerFrame, u16> {
        loop {
            let frame = self.any().await?;
            if !matches!(frame.body, Some(server_frame::Body::Live(_) | server_frame::Body::Event(_))) {
                return Ok(frame);
            }
        }
    }

    async fn any(&mut self) -> Result<ServerFrame, u16> {
        while self.frames.is_empty() {
            match self.stream.next().await.unwrap().unwrap() {
                Message::Binary(mut bytes) => {
                    while !bytes.is_empty() {
                        self.frames.push_back(ServerFrame::decode_length_delimited(&mut bytes).unwrap());
                    }
                }
                Message::Close(frame) => return Err(frame.unwrap().code.into()),
                _ => {}
            }
        }
        Ok(self.frames.pop_front().unwrap())
    }
}

/// The next answer, or the close.
async fn heard(socket: &mut Socket) -> Value {
    loop {
        let frame = socket.next().await;
        if frame["live"].is_null() && frame["event"].is_null() {
            return frame;
        }
    }
}

/// Frames in JSON as one message.
fn lines(frames: &[Value]) -> Message {
    Message::text(frames.iter().map(Value::to_string).collect::<Vec<_>>().join("\n"))
}

fn json_hello(person: &Person) -> Value {
    let device = json!({"id": person.device, "kind": "DEVICE_KIND_SERVICE"});
    json!({"id": 1, "hello": {"token": person.token, "device": device}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (alice, bob) = (sign_up(&server, "alice").await, sign_up(&server, "bob").await);
    for greeted in [false, true] {
        let mut binary = Binary::raw(&server).await;
        let mut json = Socket::raw(&server).await;
        if greeted {
            binary.send(&[hello(&alice)]).await;
            assert!(matches!(binary.next().await.unwrap().body, Some(server_frame::Body::Ready(_))));
            json.hello(&bob, "").await;
        }
        for mut stream in [binary.stream, json.stream] {
            let goodbye = CloseFrame { code: CloseCode::Normal, reason: "bye".into() };
            stream.send(Message::Close(Some(goodbye.clone()))).await.unwrap();
            // Whatever was under way, then the answer, and then the end, without a reset.
            let mut answer = None;
            while let Some(message) = stream.next().await {
                if let Message::Close(frame) = message.unwrap() {
                    answer = frame;
                }
            }
            assert_eq!(answer, Some(goodbye), "{greeted}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_websocket_is_closed_with_1002() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let alice = sign_up(&server, "alice").await;
    for (what, wrong) in [
        ("unmasked", &[0x81, 0x00][..]),
        ("RSV1", &[0xc1, 0x80, 0, 0, 0, 0]),
        ("opcode 3", &[0x83, 0x80, 0, 0, 0, 0]),
        ("a stray continuation", &[0x80, 0x80, 0, 0, 0, 0]),
        ("a ping in parts", &[0x09, 0x80, 0, 0, 0, 0]),
        ("a close of one byte", &[0x88, 0x81, 0, 0, 0, 0, 3]),
    ] {
        for greeted in [false, true] {
            let mut socket = Socket::raw(&server).await;
            if greeted {
                socket.hello(&alice, "").await;
            }
            // What comes behind it is never read.
            socket.stream.get_mut().write_all(&[wrong, &[0; 100]].concat()).await.unwrap();
            assert_eq!(heard(&mut socket).await, json!({"close": 1002}), "{what}, {greeted}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_behind_hello_is_taken_after_ready() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (alice, bob) = (sign_up(&server, "alice").await, sign_up(&server, "bob").await);
    let client_id = ClientId::now().to_string();

    let mut socket = Socket::raw(&server).await;
    let send = json!({"id": 4, "send": {"user": bob.id, "clientId": client_id, "text": "at once"}});
    let wrong = json!({"id": 3, "read": {"seq": "x"}});
    socket.stream.send(lines(&[json_hello(&alice), json!({"id": 2, "ping": {}}), wrong, send])).await.unwrap();
    socket.send(json!({"id": 5, "ping": {}})).await;
    assert_eq!(socket.next().await["ready"]["user"], alice.id.as_str(), "first of all");
    assert!(heard(&mut socket).await["pong"].is_object());
    let refused = heard(&mut socket).await;
    assert_eq!((&refused["id"], &refused["error"]["reason"]), (&json!(3), &json!("INVALID_FRAME")));
    // Other answers may overtake the ack.
    let (mut acked, mut ponged) = (false, false);
    while !(acked && ponged) {
        let frame = socket.next().await;
        acked |= frame["id"] == 4 && frame["ack"]["seq"] == "1";
        ponged |= frame["id"] == 5 && frame["pong"].is_object();
    }

    let mut socket = Binary::raw(&server).await;
    let send = Send { user: bob.id.clone(), client_id, text: "at once".into(), ..Send::default() };
    socket.send(&[hello(&alice), ping(2), frame(3, Body::Send(send))]).await;
    assert!(matches!(socket.next().await.unwrap().body, Some(server_frame::Body::Ready(_))));
    assert!(matches!(socket.next().await.unwrap().body, Some(server_frame::Body::Pong(_))));
    let ack = socket.next().await.unwrap();
    assert!(matches!(ack.body, Some(server_frame::Body::Ack(ack)) if ack.duplicate && ack.seq == 1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_is_the_first_that_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let alice = sign_up(&server, "alice").await;
    for _ in 0..5 {
        let mut socket = Socket::raw(&server).await;
        socket.send(json_hello(&alice)).await;
        for id in 2..20 {
            socket.send(json!({"id": id, "ping": {}})).await;
        }
        assert!(socket.next().await["ready"].is_object());
        for id in 2..20 {
            assert!(socket.answer(id).await["pong"].is_object());
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_ready_what_is_no_hello_is_told_so_and_closed() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    for (protocol, wrong) in [
        ("madang.v1.pb", Message::text("{}")),
        ("madang.v1.json", Message::binary(vec![2, 8, 1])),
        ("madang.v1.pb", Message::binary(vec![9, 8, 1])),
    ] {
        let mut stream = open(&server, protocol).await;
        stream.send(wrong).await.unwrap();
        let error = match stream.next().await.unwrap().unwrap() {
            Message::Binary(mut bytes) => ServerFrame::decode_length_delimited(&mut bytes).unwrap(),
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        };
        assert!(
            matches!(error.body, Some(server_frame::Body::Error(error)) if error.reason == "INVALID_FRAME"),
            "{protocol}"
        );
        match stream.next().await.unwrap().unwrap() {
            Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 4501),
            other => panic!("{other:?}"),
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn null_counts_as_left_out_and_numbers_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (alice, bob) = (sign_up(&server, "alice").await, sign_up(&server, "bob").await);
    let device = json!({"id": alice.device, "kind": "DEVICE_KIND_SERVICE", "name": null, "app": null});
    let mut socket = Socket::raw(&server).await;
    socket.send(json!({"id": 1, "hello": {"token": null, "device": device}})).await;
    assert_eq!(socket.next().await["error"]["reason"], "BAD_TOKEN");
    assert_eq!(socket.next().await, json!({"close": 4500}), "no token, as if it were left out");

    let mut socket = Socket::raw(&server).await;
    socket.send(json!({"id": 1.0, "hello": {"token": alice.token, "device": device, "resume": null}})).await;
    let ready = socket.next().await;
    assert_eq!((&ready["id"], &ready["ready"]["user"]), (&json!(1), &json!(alice.id)));
    let mut send = json!({"user": bob.id, "conversation": null, "clientId": ClientId::now().to_string(), "text": "nulls",
        "replyTo": null, "mentions": null, "attachments": null, "type": null, "data": null});
    socket.send(json!({"id": 2, "ping": null, "send": send})).await;
    let ack = socket.answer(2).await["ack"].clone();
    assert_eq!(ack["seq"], "1", "{ack}");
    socket.send(json!({"id": 3, "read": {"conversation": ack["conversation"], "seq": 1.0}})).await;
    assert!(socket.answer(3).await["ack"].is_object());
    for (field, wrong) in [("data", json!({"a": null})), ("mentions", json!([null]))] {
        send[field] = wrong;
        socket.send(json!({"id": 4, "send": send})).await;
        assert_eq!(socket.answer(4).await["error"]["code"], "INVALID_ARGUMENT", "{field}");
        send[field] = Value::Null;
    }
    // Half of a surrogate pair is no Unicode; the id can be read all the same.
    let half = r#"{"id":7,"send":{"user":"x","text":"a\ud800b"}}"#;
    socket.stream.send(Message::text(half)).await.unwrap();
    assert_eq!(socket.answer(7).await["error"]["code"], "INVALID_ARGUMENT");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_more_than_32_bits_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let alice = sign_up(&server, "alice").await;
    let mut socket = Binary::raw(&server).await;
    socket.send(&[hello(&alice)]).await;
    socket.next().await.unwrap();
    // 2^32 + 7, with a ping and with an unknown body.
    for body in [&[0x52, 0][..], &[0x92, 3, 0]] {
        let frame = [&[8, 0x87, 0x80, 0x80, 0x80, 0x10], body].concat();
        let message = [&[u8::try_from(frame.len()).unwrap()], &frame[..]].concat();
        socket.stream.send(Message::binary(message)).await.unwrap();
        let answer = socket.next().await.unwrap();
        assert_eq!(answer.id, 0);
        assert!(matches!(answer.body, Some(server_frame::Body::Error(error)) if error.code == "INVALID_ARGUMENT"));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_has_no_answer_and_hello_without_an_id_neither() {
    let folder = tempfile::tempdir().unwrap();
    // None may be in flight: typing is none, whatever its id.
    let server = start_with(folder.path(), &["--max-in-flight", "0"]).await;
    let alice = sign_up(&server, "alice").await;
    let nowhere = uuid::Uuid::new_v4().to_string();
    let mut again = json_hello(&alice);
    again["id"] = json!(0);
    let mut bad = again.clone();
    bad["hello"]["token"] = json!("bad");

    let (mut socket, _) = Socket::connect(&server, &alice, "").await;
    for frame in [json!({"id": 5, "typing": {"conversation": nowhere}}), again, bad, json!({"id": 6, "ping": {}})] {
        socket.send(frame).await;
    }
    assert_eq!(heard(&mut socket).await, json!({"id": 6, "pong": {}}));
    let mut again = json_hello(&alice);
    again["id"] = json!(7);
    socket.send(again).await;
    assert!(socket.answer(7).await["ack"].is_object(), "who asks for an answer has it");
    server.stop().await;

    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let alice = sign_up(&server, "alice").await;
    let mut socket = Binary::raw(&server).await;
    socket.send(&[hello(&alice), frame(5, Body::Typing(Typing { conversation: nowhere }))]).await;
    socket.next().await.unwrap();
    // A home would have refused it long before this, and the gateway for being late after 4 s.
    let answered = async { while socket.next().await.unwrap().id != 5 {} };
    assert!(tokio::time::timeout(Duration::from_secs(6), answered).await.is_err(), "typing is answered");
    server.stop().await;
}

/// The status, the head in lower case and the body of an answer.
async fn ask(server: &Running, method: &str, head: &str) -> (String, String, Value) {
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let request = format!("{method} /v1/connect HTTP/1.1\r\nhost: test\r\n{head}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].to_owned(), head.to_lowercase(), serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_no_websocket_gets_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let protocol = "sec-websocket-protocol: madang.v1.json\r\n";
    for (method, head, status, code) in [
        ("GET", String::new(), 400, "INVALID_ARGUMENT"),
        ("GET", format!("{upgrade}{key}{protocol}sec-websocket-version: 8\r\n"), 400, "INVALID_ARGUMENT"),
        ("GET", format!("{upgrade}{protocol}sec-websocket-version: 13\r\n"), 400, "INVALID_ARGUMENT"),
        ("GET", format!("{upgrade}{key}sec-websocket-version: 13\r\n"), 400, "INVALID_ARGUMENT"),
        ("POST", "content-length: 0\r\n".to_owned(), 405, "UNIMPLEMENTED"),
        ("DELETE", String::new(), 405, "UNIMPLEMENTED"),
    ] {
        let (answered, answer, problem) = ask(&server, method, &head).await;
        assert_eq!(answered, status.to_string(), "{method} {head}");
        assert!(answer.contains("content-type: application/problem+json"), "{answer}");
        assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(code)), "{problem}");
        for field in ["type", "title", "detail", "reason", "retryAfterMs", "field"] {
            assert!(problem[field].is_string(), "{field}: {problem}");
        }
        assert_eq!(problem["retryable"], false);
        assert_eq!(answer.contains("\r\nallow: get"), status == 405, "{answer}");
    }
    let (status, answer, _) = ask(&server, "HEAD", "").await;
    assert_eq!(status, "405");
    assert!(answer.contains("content-type: application/problem+json") && answer.contains("\r\nallow: get"), "{answer}");
    server.stop().await;
}
