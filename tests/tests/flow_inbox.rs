//! Inboxes are deleted and emptied under load, on the real NATS: everybody gets everything, in order, and nobody is told
//! to look for themselves, since the homes of the rooms send it again.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use async_nats::jetstream;
use futures_util::TryStreamExt as _;
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
use rand::SeedableRng as _;
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::timeout};

const GROUPS: usize = 6;
const MEMBERS: usize = 4;
const SENDS: usize = 100;
const MESSAGES: u64 = (GROUPS * MEMBERS * SENDS) as u64;
/// All deliveries: the messages to all members.
const DELIVERIES: u64 = MESSAGES * MEMBERS as u64;
/// How often all inboxes are lost.
const LOSSES: u64 = 6;
const PATIENCE: Duration = Duration::from_secs(60);

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
    Session::start(options, move |update| match update {
        Update::Ready(ready) => assert_eq!(ready.resume(), Resume::New, "the socket was lost"),
        Update::Resync => panic!("told to start over"),
        Update::Event(event) => {
            let mut journal = notes.journal.lock().unwrap();
            journal.saw(notes.began.elapsed().as_micros() as u64, device, &event);
            let delivered = journal.so_far().1.delivered;
            notes.done.send_modify(|done| done.1 = delivered);
        }
        Update::Ended(why) => panic!("a session ended: {why}"),
        _ => {}
    })
}

async fn talk(session: Session, group: String, user: String, notes: Notes) {
    for n in 0..SENDS {
        let (client_id, text) = (ClientId::now().to_string(), format!("{user} says {n}"));
        let send = Send { conversation: group.clone(), client_id, text, ..Send::default() };
        loop {
            notes.journal.lock().unwrap().invoked(notes.now(), &group, &user, &send);
            match session.send(send.clone()).await {
                Ok(ack) => {
                    notes.journal.lock().unwrap().acked(notes.now(), &user, &send.client_id, &ack);
                    notes.done.send_modify(|done| done.0 += 1);
                    break;
                }
                Err(refusal) if refusal.reason.retryable() => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(refusal) => panic!("{refusal:?}"),
            }
        }
    }
}

/// Loses all inboxes: each is deleted, or emptied.
async fn lose(context: &jetstream::Context, random: &mut impl rand::Rng) {
    let names: Vec<String> = context.stream_names().try_collect().await.unwrap();
    for name in names.iter().filter(|name| name.starts_with("INBOX_")) {
        if random.random_bool(0.5) {
            context.delete_stream(name).await.unwrap();
        } else if let Ok(stream) = context.get_stream(name).await {
            stream.purge().await.unwrap();
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
    let notes = Notes { journal: Arc::default(), began: Instant::now(), done: watch::Sender::new((0, 0)) };
    let sessions: Vec<Session> =
        everybody.iter().enumerate().map(|(n, person)| connect(&cluster, n, person, notes.clone())).collect();
    let mut groups = Vec::new();
    for (n, some) in everybody.chunks(MEMBERS).enumerate() {
        let (owner, others) = some.split_first().unwrap();
        let users: Vec<String> = others.iter().map(|member| member.tokens.user.clone()).collect();
        let (token, key) = (&owner.tokens.access_token, uuid::Uuid::new_v4().to_string());
        let name = format!("group {n}");
        let made = people::persist(|| http.create_group(token, &name, &users, History::All, &key)).await;
        groups.push(made.unwrap().conversation.conversation);
    }
    let mut talking = tokio::task::JoinSet::new();
    for (n, session) in sessions.iter().enumerate() {
        let user = everybody[n].tokens.user.clone();
        talking.spawn(talk(session.clone(), groups[n / MEMBERS].clone(), user, notes.clone()));
    }
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
