//! A client that shows everything: what is sent and received is JSON, as on the wire.

use crate::{PATIENCE, until};
use futures_util::{SinkExt, StreamExt};
use madang_proto::id::ClientId;
use madang_solo::serve::Running;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest, http::HeaderValue},
};

/// After how long something is tried again.
const AGAIN: Duration = Duration::from_millis(20);

/// An HTTP request; its status and JSON. It is made again while the answer is that it may be: a server that has just
/// started has no homes yet, and a machine that is busy with other things holds one up for longer than it may take.
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
    // What is made is made once, however often it is asked for. All else may be asked twice as it is.
    let makes = method == "POST" && (path == "/v1/groups" || path.ends_with("/invites"));
    let once = makes && !token.is_empty() && !head.contains("idempotency-key");
    let key = if once { format!("idempotency-key: {}\r\n", uuid::Uuid::new_v4()) } else { String::new() };
    status_and_json(&insist(door, &request(method, path, token, &format!("{head}{key}"), &body)).await.0)
}

/// An HTTP request that is made once: what is said to it, also if that is to try again; none: the connection ended before.
pub async fn call_once(
    door: SocketAddr,
    method: &str,
    path: &str,
    token: &str,
    head: &str,
    body: Value,
) -> Option<(u16, Value)> {
    exchange(door, &request(method, path, token, head, &body)).await.map(|answer| status_and_json(&answer))
}

/// An HTTP request without a body; its status, its head in lower case, and its body, put together where it came in chunks.
pub async fn raw(server: &Running, method: &str, path: &str, token: &str) -> (u16, String, Vec<u8>) {
    let (answer, _) = insist(server.http, &request(method, path, token, "", &Value::Null)).await;
    let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
    let (status, head) = (head[9..12].parse().unwrap(), head.to_lowercase());
    if !head.contains("transfer-encoding: chunked") {
        return (status, head, rest.into());
    }
    (status, head, together(rest).unwrap())
}

/// What an HTTP server says at a path.
pub async fn text(server: SocketAddr, path: &str) -> String {
    insist(server, &format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")).await.0
}

fn request(method: &str, path: &str, token: &str, head: &str, body: &Value) -> String {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {token}\r\n{head}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn status_and_json(answer: &str) -> (u16, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

/// Whether an error says to try again; a fault of the server is one though it does.
fn may_again(error: &Value) -> bool {
    error["retryable"] == true && error["reason"] != "INTERNAL"
}

/// Asks until there is an answer that is not to try again; that one, and how often it was asked. A server lets go of a
/// connection that said nothing for a few seconds, which a machine that is busy with other things may hold up.
async fn insist(door: SocketAddr, request: &str) -> (String, u32) {
    let end = Instant::now() + PATIENCE;
    for times in 1.. {
        let last = match exchange(door, request).await {
            Some(answer) if !may_again(&status_and_json(&answer).1) => return (answer, times),
            other => other,
        };
        assert!(Instant::now() < end, "{}: still {last:?}", request.lines().next().unwrap());
        tokio::time::sleep(AGAIN).await;
    }
    unreachable!("it ends before it can't be counted")
}

/// What is said to a request; none: the connection ended before.
async fn exchange(door: SocketAddr, request: &str) -> Option<String> {
    let said = async {
        let (mut stream, mut answer) = (TcpStream::connect(door).await.ok()?, String::new());
        stream.write_all(request.as_bytes()).await.ok()?;
        stream.read_to_string(&mut answer).await.ok()?;
        answer.contains("\r\n\r\n").then_some(answer)
    };
    timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("no answer to {}", request.lines().next().unwrap()))
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
pub struct Begun(TcpStream, Vec<u8>);

impl Begun {
    /// Asks, and waits for the answer to begin.
    pub async fn get(server: &Running, path: &str, token: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(server.http).await.unwrap();
        stream.write_all(request("GET", path, token, "", &Value::Null).as_bytes()).await.unwrap();
        timeout(PATIENCE, stream.peek(&mut [0])).await.unwrap().unwrap();
        Self(stream, Vec::new())
    }

    /// Takes of it until it has this text.
    pub async fn until(&mut self, text: &str) {
        while !self.1.windows(text.len()).any(|part| part == text.as_bytes()) {
            assert_ne!(timeout(PATIENCE, self.0.read_buf(&mut self.1)).await.unwrap().unwrap(), 0, "it has ended");
        }
    }

    /// Takes the rest; the body, if it does not break off.
    pub async fn rest(mut self) -> Option<Vec<u8>> {
        timeout(PATIENCE, self.0.read_to_end(&mut self.1)).await.unwrap().ok()?;
        let answer = String::from_utf8(self.1).ok()?;
        together(answer.split_once("\r\n\r\n")?.1)
    }
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
    let answer = enter(door, "/v1/accounts", &body).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Person { id: text(&answer["user"]), token: text(&answer["accessToken"]), device }
}

/// Signs ann, bob, cho and dan up; ann makes a group of the first three, with this data. Gives them, and its id.
pub async fn group_of_three(server: &Running, data: Value) -> (Vec<Person>, String) {
    let mut people = Vec::new();
    for handle in ["ann", "bob", "cho", "dan"] {
        people.push(sign_up(server, handle).await);
    }
    let body = json!({"name": "마당", "members": [people[1].id, people[2].id], "data": data});
    let (status, group) = call(server, "POST", "/v1/groups", &people[0].token, body).await;
    assert_eq!(status, 201, "{group}");
    (people, group["conversation"].as_str().unwrap().to_owned())
}

/// Signs up or logs in: what is given for it.
pub async fn enter(door: SocketAddr, path: &str, body: &Value) -> Value {
    let (answer, times) = insist(door, &request("POST", path, "", "", body)).await;
    let (status, answer) = status_and_json(&answer);
    if times > 1 && answer["reason"] == "HANDLE_TAKEN" {
        // Whoever was only told too late that they are there.
        return Box::pin(enter(door, "/v1/sessions", body)).await;
    }
    assert_eq!(status, 201, "{answer}");
    answer
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
    /// What was asked, by its id, and is not answered yet.
    asked: BTreeMap<u64, Value>,
    /// How often something was sent again.
    pub again: u32,
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

    /// The same; an error: it broke before.
    pub async fn upgraded(stream: TcpStream) -> Result<Self, tungstenite::Error> {
        let mut request = "ws://test/v1/connect".into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("madang.v1.json"));
        let (stream, _) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(Self { stream, frames: VecDeque::new(), asked: BTreeMap::new(), again: 0 })
    }

    /// One that has said hello, and the server's `ready`.
    pub async fn connect(server: &Running, person: &Person, resume: &str) -> (Self, Value) {
        Self::connect_at(server.http, person, resume).await
    }

    /// The same, of the door at an address.
    pub async fn connect_at(door: SocketAddr, person: &Person, resume: &str) -> (Self, Value) {
        until("a socket is ready", async || Self::attempt(door, person, resume).await).await
    }

    /// Says hello; the server's `ready`.
    pub async fn hello(&mut self, person: &Person, resume: &str) -> Value {
        self.send(hello(person, resume)).await;
        self.next().await["ready"].clone()
    }

    /// One that has said hello and is ready, with what it was told; none: it broke, or it is not ready now.
    pub async fn attempt(door: SocketAddr, person: &Person, resume: &str) -> Option<(Self, Value)> {
        let mut socket = Self::upgraded(TcpStream::connect(door).await.ok()?).await.ok()?;
        socket.stream.send(Message::Text(hello(person, resume).to_string().into())).await.ok()?;
        let frame = timeout(PATIENCE, socket.next_or_end()).await.unwrap()?;
        if frame["ready"].is_null() {
            eprintln!("not ready: {frame}");
            return None;
        }
        Some((socket, frame["ready"].clone()))
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: Value) {
        self.stream.send(Message::Text(frame.to_string().into())).await.unwrap();
        if let Some(id) = frame["id"].as_u64().filter(|id| *id > 0 && frame["hello"].is_null()) {
            self.asked.insert(id, frame);
        }
    }

    /// The next frame; a close is `{"close": code}`.
    pub async fn next(&mut self) -> Value {
        timeout(PATIENCE, self.next_or_end()).await.unwrap().unwrap()
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
        let frame = self.frames.pop_front()?;
        if !may_again(&frame["error"]) {
            self.asked.remove(&frame["id"].as_u64().unwrap_or_default());
        }
        Some(frame)
    }

    /// The next frame that says more than that something is to be sent again, which it is: a machine that is busy with
    /// other things may hold up a home for longer than it has to answer.
    async fn served(&mut self) -> Value {
        loop {
            let frame = self.next().await;
            let again: Vec<Value> = match frame["id"].as_u64().unwrap_or_default() {
                0 if frame["interrupted"].is_object() => self.asked.values().cloned().collect(),
                id if may_again(&frame["error"]) => self.asked.get(&id).cloned().into_iter().collect(),
                _ => Vec::new(),
            };
            if again.is_empty() {
                return frame;
            }
            tokio::time::sleep(AGAIN).await;
            for frame in again {
                self.again += 1;
                self.send(frame).await;
            }
        }
    }

    /// The answer to a request, and the events before it.
    pub async fn answer(&mut self, id: u64) -> Value {
        loop {
            let frame = self.served().await;
            if frame["id"] == id {
                return frame;
            }
        }
    }

    /// Sends a request; the answer to it.
    pub async fn ask(&mut self, request: Value) -> Value {
        let id = request["id"].as_u64().unwrap();
        self.send(request).await;
        self.answer(id).await
    }

    /// The next event with a message.
    pub async fn message(&mut self) -> Value {
        loop {
            let frame = self.served().await;
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
