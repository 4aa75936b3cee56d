//! All conversations' events, as a moderation tool reads them: every one in its order, over restarts, without what was taken
//! back; and what was taken back is on no disk any more.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_mesh::log::{
    Log,
    sqlite::{OpenError, SqliteLog},
};
use madang_proto::{client::v1::event::Body, id::ClientId, store::v1::StreamEventsRequest};
use madang_solo::{serve::Running, token::Tokens};
use madang_store::messages::{feed::Feed, sqlite::SqliteMessages};
use madang_tests::{
    client::{Person, Socket, send, sign_up},
    consumer::{self, Consumer, Store},
    start,
};
use serde_json::{Value, json};
use std::{path::Path, slice::from_ref, time::Duration};
use tokio::sync::{Mutex, OnceCell};
use tonic::Code;

fn store(server: &Running, folder: &Path) -> Store {
    let token = Tokens::open(folder).unwrap().make("moderation");
    consumer::store(&format!("http://{}", server.grpc), Some(token))
}

async fn say(socket: &mut Socket, id: u64, to: &Person, text: &str) -> Value {
    let answer = socket.ask(send(id, to, text, ClientId::now())).await;
    assert!(answer["ack"].is_object(), "{answer}");
    answer["ack"].clone()
}

async fn change(socket: &mut Socket, id: u64, kind: &str, mut frame: Value) {
    frame["clientId"] = json!(ClientId::now().to_string());
    let answer = socket.ask(json!({"id": id, kind: frame})).await;
    assert!(answer["ack"].is_object(), "{answer}");
}

fn texts(consumer: &Consumer) -> Vec<String> {
    let text = |body: &Body| match body {
        Body::Message(message) => Some(message.text.clone()),
        Body::Edited(edited) => Some(edited.text.clone()),
        _ => None,
    };
    consumer.events.iter().filter_map(|event| event.body.as_ref().and_then(text)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_of_all_conversations_comes_in_order_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob, cho) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await, sign_up(&server, "cho").await);
    let (mut at_ann, _) = Socket::connect(&server, &ann, "").await;
    for n in 0..150 {
        say(&mut at_ann, 10 + n, if n % 3 == 0 { &cho } else { &bob }, &format!("before {n}")).await;
    }
    let mut all = Consumer::default();
    // It is cut off in the middle, and goes on from where it was.
    all.follow(&[store(&server, folder.path())], |all| all.events.len() == 70).await;
    server.stop().await;
    let server = start(folder.path()).await;
    let moderation = store(&server, folder.path());
    all.follow(from_ref(&moderation), |all| texts(all).len() == 150).await;
    let mut latest = moderation
        .clone()
        .stream_events(StreamEventsRequest { latest: true, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    let first = latest.message().await.unwrap().unwrap();
    assert!(first.event.is_none() && !first.cursor.is_empty(), "it has a cursor before anything happens");

    // What is said now comes within moments, whatever it is; who goes on from far back sees what was taken back no more.
    let (mut at_ann, _) = Socket::connect(&server, &ann, "").await;
    let c = say(&mut at_ann, 1, &bob, "first words").await["conversation"].clone();
    let taken = say(&mut at_ann, 2, &bob, "a secret").await["seq"].clone();
    let edited = say(&mut at_ann, 3, &bob, "wrong wrods").await["seq"].clone();
    all.follow(from_ref(&moderation), |all| texts(all).last().is_some_and(|last| last == "wrong wrods")).await;
    change(&mut at_ann, 4, "edit", json!({"conversation": c, "seq": edited, "text": "right words"})).await;
    change(&mut at_ann, 5, "react", json!({"conversation": c, "seq": edited, "emoji": "👍"})).await;
    change(&mut at_ann, 6, "delete", json!({"conversation": c, "seq": taken})).await;
    let deleted =
        |all: &Consumer| matches!(all.events.last().and_then(|last| last.body.as_ref()), Some(Body::Deleted(_)));
    all.follow(from_ref(&moderation), deleted).await;
    let kinds = all.events[all.events.len() - 3..].iter().map(|event| event.body.clone().unwrap());
    let [Body::Edited(edit), Body::Reacted(react), Body::Deleted(delete)] = &kinds.collect::<Vec<_>>()[..] else {
        panic!()
    };
    assert_eq!((edit.text.as_str(), react.emoji.as_str(), &delete.by), ("right words", "👍", &ann.id));
    assert_eq!(latest.message().await.unwrap().unwrap().event.unwrap().conversation, c.as_str().unwrap());
    let mut anew = Consumer::default();
    anew.follow(from_ref(&moderation), |anew| anew.events.len() == all.events.len()).await;
    assert_eq!(anew.newest, all.newest);
    let anew = texts(&anew);
    assert!(anew.contains(&"right words".into()) && !anew.contains(&"wrong wrods".into()), "as it is now");
    assert!(!anew.contains(&"a secret".into()), "gone");

    let refused = async |cursor: &str| {
        let request = StreamEventsRequest { cursor: cursor.into(), latest: false };
        moderation.clone().stream_events(request).await.map(drop).map_err(|status| status.code())
    };
    assert_eq!(refused("nonsense").await, Err(Code::InvalidArgument));
    // One of another server, which was much longer at it, or of before a reset.
    let ahead = "CAESMICAgICAIICAgICAIICAgICAIICAgICAIICAgICAIICAgICAIICAgICAIICAgICAIA";
    assert_eq!(refused(ahead).await, Err(Code::OutOfRange));
    let mut many = Vec::new();
    let busy = loop {
        match moderation.clone().stream_events(StreamEventsRequest::default()).await {
            Ok(stream) => many.push(stream),
            Err(status) => break status,
        }
        assert!(many.len() <= 16);
    };
    assert_eq!(busy.code(), Code::ResourceExhausted);
    drop(many);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_keeps_nothing_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    let at_ann = Mutex::new(Socket::connect(&server, &ann, "").await.0);
    let conversation = OnceCell::new();
    let say_all = async {
        let mut at_ann = at_ann.lock().await;
        for n in 0..consumer::MANY {
            let ack = say(&mut at_ann, 10 + n as u64, &bob, &consumer::long(n)).await;
            conversation.get_or_init(async || ack["conversation"].clone()).await;
        }
    };
    let take_back = async |seq: u64| {
        let what = json!({"conversation": conversation.get().unwrap(), "seq": seq});
        change(&mut *at_ann.lock().await, 5, "delete", what).await;
    };
    consumer::check_slow(&store(&server, folder.path()), say_all, take_back).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_place_is_not_kept_any_more_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    let (mut at_ann, _) = Socket::connect(&server, &ann, "").await;
    for n in 0..10 {
        say(&mut at_ann, 10 + n, &bob, "hello").await;
    }
    let store = store(&server, folder.path());
    let mut all = Consumer::default();
    all.follow(from_ref(&store), |all| texts(all).len() == 10).await;
    let age = async {
        let messages = SqliteMessages::open(folder.path()).unwrap();
        for shard in 0..8 {
            assert!(!messages.forget(shard, i64::MAX).await.unwrap());
        }
    };
    consumer::check_aged(&store, age).await;
    // What is said then comes to who was told.
    let mut anew = Consumer { newest: all.newest, ..Consumer::default() };
    say(&mut at_ann, 40, &bob, "later").await;
    anew.follow(from_ref(&store), |anew| texts(anew) == ["later"]).await;
    server.stop().await;
}

/// The files of a folder that hold a text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let holds = |bytes: Vec<u8>| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let with = files.filter(|path| path.is_file() && std::fs::read(path).is_ok_and(holds));
    with.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_is_on_no_disk_once_the_log_is_trimmed() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    let (mut at_ann, _) = Socket::connect(&server, &ann, "").await;
    let secret = "nobody-is-to-find-this";
    // Pages are split and filled around them.
    let mut taken = Vec::new();
    let mut conversation = Value::Null;
    for n in 0..300 {
        let ack =
            say(&mut at_ann, 10 + n, &bob, &format!("{} {n}", secret.repeat(1 + usize::try_from(n).unwrap() % 40)))
                .await;
        taken.push(ack["seq"].clone());
        conversation = ack["conversation"].clone();
        say(&mut at_ann, 1000 + n, &bob, "what stays").await;
    }
    assert!(!files_with(folder.path(), secret).is_empty(), "it is looked for where it was");
    for (n, seq) in taken.iter().enumerate() {
        let frame = if n % 2 == 0 { "delete" } else { "edit" };
        let change_to = json!({"conversation": conversation, "seq": seq, "text": "changed"});
        let frame_body = if frame == "delete" { json!({"conversation": conversation, "seq": seq}) } else { change_to };
        change(&mut at_ann, 5000 + n as u64, frame, frame_body).await;
    }
    let only_the_log = async {
        while files_with(folder.path(), secret).iter().any(|file| !file.starts_with("log.db")) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let gone = tokio::time::timeout(Duration::from_secs(90), only_the_log).await;
    assert!(gone.is_ok(), "still in {:?}", files_with(folder.path(), secret));
    server.stop().await;
    // As a home does when an hour has passed.
    let log = loop {
        match SqliteLog::open(folder.path()) {
            Ok(log) => break log,
            // The server's last task has not ended yet.
            Err(OpenError::InUse(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("{error}"),
        }
    };
    for shard in 0..8 {
        let last = log.bounds(shard).await.unwrap().last;
        log.trim(shard, last).await.unwrap();
    }
    assert_eq!(files_with(folder.path(), secret), Vec::<String>::new());
}
