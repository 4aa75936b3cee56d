//! All conversations' events on the real backends: two stores, of which the one that a consumer reads from dies while people
//! talk, so that its shards move; and another takes its place. The consumer sees everything exactly in its order.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_client::{Http, Session};
use madang_loadgen::people::{self, Person};
use madang_proto::{
    client::v1::{Delete, Send, client_frame::Body as Ask, event::Body},
    id::ClientId,
};
use madang_store::messages::{
    cassandra::{CassandraMessages, Options},
    feed::Feed,
};
use madang_tests::{
    cluster::{Cluster, Plan},
    consumer::{self, Consumer, Store},
};
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};
use tokio::sync::OnceCell;

const MESSAGES: usize = 400;

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_misses_nothing_while_stores_die_and_shards_move() {
    let mut cluster = Cluster::with(Plan { chats: 2, gateways: 1, stores: 2, ..Plan::default() }).await;
    let http = Http::new(&cluster.api).unwrap();
    let people = people::sign_up(&http, "stream", 6, 4, &indicatif::ProgressBar::hidden()).await.unwrap();
    let (tell, mut progress) = tokio::sync::watch::channel(0);
    let said = tokio::spawn(async move {
        let mut said = BTreeSet::new();
        for n in 0..MESSAGES {
            let (from, to) = (&people[n % 5], &people[n % 5 + 1]);
            let text = format!("message {n}");
            let body = json!({"user": to.tokens.user, "clientId": ClientId::now().to_string(), "text": text});
            let say = || {
                http.call::<serde_json::Value>(
                    "POST",
                    "/v1/messages",
                    Some(&from.tokens.access_token),
                    Some(body.clone()),
                    None,
                )
            };
            people::persist(say).await.unwrap();
            said.insert(text);
            tell.send_replace(n + 1);
        }
        said
    });
    let texts = |consumer: &Consumer| -> BTreeSet<String> {
        let text = |body: &Option<Body>| match body {
            Some(Body::Message(message)) => Some(message.text.clone()),
            _ => None,
        };
        consumer.events.iter().filter_map(|event| text(&event.body)).collect()
    };
    let stores: Vec<Store> = cluster.stores.iter().rev().map(|part| consumer::store(&part.grpc, None)).collect();
    let mut consumer = Consumer::default();
    let breaking = async {
        progress.wait_for(|said| *said >= 100).await.unwrap();
        // The consumer's store dies; the other has its shards then, and is alone with them.
        cluster.stores.pop().unwrap().kill();
        progress.wait_for(|said| *said >= 200).await.unwrap();
        cluster.more_store().await;
        progress.wait_for(|said| *said >= 300).await.unwrap();
        cluster.stores.pop().unwrap().stop().await;
    };
    tokio::join!(breaking, consumer.follow(&stores, |consumer| texts(consumer).len() == MESSAGES));
    assert!(consumer.again > 0, "its store died under it");
    assert_eq!(texts(&consumer), said.await.unwrap());
    // Who comes late gets the same from what is kept.
    let mut late = Consumer::default();
    late.follow(&stores[1..], |late| late.events.len() == consumer.events.len()).await;
    assert_eq!(late.newest, consumer.newest);
    cluster.stop().await;
}

/// Says something to somebody over a socket, whose rate is not limited; where that is.
async fn say(from: &Session, to: &Person, text: String) -> String {
    let send = Send { user: to.tokens.user.clone(), client_id: ClientId::now().to_string(), text, ..Send::default() };
    loop {
        match from.send(send.clone()).await {
            Ok(ack) => return ack.conversation,
            Err(refusal) if refusal.reason.retryable() => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(refusal) => panic!("{refusal:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_keeps_nothing_waiting() {
    let cluster = Cluster::start(1, 1).await;
    let http = Http::new(&cluster.api).unwrap();
    let people = people::sign_up(&http, "slow", 2, 2, &indicatif::ProgressBar::hidden()).await.unwrap();
    let [ann, bob] = &people[..] else { panic!() };
    let (conversation, session) = (OnceCell::new(), Session::start(cluster.options(0, ann), |_| ()));
    let say_all = async {
        for n in 0..consumer::MANY {
            let said = say(&session, bob, consumer::long(n)).await;
            conversation.get_or_init(async || said).await;
        }
    };
    let take_back = async |seq: u64| {
        let conversation = conversation.get().unwrap().clone();
        let delete = Delete { conversation, seq, client_id: ClientId::now().to_string() };
        session.ask(Ask::Delete(delete)).await.unwrap();
    };
    consumer::check_slow(&consumer::store(&cluster.stores[0].grpc, None), say_all, take_back).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_place_is_not_kept_any_more_is_told_so() {
    let cluster = Cluster::start(1, 1).await;
    let http = Http::new(&cluster.api).unwrap();
    let people = people::sign_up(&http, "aged", 2, 2, &indicatif::ProgressBar::hidden()).await.unwrap();
    let [ann, bob] = &people[..] else { panic!() };
    let store = consumer::store(&cluster.stores[0].grpc, None);
    let (node, keyspace) = cluster.cassandra.clone();
    let datacenter = "datacenter1".to_owned();
    let options = Options { nodes: vec![node], datacenter, keyspace, replicas: 1, credentials: None, tls: None };
    let messages = CassandraMessages::open(&options).await.unwrap();
    // What is let go of goes a thousand records at a time: of one shard that many are needed.
    let session = Session::start(cluster.options(0, ann), |_| ());
    let mut said = 0;
    while messages.cursors(8).await.unwrap().into_iter().max() < Some(1100) {
        say(&session, bob, format!("hello {said}")).await;
        said += 1;
    }
    let age = async {
        let mut gone = false;
        for shard in 0..8 {
            gone |= messages.forget(shard, i64::MAX).await.unwrap();
        }
        assert!(gone, "{said} messages, and no shard has a thousand records");
    };
    consumer::check_aged(&store, age).await;
    cluster.stop().await;
}
