//! Every door of a server, as one user who acts through all of them: WebSocket in JSON and in protobuf, HTTP, gRPC. All
//! doors refuse by the same code and the same reason.

use crate::{
    client::{Person, Socket, call, sign_up},
    start_with,
};
use futures_util::{SinkExt, StreamExt};
use madang_mesh::{
    channel::{Channel, Channels},
    status::from_status,
};
use madang_proto::{
    chat::v1::{
        DeleteMessageRequest, EditMessageRequest, MarkReadRequest, ReactRequest, SendMessageRequest,
        chat_service_client::ChatServiceClient,
    },
    client::v1::{Ack, ClientFrame, Error, ServerFrame, server_frame::Body},
    id::ClientId,
    reason::code_name,
};
use madang_solo::{serve::Running, token::Tokens};
use prost::Message as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest},
};
use tonic::{Request, Status};

/// What a door says: nothing, or the code and the reason.
pub type Said = Option<(String, String)>;

/// What is refused.
#[must_use]
pub fn refused(code: &str, reason: &str) -> Said {
    Some((code.to_owned(), reason.to_owned()))
}

/// What is too long or too many.
#[must_use]
pub fn too_large() -> Said {
    refused("INVALID_ARGUMENT", "TOO_LARGE")
}

/// What is not as it must be.
#[must_use]
pub fn invalid() -> Said {
    refused("INVALID_ARGUMENT", "INVALID_FIELD")
}

/// An answer over HTTP.
#[must_use]
pub fn of_http((status, answer): (u16, Value)) -> Said {
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    if status < 300 { None } else { Some((text("code"), text("reason"))) }
}

/// An answer over gRPC.
#[must_use]
pub fn of_grpc<T>(answer: Result<T, Status>) -> Said {
    let status = answer.err()?;
    Some((code_name(status.code()).to_owned(), from_status(&status).reason.word().to_owned()))
}

/// One of the doors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// A WebSocket in JSON.
    Json,
    /// A WebSocket in protobuf.
    Protobuf,
    /// HTTP: it has `send` and `read`.
    Http,
    /// gRPC: it has no `watch`.
    Grpc,
}

/// Those that `send` goes through.
pub const ALL: [Door; 4] = [Door::Json, Door::Protobuf, Door::Http, Door::Grpc];
/// Those that other changes go through.
pub const CHANGES: [Door; 3] = [Door::Json, Door::Protobuf, Door::Grpc];

/// A WebSocket that speaks protobuf.
pub struct Binary {
    /// What it speaks over.
    pub stream: WebSocketStream<TcpStream>,
}

impl Binary {
    /// One that has said hello.
    pub async fn connect(server: &Running, token: &str, device: &str, resume: &str) -> Self {
        let mut request = "ws://test/v1/connect".into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "madang.v1.pb".parse().unwrap());
        let stream = TcpStream::connect(server.http).await.unwrap();
        let (stream, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        let device = json!({"id": device, "kind": "DEVICE_KIND_WEB"});
        let mut socket = Self { stream };
        socket.send(&json!({"id": 1, "hello": {"token": token, "device": device, "resume": resume}})).await;
        socket
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: &Value) {
        let frame: ClientFrame = serde_json::from_value(frame.clone()).unwrap();
        self.stream.send(Message::Binary(frame.encode_length_delimited_to_vec().into())).await.unwrap();
    }

    /// The answer to a frame with this id; or the code of the close.
    pub async fn answer(&mut self, id: u32) -> Result<Body, u16> {
        loop {
            let mut bytes = match self.stream.next().await.unwrap().unwrap() {
                Message::Binary(bytes) => bytes,
                Message::Close(frame) => return Err(frame.unwrap().code.into()),
                _ => continue,
            };
            while !bytes.is_empty() {
                let frame = ServerFrame::decode_length_delimited(&mut bytes).unwrap();
                if frame.id == id {
                    return Ok(frame.body.unwrap());
                }
            }
        }
    }
}

/// Every door of a server, as one user who acts through them.
pub struct Doors {
    /// The server.
    pub server: Running,
    /// The user.
    pub ann: Person,
    /// Theirs in JSON.
    pub json: Socket,
    /// Theirs in protobuf.
    pub protobuf: Binary,
    /// The way to gRPC.
    pub channel: Channel,
    /// The server's folder.
    pub folder: TempDir,
    token: String,
    asked: u32,
}

impl Doors {
    /// Starts a server with further flags, and comes in by all of its doors.
    pub async fn open(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = start_with(folder.path(), flags).await;
        let ann = sign_up(&server, "ann").await;
        let (json, _) = Socket::connect(&server, &ann, "").await;
        let other = uuid::Uuid::new_v4().to_string();
        let protobuf = Binary::connect(&server, &ann.token, &other, "").await;
        let channel = Channels::new().get(&format!("http://{}", server.grpc)).unwrap();
        let token = format!("Bearer {}", Tokens::open(folder.path()).unwrap().make("test"));
        Self { server, ann, json, protobuf, channel, folder, token, asked: 1 }
    }

    /// The user's id.
    #[must_use]
    pub fn id(&self) -> String {
        self.ann.id.clone()
    }

    /// A gRPC request of a service that acts for ann.
    #[must_use]
    pub fn grpc<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.parse().unwrap());
        request.metadata_mut().insert("madang-user", self.ann.id.parse().unwrap());
        request
    }

    /// What is said over HTTP.
    pub async fn http(&self, method: &str, path: &str, body: Value) -> Said {
        of_http(call(&self.server, method, path, &self.ann.token, body).await)
    }

    /// Asks one door; what it answers, or why not. A `clientId` that is empty becomes a new one each time.
    pub async fn ask(&mut self, door: Door, kind: &str, fields: &Value) -> Result<Value, (String, String)> {
        let mut fields = fields.clone();
        if fields["clientId"] == "" {
            fields["clientId"] = ClientId::now().to_string().into();
        }
        self.asked += 1;
        let mut frame = json!({ "id": self.asked });
        frame[kind] = fields.clone();
        match door {
            Door::Json => {
                self.json.send(frame).await;
                let answered = self.json.answer(self.asked.into()).await;
                let text = |name: &str| answered["error"][name].as_str().unwrap_or_default().to_owned();
                let failed = answered["error"].is_object();
                if failed { Err((text("code"), text("reason"))) } else { Ok(answered["ack"].clone()) }
            }
            Door::Protobuf => loop {
                self.protobuf.send(&frame).await;
                match self.protobuf.answer(self.asked).await.unwrap() {
                    // A home that this machine holds up.
                    Body::Error(Error { retryable: true, .. }) => {}
                    Body::Error(Error { code, reason, .. }) => break Err((code, reason)),
                    Body::Ack(ack) => break Ok(serde_json::to_value(ack).unwrap()),
                    _ => break Ok(Value::Null),
                }
            },
            Door::Http => {
                let conversation = fields["conversation"].as_str().unwrap_or_default();
                let (method, path) = match kind {
                    "read" => ("PUT", format!("/v1/conversations/{conversation}/read")),
                    _ => ("POST", "/v1/messages".to_owned()),
                };
                let (status, answer) = call(&self.server, method, &path, &self.ann.token, fields).await;
                of_http((status, answer.clone())).map_or(Ok(answer), Err)
            }
            Door::Grpc => {
                let answer = self.over_grpc(kind, fields).await;
                answer
                    .map(|ack| serde_json::to_value(ack).unwrap())
                    .map_err(|status| of_grpc::<()>(Err(status)).unwrap())
            }
        }
    }

    async fn over_grpc(&self, kind: &str, fields: Value) -> Result<Option<Ack>, Status> {
        let mut chat = ChatServiceClient::new(self.channel.clone());
        match kind {
            "send" => {
                let request = SendMessageRequest { send: serde_json::from_value(fields).unwrap() };
                Ok(chat.send_message(self.grpc(request)).await?.into_inner().ack)
            }
            "edit" => {
                let request = EditMessageRequest { edit: serde_json::from_value(fields).unwrap() };
                Ok(chat.edit_message(self.grpc(request)).await?.into_inner().ack)
            }
            "delete" => {
                let request = DeleteMessageRequest { delete: serde_json::from_value(fields).unwrap() };
                Ok(chat.delete_message(self.grpc(request)).await?.into_inner().ack)
            }
            "react" => {
                let request = ReactRequest { react: serde_json::from_value(fields).unwrap() };
                Ok(chat.react(self.grpc(request)).await?.into_inner().ack)
            }
            "read" => {
                let request = MarkReadRequest { read: serde_json::from_value(fields).unwrap() };
                Ok(chat.mark_read(self.grpc(request)).await?.into_inner().ack)
            }
            other => panic!("gRPC has no RPC for {other}"),
        }
    }

    /// What both WebSockets say to a frame.
    pub async fn frame(&mut self, kind: &str, fields: &Value) -> [Said; 2] {
        [self.ask(Door::Json, kind, fields).await.err(), self.ask(Door::Protobuf, kind, fields).await.err()]
    }

    /// What all doors say to a content that is sent.
    pub async fn send(&mut self, content: &Value) -> [Said; 4] {
        let mut send = content.clone();
        (send["user"], send["clientId"]) = (self.ann.id.as_str().into(), "".into());
        let mut said = [const { None }; 4];
        for (door, said) in ALL.into_iter().zip(&mut said) {
            *said = self.ask(door, "send", &send).await.err();
        }
        said
    }

    /// What all doors say to a frame that has an RPC of its own, and is not there over HTTP.
    pub async fn change(&mut self, kind: &str, fields: &Value) -> [Said; 3] {
        let mut said = [const { None }; 3];
        for (door, said) in CHANGES.into_iter().zip(&mut said) {
            *said = self.ask(door, kind, fields).await.err();
        }
        said
    }
}
