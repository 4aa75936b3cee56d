//! Both stores of messages pass the same checks.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // a test: a panic is its failure

use madang_store::messages::{
    cassandra::{CassandraMessages, Options},
    conformance::{amended, check, check_changes, check_holes, check_replicas, feed},
    sqlite::SqliteMessages,
};

#[tokio::test]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteMessages::open(folder.path()).unwrap();
    check(&store).await;
    check_changes(&store).await;
    check_holes(&store).await;
    amended::check(&store).await;
    feed::check(&store).await;
    check_replicas(&store, &SqliteMessages::open(folder.path()).unwrap()).await;
}

#[tokio::test]
async fn cassandra() {
    let node = std::env::var("MADANG_TEST_CASSANDRA").expect("no Cassandra: run the tests with `make test`");
    let options = Options {
        nodes: vec![node],
        datacenter: "datacenter1".into(),
        keyspace: format!("t{}", uuid::Uuid::new_v4().simple()),
        replicas: 1,
        credentials: None,
        tls: None,
    };
    let store = CassandraMessages::open(&options).await.unwrap();
    check(&store).await;
    check_changes(&store).await;
    check_holes(&store).await;
    amended::check(&store).await;
    feed::check(&store).await;
    // Another process on the same keyspace finds what is there.
    let other = CassandraMessages::open(&options).await.unwrap();
    assert_eq!(madang_store::messages::Messages::cursor(&other, 0).await.unwrap(), 18);
    check_replicas(&store, &other).await;
}
