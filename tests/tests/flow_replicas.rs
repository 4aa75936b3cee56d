//! Streams that were made with one replica are given three while everybody talks, as docs/operations.md says; then the
//! server that had them is killed.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use async_nats::jetstream::{self, stream::Config};
use futures_util::{StreamExt as _, TryStreamExt as _};
use madang_client::{Http, Session, Update};
use madang_loadgen::{
    archive,
    people::{self, Person},
};
use madang_mesh::log::{self, Log as _, jetstream::JetStreamLog};
use madang_tests::{
    PATIENCE,
    cluster::{Cluster, Plan},
    nats,
    talk::{Notes, all_talk, groups, verdict},
    until,
};
use std::time::Duration;
use tokio::time::timeout;

const GROUPS: usize = 4;
const MEMBERS: usize = 3;
const SENDS: usize = 100;
const MESSAGES: u64 = (GROUPS * MEMBERS * SENDS) as u64;

fn connect(cluster: &Cluster, number: usize, person: &Person, notes: Notes) -> Session {
    let device = notes.journal.lock().unwrap().device(&person.tokens.user);
    Session::start(cluster.options(number, person), move |update| match update {
        Update::Event(event) => notes.saw(device, &event),
        Update::Ended(why) => panic!("a session ended: {why}"),
        _ => {}
    })
}

/// The server that leads most of the logs.
async fn leader(context: &jetstream::Context) -> String {
    let streams: Vec<_> = context.streams().try_collect().await.unwrap();
    let logs = streams.iter().filter(|stream| stream.config.name.starts_with("LOG_"));
    let leaders: Vec<String> = logs.filter_map(|stream| stream.cluster.as_ref()?.leader.clone()).collect();
    let count = |name: &String| leaders.iter().filter(|other| *other == name).count();
    leaders.iter().max_by_key(|name| count(name)).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_a_log_hears_within_seconds_that_its_server_died() {
    let folder = tempfile::tempdir().unwrap();
    let mut servers = nats::three(folder.path()).await;
    let addresses: Vec<String> = servers.values().map(|(_, at)| at.to_string()).collect();
    let client = async_nats::connect(addresses).await.unwrap();
    let context = jetstream::new(client.clone());
    let log = JetStreamLog::new(client, 3, 1 << 20);
    // A conflict: the one before, of which nothing was heard, was taken.
    let append = async |payload: &'static str, expected| match log.append(0, payload.into(), Some(expected)).await {
        Ok(_) | Err(log::Error::Conflict { .. }) => Some(()),
        Err(_) => None,
    };
    until("the log is there", async || log.create(0).await.ok()).await;
    until("something is in it", async || append("one", 0).await).await;
    let mut entries = until("it is read", async || log.read(0, 1).await.ok()).await;
    assert_eq!(entries.next().await.unwrap().unwrap().position, 1);
    let streams: Vec<_> = context.streams().try_collect().await.unwrap();
    let stream = context.get_stream(&streams[0].config.name).await.unwrap();
    let readers: Vec<_> = stream.consumers().try_collect().await.unwrap();
    servers.remove(readers[0].cluster.as_ref().unwrap().leader.as_ref().unwrap()).unwrap();
    // The client library's own reader is silent for a minute.
    let end = timeout(Duration::from_secs(20), entries.next()).await.expect("it does not hear of it");
    assert!(matches!(end, Some(Err(log::Error::Unavailable(_)))), "{end:?}");
    until("it is appended to", async || append("two", 1).await).await;
    let mut entries = until("it is read again", async || log.read(0, 2).await.ok()).await;
    assert_eq!(entries.next().await.unwrap().unwrap().position, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_becomes_three_while_everybody_talks_and_then_a_server_may_die() {
    let folder = tempfile::tempdir().unwrap();
    let mut servers = nats::three(folder.path()).await;
    let addresses: Vec<String> = servers.values().map(|(_, at)| at.to_string()).collect();
    let client = async_nats::connect(addresses.clone()).await.unwrap();
    let context = jetstream::new(client);
    until("the servers are a cluster", async || context.query_account().await.ok()).await;
    let cluster = Cluster::with(Plan { nats: Some(addresses.join(",")), chats: 2, ..Plan::default() }).await;
    let http = Http::new(&cluster.api).unwrap();
    let hidden = indicatif::ProgressBar::hidden();
    let everybody = people::sign_up(&http, "replicas", GROUPS * MEMBERS, 4, &hidden).await.unwrap();
    let notes = Notes::new();
    let sessions: Vec<Session> =
        everybody.iter().enumerate().map(|(n, person)| connect(&cluster, n, person, notes.clone())).collect();
    let groups = groups(&http, &everybody, MEMBERS).await;
    let mut talking = all_talk(&sessions, &everybody, &groups, SENDS, &notes);
    timeout(PATIENCE, notes.wait(MESSAGES / 10, 0)).await.unwrap();

    let streams: Vec<_> = context.streams().try_collect().await.unwrap();
    assert!(streams.iter().all(|stream| stream.config.num_replicas == 1) && streams.len() >= 17, "{streams:?}");
    for stream in streams {
        context.update_stream(Config { num_replicas: 3, ..stream.config }).await.unwrap();
    }
    until("all copies are there", async || {
        let streams: Vec<_> = context.streams().try_collect().await.ok()?;
        let whole = |stream: &jetstream::stream::Info| {
            stream
                .cluster
                .as_ref()
                .is_some_and(|all| all.replicas.len() == 2 && all.replicas.iter().all(|one| one.current))
        };
        streams.iter().all(whole).then_some(())
    })
    .await;
    let said = notes.done.borrow().0;
    assert!(said < MESSAGES, "nobody talks any more: more has to be said");
    servers.remove(&leader(&context).await).unwrap();
    while let Some(done) = timeout(PATIENCE, talking.join_next()).await.unwrap() {
        done.unwrap();
    }
    let complete = timeout(PATIENCE, notes.wait(MESSAGES, MESSAGES * MEMBERS as u64)).await.is_ok();
    until("history has all of it", async || {
        let mut found = 0;
        for (n, group) in groups.iter().enumerate() {
            let token = || everybody[n * MEMBERS].tokens.access_token.clone();
            found += archive::read(&http, token, group, true).await.ok()?.messages.len() as u64;
        }
        (found >= MESSAGES).then_some(())
    })
    .await;
    let verdict = verdict(&cluster, &everybody, &groups, &notes).await;
    drop(sessions);
    assert!(verdict.good(), "{verdict}");
    assert_eq!((verdict.counts.acked, verdict.counts.messages, complete), (MESSAGES, MESSAGES, true));
    cluster.stop().await;
}
