//! Both adapters of the log do what the port promises.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // a test: a panic is its failure

use madang_mesh::log::{Log, conformance, jetstream::JetStreamLog, sqlite::SqliteLog};

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
    let url = std::env::var("MADANG_TEST_NATS").expect("no nats-server: run make test");
    let client = async_nats::connect(url).await.unwrap();
    conformance::check(&JetStreamLog::new(client, 1, 1 << 26)).await.unwrap();
}
