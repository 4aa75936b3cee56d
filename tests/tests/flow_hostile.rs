//! Hostile clients at a running server: each gets what the protocol says, costs little, and nobody else notices.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_solo::serve::Running;
use madang_tests::{
    client::{Socket, call, sign_up, text},
    start, start_with, until,
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// Sends bytes; the answer's head, and the connection.
async fn say(to: SocketAddr, request: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { break };
        head.push(byte);
    }
    (String::from_utf8(head).unwrap(), stream)
}

/// A handshake with further headers.
async fn handshake(server: &Running, headers: &str) -> (u16, TcpStream) {
    let request = format!(
        "GET /v1/connect HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: madang.v1.json\r\n{headers}\r\n"
    );
    let (head, stream) = say(server.http, &request).await;
    (head[9..12].parse().unwrap(), stream)
}

/// Reads to the end; the code of the close frame, if one came.
async fn close_code(stream: &mut TcpStream) -> Option<u16> {
    let mut read = Vec::new();
    let _ = stream.read_to_end(&mut read).await;
    let mut rest = &read[..];
    while let [kind, length, after @ ..] = rest {
        let (length, after) = match length {
            126 => (usize::from(u16::from_be_bytes([after[0], after[1]])), &after[2..]),
            length => (usize::from(*length), after),
        };
        if *kind == 0x88 {
            // The answer to a close without a code has none.
            return (length > 0).then(|| u16::from_be_bytes([after[0], after[1]]));
        }
        rest = &after[length..];
    }
    None
}

async fn refused(server: &Running, what: &str) -> u64 {
    let metrics = text(server.admin, "/metrics").await;
    let name = format!("madang_mesh_refused_total{{what=\"{what}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
}

/// Takes about 5 s: so long a stranger may be silent.
#[tokio::test(flavor = "multi_thread")]
async fn the_silent_and_the_slow_are_closed_and_keep_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut strangers = JoinSet::new();
    for n in 0..300 {
        let address = server.http;
        let mut stream = TcpStream::connect(address).await.unwrap();
        strangers.spawn(async move {
            // One in three says nothing at all, the others as little as they can.
            for byte in b"GET /v1/me HTTP/1.1\r\nx-slow: 1".iter().cycle() {
                if n % 3 > 0 && stream.write_all(&[*byte]).await.is_err() {
                    return true;
                }
                let (mut answer, pause) = ([0; 512], Duration::from_millis(500));
                if let Ok(Ok(0) | Err(_)) = tokio::time::timeout(pause, stream.read(&mut answer)).await {
                    return true;
                }
            }
            false
        });
    }
    let mut waiting = Vec::new();
    for _ in 0..50 {
        waiting.push(handshake(&server, "").await);
    }
    let alice = sign_up(&server, "alice").await;
    let (_, ready) = Socket::connect(&server, &alice, "").await;
    assert_eq!(ready["user"], alice.id);
    while let Some(closed) = strangers.join_next().await {
        assert!(closed.unwrap());
    }
    for (status, mut stream) in waiting {
        assert_eq!((status, close_code(&mut stream).await), (101, Some(4001)));
    }
    assert!(refused(&server, "silent").await >= 300 && refused(&server, "no_hello").await >= 50);
    server.stop().await;
}

/// How long log-ins take, one after the other: the middle one and the longest but one.
async fn log_ins(server: &Running, handle: &str) -> (Duration, Duration) {
    let mut took = Vec::new();
    for n in 0..100 {
        let began = Instant::now();
        let device = json!({"id": uuid::Uuid::from_u128(n % 4).to_string(), "kind": "DEVICE_KIND_SERVICE"});
        let body = json!({"handle": handle, "password": "correct horse", "device": device});
        let (status, answer) = call(server, "POST", "/v1/sessions", "", body).await;
        assert_eq!(status, 201, "{answer}");
        took.push(began.elapsed());
    }
    took.sort();
    (took[50], took[98])
}

/// What the doors are made for at its size: 5,000 sockets, of which a third say nothing, a third are slow with the head of a
/// request and a third never say hello. Prints how long log-ins take meanwhile: that is the machine's to say.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "10,000 descriptors and a quiet machine"]
async fn log_ins_among_thousands_of_silent_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    sign_up(&server, "alice").await;
    let calm = log_ins(&server, "alice").await;
    let mut strangers = JoinSet::new();
    for n in 0..5000 {
        let address = server.http;
        if n % 3 == 0 {
            let (status, mut stream) = handshake(&server, "").await;
            assert_eq!(status, 101);
            strangers.spawn(async move { close_code(&mut stream).await == Some(4001) });
            continue;
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        strangers.spawn(async move {
            if n % 3 == 1 && stream.write_all(b"GET /v1/me HT").await.is_err() {
                return true;
            }
            let mut answer = Vec::new();
            tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut answer)).await.is_ok()
        });
    }
    let among = log_ins(&server, "alice").await;
    while let Some(closed) = strangers.join_next().await {
        assert!(closed.unwrap());
    }
    eprintln!("log-ins, middle and p99: calm {calm:?}, among 5,000 silent sockets {among:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_sockets_and_so_many_log_ins() {
    let folder = tempfile::tempdir().unwrap();
    let flags = [
        "--trusted-proxies",
        "127.0.0.0/8",
        "--sockets-per-address",
        "2",
        "--arrivals-per-address",
        "3",
        "--login-rate",
        "1",
        "--login-burst",
        "3",
    ];
    let server = start_with(folder.path(), &flags).await;
    let from = |address: &str| format!("x-forwarded-for: {address}\r\n");
    let mut tried = 0;
    let (mut first, _second) = loop {
        let began = Instant::now();
        let (one, first) = handshake(&server, &from("203.0.113.9")).await;
        let (two, second) = handshake(&server, &from("203.0.113.9")).await;
        let (three, _) = handshake(&server, &from("203.0.113.9")).await;
        tried += 1;
        // Without a hello they are closed after 5 s, which this machine may take for three: then once more.
        if began.elapsed() < Duration::from_secs(4) || tried == 5 {
            assert_eq!((one, two, three), (101, 101, 429));
            break (first, second);
        }
        drop((first, second));
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    assert_eq!(handshake(&server, &from("203.0.113.10")).await.0, 101, "others are not held to account for it");
    assert_eq!(handshake(&server, &from("2001:db8::1")).await.0, 101);
    assert!(refused(&server, "sockets_of_address").await >= 1);
    // One goes (no hello: 5 s at most, or at once); there is room again.
    first.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
    close_code(&mut first).await;
    while handshake(&server, &from("203.0.113.9")).await.0 != 101 {}

    let body = json!({"handle": "nobody", "password": "wrong", "device": {"id": uuid::Uuid::new_v4().to_string(), "kind": "WEB"}});
    let body = body.to_string();
    let log_in = |address: &str| {
        format!(
            "POST /v1/sessions HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{}content-length: {}\r\n\r\n{body}",
            from(address),
            body.len()
        )
    };
    let mut heads = Vec::new();
    for _ in 0..40 {
        heads.push(say(server.http, &log_in("203.0.113.9")).await.0);
    }
    let limited = heads.iter().filter(|head| head.starts_with("HTTP/1.1 429")).collect::<Vec<_>>();
    assert!(heads[..3].iter().all(|head| !head.starts_with("HTTP/1.1 429")), "{heads:?}");
    assert!(!limited.is_empty() && limited.iter().all(|head| head.contains("retry-after: 1\r\n")), "{heads:?}");
    assert!(!say(server.http, &log_in("203.0.113.77")).await.0.starts_with("HTTP/1.1 429"));
    assert!(refused(&server, "login_rate").await >= 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_pages_and_huge_heads_get_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with(folder.path(), &["--allowed-origins", "https://chat.example,https://two.example"]).await;
    for (origin, status) in [
        ("", 101),
        ("origin: https://chat.example\r\n", 101),
        ("origin: https://two.example\r\n", 101),
        ("origin: https://evil.example\r\n", 403),
        ("origin: null\r\n", 403),
        ("origin: https://chat.example.evil.example\r\n", 403),
        ("cookie: a=b\r\norigin: https://evil.example\r\n", 403),
    ] {
        assert_eq!(handshake(&server, origin).await.0, status, "{origin:?}");
    }
    let evil = "GET /v1/me HTTP/1.1\r\nhost: test\r\norigin: https://evil.example\r\n\r\n";
    assert!(say(server.http, evil).await.0.starts_with("HTTP/1.1 403"));
    let asked = |origin: &str| {
        format!(
            "OPTIONS /v1/messages HTTP/1.1\r\nhost: test\r\norigin: {origin}\r\naccess-control-request-method: POST\r\n\
             access-control-request-headers: authorization\r\nconnection: close\r\n\r\n"
        )
    };
    let (head, _) = say(server.http, &asked("https://two.example")).await;
    let head = head.to_lowercase();
    assert!(
        head.starts_with("http/1.1 200") && head.contains("access-control-allow-origin: https://two.example"),
        "{head}"
    );
    assert!(head.contains("authorization") && head.contains("post"), "{head}");
    let (head, _) = say(server.http, &asked("https://evil.example")).await;
    assert!(!head.to_lowercase().contains("allow-origin: https://evil"), "{head}");
    let huge = format!("GET /v1/me HTTP/1.1\r\nhost: test\r\nx-huge: {}\r\n\r\n", "a".repeat(64 << 10));
    let (head, _) = say(server.http, &huge).await;
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 431"), "{head}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_frames_are_cut_off_without_being_stored() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let alice = sign_up(&server, "alice").await;
    // A text of 2^63 bytes, as it says; or 2^63 - 1, which is a length that a frame may have.
    for length in [1_u64 << 63, (1 << 63) - 1, 131_073] {
        let (_, mut stream) = handshake(&server, "").await;
        stream.write_all(&[&[0x81, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat()).await.unwrap();
        assert_eq!(close_code(&mut stream).await, Some(1009), "{length}");
    }
    // Fragments without an end.
    let (_, mut stream) = handshake(&server, "").await;
    let part = [&[0x00, 0xfe, 0x40, 0x00, 0, 0, 0, 0][..], &[b'a'; 0x4000]].concat();
    let mut first = part.clone();
    first[0] = 0x01;
    stream.write_all(&first).await.unwrap();
    let mut sent = part.len();
    while stream.write_all(&part).await.is_ok() {
        sent += part.len();
        assert!(sent < 64 << 20, "the server takes all of it");
    }
    let (mut socket, _) = Socket::connect(&server, &alice, "").await;
    socket.send(json!({"id": 2, "ping": {}})).await;
    assert!(socket.answer(2).await["pong"].is_object());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_tokens_get_one_constant_answer() {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let alice = sign_up(&server, "alice").await;
    let (header, rest) = alice.token.split_once('.').unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    let json = |part: &str| serde_json::from_slice::<Value>(&BASE64.decode(part).unwrap()).unwrap();
    let with = |part: &str, key: &str, value: Value| {
        let mut changed = json(part);
        changed[key] = value;
        BASE64.encode(changed.to_string())
    };
    let mut answers = Vec::new();
    for forged in [
        format!("{}.{claims}.", with(header, "alg", json!("none"))),
        format!("{}.{claims}.{signature}", with(header, "alg", json!("HS256"))),
        format!("{}.{claims}.{signature}", with(header, "alg", json!("RS256"))),
        format!("{}.{claims}.{signature}", with(header, "kid", json!("unknown"))),
        format!("{header}.{}.{signature}", with(claims, "exp", json!("99999999999"))),
        format!("{header}.{}.{signature}", with(claims, "nbf", json!(99_999_999_999_i64))),
        "a.b.c".to_owned(),
        "x".repeat(10_000),
        "..".to_owned(),
    ] {
        let mut socket = Socket::raw(&server).await;
        let device = json!({"id": alice.device, "kind": "DEVICE_KIND_WEB"});
        socket.send(json!({"id": 1, "hello": {"token": forged, "device": device}})).await;
        answers.push(socket.next().await);
        assert_eq!(socket.next().await["close"], 4500, "{forged}");
        assert_eq!(call(&server, "GET", "/v1/me", &forged, Value::Null).await.0, 401);
    }
    assert_eq!(answers[0]["error"]["reason"], "BAD_TOKEN");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "what is wrong is not told: {answers:?}");
    server.stop().await;
}

/// Begins to send a picture of 5 MiB.
async fn picture(server: &Running, token: &str, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let head = format!(
        "PUT /v1/me/picture HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n",
        5 << 20
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![0; bytes]).await.unwrap();
    stream
}

/// What is answered, if that is soon.
async fn answered(stream: &mut TcpStream) -> Option<String> {
    let mut answer = Vec::new();
    let read = async {
        while !answer.ends_with(b"}") {
            match stream.read_buf(&mut answer).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(4), read).await;
    (!answer.is_empty()).then(|| String::from_utf8_lossy(&answer).into_owned())
}

/// Takes about 4 s: so long it is looked at who is answered.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_stall_take_a_share_of_the_memory_and_keep_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (alice, bob) = (sign_up(&server, "alice").await, sign_up(&server, "bob").await);
    let mut stalled = JoinSet::new();
    for _ in 0..20 {
        let mut stream = picture(&server, &alice.token, (5 << 20) - 1).await;
        stalled.spawn(async move { (answered(&mut stream).await, stream) });
    }
    let stalled = stalled.join_all().await;
    let (waiting, told): (Vec<_>, Vec<_>) = stalled.into_iter().partition(|(answer, _)| answer.is_none());
    // 16 MiB of a user are taken, unless two of those that come at once give way to each other.
    assert!((1..=3).contains(&waiting.len()), "{} are read on", waiting.len());
    for (answer, _) in &told {
        let answer = answer.as_deref().unwrap();
        assert!(answer.starts_with("HTTP/1.1 429") && answer.to_lowercase().contains("retry-after: 1"), "{answer}");
        assert!(answer.contains("OVERLOADED"), "{answer}");
    }
    assert!(refused(&server, "bodies").await >= 17);
    let mut whole = picture(&server, &bob.token, 5 << 20).await;
    let answer = answered(&mut whole).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "it was read, and is no picture: {answer}");
    let renamed = call(&server, "PATCH", "/v1/me", &alice.token, json!({"name": "Alice"})).await;
    assert_eq!(renamed.0, 200, "what is small has room: {renamed:?}");
    drop(waiting);
    let again = async || {
        let mut whole = picture(&server, &alice.token, 5 << 20).await;
        answered(&mut whole).await.is_some_and(|answer| answer.starts_with("HTTP/1.1 400"))
    };
    until("there is room again", async || again().await.then_some(())).await;
    server.stop().await;
}
