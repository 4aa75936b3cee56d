//! Inboxes are lost again and again, as in an hour of trouble with NATS: who is away is told of everything, and who is
//! there at most once of each message, and of none once inboxes stay. The hour is shortened: inboxes are deleted every
//! moment for some messages' time; nothing remembers for how long that has gone on.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_client::{Session, Update};
use madang_proto::client::v1::event::Body;
use madang_tests::{
    PATIENCE,
    cluster::{Cluster, Plan},
    crowd::{Crowd, lose_inboxes},
    push::PushServer,
};
use std::{collections::BTreeSet, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

const GROUPS: usize = 4;
/// Of each group, the first two are there.
const MEMBERS: usize = 4;
const LOST: u64 = 8;

fn is_there(number: usize) -> bool {
    number % MEMBERS < 2
}

/// Somebody who is there; what they have got.
fn connect(cluster: &Cluster, crowd: &Crowd, number: usize) -> (Session, watch::Receiver<BTreeSet<u64>>) {
    let (got, all) = watch::channel(BTreeSet::new());
    let session = Session::start(cluster.options(number, &crowd.members[number].person), move |update| match update {
        Update::Event(event) => {
            if let Some(Body::Message(message)) = event.body {
                got.send_if_modified(|got| got.insert(message.seq));
            }
        }
        Update::Ended(why) => panic!("a session ended: {why}"),
        _ => {}
    });
    (session, all)
}

#[tokio::test(flavor = "multi_thread")]
async fn though_inboxes_are_lost_who_is_away_is_told_and_who_is_there_not_twice() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let flags = ["--push-ca", push.ca.to_str().unwrap()].map(str::to_owned).to_vec();
    let cluster = Cluster::with(Plan { chats: 2, push: flags, ..Plan::default() }).await;
    let mut crowd = Crowd::gather(&cluster.api, &push, GROUPS, MEMBERS).await;
    let there: Vec<_> = (0..crowd.members.len()).filter(|number| is_there(*number)).collect();
    let sessions: Vec<_> = there.iter().map(|number| connect(&cluster, &crowd, *number)).collect();
    let losing = tokio::spawn(async {
        loop {
            lose_inboxes().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    for seq in 1..=LOST {
        crowd.write(seq).await;
        crowd.until_told(&push, seq, |number| !is_there(number)).await;
    }
    losing.abort();
    let _ = losing.await;

    // Those who are there have all of it in the end, and hear of no more by push.
    let (mut seq, deadline) = (LOST, Instant::now() + PATIENCE);
    loop {
        seq += 1;
        crowd.write(seq).await;
        for (_, got) in &sessions {
            let all = |got: &BTreeSet<u64>| (1..=seq).all(|seq| got.contains(&seq));
            let complete = timeout(PATIENCE, got.clone().wait_for(all)).await.is_ok();
            assert!(complete, "who is there has {:?} of {seq}", got.borrow());
        }
        crowd.until_told(&push, seq, |number| !is_there(number)).await;
        // What was said of the one before this has come long since.
        if seq > LOST + 1 && there.iter().all(|number| !crowd.members[*number].told.contains_key(&(seq - 1))) {
            break;
        }
        assert!(Instant::now() < deadline, "who has a message is told of it by push all the same");
    }
    drop(sessions);
    cluster.stop().await;
    let told = crowd.members.iter().flat_map(|one| &one.told);
    let twice: Vec<_> = told.filter(|(_, times)| **times > 1).collect();
    // An answer that this machine holds up for longer than is waited for it: all that are on their way are told again.
    assert!(twice.len() <= GROUPS * MEMBERS, "no process has died, and all the same they are told twice: {twice:?}");
}
