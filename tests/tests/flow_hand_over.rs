//! A home stops, and the next one goes on with its rooms: at once, without asking any database, and unseen by those who
//! talk meanwhile.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_client::{Http, Session, Update};
use madang_loadgen::people::{self, Person};
use madang_proto::{
    client::v1::{Ack, Send},
    id::ClientId,
};
use madang_tests::{PATIENCE, cluster::Cluster};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

const PAIRS: usize = 24;

/// A session, and how many connections all sessions have lost.
fn connect(cluster: &Cluster, number: usize, person: &Person, lost: &Arc<AtomicUsize>) -> Session {
    let lost = lost.clone();
    Session::start(cluster.options(number, person), move |update| {
        if let Update::Lost(why) | Update::Ended(why) = update {
            eprintln!("a connection is lost: {why}");
            lost.fetch_add(1, SeqCst);
        }
    })
}

/// Sends until it is saved, always with the same id.
async fn persist(session: &Session, send: &Send) -> Ack {
    loop {
        match session.send(send.clone()).await {
            Ok(ack) => return ack,
            Err(refusal) if refusal.reason.retryable() => {
                tokio::time::sleep(Duration::from_millis(refusal.retry_after_ms.clamp(5, 1000))).await;
            }
            Err(refusal) => panic!("{refusal:?}"),
        }
    }
}

fn to(user: &str, text: &str) -> Send {
    Send { user: user.into(), client_id: ClientId::now().to_string(), text: text.into(), ..Send::default() }
}

/// People, by twos, and the sessions of the first of each two.
async fn pairs(cluster: &Cluster, run: &str, lost: &Arc<AtomicUsize>) -> Vec<(Session, Person)> {
    let http = Http::new(&cluster.api).unwrap();
    let all = people::sign_up(&http, run, 2 * PAIRS, 8, &indicatif::ProgressBar::hidden()).await.unwrap();
    let mut all = all.into_iter();
    let mut pairs = Vec::new();
    while let (Some(one), Some(other)) = (all.next(), all.next()) {
        pairs.push((connect(cluster, pairs.len(), &one, lost), other));
    }
    pairs
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_home_hands_its_rooms_over_and_nobody_asks_a_database() {
    let mut cluster = Cluster::start(2, 1).await;
    let lost = Arc::default();
    let pairs = pairs(&cluster, "hand", &lost).await;
    let mut sent = Vec::new();
    for (session, other) in &pairs {
        let first = to(&other.tokens.user, "one");
        let ack = persist(session, &first).await;
        assert_eq!((ack.seq, ack.duplicate), (1, false));
        sent.push((first, ack));
    }
    cluster.stop_readers().await;
    let stopped = Arc::new(AtomicBool::new(false));
    let mut talking = tokio::task::JoinSet::new();
    for (session, other) in &pairs {
        let (session, user, stopped) = (session.clone(), other.tokens.user.clone(), stopped.clone());
        talking.spawn(async move {
            let mut last = 1;
            let mut over = false;
            // Also what is sent once it has stopped.
            while !over {
                over = stopped.load(SeqCst);
                last += 1;
                assert_eq!(persist(&session, &to(&user, "on")).await.seq, last, "each once, in order");
            }
        });
    }
    cluster.chats.swap_remove(0).stop().await;
    stopped.store(true, SeqCst);
    let moved = async {
        while let Some(talked) = talking.join_next().await {
            talked.unwrap();
        }
        for ((session, other), (first, before)) in pairs.iter().zip(&sent) {
            let again = persist(session, first).await;
            assert_eq!((again.seq, again.revision, again.duplicate), (before.seq, before.revision, true));
            assert!(!persist(session, &to(&other.tokens.user, "new")).await.duplicate);
        }
    };
    let served = tokio::time::timeout(PATIENCE, moved).await;
    assert!(served.is_ok(), "the next home needs a database, and there is none");
    assert_eq!(lost.load(SeqCst), 0, "sockets stay where their gateway does");
    drop(pairs);
    cluster.stop().await;
}

/// The longest that anybody waited from a message's first sending to its ack, in each phase.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: see docs/reliability.md, \"Hand-over\""]
async fn how_long_sends_pause() {
    let mut cluster = Cluster::start(3, 1).await;
    let pairs = pairs(&cluster, "pause", &Arc::default()).await;
    let (longest, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut talking = tokio::task::JoinSet::new();
    let count = Arc::new(AtomicUsize::new(0));
    for (session, other) in pairs {
        let (longest, stop, count) = (longest.clone(), stop.clone(), count.clone());
        talking.spawn(async move {
            while !stop.load(SeqCst) {
                let since = Instant::now();
                persist(&session, &to(&other.tokens.user, "hi")).await;
                longest.fetch_max(usize::try_from(since.elapsed().as_millis()).unwrap(), SeqCst);
                count.fetch_add(1, SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
    let settle = async |what: &str| {
        tokio::time::sleep(Duration::from_secs(4)).await;
        println!("{what}: longest wait {} ms, {} messages", longest.swap(0, SeqCst), count.swap(0, SeqCst));
    };
    settle("start").await;
    settle("nothing happens").await;
    for n in 0..3 {
        let chat = cluster.chats.remove(0);
        cluster.chats.push(chat.restart().await);
        settle(&format!("restart {n}")).await;
    }
    cluster.chats.remove(0).stop().await;
    settle("graceful stop").await;
    cluster.chats.remove(0).kill();
    tokio::time::sleep(Duration::from_secs(10)).await;
    settle("kill").await;
    stop.store(true, SeqCst);
    while let Some(done) = talking.join_next().await {
        done.unwrap();
    }
    cluster.stop().await;
}
