//! A home dies while people talk: what was acknowledged reaches everybody, once and in order, and nobody is told less.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_client::{Format, Http, Session, Update, session::Options};
use madang_loadgen::{
    archive,
    history::{Journal, judge},
    people::{self, Person},
};
use madang_proto::{
    client::v1::{History, Resume, Send},
    id::ClientId,
};
use madang_tests::cluster::Cluster;
use rand::{Rng as _, SeedableRng as _};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::timeout};

const GROUPS: usize = 6;
const MEMBERS: usize = 5;
const SENDS: usize = 80;
/// All messages, and all deliveries of them.
const MESSAGES: u64 = (GROUPS * MEMBERS * SENDS) as u64;
const DELIVERIES: u64 = MESSAGES * MEMBERS as u64;

/// What everybody notes in one journal.
#[derive(Clone)]
struct Notes {
    journal: Arc<Mutex<Journal>>,
    began: Instant,
    /// How much was acknowledged and delivered.
    done: watch::Sender<(u64, u64)>,
}

impl Notes {
    fn now(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    fn acked(&self) {
        self.done.send_modify(|done| done.0 += 1);
    }

    /// Waits until so much was acknowledged, and delivered.
    async fn wait(&self, acked: u64, delivered: u64) {
        let mut done = self.done.subscribe();
        done.wait_for(|done| done.0 >= acked && done.1 >= delivered).await.unwrap();
    }
}

fn connect(cluster: &Cluster, number: usize, person: &Person, notes: Notes) -> Session {
    let options = Options {
        http: Http::new(&cluster.api).unwrap(),
        gateways: vec![cluster.gateways[number % cluster.gateways.len()].clone()],
        tokens: person.tokens.clone(),
        device: person.device.clone(),
        source: None,
        format: Format::Protobuf,
        cursor: String::new(),
    };
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

async fn talk(session: Session, group: String, user: String, notes: Notes) {
    for n in 0..SENDS {
        let text = format!("{user} says {n}");
        let client_id = ClientId::now().to_string();
        let send = Send { conversation: group.clone(), client_id, text, ..Send::default() };
        // Sent again until it is saved: with the same id, so it is one message whatever became of the first.
        loop {
            notes.journal.lock().unwrap().invoked(notes.now(), &group, &user, &send);
            match session.send(send.clone()).await {
                Ok(ack) => {
                    notes.journal.lock().unwrap().acked(notes.now(), &user, &send.client_id, &ack);
                    break notes.acked();
                }
                Err(refusal) if refusal.reason.retryable() => {
                    tokio::time::sleep(Duration::from_millis(refusal.retry_after_ms.clamp(20, 1000))).await;
                }
                Err(refusal) => panic!("{refusal:?}"),
            }
        }
    }
}

async fn run(kill: bool) {
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::start(2, 2).await;
    let http = Http::new(&cluster.api).unwrap();
    let everybody =
        people::sign_up(&http, "crash", GROUPS * MEMBERS, 8, &indicatif::ProgressBar::hidden()).await.unwrap();
    let notes = Notes { journal: Arc::default(), began: Instant::now(), done: watch::Sender::new((0, 0)) };
    let sessions: Vec<Session> =
        everybody.iter().enumerate().map(|(n, person)| connect(&cluster, n, person, notes.clone())).collect();
    let mut groups = Vec::new();
    for (n, some) in everybody.chunks(MEMBERS).enumerate() {
        let (owner, others) = some.split_first().unwrap();
        let users: Vec<String> = others.iter().map(|member| member.tokens.user.clone()).collect();
        let token = &owner.tokens.access_token;
        let (name, key) = (format!("group {n}"), uuid::Uuid::new_v4().to_string());
        let made = people::persist(|| http.create_group(token, &name, &users, History::All, &key)).await;
        groups.push(made.unwrap().conversation.conversation);
    }
    let mut talking = tokio::task::JoinSet::new();
    for (n, session) in sessions.iter().enumerate() {
        let user = everybody[n].tokens.user.clone();
        talking.spawn(talk(session.clone(), groups[n / MEMBERS].clone(), user, notes.clone()));
    }
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
    let complete = timeout(Duration::from_secs(30), notes.wait(MESSAGES, DELIVERIES)).await.is_ok();
    let mut rooms = Vec::new();
    for (n, group) in groups.iter().enumerate() {
        let token = || everybody[n * MEMBERS].tokens.access_token.clone();
        rooms.push(archive::read(&http, token, group, true).await.unwrap());
    }
    drop(sessions);
    let verdict = judge(&notes.journal.lock().unwrap(), &rooms);
    eprintln!("{:?}", verdict.counts);
    assert!(verdict.good(), "{verdict}");
    assert_eq!((verdict.counts.acked, verdict.counts.messages, complete), (MESSAGES, MESSAGES, true));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_misses_anything_when_a_home_is_killed_or_stopped() {
    run(true).await;
    run(false).await;
}
