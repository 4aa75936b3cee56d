//! The log does not wait for notify-svc: where it was trimmed past a reader that had been held up, that one goes on behind it. And
//! what was taken back meanwhile is not told of, however far behind that stands in the log.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

#[path = "shared/alone.rs"]
mod alone;
#[path = "shared/others.rs"]
mod others;

use alone::{Alone, SHARD, until};
use async_trait::async_trait;
use madang_mesh::{
    channel::Channels,
    clock::now_ms,
    lease,
    log::Log,
    metrics,
    registry::memory::MemoryRegistry,
    subscription::{self, Lag},
};
use madang_notify::{
    notice::Notice,
    provider::{Provider, Providers, Told, Verdict},
    reader::Reader,
    store::{Subscription, Subscriptions},
    words::Shown,
};
use madang_proto::{
    client::v1::Content,
    id::{ConversationId, UserId},
    log::v1::{LoggedEvent, MarksMoved, MemberSettings, MessageDeleted, MovedMark, Record, logged_event::Body},
    notify::v1::Provider as Name,
};
use others::{OTHERS, Others};
use prost::Message as _;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Takes everything.
#[derive(Clone, Default)]
struct Stub(Arc<Mutex<Vec<u64>>>);

#[async_trait]
impl Provider for Stub {
    fn host(&self, _: &Subscription) -> String {
        "stub".into()
    }

    async fn send(&self, _: &Subscription, notice: &Notice) -> Told {
        self.0.lock().unwrap().push(notice.seq);
        Told { verdict: Verdict::Sent, status: 200 }
    }
}

fn event(seq: u64, body: Body) -> LoggedEvent {
    LoggedEvent {
        conversation: ConversationId::new().bytes().to_vec().into(),
        actor: UserId::new().bytes().to_vec().into(),
        revision: 2,
        last_seq: seq,
        at_micros: now_ms() * 1000,
        body: Some(body),
        ..LoggedEvent::default()
    }
}

fn message(seq: u64) -> LoggedEvent {
    event(seq, Body::Message(Content { text: "hi".into(), ..Content::default() }))
}

/// A notify-svc of one shard, for one device, that nobody can tell whom to notify of the first message; more than waits comes with it.
struct HeldUp {
    stub: Stub,
    others: Others,
    log: Arc<dyn Log>,
    store: Arc<dyn Subscriptions>,
    reader: Arc<Reader>,
    /// The first message.
    first: LoggedEvent,
    drain: CancellationToken,
    running: JoinHandle<()>,
}

impl HeldUp {
    async fn new() -> Self {
        let (stub, others, channels) = (Stub::default(), Others::default(), Channels::new());
        others.serve(&channels);
        let mut providers = Providers::default();
        providers.add(Name::Webhook, stub.clone());
        let alone = Alone::among(providers, channels, OTHERS);
        let to = alone.device("https://stub/".into()).await;
        others.sets(to.user, MemberSettings::default());
        let (log, registry, drain) =
            (alone.reader.log.clone(), Arc::new(MemoryRegistry::new()), CancellationToken::new());
        others.set_down(true);
        let mark = |_| MovedMark { user: UserId::new().bytes().to_vec().into(), seq: 1, device: Vec::new().into() };
        let (first, marks) = (message(1), (0..6000).map(mark).collect());
        append(&log, vec![first.clone(), event(1, Body::Read(MarksMoved { marks }))]).await;
        let wanted =
            lease::Config { group: "notify".into(), process: "one".into(), address: String::new(), shards: SHARD + 1 };
        let leases = lease::join(wanted, registry.clone(), drain.clone()).await;
        let config = subscription::Config {
            group: "notify".into(),
            max_batch: 256,
            linger: Duration::ZERO,
            lag: Lag::new(SHARD + 1),
            others_hear: watch::channel(false).1,
        };
        let reader = Arc::new(alone.reader);
        let running = subscription::run(config, leases, log.clone(), registry, reader.clone(), drain.clone());
        let running = tokio::spawn(running);
        let of_jobs =
            |line: &str| line.starts_with("madang_queue_depth{queue=\"push_jobs\"}") && line.ends_with(" 4096");
        until(async || said().lines().any(of_jobs)).await;
        Self { stub, others, log, store: alone.store, reader, first, drain, running }
    }

    /// What was told once somebody could tell whom, and all is done.
    async fn told(self, last: u64) -> Vec<u64> {
        self.others.set_down(false);
        until(async || self.store.cursor(SHARD).await.unwrap() == last).await;
        let mut sent = self.stub.0.lock().unwrap().clone();
        sent.sort_unstable();
        self.drain.cancel();
        self.running.await.unwrap();
        sent
    }
}

async fn append(log: &Arc<dyn Log>, events: Vec<LoggedEvent>) {
    let record = Record { format: 1, events, ..Record::default() };
    log.append(SHARD, record.encode_to_vec().into(), None).await.unwrap();
}

fn said() -> String {
    String::from_utf8(metrics::text()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_trimmed_before_it_was_read_is_counted_and_what_was_taken_back_is_not_told() {
    let held_up = HeldUp::new().await;
    for seq in 2..=6 {
        append(&held_up.log, vec![message(seq)]).await;
    }
    held_up.log.trim(SHARD, 5).await.unwrap();
    assert_eq!(held_up.told(6).await, [1, 5, 6]);
    assert!(said().contains("madang_notify_too_old_total 3"), "{}", said());

    // In one test, one after the other: they look at what waits in this process.
    let held_up = HeldUp::new().await;
    for seq in 2..=3 {
        append(&held_up.log, vec![message(seq)]).await;
    }
    let gone = event(3, Body::Deleted(MessageDeleted { seq: 1 }));
    let conversation = held_up.first.conversation.clone();
    append(&held_up.log, vec![LoggedEvent { conversation: conversation.clone(), revision: 3, ..gone }]).await;
    let conversation = ConversationId::from_slice(&conversation).unwrap();
    let shown = || held_up.reader.sender.amended.shown(conversation, 1, Shown::Text("hi".into()));
    until(async || shown().is_none()).await;
    assert_eq!(held_up.told(4).await, [2, 3], "the first was taken back before anybody could be told of it");
}
