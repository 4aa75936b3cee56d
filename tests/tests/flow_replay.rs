//! Recorded conversations through the public doors: every one acked, delivered and read back, byte for byte.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use clap::Parser;
use madang_loadgen::replay;
use madang_proto::id::ClientId;
use madang_tests::{
    client::{Socket, call, send, sign_up},
    start, start_with, until,
};
use serde_json::{Value, json};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    replay: replay::Args,
}

async fn replay_on(server: &madang_solo::serve::Running) {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../loadgen/fixtures/small.jsonl.gz");
    let url = format!("http://{}", server.http);
    let args = Cli::parse_from(["", file, "--server", &url, "--json"]).replay;
    let report = replay::replay(args).await.unwrap();
    assert!(report.good(), "{report:?}");
    assert_eq!((report.rooms, report.acked, report.refused, report.deliveries), (9, 198, 2, 1026));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fixture_comes_back_as_it_was_sent() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    replay_on(&server).await;
    server.stop().await;
}

/// Rooms go and come back from the databases all the time, and nobody can tell: not even a retry.
#[tokio::test(flavor = "multi_thread")]
async fn rooms_that_were_forgotten_are_the_same_when_they_come_back() {
    let data = tempfile::tempdir().unwrap();
    let server = start_with(data.path(), &["--shards", "1", "--room-bytes", "2500"]).await;
    let ann = sign_up(&server, "ann").await;
    let (mut socket, _) = Socket::connect(&server, &ann, "").await;
    let mut sent = Vec::new();
    for n in 0..20_u64 {
        let peer = sign_up(&server, &format!("peer_{n}")).await;
        let frame = send(n + 2, &peer, &format!("to {n}"), ClientId::now());
        socket.send(frame.clone()).await;
        let ack = socket.answer(n + 2).await["ack"].clone();
        sent.push((frame, ack));
    }
    replay_on(&server).await;
    // Once the home holds no more than it may, all but a few are forgotten.
    let rooms = async || {
        let text = metrics(&server).await;
        let line = text.lines().find(|line| line.starts_with("madang_chat_rooms{shard=\"0\"}")).unwrap().to_owned();
        line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()
    };
    until("rooms are forgotten", async || {
        socket.ask(json!({"id": 1, "ping": {}})).await;
        (rooms().await <= 2).then_some(())
    })
    .await;
    for (n, (mut frame, before)) in (100..).zip(sent) {
        frame["id"] = json!(n);
        socket.send(frame).await;
        let again = socket.answer(n).await["ack"].clone();
        assert_eq!(
            (&again["seq"], &again["revision"], &again["duplicate"]),
            (&before["seq"], &before["revision"], &json!(true))
        );
        let path = format!("/v1/conversations/{}/messages", before["conversation"].as_str().unwrap());
        let (_, page) = call(&server, "GET", &path, &ann.token, Value::Null).await;
        assert_eq!(page["messages"].as_array().unwrap().len(), 1, "one message, however often it is sent");
    }
    server.stop().await;
}

async fn metrics(server: &madang_solo::serve::Running) -> String {
    madang_tests::client::text(server.admin, "/metrics").await
}
