//! `madang migrate`, on the real backends: what it makes, that it may run at any time, and what it refuses.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use async_nats::jetstream;
use clap::Parser;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use madang_mesh::{log::jetstream::JetStreamLog, shard::LAYOUT};
use madang_solo::migrate;
use madang_tests::cluster::forget;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: migrate::Args,
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests with `make test`"))
}

async fn migrate(database: &str, keyspace: &str, shards: u32) -> Result<(), String> {
    migrate_on(database, keyspace, shards, &["--nats-replicas", "1"]).await
}

/// With further flags: how the streams are to be made.
async fn migrate_on(database: &str, keyspace: &str, shards: u32, streams: &[&str]) -> Result<(), String> {
    let (nats, cassandra, shards) =
        (variable("MADANG_TEST_NATS"), variable("MADANG_TEST_CASSANDRA"), shards.to_string());
    let flags = [
        ["--nats", &nats],
        ["--shards", &shards],
        ["--log-bytes", "1000000"],
        ["--wait", "30"],
        ["--group-postgres", database],
        ["--account-postgres", database],
        ["--cassandra", &cassandra],
        ["--cassandra-keyspace", keyspace],
    ];
    let flags = std::iter::once("").chain(flags.into_iter().flatten()).chain(streams.iter().copied());
    migrate::run(Cli::parse_from(flags).args).await.map_err(|error| format!("{error:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_makes_what_is_missing_at_any_time_and_refuses_another_number_of_shards() {
    let name = format!("m{}", uuid::Uuid::new_v4().simple());
    let server = variable("MADANG_TEST_POSTGRES");
    AsyncPgConnection::establish(&server)
        .await
        .unwrap()
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .await
        .unwrap();
    let database = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
    let client = async_nats::connect(variable("MADANG_TEST_NATS")).await.unwrap();
    let nats = jetstream::new(client.clone());
    // What another test left under the fixed names is not its concern.
    forget(&variable("MADANG_TEST_NATS")).await;

    let (one, other) = tokio::join!(migrate(&database, &name, 4), migrate(&database, &name, 4));
    assert_eq!((one, other), (Ok(()), Ok(())), "two at once");
    let log = JetStreamLog::new(client, 1, 1_000_000);
    let mut shards = log.shards().await.unwrap();
    shards.sort_unstable();
    assert_eq!(shards, [0, 1, 2, 3]);
    let stream = nats.get_stream(format!("LOG_{LAYOUT}_03")).await.unwrap();
    assert_eq!(stream.cached_info().config.max_bytes, 1_000_000);
    let mut connection = AsyncPgConnection::establish(&database).await.unwrap();
    connection.batch_execute("SELECT * FROM account; SELECT * FROM conversation").await.unwrap();

    // What is there stays as it is.
    nats.publish(format!("log.{LAYOUT}.3"), "kept".into()).await.unwrap().await.unwrap();
    assert_eq!(migrate(&database, &name, 4).await, Ok(()));
    assert_eq!(nats.get_stream(format!("LOG_{LAYOUT}_03")).await.unwrap().cached_info().state.messages, 1);

    for wrong in [3, 5] {
        let said = migrate(&database, &name, wrong).await.unwrap_err();
        assert!(said.contains("laid out for 4 shards") && said.contains("--shards 4"), "{said}");
    }
    // Data from before the number was kept has it in its streams.
    nats.get_key_value("madang").await.unwrap().purge("layout.shards").await.unwrap();
    assert!(migrate(&database, &name, 5).await.is_err());
    assert_eq!(migrate(&database, &name, 4).await, Ok(()));
    assert_eq!(log.shards().await.unwrap().len(), 4, "nothing was made by what was refused");

    // Streams that are there have the replicas and the servers that they were made with, and that is said.
    let three = ["--nats-replicas", "3"];
    let said = migrate_on(&database, &name, 4, &three).await.unwrap_err();
    assert!(said.contains("KV_madang and 4 more: 1 of the 3 replicas"), "{said}");
    assert!(said.contains("nats stream edit NAME --replicas 3") && said.contains("--nats-replicas 1"), "{said}");
    let said = migrate_on(&database, &name, 4, &["--nats-tags", "disk:nvme,zone:a"]).await.unwrap_err();
    assert!(said.contains(&format!("LOG_{LAYOUT}_00 and 3 more: placed by []")), "{said}");
    assert!(said.contains("[disk:nvme,zone:a]"), "{said}");
    for shard in 0..4 {
        nats.delete_stream(format!("LOG_{LAYOUT}_{shard:02}")).await.unwrap();
    }
    let said = migrate_on(&database, &name, 4, &three).await.unwrap_err();
    assert!(said.contains("- KV_madang: 1 of the 3 replicas"), "the bucket alone: {said}");
    assert!(log.shards().await.unwrap().is_empty(), "nothing was made by what was refused");
}
