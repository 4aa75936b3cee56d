//! `madang migrate`, on the real backends: what it makes, that it may run at any time, and what it refuses.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use async_nats::jetstream;
use clap::Parser;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use futures_util::StreamExt;
use madang_chat::inbox::{Inbox, jetstream::JetStreamInbox};
use madang_mesh::{
    data::DATA,
    log::{Log, jetstream::JetStreamLog},
    process::SHARDS,
    serve::free,
    shard::LAYOUT,
};
use madang_solo::migrate;
use madang_tests::{
    cluster::{database, forget},
    nats,
};
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tokio::process::Child;

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
    migrate_at(&variable("MADANG_TEST_NATS"), database, keyspace, shards, streams).await
}

/// On this NATS.
async fn migrate_at(nats: &str, database: &str, keyspace: &str, shards: u32, streams: &[&str]) -> Result<(), String> {
    let (cassandra, shards) = (variable("MADANG_TEST_CASSANDRA"), shards.to_string());
    let flags = [
        ["--nats", nats],
        ["--shards", &shards],
        ["--wait", "30"],
        ["--group-postgres", database],
        ["--account-postgres", database],
        ["--cassandra", &cassandra],
        ["--cassandra-keyspace", keyspace],
    ];
    let small =
        if streams.contains(&"--log-bytes") { &[][..] } else { &["--log-bytes", "1000000", "--lag-bytes", "500000"] };
    let flags = std::iter::once("").chain(flags.into_iter().flatten()).chain(small.iter().chain(streams).copied());
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
    let log = JetStreamLog::new(client.clone(), 1, 1_000_000);
    let mut shards = log.shards().await.unwrap();
    shards.sort_unstable();
    assert_eq!(shards, [0, 1, 2, 3]);
    let stream = nats.get_stream(format!("LOG_{LAYOUT}_03")).await.unwrap();
    assert_eq!(stream.cached_info().config.max_bytes, 1_000_000);
    let inbox = nats.get_stream(format!("INBOX_{LAYOUT}_03")).await.unwrap();
    let config = &inbox.cached_info().config;
    assert_eq!((config.storage, config.num_replicas), (jetstream::stream::StorageType::Memory, 1));
    // A home finds it as it would have made it.
    JetStreamInbox::new(client, 1, 256 << 20).create(3).await.unwrap();
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
    assert!(said.contains(&format!("INBOX_{LAYOUT}_00 and 8 more: 1 of the 3 replicas")), "{said}");
    assert!(said.contains("nats stream edit NAME --replicas 3") && said.contains("--nats-replicas 1"), "{said}");
    let said = migrate_on(&database, &name, 4, &["--nats-tags", "disk:nvme,zone:a"]).await.unwrap_err();
    assert!(said.contains(&format!("LOG_{LAYOUT}_00 and 3 more: placed by []")), "{said}");
    assert!(said.contains("[disk:nvme,zone:a]"), "{said}");
    // Smaller ones too: they would be full before what is asked for is there.
    let larger = ["--log-bytes", "3000000", "--lag-bytes", "1500000", "--inbox-bytes", "300000000"];
    let said = migrate_on(&database, &name, 4, &larger).await.unwrap_err();
    assert!(said.contains(&format!("LOG_{LAYOUT}_00 and 3 more: 1000000 of the 3000000 bytes")), "{said}");
    assert!(said.contains(&format!("INBOX_{LAYOUT}_00 and 3 more: 268435456 of the 300000000 bytes")), "{said}");
    assert!(said.contains("--log-bytes 1000000") && said.contains("--inbox-bytes 268435456"), "{said}");
    for shard in 0..4 {
        for (name, bytes) in [("LOG", 3_000_000), ("INBOX", 300_000_000)] {
            let mut stream = nats.get_stream(format!("{name}_{LAYOUT}_{shard:02}")).await.unwrap();
            let config = jetstream::stream::Config { max_bytes: bytes, ..stream.info().await.unwrap().config.clone() };
            nats.update_stream(config).await.unwrap();
        }
    }
    assert_eq!(migrate_on(&database, &name, 4, &larger).await, Ok(()), "edited as was said");
    assert_eq!(nats.get_stream(format!("LOG_{LAYOUT}_03")).await.unwrap().cached_info().state.messages, 1);
    assert_eq!(migrate(&database, &name, 4).await, Ok(()), "what is larger will do");
    let said = migrate_on(&database, &name, 4, &["--log-bytes", "3000000"]).await.unwrap_err();
    assert!(said.contains("--lag-bytes 268435456 is above half of --log-bytes, 1500000"), "{said}");
    for shard in 0..4 {
        nats.delete_stream(format!("LOG_{LAYOUT}_{shard:02}")).await.unwrap();
        nats.delete_stream(format!("INBOX_{LAYOUT}_{shard:02}")).await.unwrap();
    }
    let said = migrate_on(&database, &name, 4, &three).await.unwrap_err();
    assert!(said.contains("- KV_madang: 1 of the 3 replicas"), "the bucket alone: {said}");
    assert!(log.shards().await.unwrap().is_empty(), "nothing was made by what was refused");
}

/// A nats-server with so much room; gives it and its address.
async fn nats_server(folder: &Path, files: &str, memory: &str) -> (Child, String) {
    let at = free().unwrap();
    (nats::start(at, folder, files, memory).await, at.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_without_room_is_told_at_once_with_what_it_needs_and_nothing_is_left_of_the_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, nats) = nats_server(folder.path(), "10GB", "1GB").await;
    let (name, database) = database().await;
    let client = async_nats::connect(&nats).await.unwrap();
    let there = jetstream::new(client.clone());
    let log = JetStreamLog::new(client.clone(), 1, 2 << 30);
    let bucket = async || there.get_key_value("madang").await.unwrap().get(SHARDS).await.unwrap();

    // Logs take the disk.
    let large = ["--log-bytes", "2147483648"];
    let said = migrate_at(&nats, &database, &name, 8, &large).await.unwrap_err();
    for part in [
        &format!("NATS has no room for LOG_{LAYOUT}_05: each server with a copy of it sets 2 GiB of disk aside"),
        "Raise max_file_store",
        "8 shards need 16 GiB of disk (max_file_store) and 2 GiB of memory (max_memory_store)",
        "fewer --shards",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!((log.shards().await.unwrap(), bucket().await), (vec![], None), "nothing is left");

    // Inboxes take memory.
    let said = migrate_at(&nats, &database, &name, 8, &[]).await.unwrap_err();
    for part in [
        &format!("no room for INBOX_{LAYOUT}_04: each server with a copy of it sets 256 MiB of memory aside"),
        "Raise max_memory_store",
        "8 shards need 8 MiB of disk (max_file_store) and 2 GiB of memory (max_memory_store)",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!((log.shards().await.unwrap(), bucket().await), (vec![], None), "nothing is left");

    // With what was said it goes well.
    assert_eq!(migrate_at(&nats, &database, &name, 4, &large).await, Ok(()));
    assert_eq!(log.shards().await.unwrap().len(), 4);
    assert_eq!(bucket().await.unwrap(), "4");

    // What was there before stays, whatever fails later; and homes say the same.
    for shard in 0..4 {
        there.delete_stream(format!("INBOX_{LAYOUT}_{shard:02}")).await.unwrap();
    }
    let other = JetStreamInbox::new(client.clone(), 1, 256 << 20);
    for shard in 10..14 {
        other.create(shard).await.unwrap();
    }
    let said = migrate_at(&nats, &database, &name, 4, &large).await.unwrap_err();
    assert!(said.contains(&format!("no room for INBOX_{LAYOUT}_00")) && !said.contains("--shards"), "{said}");
    assert_eq!((log.shards().await.unwrap().len(), bucket().await.unwrap()), (4, "4".into()));
    let said = other.create(14).await.unwrap_err().to_string();
    assert!(said.contains(&format!("no room for INBOX_{LAYOUT}_14")) && said.contains("max_memory_store"), "{said}");
    log.create(4).await.unwrap();
    let said = log.create(5).await.unwrap_err().to_string();
    assert!(said.contains(&format!("no room for LOG_{LAYOUT}_05")) && said.contains("max_file_store"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_several_clusters_is_refused_and_what_was_lost_or_is_older_is_taken_in() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (_one, nats) = nats_server(folders[0].path(), "10GB", "1GB").await;
    let (_other, other_nats) = nats_server(folders[1].path(), "10GB", "1GB").await;
    let (_new, new_nats) = nats_server(folders[2].path(), "10GB", "1GB").await;
    let ((name, postgres), (other, other_postgres)) = (database().await, database().await);
    let word = async |nats: &str| {
        let there = jetstream::new(async_nats::connect(nats).await.unwrap());
        let word = there.get_key_value("madang").await.unwrap().get(DATA).await.unwrap();
        word.map(|word| String::from_utf8(word.to_vec()).unwrap())
    };
    let run = async |database: &str, statement: &str| {
        AsyncPgConnection::establish(database).await.unwrap().batch_execute(statement).await
    };
    assert_eq!(migrate_at(&nats, &postgres, &name, 2, &[]).await, Ok(()));
    let first = word(&nats).await.unwrap();
    assert_eq!(migrate_at(&nats, &postgres, &name, 2, &[]).await, Ok(()));
    assert_eq!(word(&nats).await, Some(first.clone()), "it stays");

    // Another cluster's, new or not, on this NATS, once somebody was home here.
    let there = jetstream::new(async_nats::connect(&nats).await.unwrap());
    there.publish(format!("log.{LAYOUT}.1"), "marker".into()).await.unwrap().await.unwrap();
    let said = migrate_at(&nats, &other_postgres, &other, 2, &[]).await.unwrap_err();
    assert!(
        said.contains("was written, but Postgres (--group-postgres) is empty") && said.contains("--adopt"),
        "{said}"
    );
    assert!(run(&other_postgres, "SELECT * FROM conversation").await.is_err(), "nothing was made");
    let said = migrate_at(&nats, &postgres, &other, 2, &[]).await.unwrap_err();
    assert!(said.contains("was written, but Cassandra (--cassandra) is empty"), "{said}");
    assert_eq!(migrate_at(&other_nats, &other_postgres, &other, 2, &[]).await, Ok(()));
    let second = word(&other_nats).await.unwrap();
    assert_ne!(first, second);
    for (nats, postgres, keyspace, said_of) in [
        (&nats, &other_postgres, &other, ["NATS (--nats)", "Cassandra (--cassandra)"]),
        (&nats, &other_postgres, &name, ["Cassandra (--cassandra)", "Postgres (--account-postgres)"]),
        (&nats, &postgres, &other, ["Postgres (--group-postgres)", "Cassandra (--cassandra)"]),
        // Nor where NATS is new.
        (&new_nats, &postgres, &other, ["Postgres (--group-postgres)", "Cassandra (--cassandra)"]),
    ] {
        for more in [&[][..], &["--adopt"]] {
            let said = migrate_at(nats, postgres, keyspace, 2, more).await.unwrap_err();
            for (what, word) in said_of.iter().zip([&first, &second]) {
                assert!(said.contains(&format!("- {what}: {word}")), "{said}");
            }
        }
    }
    assert_eq!((word(&nats).await, word(&new_nats).await), (Some(first.clone()), None), "nothing was changed");

    // NATS is lost.
    assert_eq!(migrate_at(&new_nats, &postgres, &name, 2, &[]).await, Ok(()));
    assert_eq!(word(&new_nats).await, Some(first.clone()));
    // A back-up from before the word was kept; an older cluster.
    run(&postgres, "DELETE FROM group_data; DROP TABLE account_data").await.unwrap();
    run(&postgres, "DELETE FROM __diesel_schema_migrations WHERE version LIKE '%000054'").await.unwrap();
    assert_eq!(migrate_at(&nats, &postgres, &name, 2, &[]).await, Ok(()));
    let same = |table| format!("DO $$ BEGIN ASSERT (SELECT id FROM {table}) = '{first}'; END $$");
    run(&postgres, &same("group_data")).await.unwrap();
    run(&postgres, &same("account_data")).await.unwrap();
    // A database that is to be filled from a back-up.
    let (_, empty) = database().await;
    assert!(migrate_at(&nats, &empty, &name, 2, &[]).await.is_err());
    assert_eq!(migrate_at(&nats, &empty, &name, 2, &["--adopt"]).await, Ok(()));
    run(&empty, &same("group_data")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_is_told_so_at_once_and_streams_are_listed_before_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let at = free().unwrap();
    let _server = nats::guarded(at, folder.path(), ("ann", "correct/horse@1")).await;
    let (name, postgres) = database().await;
    let [wrong, right] = ["wrong-horse", "correct%2Fhorse%401"].map(|password| format!("nats://ann:{password}@{at}"));
    let (stranger, begun) = (postgres.replace("://app@", "://nobody@"), Instant::now());
    assert_ne!(stranger, postgres);
    let said = migrate_at(&wrong, &postgres, &name, 2, &[]).await.unwrap_err();
    assert!(said.contains("NATS does not let the user of --nats in") && said.contains("check user"), "{said}");
    assert!(!said.contains("horse"), "{said}");
    let said = migrate_at(&right, &stranger, &name, 2, &[]).await.unwrap_err();
    assert!(said.contains("Postgres (--group-postgres): it does not let the user of its address in: "), "{said}");
    assert!(said.contains("nobody") && said.contains("check user and password"), "{said}");
    // What is not there yet is tried for 30 s.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());

    let login = async_nats::ConnectOptions::with_user_and_password("ann".into(), "correct/horse@1".into());
    let client = login.connect(at.to_string()).await.unwrap();
    let mut asked = client.subscribe("$JS.API.STREAM.*").await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(migrate_at(&right, &postgres, &name, 2, &[]).await, Ok(()));
    client.flush().await.unwrap();
    asked.unsubscribe().await.unwrap();
    let mut listed = Vec::new();
    while let Some(request) = asked.next().await {
        listed.push(request.subject.to_string());
    }
    assert_eq!(listed, ["$JS.API.STREAM.LIST"; 2]);
}
