//! A gateway goes, as in a roll-out: its sockets are told over a window, what is in flight is answered, who comes
//! meanwhile is sent away.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_proto::id::ClientId;
use madang_tests::{
    client::{Socket, call, send, sign_up},
    start, start_with,
};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
};

const SOCKETS: u64 = 24;

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_spread_and_loses_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with(folder.path(), &["--drain-window", "10", "--max-devices", "64"]).await;
    let bob = sign_up(&server, "bob").await;
    let (told, mut tellings) = mpsc::unbounded_channel();
    let (mut talking, mut people) = (JoinSet::new(), Vec::new());
    for n in 0..SOCKETS {
        let person = sign_up(&server, &format!("person{n}")).await;
        people.push((person.id.clone(), person.token.clone()));
        let (mut socket, _) = Socket::connect(&server, &person, "").await;
        let (told, bob) = (
            told.clone(),
            madang_tests::client::Person { id: bob.id.clone(), token: String::new(), device: String::new() },
        );
        talking.spawn(async move {
            let (mut next, mut unanswered, mut acked, mut going) = (2, BTreeSet::new(), Vec::new(), 0);
            let mut unsure = BTreeSet::new();
            loop {
                while going == 0 && unanswered.len() < 4 {
                    socket.send(send(next, &bob, &format!("{n}: {next}"), ClientId::now())).await;
                    unanswered.insert(next);
                    next += 1;
                }
                let frame = socket.next().await;
                if frame["ack"].is_object() {
                    let id = frame["id"].as_u64().unwrap();
                    assert!(unanswered.remove(&id), "one answer each");
                    acked.push(format!("{n}: {id}"));
                } else if frame["error"]["retryable"] == true {
                    // A home that took too long: it may have it all the same.
                    let id = frame["id"].as_u64().unwrap();
                    assert!(unanswered.remove(&id), "one answer each");
                    unsure.insert(format!("{n}: {id}"));
                } else if frame["goAway"].is_object() {
                    going += 1;
                    told.send(frame["goAway"]["reconnectInMs"].as_u64().unwrap()).unwrap();
                } else if let Some(code) = frame.get("close") {
                    assert_eq!((code, going, unanswered.len()), (&json!(4000), 1, 0), "told once, all answered");
                    return (n, acked, unsure);
                }
            }
        });
    }
    let http = server.http;
    let stopping = tokio::spawn(server.stop());
    let first = tellings.recv().await.unwrap();
    let mut stream = TcpStream::connect(http).await.unwrap();
    let request = "GET /v1/connect HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   sec-websocket-protocol: madang.v1.json\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503", "who comes while it goes is sent away");
    let mut acked = HashMap::new();
    while let Some(done) = talking.join_next().await {
        let (n, texts, unsure) = done.unwrap();
        acked.insert(n, (texts, unsure));
    }
    drop(told);
    let mut waits = vec![first];
    while let Some(wait) = tellings.recv().await {
        waits.push(wait);
    }
    assert_eq!(waits.len() as u64, SOCKETS);
    assert!(waits.iter().all(|wait| *wait <= 250), "who is told sends nothing meanwhile: {waits:?}");
    assert!(waits.iter().collect::<BTreeSet<_>>().len() > 10, "they are sent back at different moments: {waits:?}");
    stopping.await.unwrap();

    let server = start(folder.path()).await;
    for (n, (id, token)) in people.into_iter().enumerate() {
        let (acked, unsure) = &acked[&(n as u64)];
        let list = call(&server, "GET", "/v1/conversations", &token, Value::Null).await.1;
        let conversation = list["conversations"][0]["conversation"].as_str().unwrap_or_else(|| panic!("{id}: {list}"));
        let mut read = Vec::new();
        let mut after = 0;
        loop {
            let path = format!("/v1/conversations/{conversation}/messages?limit=200&after={after}");
            let (status, page) = call(&server, "GET", &path, &token, Value::Null).await;
            assert_eq!(status, 200, "{page}");
            let messages = page["messages"].as_array().unwrap();
            if messages.is_empty() {
                break;
            }
            after += messages.len();
            read.extend(messages.iter().map(|message| message["text"].as_str().unwrap().to_owned()));
        }
        read.retain(|text| !unsure.contains(text));
        assert_eq!(read, *acked, "what was acknowledged is there, once and in order, and nothing else");
    }
    server.stop().await;
}
