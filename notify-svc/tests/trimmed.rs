//! The log does not wait for notify-svc: where it was trimmed past a reader that had been held up, that one goes on behind it.
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
    lease, metrics,
    registry::memory::MemoryRegistry,
    subscription::{self, Lag},
};
use madang_notify::{
    notice::Notice,
    provider::{Provider, Providers, Told, Verdict},
    store::Subscription,
};
use madang_proto::{
    client::v1::Content,
    id::{ConversationId, UserId},
    log::v1::{LoggedEvent, MarksMoved, MemberSettings, MovedMark, Record, logged_event::Body},
    notify::v1::Provider as Name,
};
use others::{OTHERS, Others};
use prost::Message as _;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::watch;
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

#[tokio::test(flavor = "multi_thread")]
async fn what_was_trimmed_before_it_was_read_is_counted_and_the_rest_is_told() {
    let (stub, others, channels) = (Stub::default(), Others::default(), Channels::new());
    others.serve(&channels);
    let mut providers = Providers::default();
    providers.add(Name::Webhook, stub.clone());
    let alone = Alone::among(providers, channels, OTHERS);
    let to = alone.device("https://stub/".into()).await;
    others.sets(to.user, MemberSettings::default());
    let (log, registry, drain) = (alone.reader.log.clone(), Arc::new(MemoryRegistry::new()), CancellationToken::new());
    let append = async |events: Vec<LoggedEvent>| {
        let record = Record { format: 1, events, ..Record::default() };
        log.append(SHARD, record.encode_to_vec().into(), None).await.unwrap();
    };

    // Nobody can say who is told of the first, and what comes with it is more than waits.
    others.set_down(true);
    let mark = |_| MovedMark { user: UserId::new().bytes().to_vec().into(), seq: 1, device: Vec::new().into() };
    append(vec![message(1), event(1, Body::Read(MarksMoved { marks: (0..6000).map(mark).collect() }))]).await;
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
    let running = tokio::spawn(subscription::run(config, leases, log.clone(), registry, reader, drain.clone()));
    let said = || String::from_utf8(metrics::text()).unwrap();
    let of_jobs = |line: &str| line.starts_with("madang_queue_depth{queue=\"push_jobs\"}") && line.ends_with(" 4096");
    until(async || said().lines().any(of_jobs)).await;

    for seq in 2..=6 {
        append(vec![message(seq)]).await;
    }
    log.trim(SHARD, 5).await.unwrap();
    others.set_down(false);
    until(async || alone.store.cursor(SHARD).await.unwrap() == 6).await;
    let mut sent = stub.0.lock().unwrap().clone();
    sent.sort_unstable();
    assert_eq!(sent, [1, 5, 6]);
    assert!(said().contains("madang_notify_too_old_total 3"), "{}", said());
    drain.cancel();
    running.await.unwrap();
}
