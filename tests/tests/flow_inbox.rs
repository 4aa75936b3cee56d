//! Inboxes are deleted and emptied under load, on the real NATS: everybody gets everything, in order, and nobody is told
//! to look for themselves, since the homes of the rooms send it again.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use async_nats::jetstream;
use futures_util::TryStreamExt as _;
use madang_client::{Http, Session, Update};
use madang_loadgen::people::{self, Person};
use madang_proto::client::v1::Resume;
use madang_tests::{
    PATIENCE,
    cluster::Cluster,
    talk::{Notes, all_talk, groups, verdict},
    until,
};
use rand::SeedableRng as _;
use tokio::time::timeout;

const GROUPS: usize = 6;
const MEMBERS: usize = 4;
const SENDS: usize = 100;
const MESSAGES: u64 = (GROUPS * MEMBERS * SENDS) as u64;
/// All deliveries: the messages to all members.
const DELIVERIES: u64 = MESSAGES * MEMBERS as u64;
/// How often all inboxes are lost.
const LOSSES: u64 = 6;

fn connect(cluster: &Cluster, number: usize, person: &Person, notes: Notes) -> Session {
    let options = cluster.options(number, person);
    let device = notes.journal.lock().unwrap().device(&person.tokens.user);
    Session::start(options, move |update| match update {
        Update::Ready(ready) => assert_eq!(ready.resume(), Resume::New, "the socket was lost"),
        Update::Resync => panic!("told to start over"),
        Update::Event(event) => notes.saw(device, &event),
        Update::Ended(why) => panic!("a session ended: {why}"),
        _ => {}
    })
}

/// Loses all inboxes: each is deleted, or emptied.
async fn lose(context: &jetstream::Context, random: &mut impl rand::Rng) {
    let names = until("streams are named", async || context.stream_names().try_collect::<Vec<_>>().await.ok()).await;
    for name in names.iter().filter(|name| name.starts_with("INBOX_")) {
        // NATS answers late at times, though it has done it.
        if random.random_bool(0.5) {
            let _ = context.delete_stream(name).await;
        } else if let Ok(stream) = context.get_stream(name).await {
            let _ = stream.purge().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_notices_that_inboxes_are_lost() {
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let cluster = Cluster::start(2, 2).await;
    let http = Http::new(&cluster.api).unwrap();
    let hidden = indicatif::ProgressBar::hidden();
    let everybody = people::sign_up(&http, "inbox", GROUPS * MEMBERS, 8, &hidden).await.unwrap();
    let notes = Notes::new();
    let sessions: Vec<Session> =
        everybody.iter().enumerate().map(|(n, person)| connect(&cluster, n, person, notes.clone())).collect();
    let groups = groups(&http, &everybody, MEMBERS).await;
    let mut talking = all_talk(&sessions, &everybody, &groups, SENDS, &notes);
    let nats = async_nats::connect(std::env::var("MADANG_TEST_NATS").unwrap()).await.unwrap();
    let context = jetstream::new(nats);
    for loss in 1..=LOSSES {
        timeout(PATIENCE, notes.wait(loss * MESSAGES / (LOSSES + 1), 0)).await.unwrap();
        lose(&context, &mut random).await;
    }
    while let Some(done) = timeout(PATIENCE, talking.join_next()).await.unwrap() {
        done.unwrap();
    }
    // The last, when nothing comes after it any more.
    lose(&context, &mut random).await;
    let complete = timeout(PATIENCE, notes.wait(MESSAGES, DELIVERIES)).await.is_ok();
    let verdict = verdict(&cluster, &everybody, &groups, &notes).await;
    drop(sessions);
    assert!(verdict.good(), "{verdict}");
    assert_eq!((verdict.counts.acked, verdict.counts.messages, complete), (MESSAGES, MESSAGES, true));
    cluster.stop().await;
}
