//! A text that was taken back, and where it is on a disk of Cassandra's: in the files that were written before, which nothing
//! but rewriting them ends, and then in none. What docs/operations.md tells operators to do does it.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_proto::id::ClientId;
use madang_tests::{
    backup::Keyspace,
    client::{Socket, call_at, sign_up_at},
    cluster::Cluster,
    until,
};
use serde_json::{Value, json};
use std::net::SocketAddr;

fn address(url: &str) -> SocketAddr {
    url.strip_prefix("http://").unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_was_taken_back_is_in_no_file_once_they_are_rewritten() {
    let cluster = Cluster::start(1, 1).await;
    let (api, gateway) = (address(&cluster.api), address(&cluster.gateways[0]));
    let keyspace = Keyspace { node: cluster.cassandra.0.clone(), name: cluster.cassandra.1.clone() };
    let run = uuid::Uuid::new_v4().simple().to_string();
    let ann = sign_up_at(api, &format!("e{}", &run[..12])).await;
    let bob = sign_up_at(api, &format!("f{}", &run[..12])).await;
    let (mut socket, _) = Socket::connect_at(gateway, &ann, "").await;
    // Of letters that no other text has in this order, nor at its end, so that nothing of them is compressed away.
    let (gone, edited, stays) = ("QZXWVKJYPHQGFZUB", "WKQJXVZBYHPFGQUM", "ZVXQKJWPBYFGHMQU");
    let mut path = String::new();
    for (id, text) in [(2, gone), (3, edited), (4, stays)] {
        let say = json!({"user": bob.id, "clientId": ClientId::now().to_string(), "text": text});
        let ack = socket.ask(json!({"id": id, "send": say})).await["ack"].clone();
        path = format!("/v1/conversations/{}", ack["conversation"].as_str().unwrap());
    }
    let texts = async || {
        let (_, page) = call_at(api, "GET", &format!("{path}/messages"), &bob.token, Value::Null).await;
        let texts = page["messages"].as_array()?.iter().map(|it| it["text"].as_str().unwrap().to_owned());
        Some(texts.collect::<Vec<_>>())
    };
    let shown = async |wanted: [&str; 3]| {
        until("history shows it", async || texts().await.filter(|texts| *texts == wanted).map(drop)).await;
    };
    shown([gone, edited, stays]).await;
    // What is shown may not have been written yet.
    until("all are on the disk", async || {
        keyspace.flush().await;
        keyspace.files_with([gone, edited, stays]).await.iter().all(|files| *files > 0).then_some(())
    })
    .await;

    let conversation = path.rsplit_once('/').unwrap().1;
    let change = |more: Value| {
        let mut fields = json!({"conversation": conversation, "clientId": ClientId::now().to_string()});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fields
    };
    let ack = socket.ask(json!({"id": 5, "delete": change(json!({"seq": "1"}))})).await;
    assert!(ack["ack"].is_object(), "{ack}");
    let ack = socket.ask(json!({"id": 6, "edit": change(json!({"seq": "2", "text": "now"}))})).await;
    assert!(ack["ack"].is_object(), "{ack}");
    shown(["", "now", stays]).await;
    keyspace.flush().await;
    let files = keyspace.files_with([gone, edited]).await;
    assert!(files.iter().all(|files| *files > 0), "they stay in the older file, as operators are told: {files:?}");
    until("no file has them any more", async || {
        keyspace.flush().await;
        keyspace.rewrite().await;
        let [gone, edited, stays] = keyspace.files_with([gone, edited, stays]).await;
        assert!(stays > 0, "the files are those of the messages");
        (gone + edited == 0).then_some(())
    })
    .await;
    shown(["", "now", stays]).await;
    cluster.stop().await;
}
