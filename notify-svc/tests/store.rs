//! Both stores of subscriptions pass the same checks.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // a test: a panic is its failure

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use madang_mesh::secret::Secret;
use madang_notify::store::{
    Subscriptions as _, conformance::check, postgres::PostgresSubscriptions, sqlite::SqliteSubscriptions,
};

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

#[tokio::test]
async fn a_file_of_an_earlier_version_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let file = rusqlite::Connection::open(folder.path().join("push.db")).unwrap();
    let late = "CREATE TABLE late (user BLOB NOT NULL, device BLOB NOT NULL, conversation BLOB NOT NULL,
                shard INTEGER NOT NULL, due_at INTEGER NOT NULL, push BLOB NOT NULL,
                PRIMARY KEY (user, device, conversation)) WITHOUT ROWID;
                INSERT INTO late VALUES (zeroblob(16), zeroblob(16), zeroblob(16), 9, 1, x'00')";
    file.execute_batch(late).unwrap();
    drop(file);
    let store = SqliteSubscriptions::open(folder.path()).unwrap();
    let kept = store.due(9, 1, 10, Vec::new()).await.unwrap();
    assert_eq!(kept.iter().map(|late| late.seq).collect::<Vec<_>>(), [0], "it stays");
    check(&store).await;
}
