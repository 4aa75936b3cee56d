//! The limits of the contract, each at the limit and one past it, at every door through which it can be reached: WebSocket
//! in JSON and in protobuf, HTTP, gRPC. All doors refuse by the same code and the same reason.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use futures_util::{SinkExt, StreamExt};
use madang_mesh::{
    channel::{Channel, Channels},
    status::from_status,
};
use madang_proto::{
    account::v1::{SignUpRequest, UpdateProfileRequest, account_service_client::AccountServiceClient},
    chat::v1::{
        EditMessageRequest, GetPresenceRequest, ReactRequest, SendMessageRequest,
        chat_service_client::ChatServiceClient,
    },
    client::v1::{ClientFrame, Error, ServerFrame, server_frame::Body},
    group::v1::{CreateGroupRequest, UpdateGroupRequest, group_service_client::GroupServiceClient},
    id::ClientId,
    reason::code_name,
    store::v1::{
        BatchListChangesRequest, ConversationRevision, ListMessagesRequest, store_service_client::StoreServiceClient,
    },
};
use madang_solo::{serve::Running, token::Tokens};
use madang_tests::{
    client::{Person, Socket, call, call_with, sign_up},
    start_with,
};
use prost::Message as _;
use serde_json::{Value, json};
use std::collections::HashMap;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest},
};
use tonic::{Request, Status};

/// What a door says: nothing, or the code and the reason.
type Said = Option<(String, String)>;

fn refused(code: &str, reason: &str) -> Said {
    Some((code.to_owned(), reason.to_owned()))
}

fn too_large() -> Said {
    refused("INVALID_ARGUMENT", "TOO_LARGE")
}

fn invalid() -> Said {
    refused("INVALID_ARGUMENT", "INVALID_FIELD")
}

fn of_http((status, answer): (u16, Value)) -> Said {
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    if status < 300 { None } else { Some((text("code"), text("reason"))) }
}

fn of_grpc<T>(answer: Result<T, Status>) -> Said {
    let status = answer.err()?;
    Some((code_name(status.code()).to_owned(), from_status(&status).reason.word().to_owned()))
}

/// Every door of a server, as one user who acts through them.
struct Doors {
    server: Running,
    ann: Person,
    json: Socket,
    protobuf: WebSocketStream<TcpStream>,
    channel: Channel,
    token: String,
    asked: u32,
    _folder: tempfile::TempDir,
}

async fn protobuf(server: &Running, person: &Person) -> WebSocketStream<TcpStream> {
    let mut request = "ws://test/v1/connect".into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "madang.v1.pb".parse().unwrap());
    let stream = TcpStream::connect(server.http).await.unwrap();
    let (mut stream, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let device = json!({"id": uuid::Uuid::new_v4().to_string(), "kind": "DEVICE_KIND_WEB"});
    let hello = json!({"id": 1, "hello": {"token": person.token, "device": device}});
    let hello: ClientFrame = serde_json::from_value(hello).unwrap();
    stream.send(Message::Binary(hello.encode_length_delimited_to_vec().into())).await.unwrap();
    stream
}

/// The answer to a frame with this id.
async fn answer(stream: &mut WebSocketStream<TcpStream>, id: u32) -> Body {
    loop {
        let Message::Binary(mut bytes) = stream.next().await.unwrap().unwrap() else { continue };
        while !bytes.is_empty() {
            let frame = ServerFrame::decode_length_delimited(&mut bytes).unwrap();
            if frame.id == id {
                return frame.body.unwrap();
            }
        }
    }
}

impl Doors {
    async fn open(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = start_with(folder.path(), flags).await;
        let ann = sign_up(&server, "ann").await;
        let (json, _) = Socket::connect(&server, &ann, "").await;
        let protobuf = protobuf(&server, &ann).await;
        let channel = Channels::new().get(&format!("http://{}", server.grpc)).unwrap();
        let token = format!("Bearer {}", Tokens::open(folder.path()).unwrap().make("test"));
        Self { server, ann, json, protobuf, channel, token, asked: 1, _folder: folder }
    }

    fn id(&self) -> String {
        self.ann.id.clone()
    }

    /// A gRPC request of a service that acts for ann.
    fn grpc<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.parse().unwrap());
        request.metadata_mut().insert("madang-user", self.ann.id.parse().unwrap());
        request
    }

    async fn http(&self, method: &str, path: &str, body: Value) -> Said {
        of_http(call(&self.server, method, path, &self.ann.token, body).await)
    }

    /// What both WebSockets say to a frame. Frames that change something have ids of their own at each.
    async fn frame(&mut self, kind: &str, fields: &Value) -> [Said; 2] {
        self.asked += 1;
        let id = self.asked;
        let frame = || {
            let mut frame = json!({ "id": id });
            frame[kind] = fields.clone();
            if fields.get("clientId").is_some() {
                frame[kind]["clientId"] = ClientId::now().to_string().into();
            }
            frame
        };
        self.json.send(frame()).await;
        let answered = self.json.answer(id.into()).await;
        let text = |name: &str| answered["error"][name].as_str().unwrap_or_default().to_owned();
        let in_json = answered["error"].is_object().then(|| (text("code"), text("reason")));
        let encoded: ClientFrame = serde_json::from_value(frame()).unwrap();
        let encoded = encoded.encode_length_delimited_to_vec();
        let in_protobuf = loop {
            self.protobuf.send(Message::Binary(encoded.clone().into())).await.unwrap();
            match answer(&mut self.protobuf, id).await {
                // A home that this machine holds up.
                Body::Error(Error { retryable: true, .. }) => {}
                Body::Error(Error { code, reason, .. }) => break Some((code, reason)),
                _ => break None,
            }
        };
        [in_json, in_protobuf]
    }

    /// What all doors say to a content that is sent.
    async fn send(&mut self, content: &Value) -> [Said; 4] {
        let mut send = content.clone();
        (send["user"], send["clientId"]) = (self.ann.id.as_str().into(), "".into());
        let fresh = || {
            let mut send = send.clone();
            send["clientId"] = ClientId::now().to_string().into();
            send
        };
        let [in_json, in_protobuf] = self.frame("send", &send).await;
        let over_http = self.http("POST", "/v1/messages", fresh()).await;
        let request = SendMessageRequest { send: Some(serde_json::from_value(fresh()).unwrap()) };
        let over_grpc = ChatServiceClient::new(self.channel.clone()).send_message(self.grpc(request)).await;
        [in_json, in_protobuf, over_http, of_grpc(over_grpc)]
    }

    /// What all doors say to a frame that has an RPC of its own, and is not there over HTTP.
    async fn change(&mut self, kind: &str, fields: &Value) -> [Said; 3] {
        let [in_json, in_protobuf] = self.frame(kind, fields).await;
        let mut fields = fields.clone();
        fields["clientId"] = ClientId::now().to_string().into();
        let mut chat = ChatServiceClient::new(self.channel.clone());
        let over_grpc = if kind == "edit" {
            let request = EditMessageRequest { edit: Some(serde_json::from_value(fields).unwrap()) };
            of_grpc(chat.edit_message(self.grpc(request)).await)
        } else {
            let request = ReactRequest { react: Some(serde_json::from_value(fields).unwrap()) };
            of_grpc(chat.react(self.grpc(request)).await)
        };
        [in_json, in_protobuf, over_grpc]
    }
}

/// Contents at their limits and one past them.
fn contents() -> Vec<(&'static str, [Value; 2], Said)> {
    let text = |size: usize| json!({"text": "a".repeat(size)});
    // Three bytes each, so that bytes are counted and not characters.
    let korean = |size: usize| json!({"text": format!("{}{}", "가".repeat(size / 3), "a".repeat(size % 3))});
    let mentions = |count: usize| json!({"text": "a", "mentions": vec![json!({"offset": 0, "length": 1}); count]});
    let attachments = |count: usize| json!({"attachments": vec![json!({"url": "https://example.com/a"}); count]});
    let data = |size: usize| json!({"data": {"k": "v".repeat(size - 2), "l": ""}, "text": "a"});
    let kind = |size: usize| json!({"text": "a", "type": format!("x-{}", "y".repeat(size - 2))});
    // The field `type` takes 6 bytes; what stands before an attachment and its URL 3 each, before the text 2.
    let rest = |size: usize| json!({"text": "a", "attachments": [{"url": "u".repeat(size - 14)}]});
    vec![
        ("text", [text(65_536), text(65_537)], too_large()),
        ("text in UTF-8", [korean(65_536), korean(65_537)], too_large()),
        ("mentions", [mentions(200), mentions(201)], too_large()),
        ("attachments", [attachments(10), attachments(11)], too_large()),
        ("data", [data(4096), data(4097)], too_large()),
        ("type", [kind(64), kind(65)], invalid()),
        ("the rest", [rest(16_384), rest(16_385)], too_large()),
        ("nothing", [json!({"text": "a"}), json!({"text": ""})], invalid()),
        ("NUL", [json!({"text": "\u{1}"}), json!({"text": "\u{0}"})], invalid()),
        ("mention's end", [mentions(1), json!({"text": "a", "mentions": [{"offset": 1, "length": 1}]})], invalid()),
        ("mention's user", [mentions(1), json!({"text": "a", "mentions": [{"user": "ann"}]})], invalid()),
        ("attachments' urls", [attachments(1), json!({"attachments": [{"url": "\u{0}"}]})], invalid()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_of_messages() {
    let mut doors = Doors::open(&[]).await;
    for (what, [at, past], expected) in contents() {
        for said in doors.send(&at).await {
            assert_eq!(said, None, "{what}, at its limit");
        }
        for said in doors.send(&past).await {
            assert_eq!(said, expected, "{what}, past its limit");
        }
    }
    // Of an edit, too.
    let sent = json!({"user": doors.ann.id, "clientId": ClientId::now().to_string(), "text": "a"});
    let (_, ack) = call(&doors.server, "POST", "/v1/messages", &doors.ann.token, sent).await;
    let target = |mut fields: Value| {
        (fields["conversation"], fields["seq"]) = (ack["conversation"].clone(), ack["seq"].clone());
        fields["clientId"] = "".into();
        fields
    };
    for (what, [at, past], expected) in contents() {
        assert_eq!(doors.change("edit", &target(at)).await, [None, None, None], "{what}, at its limit");
        for said in doors.change("edit", &target(past)).await {
            assert_eq!(said, expected, "{what}, past its limit");
        }
    }
    let emoji = |emoji: String| target(json!({ "emoji": emoji }));
    assert_eq!(doors.change("react", &emoji("a".repeat(64))).await, [None, None, None]);
    for said in doors.change("react", &emoji("a".repeat(65))).await {
        assert_eq!(said, too_large());
    }
    for wrong in ["", "\u{fe0f}", "a\u{0}"] {
        for said in doors.change("react", &emoji(wrong.into())).await {
            assert_eq!(said, invalid(), "{wrong:?}");
        }
    }
    doors.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_watches_and_pages() {
    let mut doors = Doors::open(&[]).await;
    let strangers = |count: usize| (0..count).map(|_| uuid::Uuid::new_v4().to_string()).collect::<Vec<_>>();
    for (count, expected) in [(200, None), (201, too_large())] {
        let users = strangers(count);
        assert_eq!(doors.frame("watch", &json!({ "users": users })).await, [expected.clone(), expected.clone()]);
        let mut chat = ChatServiceClient::new(doors.channel.clone());
        assert_eq!(of_grpc(chat.get_presence(doors.grpc(GetPresenceRequest { users })).await), expected);
    }
    for (count, expected) in [(100, None), (101, too_large())] {
        let ids = strangers(count);
        assert_eq!(doors.http("GET", &format!("/v1/users?ids={}", ids.join(",")), Value::Null).await, expected);
    }
    for (count, expected) in [(100, None), (101, too_large())] {
        let one = |id: String| ConversationRevision { conversation: id, revision: 0 };
        let since: Vec<Value> =
            strangers(count).into_iter().map(|id| json!({"conversation": id, "revision": "0"})).collect();
        assert_eq!(doors.http("POST", "/v1/changes", json!({ "since": since })).await, expected);
        let request =
            BatchListChangesRequest { user: doors.id(), since: strangers(count).into_iter().map(one).collect() };
        let mut store = StoreServiceClient::new(doors.channel.clone());
        assert_eq!(of_grpc(store.batch_list_changes(doors.grpc(request)).await), expected);
    }
    // A page that is asked for more is given the most.
    let mut last = Value::Null;
    for n in 0..201 {
        let send = json!({"user": doors.ann.id, "clientId": ClientId::now().to_string(), "text": n.to_string()});
        last = call(&doors.server, "POST", "/v1/messages", &doors.ann.token, send).await.1;
    }
    let (conversation, revision) = (last["conversation"].as_str().unwrap(), last["revision"].as_str().unwrap());
    for (limit, given) in [(0, 50), (1, 1), (200, 200), (201, 200), (u32::MAX, 200)] {
        let path = format!("/v1/conversations/{conversation}/messages?limit={limit}&atLeast={revision}");
        let (status, page) = call(&doors.server, "GET", &path, &doors.ann.token, Value::Null).await;
        assert_eq!((status, page["messages"].as_array().map(Vec::len)), (200, Some(given)), "{limit}");
        let (conversation, user) = (conversation.to_owned(), doors.id());
        let request = ListMessagesRequest { conversation, user, limit, ..ListMessagesRequest::default() };
        let page = StoreServiceClient::new(doors.channel.clone()).list_messages(doors.grpc(request)).await;
        assert_eq!(page.unwrap().into_inner().messages.len(), given, "{limit}");
    }
    assert_eq!(
        doors.http("GET", &format!("/v1/conversations/{conversation}/messages?limit=-1"), Value::Null).await,
        invalid()
    );
    // The longest WebSocket message, and one that is longer.
    let ping = |size: usize| {
        let ping = json!({"id": 9, "ping": {}}).to_string();
        format!("{ping}{}", " ".repeat(size - ping.len()))
    };
    doors.json.stream.send(Message::Text(ping(131_072).into())).await.unwrap();
    assert!(doors.json.answer(9).await["pong"].is_object());
    doors.json.stream.send(Message::Text(ping(131_073).into())).await.unwrap();
    while doors.json.next().await != json!({"close": 1009}) {}
    let id = ClientFrame {
        id: 9,
        body: Some(madang_proto::client::v1::client_frame::Body::Ping(Default::default())),
        ..ClientFrame::default()
    };
    // An unknown field of its own fills it up: a tag and a length before it, and the frame's length before all.
    let frame = |size: usize| {
        let mut frame = id.encode_to_vec();
        let filling = size - 3 - frame.len() - 2 - 3;
        frame.extend([0xa2, 0x06]);
        prost::encoding::encode_varint(filling as u64, &mut frame);
        frame.resize(frame.len() + filling, 0);
        let mut message = Vec::new();
        prost::encoding::encode_varint(frame.len() as u64, &mut message);
        message.extend(frame);
        assert_eq!(message.len(), size);
        message
    };
    doors.protobuf.send(Message::Binary(frame(131_072).into())).await.unwrap();
    assert!(matches!(answer(&mut doors.protobuf, 9).await, Body::Pong(_)));
    doors.protobuf.send(Message::Binary(frame(131_073).into())).await.unwrap();
    loop {
        if let Message::Close(frame) = doors.protobuf.next().await.unwrap().unwrap() {
            assert_eq!(frame.map(|frame| u16::from(frame.code)), Some(1009));
            break;
        }
    }
    doors.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts() {
    let doors = Doors::open(&[]).await;
    let device =
        |name: String| json!({"id": uuid::Uuid::new_v4().to_string(), "kind": "DEVICE_KIND_WEB", "name": name});
    let whole = |field: &str, value: String| {
        let mut body = json!({"handle": format!("h{}", &uuid::Uuid::new_v4().simple().to_string()[..20]),
            "password": "correct horse", "name": "n", "device": device("d".into())});
        if field == "device" {
            body["device"] = device(value)
        } else {
            body[field] = value.into()
        }
        body
    };
    let part = || uuid::Uuid::new_v4().simple().to_string();
    for (field, good, bad) in [
        ("handle", vec![part()[..3].to_owned(), part()[..30].to_owned()], vec!["ab".into(), part()[..31].to_owned()]),
        ("password", vec!["p".repeat(8), "p".repeat(1024)], vec!["p".repeat(7), "p".repeat(1025)]),
        ("name", vec!["한".into(), "한".repeat(50)], vec!["한".repeat(51), "\u{0}".into(), "  ".into()]),
        ("device", vec![String::new(), "한".repeat(100)], vec!["한".repeat(101)]),
    ] {
        for (values, expected) in [(good, None), (bad, invalid())] {
            for value in values {
                let body = whole(field, value.clone());
                assert_eq!(doors.http("POST", "/v1/accounts", body).await, expected, "{field} {value}");
                let mut body = whole(field, value.clone());
                if field == "handle" && expected.is_none() {
                    // The one before has it.
                    let other = if value.ends_with('a') { 'b' } else { 'a' };
                    body["handle"] = format!("{}{other}", &value[..value.len() - 1]).into();
                }
                let text = |name: &str| body[name].as_str().unwrap().to_owned();
                let (handle, password, name) = (text("handle"), text("password"), text("name"));
                let device = Some(serde_json::from_value(body["device"].clone()).unwrap());
                let request = doors.grpc(SignUpRequest { handle, password, name, device, ..SignUpRequest::default() });
                let said = of_grpc(AccountServiceClient::new(doors.channel.clone()).sign_up(request).await);
                assert_eq!(said, expected, "{field} {value}");
            }
        }
    }
    for (field, size, expected) in [
        ("name", 50, None),
        ("name", 51, invalid()),
        ("statusMessage", 200, None),
        ("statusMessage", 201, invalid()),
        ("handle", 30, None),
        ("handle", 31, invalid()),
    ] {
        let value = if field == "handle" { "h".repeat(size) } else { "한".repeat(size) };
        let mut body = json!({});
        body[field] = value.as_str().into();
        assert_eq!(doors.http("PATCH", "/v1/me", body).await, expected, "{field} {size}");
        let of = |name: &str| (field == name).then(|| value.clone());
        let request = UpdateProfileRequest {
            user: doors.id(),
            handle: of("handle"),
            name: of("name"),
            status_message: of("statusMessage"),
            picture: None,
        };
        let said = AccountServiceClient::new(doors.channel.clone()).update_profile(doors.grpc(request)).await;
        assert_eq!(of_grpc(said), expected, "{field} {size}");
    }
    doors.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups() {
    let doors = Doors::open(&["--max-members", "4"]).await;
    let mut others = Vec::new();
    for n in 0..4 {
        others.push(sign_up(&doors.server, &format!("other_{n}")).await.id);
    }
    let map = |size: usize| HashMap::from([("k".to_owned(), "v".repeat(size - 1))]);
    let plain = || CreateGroupRequest { user: doors.id(), name: "n".into(), ..CreateGroupRequest::default() };
    let full = refused("FAILED_PRECONDITION", "GROUP_FULL");
    for (what, request, expected) in [
        ("name", CreateGroupRequest { name: "한".repeat(50), ..plain() }, None),
        ("name", CreateGroupRequest { name: "한".repeat(51), ..plain() }, invalid()),
        ("name", CreateGroupRequest { name: " ".into(), ..plain() }, invalid()),
        ("members", CreateGroupRequest { members: others[..3].to_vec(), ..plain() }, None),
        ("members", CreateGroupRequest { members: others.clone(), ..plain() }, full.clone()),
        ("data", CreateGroupRequest { data: map(4096), ..plain() }, None),
        ("data", CreateGroupRequest { data: map(4097), ..plain() }, too_large()),
        ("key", CreateGroupRequest { idempotency_key: "k".repeat(255), ..plain() }, None),
        ("key", CreateGroupRequest { idempotency_key: "k".repeat(256), ..plain() }, invalid()),
    ] {
        let head = format!("idempotency-key: {}\r\n", request.idempotency_key);
        let body = json!({"name": request.name, "members": request.members, "data": request.data});
        let made = call_with(doors.server.http, "POST", "/v1/groups", &doors.ann.token, &head, body).await;
        assert_eq!(of_http(made), expected, "{what}");
        let made = GroupServiceClient::new(doors.channel.clone()).create_group(doors.grpc(request)).await;
        assert_eq!(of_grpc(made), expected, "{what}");
    }
    let (_, group) = call(&doors.server, "POST", "/v1/groups", &doors.ann.token, json!({"name": "n"})).await;
    let conversation = group["conversation"].as_str().unwrap();
    let plain = || UpdateGroupRequest { user: doors.id(), conversation: conversation.into(), ..Default::default() };
    for (what, request, expected) in [
        ("name", UpdateGroupRequest { name: Some("한".repeat(50)), ..plain() }, None),
        ("name", UpdateGroupRequest { name: Some("한".repeat(51)), ..plain() }, invalid()),
        ("data", UpdateGroupRequest { data: map(4096), ..plain() }, None),
        ("data", UpdateGroupRequest { data: map(4097), ..plain() }, too_large()),
    ] {
        let mut body = json!({"data": request.data});
        if let Some(name) = &request.name {
            body["name"] = name.as_str().into();
        }
        assert_eq!(doors.http("PATCH", &format!("/v1/groups/{conversation}"), body).await, expected, "{what}");
        let changed = GroupServiceClient::new(doors.channel.clone()).update_group(doors.grpc(request)).await;
        assert_eq!(of_grpc(changed), expected, "{what}");
    }
    doors.server.stop().await;
}
