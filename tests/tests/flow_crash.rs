//! A home dies while people talk: what was acknowledged reaches everybody, once and in order, and nobody is told less.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_client::{Format, Http, Session, Update, session::Options};
use madang_loadgen::people::{self, Person};
use madang_proto::{
    client::v1::{Event, History, Send, event::Body},
    id::ClientId,
};
use madang_tests::cluster::Cluster;
use rand::{Rng as _, SeedableRng as _};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::Notify;

const GROUPS: usize = 6;
const MEMBERS: usize = 5;
const SENDS: usize = 80;

/// What one person has seen of each conversation: the newest revision, and the texts by seq.
#[derive(Default)]
struct Seen {
    revision: HashMap<String, u64>,
    texts: HashMap<String, BTreeMap<u64, String>>,
    gaps: Vec<String>,
    resyncs: usize,
}

impl Seen {
    fn event(&mut self, event: Event) {
        let newest = self.revision.entry(event.conversation.clone()).or_default();
        if event.revision <= *newest {
            return;
        }
        if *newest > 0 && event.revision != *newest + 1 {
            self.gaps.push(format!("{}: {} after {newest}", event.conversation, event.revision));
        }
        *newest = event.revision;
        if let Some(Body::Message(message)) = event.body {
            self.texts.entry(event.conversation).or_default().insert(message.seq, message.text);
        }
    }
}

struct Member {
    person: Person,
    session: Session,
    seen: Arc<Mutex<Seen>>,
}

fn connect(cluster: &Cluster, number: usize, person: Person, changed: Arc<Notify>) -> Member {
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let options = Options {
        http: Http::new(&cluster.api).unwrap(),
        gateway: Some(cluster.gateways[number % cluster.gateways.len()].clone()),
        tokens: person.tokens.clone(),
        device: person.device.clone(),
        source: None,
        format: Format::Protobuf,
        cursor: String::new(),
    };
    let into = seen.clone();
    let session = Session::start(options, move |update| {
        match update {
            Update::Event(event) => into.lock().unwrap().event(*event),
            Update::Resync => into.lock().unwrap().resyncs += 1,
            Update::Ended(why) => panic!("a session ended: {why}"),
            _ => {}
        }
        changed.notify_waiters();
    });
    Member { person, session, seen }
}

/// What was acknowledged: seq and text.
type Acked = Arc<Mutex<BTreeMap<u64, String>>>;

async fn talk(session: Session, group: String, name: usize, acked: Acked, count: Arc<AtomicUsize>) {
    for n in 0..SENDS {
        let text = format!("{name} says {n}");
        let conversation = group.clone();
        let client_id = ClientId::now().to_string();
        let send = Send { conversation, client_id, text: text.clone(), ..Send::default() };
        // Sent again until it is saved: with the same id, so it is one message whatever became of the first.
        let ack = loop {
            match session.send(send.clone()).await {
                Ok(ack) => break ack,
                Err(refusal) if refusal.reason.retryable() => {
                    tokio::time::sleep(Duration::from_millis(refusal.retry_after_ms.clamp(20, 1000))).await;
                }
                Err(refusal) => panic!("{refusal:?}"),
            }
        };
        let before = acked.lock().unwrap().insert(ack.seq, text);
        assert_eq!(before, None, "one number for two messages");
        count.fetch_add(1, SeqCst);
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
    let changed = Arc::new(Notify::new());
    let members: Vec<Member> =
        everybody.into_iter().enumerate().map(|(n, person)| connect(&cluster, n, person, changed.clone())).collect();
    let mut groups = Vec::new();
    for (n, some) in members.chunks(MEMBERS).enumerate() {
        let (owner, others) = some.split_first().unwrap();
        let users: Vec<String> = others.iter().map(|member| member.person.tokens.user.clone()).collect();
        let token = &owner.person.tokens.access_token;
        let (name, key) = (format!("group {n}"), uuid::Uuid::new_v4().to_string());
        let made = people::persist(|| http.create_group(token, &name, &users, History::All, &key)).await;
        groups.push(made.unwrap().conversation.conversation);
    }
    let (acked, count): (Vec<Acked>, _) =
        (groups.iter().map(|_| Acked::default()).collect(), Arc::new(AtomicUsize::new(0)));
    let mut talking = tokio::task::JoinSet::new();
    for (n, member) in members.iter().enumerate() {
        let group = n / MEMBERS;
        talking.spawn(talk(member.session.clone(), groups[group].clone(), n, acked[group].clone(), count.clone()));
    }
    // In the middle of it, at any moment.
    let when = random.random_range(GROUPS * MEMBERS..GROUPS * MEMBERS * SENDS / 2);
    while count.load(SeqCst) < when {
        tokio::task::yield_now().await;
    }
    let victim = cluster.chats.swap_remove(random.random_range(0..2));
    if kill {
        victim.kill();
    } else {
        victim.stop().await;
    }
    while let Some(done) = talking.join_next().await {
        done.unwrap();
    }
    assert_eq!(count.load(SeqCst), GROUPS * MEMBERS * SENDS);
    let all = async {
        for (n, member) in members.iter().enumerate() {
            let (group, wanted) = (&groups[n / MEMBERS], acked[n / MEMBERS].lock().unwrap().len());
            loop {
                let next = changed.notified();
                let have = member.seen.lock().unwrap().texts.get(group).map_or(0, BTreeMap::len);
                if have >= wanted {
                    break;
                }
                // Looked at again even if the last change came just before.
                let _ = tokio::time::timeout(Duration::from_millis(200), next).await;
            }
        }
    };
    let complete = tokio::time::timeout(Duration::from_secs(30), all).await.is_ok();
    for (n, member) in members.iter().enumerate() {
        let (seen, wanted) = (member.seen.lock().unwrap(), acked[n / MEMBERS].lock().unwrap());
        let got = seen.texts.get(&groups[n / MEMBERS]).cloned().unwrap_or_default();
        assert_eq!(got, *wanted, "what {n} was sent");
        assert_eq!((&seen.gaps, seen.texts.len()), (&vec![], 1), "gaps, and nobody else's messages; {n}");
        assert_eq!(wanted.keys().copied().collect::<Vec<_>>(), (1..=wanted.len() as u64).collect::<Vec<_>>());
        eprintln!("{n}: {} resyncs", seen.resyncs);
    }
    assert!(complete);
    drop(members);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_misses_anything_when_a_home_is_killed_or_stopped() {
    run(true).await;
    run(false).await;
}
