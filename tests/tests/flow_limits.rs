//! The limits of the contract, each at the limit and one past it, at every door through which it can be reached: WebSocket
//! in JSON and in protobuf, HTTP, gRPC. All doors refuse by the same code and the same reason.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use futures_util::SinkExt;
use madang_proto::{
    account::v1::{
        SignUpRequest, StorePictureRequest, UpdateProfileRequest, account_service_client::AccountServiceClient,
    },
    chat::v1::{GetPresenceRequest, chat_service_client::ChatServiceClient},
    client::v1::{ClientFrame, server_frame::Body},
    group::v1::{
        CreateGroupRequest, CreateInviteRequest, UpdateGroupRequest, UpdateSettingsRequest,
        group_service_client::GroupServiceClient,
    },
    id::ClientId,
    store::v1::{
        BatchListChangesRequest, ConversationRevision, ListMessagesRequest, store_service_client::StoreServiceClient,
    },
};
use madang_tests::{
    client::{call, call_with, sign_up},
    doors::{Door, Doors, Said, invalid, of_grpc, of_http, refused, too_large},
};
use prost::Message as _;
use serde_json::{Value, json};
use std::collections::HashMap;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::Message;

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

/// In JSON, by both doors that take it.
#[tokio::test(flavor = "multi_thread")]
async fn null_is_as_good_as_left_out() {
    let mut doors = Doors::open(&[]).await;
    for content in [
        json!({"text": "a", "replyTo": null, "mentions": null, "attachments": null, "data": null}),
        json!({"text": "a", "mentions": [{"user": null, "offset": null, "length": 1}]}),
        json!({"attachments": [{"url": "https://example.com/a", "name": null, "size": null, "future": {"a": null}}]}),
    ] {
        let mut send = content.clone();
        (send["user"], send["clientId"]) = (doors.ann.id.as_str().into(), "".into());
        for door in [Door::Json, Door::Http] {
            assert_eq!(doors.ask(door, "send", &send).await.err(), None, "{content}, {door:?}");
        }
    }
    // Nothing is no element, and no word of the app's own.
    for wrong in [json!({"mentions": [null]}), json!({"attachments": [null]}), json!({"data": {"a": null}})] {
        let mut send = json!({"user": doors.ann.id, "clientId": "", "text": "a"});
        send.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        let said = doors.ask(Door::Json, "send", &send).await.err();
        assert_eq!(said, refused("INVALID_ARGUMENT", "INVALID_FRAME"), "{wrong}");
        assert_eq!(doors.ask(Door::Http, "send", &send).await.err(), invalid(), "{wrong}");
    }
    let device = json!({"id": uuid::Uuid::new_v4(), "kind": "DEVICE_KIND_WEB", "name": null, "app": null});
    let body = json!({"handle": "ann", "password": "correct horse", "device": device});
    assert_eq!(doors.http("POST", "/v1/sessions", body).await, None);
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
    doors.protobuf.stream.send(Message::Binary(frame(131_072).into())).await.unwrap();
    assert!(matches!(doors.protobuf.answer(9).await, Ok(Body::Pong(_))));
    doors.protobuf.stream.send(Message::Binary(frame(131_073).into())).await.unwrap();
    assert_eq!(doors.protobuf.answer(9).await.unwrap_err(), 1009);
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

/// A PNG of one grey pixel, and something behind it up to so many bytes.
fn picture(size: usize) -> Vec<u8> {
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\x0aIDATx\xdach\0\0\0\x82\0\x81\xdaE\x08;\0\0\0\0IEND\xaeB`\x82";
    let mut picture = png.to_vec();
    picture.resize(size, 0);
    picture
}

/// What is said to a picture over HTTP.
async fn put_picture(doors: &Doors, image: &[u8]) -> Said {
    let mut stream = TcpStream::connect(doors.server.http).await.unwrap();
    let (token, length) = (&doors.ann.token, image.len());
    let head = format!(
        "PUT /v1/me/picture HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // What is too large is refused by its head: it may be that the rest is not taken.
    let _ = stream.write_all(image).await;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    of_http((head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_default()))
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_invites_and_pictures() {
    let doors = Doors::open(&[]).await;
    let (_, group) = call(&doors.server, "POST", "/v1/groups", &doors.ann.token, json!({"name": "n"})).await;
    let conversation = group["conversation"].as_str().unwrap().to_owned();
    let groups = || GroupServiceClient::new(doors.channel.clone());
    for (size, expected) in [(4096, None), (4097, too_large())] {
        let data = HashMap::from([("k".to_owned(), "v".repeat(size - 1))]);
        let path = format!("/v1/conversations/{conversation}/settings");
        assert_eq!(doors.http("PATCH", &path, json!({ "data": data })).await, expected, "{size}");
        let (user, conversation) = (doors.id(), conversation.clone());
        let request = UpdateSettingsRequest { user, conversation, clear_data: true, data, ..Default::default() };
        assert_eq!(of_grpc(groups().update_settings(doors.grpc(request)).await), expected, "{size}");
    }
    let path = format!("/v1/groups/{conversation}/invites");
    let full = refused("FAILED_PRECONDITION", "TOO_MANY_INVITES");
    for n in 0..52 {
        let expected = if n < 50 { None } else { full.clone() };
        let said = if n % 2 == 0 {
            doors.http("POST", &path, json!({})).await
        } else {
            let (user, conversation) = (doors.id(), conversation.clone());
            let request = CreateInviteRequest { user, conversation, ..Default::default() };
            of_grpc(groups().create_invite(doors.grpc(request)).await)
        };
        assert_eq!(said, expected, "{n}");
    }
    for (size, expected) in [(5 << 20, None), ((5 << 20) + 1, too_large())] {
        let image = picture(size);
        assert_eq!(put_picture(&doors, &image).await, expected, "{size}");
        let request = doors.grpc(StorePictureRequest { image });
        let said = AccountServiceClient::new(doors.channel.clone()).store_picture(request).await;
        assert_eq!(of_grpc(said), expected, "{size}");
    }
    doors.server.stop().await;
}
