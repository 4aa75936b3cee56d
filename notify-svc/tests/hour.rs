//! What nobody could be notified of for an hour is dropped, and counted: it is no news any more.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

#[path = "shared/alone.rs"]
mod alone;

use alone::{Alone, SHARD, push};
use madang_mesh::{clock::now_ms, log::Entry, metrics, subscription::Handler as _};
use madang_notify::{
    provider::Providers,
    sender::{Kept, Push, TOO_OLD},
    store::Settled,
};
use madang_proto::{
    client::v1::Content,
    id::{ConversationId, UserId},
    log::v1::{LoggedEvent, Record, logged_event::Body},
    notify::v1::Outcome,
};
use prost::Message as _;
use std::time::Duration;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(90);

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

#[tokio::test(flavor = "multi_thread")]
async fn what_is_an_hour_old_is_dropped_and_counted() {
    let alone = Alone::with(Providers::default());
    let Alone { store, reader, reports, .. } = &alone;
    // One is too old, another gets so while it waits, and so does a push that was kept.
    let soon = TOO_OLD - 1500;
    let to = alone.device("https://push.example.com/".into()).await;
    let kept = Push { at_ms: now_ms() - soon, revision: 2, tries: 5, ..push(&to, ConversationId::new(), 1) };
    let late = Kept::late(&kept, now_ms() + 2000);
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
