//! Both stores of subscriptions pass the same checks.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // a test: a panic is its failure

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use madang_mesh::secret::Secret;
use madang_notify::store::{conformance::check, postgres::PostgresSubscriptions, sqlite::SqliteSubscriptions};

#[tokio::test]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    check(&SqliteSubscriptions::open(folder.path()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    let server = std::env::var("MADANG_TEST_POSTGRES").expect("no Postgres: run the tests with `make test`");
    let name = format!("t{}", uuid::Uuid::new_v4().simple());
    let mut connection = AsyncPgConnection::establish(&server).await.unwrap();
    connection.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    let url: Secret = format!("{}/{name}", server.rsplit_once('/').unwrap().0).parse().unwrap();
    // Two replicas start at once: one of them migrates.
    let (one, other) = tokio::join!(PostgresSubscriptions::open(&url), PostgresSubscriptions::open(&url));
    check(&one.unwrap()).await;
    assert!(other.is_ok());
}
