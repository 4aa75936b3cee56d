//! A home dies while people talk: what was acknowledged reaches everybody, once and in order, and nobody is told less.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_client::{Http, Session, Update};
use madang_loadgen::people::{self, Person};
use madang_proto::client::v1::Resume;
use madang_tests::{
    PATIENCE,
    cluster::Cluster,
    talk::{Notes, all_talk, groups, verdict},
};
use rand::{Rng as _, SeedableRng as _};
use tokio::time::timeout;

const GROUPS: usize = 6;
const MEMBERS: usize = 5;
const SENDS: usize = 80;
/// All messages, and all deliveries of them.
const MESSAGES: u64 = (GROUPS * MEMBERS * SENDS) as u64;
const DELIVERIES: u64 = MESSAGES * MEMBERS as u64;

fn connect(cluster: &Cluster, number: usize, person: &Person, notes: Notes) -> Session {
    let options = cluster.options(number, person);
    let device = notes.journal.lock().unwrap().device(&person.tokens.user);
    Session::start(options, move |update| {
        let at = notes.now();
        let mut journal = notes.journal.lock().unwrap();
        match update {
            Update::Ready(ready) if ready.resume() != Resume::Resumed => journal.resynced(device),
            Update::Resync => journal.resynced(device),
            Update::Event(event) => {
                journal.saw(at, device, &event);
                let delivered = journal.so_far().1.delivered;
                notes.done.send_modify(|done| done.1 = delivered);
            }
            Update::Ended(why) => panic!("a session ended: {why}"),
            _ => {}
        }
    })
}

async fn run(kill: bool) {
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::start(2, 2).await;
    let http = Http::new(&cluster.api).unwrap();
    let everybody =
        people::sign_up(&http, "crash", GROUPS * MEMBERS, 8, &indicatif::ProgressBar::hidden()).await.unwrap();
    let notes = Notes::new();
    let sessions: Vec<Session> =
        everybody.iter().enumerate().map(|(n, person)| connect(&cluster, n, person, notes.clone())).collect();
    let groups = groups(&http, &everybody, MEMBERS).await;
    let mut talking = all_talk(&sessions, &everybody, &groups, SENDS, &notes);
    // In the middle of it, at any moment.
    notes.wait(random.random_range(MESSAGES / SENDS as u64..MESSAGES / 2), 0).await;
    let victim = cluster.chats.swap_remove(random.random_range(0..2));
    if kill {
        victim.kill();
    } else {
        victim.stop().await;
    }
    while let Some(done) = talking.join_next().await {
        done.unwrap();
    }
    let complete = timeout(PATIENCE, notes.wait(MESSAGES, DELIVERIES)).await.is_ok();
    let verdict = verdict(&cluster, &everybody, &groups, &notes).await;
    drop(sessions);
    assert!(verdict.good(), "{verdict}");
    assert_eq!((verdict.counts.acked, verdict.counts.messages, complete), (MESSAGES, MESSAGES, true));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_misses_anything_when_a_home_is_killed_or_stopped() {
    run(true).await;
    run(false).await;
}
