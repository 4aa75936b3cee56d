//! A client that shows everything: what is sent and received is JSON, as on the wire.

use futures_util::{SinkExt, StreamExt};
use madang_proto::id::ClientId;
use madang_solo::serve::Running;
use serde_json::{Value, json};
use std::{collections::VecDeque, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest, http::HeaderValue},
};

/// An HTTP request; its status and JSON.
pub async fn call(server: &Running, method: &str, path: &str, token: &str, body: Value) -> (u16, Value) {
    call_at(server.http, method, path, token, body).await
}

/// The same, of the door at an address.
pub async fn call_at(door: SocketAddr, method: &str, path: &str, token: &str, body: Value) -> (u16, Value) {
    call_with(door, method, path, token, "", body).await
}

/// The same, with a head of its own besides: lines, each with its end.
pub async fn call_with(
    door: SocketAddr,
    method: &str,
    path: &str,
    token: &str,
    head: &str,
    body: Value,
) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {token}\r\n{head}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(door, &request).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

/// The same, again while the answer is that it may be tried again: a server that has just started has no homes yet.
pub async fn insist(server: &Running, method: &str, path: &str, token: &str, body: Value) -> (u16, Value) {
    insist_at(server.http, method, path, token, body).await
}

/// The same, of the door at an address.
pub async fn insist_at(door: SocketAddr, method: &str, path: &str, token: &str, body: Value) -> (u16, Value) {
    loop {
        let (status, answer) = call_at(door, method, path, token, body.clone()).await;
        if status != 503 || answer["retryable"] != true {
            return (status, answer);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// An HTTP request; its status, its head in lower case, and its body, put together where it came in chunks.
pub async fn raw(server: &Running, method: &str, path: &str, token: &str) -> (u16, String, Vec<u8>) {
    let answer = exchange(server.http, &request(method, path, token)).await;
    let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
    let (status, head) = (head[9..12].parse().unwrap(), head.to_lowercase());
    if !head.contains("transfer-encoding: chunked") {
        return (status, head, rest.into());
    }
    (status, head, together(rest).unwrap())
}

fn request(method: &str, path: &str, token: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n")
}

/// A body that came in chunks; none: it breaks off.
fn together(mut rest: &str) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let (size, more) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        body.extend_from_slice(more.as_bytes().get(..size)?);
        if size == 0 {
            return Some(body);
        }
        rest = more.get(size + 2..)?;
    }
}

/// An answer that has begun, and of which no more is taken for now than a few kilobytes.
pub struct Begun(TcpStream);

impl Begun {
    /// Asks, and waits for the answer to begin.
    pub async fn get(server: &Running, path: &str, token: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(server.http).await.unwrap();
        stream.write_all(request("GET", path, token).as_bytes()).await.unwrap();
        stream.peek(&mut [0]).await.unwrap();
        Self(stream)
    }

    /// Takes the rest; the body, if it does not break off.
    pub async fn rest(mut self) -> Option<Vec<u8>> {
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).await.ok()?;
        together(answer.split_once("\r\n\r\n")?.1)
    }
}

/// What an HTTP server says at a path.
pub async fn text(server: SocketAddr, path: &str) -> String {
    exchange(server, &format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")).await
}

async fn exchange(server: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Somebody who has signed up.
pub struct Person {
    /// The user's id.
    pub id: String,
    /// An access token.
    pub token: String,
    /// The device's id.
    pub device: String,
}

/// Signs somebody up.
pub async fn sign_up(server: &Running, handle: &str) -> Person {
    sign_up_at(server.http, handle).await
}

/// The same, at the door at an address.
pub async fn sign_up_at(door: SocketAddr, handle: &str) -> Person {
    let device = uuid::Uuid::new_v4().to_string();
    let body =
        json!({"handle": handle, "password": "correct horse", "device": {"id": device, "kind": "DEVICE_KIND_SERVICE"}});
    let (status, answer) = call_at(door, "POST", "/v1/accounts", "", body).await;
    assert_eq!(status, 201, "{answer}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Person { id: text(&answer["user"]), token: text(&answer["accessToken"]), device }
}

fn hello(person: &Person, resume: &str) -> Value {
    let device = json!({"id": person.device, "kind": "DEVICE_KIND_SERVICE"});
    json!({"id": 1, "hello": {"token": person.token, "device": device, "resume": resume}})
}

/// A WebSocket that speaks JSON.
pub struct Socket {
    /// What it speaks over.
    pub stream: WebSocketStream<TcpStream>,
    frames: VecDeque<Value>,
}

impl Socket {
    /// One that has said nothing yet.
    pub async fn raw(server: &Running) -> Self {
        Self::over(TcpStream::connect(server.http).await.unwrap()).await
    }

    /// The same, over a TCP connection that is there.
    pub async fn over(stream: TcpStream) -> Self {
        Self::upgraded(stream).await.unwrap()
    }

    async fn upgraded(stream: TcpStream) -> Result<Self, tungstenite::Error> {
        let mut request = "ws://test/v1/connect".into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("madang.v1.json"));
        let (stream, _) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(Self { stream, frames: VecDeque::new() })
    }

    /// One that has said hello, and the server's `ready`.
    pub async fn connect(server: &Running, person: &Person, resume: &str) -> (Self, Value) {
        let mut socket = Self::raw(server).await;
        let ready = socket.hello(person, resume).await;
        (socket, ready)
    }

    /// Says hello; the server's `ready`.
    pub async fn hello(&mut self, person: &Person, resume: &str) -> Value {
        self.send(hello(person, resume)).await;
        self.next().await["ready"].clone()
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: Value) {
        self.stream.send(Message::Text(frame.to_string().into())).await.unwrap();
    }

    /// One that has said hello and is ready, with what it was told; none: it broke, or it is not ready now.
    pub async fn attempt(door: SocketAddr, person: &Person, resume: &str) -> Option<(Self, Value)> {
        let mut socket = Self::upgraded(TcpStream::connect(door).await.ok()?).await.ok()?;
        socket.stream.send(Message::Text(hello(person, resume).to_string().into())).await.ok()?;
        let ready = socket.next_or_end().await?["ready"].clone();
        ready.is_object().then_some((socket, ready))
    }

    /// The next frame; a close is `{"close": code}`.
    pub async fn next(&mut self) -> Value {
        self.next_or_end().await.unwrap()
    }

    /// The same; none: it broke.
    pub async fn next_or_end(&mut self) -> Option<Value> {
        while self.frames.is_empty() {
            match self.stream.next().await?.ok()? {
                Message::Text(text) => {
                    self.frames.extend(text.split('\n').map(|line| serde_json::from_str::<Value>(line).unwrap()))
                }
                Message::Close(frame) => return Some(json!({"close": frame.map(|frame| u16::from(frame.code))})),
                _ => {}
            }
        }
        self.frames.pop_front()
    }

    /// The answer to a request, and the events before it.
    pub async fn answer(&mut self, id: u64) -> Value {
        loop {
            let frame = self.next().await;
            if frame["id"] == id {
                return frame;
            }
        }
    }

    /// The answer to a request that is sent again, as it is, while its home is away: a machine that is busy with other
    /// things may hold one up for longer than it has to answer.
    pub async fn ask(&mut self, request: Value) -> Value {
        let id = request["id"].as_u64().unwrap();
        loop {
            self.send(request.clone()).await;
            let frame = loop {
                let frame = self.next().await;
                if frame["id"] == id || frame["interrupted"].is_object() {
                    break frame;
                }
            };
            if frame["id"] == id && frame["error"]["retryable"] != true {
                return frame;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// The next event with a message.
    pub async fn message(&mut self) -> Value {
        loop {
            let frame = self.next().await;
            if frame["event"]["message"].is_object() {
                return frame["event"].clone();
            }
        }
    }
}

/// A frame with a text to somebody.
#[must_use]
pub fn send(id: u64, to: &Person, text: &str, client_id: ClientId) -> Value {
    json!({"id": id, "send": {"user": to.id, "clientId": client_id.to_string(), "text": text}})
}
