//! notify-svc on the real backends: killed between sending and saving its cursor, and replaced by another, it tells
//! everybody, and nobody who is not to be told; and homes that do not answer have delivered nothing.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_tests::{
    cluster::{Cluster, Plan},
    crowd::{Crowd, lose_inboxes},
    device::{Device, Doors},
    push::{Answer, PushServer},
};
use serde_json::json;
use std::time::Duration;
use tokio::sync::watch;

const GROUPS: usize = 12;
const MEMBERS: usize = 4;
const ROUNDS: u64 = 4;

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
async fn a_home_that_does_not_answer_has_delivered_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let flags = ["--push-ca", push.ca.to_str().unwrap(), "--push-wait-ms", "8000"].map(str::to_owned).to_vec();
    let mut cluster = Cluster::with(Plan { push: flags, ..Plan::default() }).await;
    let doors = Doors::of_cluster(&cluster);
    let mut people = Vec::new();
    for name in ["ann", "there", "away"] {
        let device = Device::sign_up(doors, name, "DEVICE_KIND_MOBILE").await;
        device.subscribe(&push).await;
        people.push(device);
    }
    let [ann, there, away] = &people[..] else { panic!() };
    let group = json!({"conversation": ann.group("방", &[there, away]).await});
    let mut socket = there.connect().await;
    ann.say(group.clone(), "1").await;
    let (got, mut heard) = watch::channel(0);
    let reading = tokio::spawn(async move {
        for count in 1.. {
            socket.message().await;
            got.send_replace(count);
        }
    });
    assert_eq!(away.told(&push).await["seq"], "1");
    assert_eq!(push.paths(), [""; 0], "who is there has shown to have it");
    ann.say(group, "2").await;
    heard.wait_for(|count| *count == 2).await.unwrap();
    // Who could say that it was delivered is gone before it is asked.
    cluster.chats.remove(0).kill();
    for device in [there, away] {
        assert_eq!(device.told(&push).await["seq"], "2", "{}", device.path);
    }
    reading.abort();
    cluster.stop().await;
}
