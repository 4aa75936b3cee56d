//! notify-svc on the real backends: killed between sending and saving its cursor, and replaced by another, it tells
//! everybody, and nobody who is not to be told; and homes that do not answer have delivered nothing.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_mesh::shard::shard_of;
use madang_proto::id::{ClientId, ConversationId};
use madang_tests::{
    cluster::{Cluster, Plan},
    crowd::{Crowd, lose_inboxes},
    device::{Device, Doors},
    push::{Answer, PushServer},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};
use tokio::sync::watch;

const GROUPS: usize = 12;
const MEMBERS: usize = 4;
const ROUNDS: u64 = 4;
/// How many shards a cluster has that says nothing else.
const SHARDS: u32 = 8;

/// A cluster whose pushes wait so long, and people on phones who are told by them.
async fn stage(push: &PushServer, wait_ms: &str, names: &[&str]) -> (Cluster, Vec<Device>) {
    let flags = ["--push-ca", push.ca.to_str().unwrap(), "--push-wait-ms", wait_ms].map(str::to_owned).to_vec();
    let cluster = Cluster::with(Plan { push: flags, ..Plan::default() }).await;
    let mut people = Vec::new();
    for name in names {
        let device = Device::sign_up(Doors::of_cluster(&cluster), name, "DEVICE_KIND_MOBILE").await;
        device.subscribe(push).await;
        people.push(device);
    }
    (cluster, people)
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_told_though_it_dies_between_sending_and_its_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let flags = ["--push-ca", push.ca.to_str().unwrap(), "--push-wait-ms", "300"].map(str::to_owned).to_vec();
    let mut cluster = Cluster::with(Plan { chats: 2, notifies: 2, push: flags, ..Plan::default() }).await;
    let mut crowd = Crowd::gather(&cluster.api, &push, GROUPS, MEMBERS).await;
    // Slow enough that some are always on their way.
    push.answer(|_| Answer { after: Duration::from_millis(150), ..Answer::default() });
    for round in 1..=ROUNDS {
        crowd.write(round).await;
        crowd.take(&push).await;
        match round {
            // Between any two steps, with nothing said to anybody; what it read is read by the other.
            2 => cluster.notifies.remove(0).kill(),
            3 => lose_inboxes().await,
            4 => {
                cluster.more_notify().await;
                cluster.notifies.remove(0).stop().await;
            }
            _ => {}
        }
        crowd.until_told(&push, round, |_| true).await;
    }
    cluster.stop().await;
    let twice = crowd.members.iter().flat_map(|one| &one.told).filter(|(_, times)| **times > 1).count();
    assert!(twice < crowd.members.len() * 2, "what nobody was killed over was sent once: {twice} were sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_tells_later_is_as_messages_are_then() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let (mut cluster, people) = stage(&push, "300", &["ann", "bob", "cho", "witness"]).await;
    let [ann, bob, cho, witness] = &people[..] else { panic!() };
    let (at_bob, at_cho) = (bob.path.clone(), cho.path.clone());
    push.answer(move |taken| {
        let later = |after: &str| Answer { headers: vec![("retry-after", after.into())], ..Answer::status(503) };
        match &taken.path {
            path if *path == at_bob => later("5"),
            path if *path == at_cho => later("2"),
            _ => Answer::default(),
        }
    });
    let (to_bob, to_cho) = (ann.say(bob.to(), "as it was").await, ann.say(cho.to(), "gone").await);
    for device in [bob, cho] {
        assert_eq!(device.told(&push).await["seq"], "1");
    }
    let mut at_ann = ann.connect().await;
    let place = |ack: &Value| (ack["conversation"].clone(), ack["seq"].clone(), ClientId::now().to_string());
    let (conversation, seq, id) = place(&to_cho);
    let delete = json!({"conversation": conversation, "seq": seq, "clientId": id});
    assert!(at_ann.ask(json!({"id": 2, "delete": delete})).await["ack"].is_object());
    let (conversation, seq, id) = place(&to_bob);
    let edit = json!({"conversation": conversation, "seq": seq, "clientId": id, "text": "as it is"});
    assert!(at_ann.ask(json!({"id": 3, "edit": edit})).await["ack"].is_object());
    // That has been read once what was said after it, on the same shards, is told.
    let shard = |id: &str| shard_of(id.parse::<ConversationId>().unwrap().bytes(), SHARDS);
    let mut shards = BTreeSet::from([&to_bob, &to_cho].map(|ack| shard(ack["conversation"].as_str().unwrap())));
    while !shards.is_empty() {
        let group = ann.group("방", &[witness]).await;
        if shards.remove(&shard(&group)) {
            ann.say(json!({ "conversation": group }), "after it").await;
            assert_eq!(witness.told(&push).await["seq"], "1");
        }
    }
    cluster.notifies.remove(0).stop().await;
    // Some may have been tried again before anything was changed.
    for path in push.paths() {
        push.at(&path).await;
    }
    push.answer(|_| Answer::default());
    cluster.more_notify().await;
    assert_eq!(bob.told(&push).await["body"], "as it is");
    assert_eq!(push.paths(), [""; 0], "what was taken back meanwhile is told");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_does_not_answer_has_delivered_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let (mut cluster, people) = stage(&push, "8000", &["ann", "there", "away"]).await;
    let [ann, there, away] = &people[..] else { panic!() };
    let group = json!({"conversation": ann.group("방", &[there, away]).await});
    let mut socket = there.connect().await;
    let (got, mut heard) = watch::channel(0);
    let reading = tokio::spawn(async move {
        while let Some(frame) = socket.next_or_end().await {
            if let Some(seq) = frame["event"]["message"]["seq"].as_str() {
                got.send_modify(|heard| *heard = seq.parse::<u32>().unwrap().max(*heard));
            }
        }
        // What it has heard counts also after its home.
        got.closed().await;
    });
    let told =
        async |device: &Device, seq: u32| while device.told(&push).await["seq"].as_str() != Some(&seq.to_string()) {};
    let mut seq = 0;
    loop {
        seq += 1;
        ann.say(group.clone(), &seq.to_string()).await;
        told(away, seq).await;
        // One that this machine holds up for a second has not answered, either: then once more.
        let others = push.paths();
        if others.is_empty() {
            break;
        }
        assert!(seq < 5, "who is there has shown to have it");
        for path in others {
            push.at(&path).await;
        }
    }
    seq += 1;
    ann.say(group, &seq.to_string()).await;
    heard.wait_for(|heard| *heard >= seq).await.unwrap();
    // Who could say that it was delivered is gone before it is asked.
    cluster.chats.remove(0).kill();
    for device in [there, away] {
        told(device, seq).await;
    }
    reading.abort();
    cluster.stop().await;
}
