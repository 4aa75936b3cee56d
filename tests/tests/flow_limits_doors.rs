//! More limits of the contract at every door: what names something that is too old, too far ahead or not there, and what is
//! too much at once. See `flow_limits.rs` for the limits of contents, names and lists.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use futures_util::{SinkExt, StreamExt, stream};
use madang_mesh::clock::now_ms;
use madang_proto::{
    account::v1::{GetUsersRequest, SetBlockRequest, account_service_client::AccountServiceClient},
    chat::v1::{
        ClosedReason, ConnectRequest, ConnectResponse, Open, Upstream, chat_service_client::ChatServiceClient,
        downstream::Item, upstream,
    },
    client::v1::{ClientFrame, Device, DeviceKind, Resume, server_frame::Body},
    id::{ClientId, UserId},
    store::v1::{
        BatchGetMessagesRequest, GetMessagesRequest, ListMessagesRequest, MessageNumber, StreamEventsRequest,
        store_service_client::StoreServiceClient,
    },
};
use madang_solo::serve::Running;
use madang_tests::{
    PATIENCE,
    client::{Person, Socket, call, call_once, sign_up},
    doors::{ALL, Binary, CHANGES, Door, Doors, Said, invalid, of_grpc, refused, too_large},
    until,
};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::Message;
use tonic::Streaming;

/// A number as it is written: as text.
fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A message, for what is about one.
struct Target {
    conversation: Value,
    seq: u64,
}

impl Target {
    /// One that is said to oneself.
    async fn new(doors: &mut Doors) -> Self {
        let send = json!({"user": doors.id(), "clientId": "", "text": "a"});
        let ack = doors.ask(Door::Json, "send", &send).await.unwrap();
        Self { conversation: ack["conversation"].clone(), seq: number(&ack["seq"]) }
    }

    /// Fields about it.
    fn with(&self, mut fields: Value) -> Value {
        (fields["conversation"], fields["seq"]) = (self.conversation.clone(), self.seq.into());
        fields
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_of_client_ids() {
    let mut doors = Doors::open(&[]).await;
    let target = Target::new(&mut doors).await;
    // Each a while before and after the limit, which moves: to the millisecond they are tested in chat-svc's `retry`.
    let (minute, day) = (60_000, 86_400_000);
    let dated = |after: i64| ClientId::at((now_ms() + after).unsigned_abs(), rand::random()).to_string();
    let (expired, ahead) =
        (refused("FAILED_PRECONDITION", "CLIENT_ID_EXPIRED"), refused("FAILED_PRECONDITION", "CLIENT_ID_AHEAD"));
    for (what, after, expected) in [
        ("just not 7 days ago", minute - 7 * day, None),
        ("over 7 days ago", -minute - 7 * day, expired.clone()),
        ("before there were any", -now_ms(), expired),
        ("just not 5 minutes ahead", 4 * minute, None),
        ("over 5 minutes ahead", 6 * minute, ahead.clone()),
        ("a year ahead", 365 * day, ahead),
    ] {
        let mut send = json!({"user": doors.id(), "text": what});
        for door in ALL {
            send["clientId"] = dated(after).into();
            assert_eq!(doors.ask(door, "send", &send).await.err(), expected, "send, {what}, {door:?}");
        }
        for (kind, more) in [("edit", "text"), ("react", "emoji"), ("delete", "")] {
            // A message of its own for each: a deleted one can't be changed.
            for door in CHANGES {
                let own = Target::new(&mut doors).await;
                let mut fields = own.with(json!({"clientId": dated(after)}));
                if !more.is_empty() {
                    fields[more] = what.into();
                }
                assert_eq!(doors.ask(door, kind, &fields).await.err(), expected, "{kind}, {what}, {door:?}");
            }
        }
    }
    for wrong in [" ".to_owned(), "7".to_owned(), new_id(), ClientId::now().to_string().to_uppercase()] {
        let send = json!({"user": doors.id(), "text": "a", "clientId": wrong});
        for door in ALL {
            assert_eq!(doors.ask(door, "send", &send).await.err(), invalid(), "{wrong}, {door:?}");
        }
        let react = target.with(json!({"emoji": "👍", "clientId": wrong}));
        assert_eq!(doors.change("react", &react).await, [invalid(), invalid(), invalid()], "{wrong}");
    }
    doors.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_and_changed_is_there() {
    let mut doors = Doors::open(&[]).await;
    let Target { conversation, seq: mut last } = Target::new(&mut doors).await;
    let missing = refused("NOT_FOUND", "MESSAGE_NOT_FOUND");
    let send = |reply_to: u64| json!({"conversation": conversation, "clientId": "", "text": "a", "replyTo": reply_to});
    for door in ALL {
        for reply_to in [last + 1, u64::MAX] {
            assert_eq!(doors.ask(door, "send", &send(reply_to)).await.err(), missing, "{door:?}");
        }
        let ack = doors.ask(door, "send", &send(last)).await.unwrap();
        assert_eq!(number(&ack["seq"]), last + 1, "what was refused took no number");
        last += 1;
    }
    let about = |seq: u64, more: Value| {
        let mut fields = more;
        (fields["conversation"], fields["seq"], fields["clientId"]) = (conversation.clone(), seq.into(), "".into());
        fields
    };
    let all = |said: Said| [said.clone(), said.clone(), said];
    let edit = |reply_to: u64| about(last, json!({"text": "b", "replyTo": reply_to}));
    assert_eq!(doors.change("edit", &edit(last)).await, all(None));
    assert_eq!(doors.change("edit", &edit(last + 1)).await, all(missing.clone()));
    for (kind, more) in [("edit", json!({"text": "c"})), ("react", json!({"emoji": "👍"})), ("delete", json!({}))] {
        for seq in [0, last + 1, u64::MAX] {
            assert_eq!(doors.change(kind, &about(seq, more.clone())).await, all(missing.clone()), "{kind} {seq}");
        }
        assert_eq!(doors.change(kind, &about(last, more)).await, all(None), "{kind}");
    }
    // A mark beyond the last message is one at it.
    for door in ALL {
        let read = json!({"conversation": conversation, "seq": last + 1});
        assert_eq!(doors.ask(door, "read", &read).await.err(), None, "{door:?}");
    }
    let path = format!("/v1/conversations/{}", conversation.as_str().unwrap());
    let read = until("the mark is kept", async || {
        let (_, shown) = call(&doors.server, "GET", &path, &doors.ann.token, Value::Null).await;
        (number(&shown["readSeq"]) >= last).then(|| number(&shown["readSeq"]))
    });
    assert_eq!(read.await, last);
    doors.server.stop().await;
}

/// An id that is none is wrong at every door; one that is nobody's, or of others, is not there.
#[tokio::test(flavor = "multi_thread")]
async fn ids_of_conversations() {
    let mut doors = Doors::open(&[]).await;
    let bob = sign_up(&doors.server, "bob").await;
    let (status, others) = call(&doors.server, "POST", "/v1/groups", &bob.token, json!({"name": "bob's"})).await;
    assert_eq!(status, 201, "{others}");
    let others = others["conversation"].as_str().unwrap().to_owned();
    let missing = refused("NOT_FOUND", "CONVERSATION_NOT_FOUND");
    for (id, expected) in [
        ("nonsense".to_owned(), invalid()),
        (new_id().replace('-', ""), invalid()),
        (others.to_uppercase(), invalid()),
        (new_id(), missing.clone()),
        (others, missing),
    ] {
        for (kind, more, by) in [
            ("send", json!({"text": "a"}), &ALL[..]),
            ("read", json!({"seq": "1"}), &ALL),
            ("edit", json!({"seq": "1", "text": "a"}), &CHANGES),
            ("react", json!({"seq": "1", "emoji": "👍"}), &CHANGES),
            ("delete", json!({"seq": "1"}), &CHANGES),
        ] {
            let mut fields = more;
            fields["conversation"] = id.as_str().into();
            if kind != "read" {
                fields["clientId"] = "".into();
            }
            for door in by {
                assert_eq!(doors.ask(*door, kind, &fields).await.err(), expected, "{kind}, {id}, {door:?}");
            }
        }
        for of in ["", "/members", "/messages", "/changes?since=0"] {
            assert_eq!(doors.http("GET", &format!("/v1/conversations/{id}{of}"), Value::Null).await, expected, "{of}");
        }
        let page = ListMessagesRequest { conversation: id.clone(), user: doors.id(), ..Default::default() };
        let said = StoreServiceClient::new(doors.channel.clone()).list_messages(doors.grpc(page)).await;
        assert_eq!(of_grpc(said), expected, "{id}");
    }
    doors.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_emoji() {
    let mut doors = Doors::open(&[]).await;
    for door in CHANGES {
        let target = Target::new(&mut doors).await;
        for n in 0..20 {
            let react = target.with(json!({"emoji": format!("e{n}"), "clientId": ""}));
            assert_eq!(doors.ask(door, "react", &react).await.err(), None, "{n}, {door:?}");
        }
        // At every door, whichever the others came by.
        let full = refused("FAILED_PRECONDITION", "TOO_MANY_REACTIONS");
        let react = |emoji: &str, remove: bool| target.with(json!({"emoji": emoji, "clientId": "", "remove": remove}));
        assert_eq!(doors.change("react", &react("21st", false)).await, [full.clone(), full.clone(), full]);
        assert_eq!(doors.change("react", &react("e7", false)).await, [None, None, None], "it is there already");
        assert_eq!(doors.ask(door, "react", &react("e7", true)).await.err(), None);
        assert_eq!(doors.ask(door, "react", &react("21st", false)).await.err(), None, "there is room again");
    }
    doors.server.stop().await;
}

/// What comes of sixty-five sends in one WebSocket message: the gateway has taken all of them before it hears an answer.
#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_in_flight() {
    let mut doors = Doors::open(&[]).await;
    let frames = |first: u32| {
        let send = |_| json!({"user": doors.ann.id, "clientId": ClientId::now().to_string(), "text": "at once"});
        (first..first + 65).map(|id| json!({"id": id, "send": send(id)})).collect::<Vec<_>>()
    };
    let (json, protobuf) = (frames(1000), frames(2000));
    let lines = json.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    doors.json.stream.send(Message::text(lines)).await.unwrap();
    let mut refusals = Vec::new();
    for _ in 0..65 {
        let answer = loop {
            let frame = doors.json.next().await;
            if frame["id"].as_u64().is_some_and(|id| id >= 1000) {
                break frame;
            }
        };
        if answer["error"]["reason"] == "TOO_MANY_IN_FLIGHT" {
            refusals.push(answer);
        }
    }
    let [refusal] = &refusals[..] else { panic!("{refusals:?}") };
    assert_eq!(refusal["id"], 1064, "the last of them");
    let error = &refusal["error"];
    assert_eq!((&error["code"], &error["retryable"]), (&json!("RESOURCE_EXHAUSTED"), &json!(true)));
    assert!(number(&error["retryAfterMs"]) > 0);

    let encoded = protobuf.into_iter().flat_map(|frame| {
        let frame: ClientFrame = serde_json::from_value(frame).unwrap();
        frame.encode_length_delimited_to_vec()
    });
    let encoded: Vec<u8> = encoded.collect();
    doors.protobuf.stream.send(Message::binary(encoded)).await.unwrap();
    match doors.protobuf.answer(2064).await.unwrap() {
        Body::Error(error) => {
            assert_eq!((error.code.as_str(), error.reason.as_str()), ("RESOURCE_EXHAUSTED", "TOO_MANY_IN_FLIGHT"));
            assert!(error.retryable && error.retry_after_ms > 0);
        }
        other => panic!("{other:?}"),
    }
    doors.server.stop().await;
}

/// A send over HTTP, asked once: the status, the head in lower case, and the problem.
async fn send_once(server: &Running, person: &Person) -> (u16, String, Value) {
    let body = json!({"user": person.id, "clientId": ClientId::now().to_string(), "text": "often"}).to_string();
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let (token, length) = (&person.token, body.len());
    let request = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_lowercase(), serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_of_sends() {
    let mut doors = Doors::open(&["--send-rate", "1", "--send-burst", "5"]).await;
    let send = |id: u32| json!({"id": id, "send": {"user": doors.ann.id, "clientId": ClientId::now().to_string(), "text": "often"}});
    let (in_json, in_protobuf): (Vec<_>, Vec<_>) = (1000..1100).map(|id| (send(id), send(id + 1000))).unzip();
    // One a second comes to the five, so more pass on a slow machine; a hundred don't.
    let mut passed = 0;
    let error = loop {
        doors.json.stream.send(Message::text(in_json[passed].to_string())).await.unwrap();
        let answer = loop {
            let frame = doors.json.next().await;
            if frame["id"] == in_json[passed]["id"] {
                break frame;
            }
        };
        if answer["error"]["reason"] == "RATE_LIMITED" {
            break answer["error"].clone();
        }
        passed += 1;
    };
    assert!(passed >= 5, "{passed}");
    assert_eq!((&error["code"], &error["retryable"]), (&json!("RESOURCE_EXHAUSTED"), &json!(true)));
    assert!((1..=1000).contains(&number(&error["retryAfterMs"])), "{error}");
    // The rate is the user's, not the socket's: this one has little left.
    let mut passed = 0;
    let error = loop {
        doors.protobuf.send(&in_protobuf[passed]).await;
        match doors.protobuf.answer(2000 + u32::try_from(passed).unwrap()).await.unwrap() {
            Body::Error(error) if error.reason == "RATE_LIMITED" => break error,
            _ => passed += 1,
        }
    };
    assert!(error.code == "RESOURCE_EXHAUSTED" && error.retryable && (1..=1000).contains(&error.retry_after_ms));

    // Over HTTP it is counted by api.
    let mut passed = 0;
    let (head, problem) = loop {
        let (status, head, answer) = send_once(&doors.server, &doors.ann).await;
        if status == 429 {
            break (head, answer);
        }
        assert!(status == 200 || answer["retryable"] == true, "{answer}");
        passed += 1;
        assert!(passed < 100);
    };
    assert!(passed >= 5, "{passed}");
    assert_eq!((&problem["code"], &problem["reason"]), (&json!("RESOURCE_EXHAUSTED"), &json!("RATE_LIMITED")));
    assert_eq!(problem["retryable"], true);
    assert!(head.contains("\r\nretry-after: 1\r\n"), "{head}");

    // Whatever else may change something has ten times that: 10 a second, 50 at once, of which the messages have taken some.
    let blocks = format!("/v1/blocks/{}", UserId::new());
    let ask = |_| call_once(doors.server.http, "DELETE", &blocks, &doors.ann.token, "", Value::Null);
    let answers: Vec<_> = stream::iter((0..500).map(ask)).buffer_unordered(50).collect().await;
    let limited = answers.iter().flatten().filter(|(status, _)| *status == 429).count();
    assert!((1..=480).contains(&limited), "{limited} of 500");

    // A service that acts for them is not held to it (docs/limits.md).
    let fields = json!({"user": doors.ann.id, "clientId": "", "text": "a service may"});
    for _ in 0..30 {
        assert_eq!(doors.ask(Door::Grpc, "send", &fields).await.err(), None);
    }
    doors.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_blocks() {
    let doors = Doors::open(&[]).await;
    let (bob, cho) = (sign_up(&doors.server, "bob").await, sign_up(&doors.server, "cho").await);
    // As if they had been blocked long ago.
    let blocked: UserId = doors.ann.id.parse().unwrap();
    let mut accounts = rusqlite::Connection::open(doors.folder.path().join("accounts.db")).unwrap();
    accounts.busy_timeout(PATIENCE).unwrap();
    let transaction = accounts.transaction().unwrap();
    for _ in 0..9_999 {
        let other = UserId::new();
        let row = rusqlite::params![blocked.bytes(), other.bytes()];
        transaction.execute("INSERT INTO block VALUES (?1, ?2, TRUE, 1, 1, TRUE)", row).unwrap();
    }
    transaction.commit().unwrap();
    let set = async |other: &str, blocked: bool| {
        let method = if blocked { "PUT" } else { "DELETE" };
        let over_http = doors.http(method, &format!("/v1/blocks/{other}"), Value::Null).await;
        let request = SetBlockRequest { user: doors.id(), other: other.to_owned(), blocked };
        let over_grpc = AccountServiceClient::new(doors.channel.clone()).set_block(doors.grpc(request)).await;
        [over_http, of_grpc(over_grpc)]
    };
    let full = refused("FAILED_PRECONDITION", "TOO_MANY_BLOCKS");
    assert_eq!(set(&bob.id, true).await, [None, None], "the last for whom there is room, twice");
    assert_eq!(set(&cho.id, true).await, [full.clone(), full]);
    assert_eq!(set(&bob.id, false).await, [None, None]);
    assert_eq!(set(&cho.id, true).await, [None, None]);
    doors.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_many_are_asked_for_at_once() {
    let mut doors = Doors::open(&[]).await;
    let Target { conversation, .. } = Target::new(&mut doors).await;
    let conversation = conversation.as_str().unwrap().to_owned();
    let store = || StoreServiceClient::new(doors.channel.clone());
    for (count, expected) in [(200, None), (201, too_large())] {
        let seqs = (1..=count).collect();
        let request = GetMessagesRequest { conversation: conversation.clone(), user: doors.id(), seqs };
        assert_eq!(of_grpc(store().get_messages(doors.grpc(request)).await), expected, "{count}");
    }
    for (count, expected) in [(1000, None), (1001, too_large())] {
        let wanted = (0..count).map(|_| MessageNumber { conversation: conversation.clone(), seq: 1 }).collect();
        let request = BatchGetMessagesRequest { user: doors.id(), wanted };
        assert_eq!(of_grpc(store().batch_get_messages(doors.grpc(request)).await), expected, "{count}");
        // Over HTTP a hundred users: see flow_limits.
        let request = GetUsersRequest { users: (0..count).map(|_| new_id()).collect(), handle: String::new() };
        let found = AccountServiceClient::new(doors.channel.clone()).get_users(doors.grpc(request)).await;
        assert_eq!(of_grpc(found), expected, "{count}");
    }
    doors.server.stop().await;
}

/// A session over gRPC that begins, and what it is told first.
async fn session(doors: &Doors, device: &str, resume: &str) -> (Streaming<ConnectResponse>, Item) {
    until("a home takes the session", async || {
        let device = Device { id: device.to_owned(), kind: DeviceKind::Service.into(), ..Device::default() };
        let (user, resume) = (doors.id(), resume.to_owned());
        let open = Open { user, session: new_id(), device: Some(device), resume, ..Open::default() };
        let item = Some(upstream::Item::Open(open));
        let first = ConnectRequest { items: vec![Upstream { connection: 1, item, ..Upstream::default() }] };
        let requests = stream::once(async { first }).chain(stream::pending());
        let mut chat = ChatServiceClient::new(doors.channel.clone());
        let mut answers = chat.connect(doors.grpc(requests)).await.ok()?.into_inner();
        match answers.message().await.ok()??.items.into_iter().next()?.item? {
            Item::Closed(closed) if closed.reason() == ClosedReason::Unavailable => None,
            item => Some((answers, item)),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seventeenth_socket() {
    let doors = Doors::open(&[]).await;
    // Beside the two that are there; all of one session.
    let mut sockets = Vec::new();
    for n in 2..16 {
        let Person { id, token, .. } = &doors.ann;
        let person = Person { id: id.clone(), token: token.clone(), device: new_id() };
        let (socket, ready) = Socket::connect(&doors.server, &person, "").await;
        assert_eq!(ready["user"], doors.ann.id.as_str(), "{n}");
        sockets.push(socket);
    }
    let mut in_json = Socket::raw(&doors.server).await;
    let device = json!({"id": new_id(), "kind": "DEVICE_KIND_WEB"});
    in_json.send(json!({"id": 1, "hello": {"token": doors.ann.token, "device": device}})).await;
    assert_eq!(in_json.next().await, json!({"close": 4504}));
    let mut in_protobuf = Binary::connect(&doors.server, &doors.ann.token, &new_id(), "").await;
    assert_eq!(in_protobuf.answer(1).await.unwrap_err(), 4504);
    let (_answers, told) = session(&doors, &new_id(), "").await;
    assert!(matches!(&told, Item::Closed(closed) if closed.reason() == ClosedReason::TooMany), "{told:?}");
    // One that goes makes room, for any door.
    drop(sockets.pop());
    let opened = until("there is room", async || {
        let (answers, told) = session(&doors, &new_id(), "").await;
        matches!(told, Item::Opened(_)).then_some(answers)
    });
    let _answers = opened.await;
    doors.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_that_are_none() {
    let doors = Doors::open(&[]).await;
    let Person { id, token, .. } = &doors.ann;
    let fresh = || Person { id: id.clone(), token: token.clone(), device: new_id() };
    let (_, ready) = Socket::connect(&doors.server, &fresh(), "").await;
    let cursor = ready["cursor"].as_str().unwrap();
    assert!(!cursor.is_empty() && cursor.len() <= 64, "{cursor}");
    let broken =
        [&cursor[..cursor.len() - 1], &format!("{cursor}x"), "nonsense", "0", &"c".repeat(64)].map(str::to_owned);
    let strange = ["c".repeat(65), "c".repeat(100_000), "커서".to_owned(), " ".to_owned(), "\u{0}".to_owned()];
    for (resume, expected) in std::iter::once((String::new(), Resume::New))
        .chain(broken.into_iter().chain(strange).map(|cursor| (cursor, Resume::Snapshot)))
    {
        let what = &resume[..resume.len().min(9)];
        let (_socket, ready) = Socket::connect(&doors.server, &fresh(), &resume).await;
        assert_eq!(ready["resume"], expected.as_str_name(), "{what:?}");
        let mut in_protobuf = Binary::connect(&doors.server, token, &new_id(), &resume).await;
        match in_protobuf.answer(1).await.unwrap() {
            Body::Ready(ready) => assert_eq!(ready.resume(), expected, "{what:?}"),
            other => panic!("{what:?}: {other:?}"),
        }
        let (_answers, told) = session(&doors, &new_id(), &resume).await;
        assert!(matches!(&told, Item::Opened(opened) if opened.resume() == expected), "{what:?}: {told:?}");
        // The cursor of all events is another kind, of which there is no snapshot.
        if expected == Resume::Snapshot {
            let request = StreamEventsRequest { cursor: resume.clone(), latest: false };
            let mut store = StoreServiceClient::new(doors.channel.clone());
            assert_eq!(of_grpc(store.stream_events(doors.grpc(request)).await), invalid(), "{what:?}");
        }
    }
    doors.server.stop().await;
}
