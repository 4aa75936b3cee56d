//! What nobody could be notified of for an hour is dropped, and counted: it is no news any more.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_mesh::{
    channel::Channels,
    clock::now_ms,
    homes::Homes,
    log::{Entry, sqlite::SqliteLog},
    metrics,
    subscription::Handler as _,
};
use madang_notify::{
    audience::Audience,
    provider::Providers,
    reader::Reader,
    reports::Reports,
    sender::{Kept, Push, Sender, TOO_OLD},
    store::{Settled, Subscription, Subscriptions, Target, sqlite::SqliteSubscriptions},
    words::Shown,
};
use madang_proto::{
    account::v1::account_service_client::AccountServiceClient,
    client::v1::{Content, DeviceKind, PushType},
    group::v1::group_service_client::GroupServiceClient,
    id::{ConversationId, DeviceId, SessionId, UserId},
    log::v1::{LoggedEvent, Record, logged_event::Body},
    notify::v1::{Outcome, Provider},
};
use prost::Message as _;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(90);
const SHARD: u32 = 3;

/// A message of that age.
fn message(position: u64, age_ms: i64) -> Entry {
    let event = LoggedEvent {
        conversation: Uuid::new_v4().as_bytes().to_vec().into(),
        actor: UserId::new().bytes().to_vec().into(),
        revision: 2,
        last_seq: 1,
        at_micros: (now_ms() - age_ms) * 1000,
        body: Some(Body::Message(Content { text: "안녕".into(), ..Content::default() })),
        ..LoggedEvent::default()
    };
    let record = Record { format: 1, events: vec![event], ..Record::default() };
    Entry { position, at_micros: 0, payload: record.encode_to_vec().into() }
}

fn subscription() -> Subscription {
    Subscription {
        id: Uuid::new_v4(),
        user: UserId::new(),
        device: DeviceId::from(Uuid::new_v4()),
        session: SessionId::from(Uuid::new_v4()),
        kind: DeviceKind::Mobile,
        target: Target { provider: Provider::Webhook, address: "https://push.example.com/".into(), secret: Vec::new() },
        locale: String::new(),
        preview: true,
        created_at: 1,
    }
}

/// A push of a message of that age.
fn push(to: &Subscription, age_ms: i64) -> Push {
    Push {
        to: Arc::new(to.clone()),
        kind: PushType::Message,
        conversation: ConversationId::from(Uuid::new_v4()),
        shard: SHARD,
        seq: 1,
        revision: 2,
        sender: None,
        mention: false,
        at_ms: now_ms() - age_ms,
        group: String::new(),
        name: String::new(),
        shown: Shown::Nothing,
        badge: 0,
        tries: 5,
        checked: Instant::now(),
        trace: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_an_hour_old_is_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Subscriptions> = Arc::new(SqliteSubscriptions::open(folder.path()).unwrap());
    let log = Arc::new(SqliteLog::open(folder.path()).unwrap());
    // Nobody answers: who is to be told can't be found out.
    let (channels, nobody) = (Channels::new(), "http://127.0.0.1:1");
    let channel = channels.get(nobody).unwrap();
    let (group, account) = (GroupServiceClient::new(channel.clone()), AccountServiceClient::new(channel));
    let homes = Homes::follow(channels.clone(), nobody);
    let audience = Arc::new(Audience::new(store.clone(), group, account, homes, channels));
    let reports = Arc::<Reports>::default();
    let sender = Sender::spawn(store.clone(), Providers::default(), audience.clone(), reports.clone());
    let reader = Reader::new(store.clone(), log, audience, sender, reports.clone(), Duration::ZERO);

    // One is too old, another gets so while it waits, and so does a push that was kept.
    let (to, soon) = (subscription(), TOO_OLD - 1500);
    store.put(to.clone()).await.unwrap();
    let late = Kept::late(&push(&to, soon), now_ms() + 2000);
    let settled = Settled { late: [(late.whom, late)].into(), ..Settled::default() };
    store.settle(settled, now_ms()).await.unwrap();
    assert_eq!(reader.cursor(SHARD).await.unwrap(), 0);
    reader.handle(SHARD, &[message(1, TOO_OLD + 1), message(2, soon)]).await.unwrap();

    let dropped = async {
        let all_done = async || {
            let none_kept = store.due(SHARD, i64::MAX, 10, Vec::new()).await.unwrap().is_empty();
            none_kept && store.cursor(SHARD).await.unwrap() == 2
        };
        while !all_done().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, dropped).await.unwrap();
    let latest = reports.latest(10, |_| true);
    assert_eq!(latest.iter().map(|each| each.outcome()).collect::<Vec<_>>(), [Outcome::Dropped]);
    let metrics = String::from_utf8(metrics::text()).unwrap();
    assert!(metrics.contains("madang_notify_too_old_total 2"), "{metrics}");
    assert!(metrics.contains("outcome=\"dropped\",provider=\"webhook\"} 1"), "{metrics}");
}
