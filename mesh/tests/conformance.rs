//! Both adapters of each port do what it promises.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // a test: a panic is its failure

use futures_util::StreamExt;
use madang_mesh::{
    log::{Error, Log, conformance, jetstream::JetStreamLog, sqlite::SqliteLog},
    registry::{self, jetstream::JetStreamRegistry, memory::MemoryRegistry},
};

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_log_conforms_and_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(folder.path()).unwrap();
    conformance::check(&log).await.unwrap();
    assert!(SqliteLog::open(folder.path()).is_err(), "a second process on the same folder");
    drop(log);
    let again = loop {
        // The writer's thread ends a moment after its last handle.
        match SqliteLog::open(folder.path()) {
            Ok(log) => break log,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let bounds = again.bounds(0).await.unwrap();
    assert_eq!((bounds.first, bounds.last), (10, 21));
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_log_conforms() {
    let nats = nats().await;
    // What another test left under the fixed name is not its concern.
    let stream = format!("LOG_{}_00", madang_mesh::shard::LAYOUT);
    async_nats::jetstream::new(nats.clone()).delete_stream(stream).await.ok();
    conformance::check(&JetStreamLog::new(nats, 1, 1 << 26)).await.unwrap();
}

/// A log of a shard of its own, with nothing in it.
async fn fresh(shard: u32, max_bytes: i64) -> JetStreamLog {
    let nats = nats().await;
    let stream = format!("LOG_{}_{shard:02}", madang_mesh::shard::LAYOUT);
    async_nats::jetstream::new(nats.clone()).delete_stream(stream).await.ok();
    let log = JetStreamLog::new(nats, 1, max_bytes);
    log.create(shard).await.unwrap();
    log
}

#[tokio::test]
async fn a_full_jetstream_log_refuses_forgets_nothing_and_goes_on_once_it_is_trimmed() {
    let log = fresh(90, 1 << 16).await;
    let mut last = 0;
    let full = loop {
        match log.append(90, vec![7; 4096].into(), Some(last)).await {
            Ok(position) => last = position,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, Error::Full), "{full}");
    assert!(last >= 10, "{last}");
    assert_eq!(log.bounds(90).await.map(|bounds| (bounds.first, bounds.last)).unwrap(), (1, last));
    log.trim(90, 5).await.unwrap();
    assert_eq!(log.append(90, vec![8; 4096].into(), Some(last)).await.unwrap(), last + 1);
    let entry = log.read(90, 5).await.unwrap().next().await.unwrap().unwrap();
    assert_eq!((entry.position, entry.payload[0]), (5, 7));
}

#[tokio::test]
async fn a_jetstream_log_that_was_lost_begins_anew_after_what_was_read_of_it() {
    let log = fresh(91, 1 << 20).await;
    log.begin_after(91, 41).await.unwrap();
    assert_eq!(log.bounds(91).await.map(|bounds| (bounds.first, bounds.last)).unwrap(), (42, 41));
    assert!(matches!(log.append(91, "x".into(), Some(0)).await, Err(Error::Conflict { .. })));
    assert_eq!(log.append(91, "x".into(), None).await.unwrap(), 42);
    assert_eq!(log.append(91, "y".into(), Some(42)).await.unwrap(), 43);
    assert!(log.begin_after(91, 50).await.is_err(), "something is in it");
    assert_eq!(log.read(91, 42).await.unwrap().next().await.unwrap().unwrap().position, 42);
}

#[tokio::test]
async fn memory_registry_conforms() {
    registry::conformance::check(&MemoryRegistry::new()).await.unwrap();
}

#[tokio::test]
async fn jetstream_registry_conforms() {
    let registry = JetStreamRegistry::open(nats().await, 1).await.unwrap();
    registry::conformance::check(&registry).await.unwrap();
}

async fn nats() -> async_nats::Client {
    let url = std::env::var("MADANG_TEST_NATS").expect("no nats-server: run make test");
    async_nats::connect(url).await.unwrap()
}
