//! Both adapters of each port do what it promises.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // a test: a panic is its failure

use madang_mesh::{
    log::{Log, conformance, jetstream::JetStreamLog, sqlite::SqliteLog},
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
