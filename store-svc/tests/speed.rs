//! What store-svc adds to what its driver costs, and that a page of a long conversation costs the same everywhere. Not part
//! of the usual run, since they take minutes: docs/benchmarks.md has the commands and what they gave.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)] // a test: a panic is its failure

use bytes::Bytes;
use cdrs_tokio::{
    cluster::{
        NodeTcpConfigBuilder,
        session::{SessionBuilder, TcpSessionBuilder},
    },
    compression::Compression,
    consistency::Consistency,
    frame::{Version, message_batch::BatchType},
    load_balancing::RoundRobinLoadBalancingStrategy,
    query::{BatchQueryBuilder, QueryBatch},
    query_values,
    types::blob::Blob,
};
use futures_util::{StreamExt, stream};
use madang_mesh::{log::Entry, shard::Shard, subscription::Handler};
use madang_proto::{
    client::v1::{Content, Message},
    id::{ClientId, ConversationId, UserId},
    log::v1::{LoggedEvent, Record, logged_event::Body},
};
use madang_store::{
    messages::{
        Messages,
        cassandra::{CassandraMessages, Options},
    },
    projection::Projection,
};
use prost::Message as _;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

fn options() -> Options {
    let node = std::env::var("MADANG_TEST_CASSANDRA").expect("no Cassandra: run this with tests/backends/run.py");
    Options {
        nodes: vec![node],
        datacenter: "datacenter1".into(),
        keyspace: format!("t{}", uuid::Uuid::new_v4().simple()),
        replicas: 1,
        credentials: None,
        tls: None,
    }
}

fn bytes(id: &[u8; 16]) -> Bytes {
    Bytes::copy_from_slice(id)
}

/// A record of the log: so many messages of 100 bytes each of a conversation, from one on.
fn record(conversation: ConversationId, first: u64, count: u64) -> Bytes {
    let sender = UserId::new();
    let event = |seq: u64| LoggedEvent {
        conversation: bytes(conversation.bytes()),
        revision: seq,
        at_micros: 1_700_000_000_000_000 + i64::try_from(seq).unwrap(),
        last_seq: seq,
        actor: bytes(sender.bytes()),
        client_id: bytes(ClientId::now().bytes()),
        request_hash: seq,
        body: Some(Body::Message(Content {
            text: "가나다 ".repeat(10), r#type: "text".into(), ..Default::default()
        })),
        ..LoggedEvent::default()
    };
    let events = (first..first + count).map(event).collect();
    Record { format: 1, events, ..Default::default() }.encode_to_vec().into()
}

fn entries(conversation: ConversationId, records: u64, each: u64) -> Vec<Entry> {
    let entry = |n: u64| Entry { position: n + 1, at_micros: 1, payload: record(conversation, n * each + 1, each) };
    (0..records).map(entry).collect()
}

/// How many shards are written at once.
const SHARDS: u32 = 8;

/// The rows of a shard's records through store-svc's reader of the log: it decodes them, writes messages, heads, what is
/// kept of the log, and the cursor.
async fn through(projection: &Projection, shard: Shard, log: &[Entry]) {
    for batch in log.chunks(64) {
        while let Err(error) = projection.handle(shard, batch).await {
            println!("again, since {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn rows_through_store_svc_against_the_driver_alone() {
    let options = options();
    let store = Arc::new(CassandraMessages::open(&options).await.unwrap());
    let node = NodeTcpConfigBuilder::new()
        .with_contact_point(options.nodes[0].as_str().into())
        .with_version(Version::V5)
        .build()
        .await
        .unwrap();
    let session = TcpSessionBuilder::new(RoundRobinLoadBalancingStrategy::new(), node)
        .with_compression(Compression::Lz4)
        .build()
        .await
        .unwrap();
    let insert = format!(
        "INSERT INTO \"{}\".message (conversation, bucket, seq, at_micros, used, body) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?",
        options.keyspace
    );
    let insert = session.prepare(insert).await.unwrap();
    let keep = format!(
        "INSERT INTO \"{}\".feed (shard, bucket, position, at_micros, events) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?",
        options.keyspace
    );
    let keep = session.prepare(keep).await.unwrap();
    // Batches as a busy log has them: 64 records of some 40 events.
    let (records, each) = (256, 40);
    let rows = f64::from(SHARDS) * f64::from(u32::try_from(records * each).unwrap());
    let mut ratios = Vec::new();
    for round in 0..7 {
        let logs: Vec<_> = (0..SHARDS).map(|_| entries(ConversationId::new(), records, each)).collect();
        let projection = Projection::new(store.clone());
        let begin = Instant::now();
        let writes = (0..SHARDS).zip(&logs).map(|(shard, log)| through(&projection, shard, log));
        futures_util::future::join_all(writes).await;
        let ours = rows / begin.elapsed().as_secs_f64();
        // The very rows of messages, and of what is kept of the log, in batches as large, by the driver alone; encoded beforehand.
        let kept: Vec<Vec<_>> = (100_000 * (round + 1)..)
            .zip(&logs)
            .map(|(shard, log)| {
                let row = |entry: &Entry| {
                    let events = Blob::from(entry.payload.to_vec());
                    query_values!(shard, 0, i64::try_from(entry.position).unwrap(), 1_i64, events, 1_i64)
                };
                log.iter().map(row).collect()
            })
            .collect();
        let bare: Vec<Vec<_>> = logs
            .iter()
            .map(|log| {
                let events = log.iter().flat_map(|entry| Record::decode(entry.payload.clone()).unwrap().events);
                let (id, rows): (_, Vec<_>) = (ConversationId::new(), events.collect());
                let rows = rows.into_iter().map(move |event| {
                    let seq = i64::try_from(event.last_seq).unwrap();
                    let Some(Body::Message(content)) = &event.body else { unreachable!() };
                    let message = Message {
                        seq: event.last_seq,
                        text: content.text.clone(),
                        sender: UserId::new().to_string(),
                        client_id: ClientId::now().to_string(),
                        r#type: "text".into(),
                        at: 1_700_000_000_000,
                        ..Default::default()
                    };
                    let used = vec![7_u8; 60];
                    query_values!(
                        Blob::from(id.bytes().to_vec()),
                        0,
                        seq,
                        event.at_micros,
                        Blob::from(used),
                        Blob::from(message.encode_to_vec()),
                        event.at_micros
                    )
                });
                rows.collect()
            })
            .collect();
        let begin = Instant::now();
        // As many rows of each as go into one batch of store-svc's.
        let messages = bare.into_iter().map(|rows| (&insert, 64, rows));
        let records = kept.into_iter().map(|rows| (&keep, 4, rows));
        let writes = messages.chain(records).map(async |(insert, each, rows): (_, usize, Vec<_>)| {
            let batches = rows.chunks(each).map(|some| {
                let batch = BatchQueryBuilder::new()
                    .with_batch_type(BatchType::Unlogged)
                    .with_consistency(Consistency::LocalQuorum);
                some.iter().cloned().fold(batch, |batch, row| batch.add_query_prepared(insert, row)).build().unwrap()
            });
            let batches: Vec<_> = batches.collect();
            // As many at once as store-svc has of a shard; a node that is overrun is asked again, as it is there.
            let write = async |batch: QueryBatch| {
                while let Err(error) = session.batch(batch.clone()).await {
                    println!("again, since {error}");
                }
            };
            stream::iter(batches).map(write).buffer_unordered(32).collect::<Vec<_>>().await;
        });
        futures_util::future::join_all(writes).await;
        let alone = rows / begin.elapsed().as_secs_f64();
        println!(
            "round {round}: {ours:.0} rows/s through store-svc, {alone:.0} by the driver alone: {:.0} %",
            100.0 * ours / alone
        );
        // The first warms up.
        if round > 0 {
            ratios.push(ours / alone);
        }
    }
    ratios.sort_by(f64::total_cmp);
    println!("median {:.0} %", 100.0 * ratios[ratios.len() / 2]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn pages_at_the_end_in_the_middle_and_at_the_start() {
    let store = CassandraMessages::open(&options()).await.unwrap();
    let store = Arc::new(store);
    let (id, messages) = (ConversationId::new(), 1_000_000_u64);
    let projection = Projection::new(store.clone());
    let mut position = 0;
    for first in (1..=messages).step_by(10_000) {
        let records = (0..100).map(|n| {
            position += 1;
            Entry { position, at_micros: 1, payload: record(id, first + n * 100, 100) }
        });
        through(&projection, 0, &records.collect::<Vec<_>>()).await;
    }
    assert_eq!(store.head(id).await.unwrap().revision, messages);
    let mut took: [Vec<Duration>; 3] = Default::default();
    for n in 0..1500_u64 {
        // Not the same page each time: what is read stands within 10,000 of each place.
        let off = n * 7919 % 10_000;
        for (place, high) in [messages - off, messages / 2 + 5_000 - off, 10_050 - off].into_iter().enumerate() {
            let begin = Instant::now();
            let page = store.page(id, 1, high, 50, true).await.unwrap();
            took[place].push(begin.elapsed());
            assert_eq!((page.len(), page.last().map(|last| last.seq)), (50, Some(high)));
        }
    }
    for (place, mut took) in ["end", "middle", "start"].into_iter().zip(took) {
        took.sort_unstable();
        let at = |percent: usize| took[took.len() * percent / 100].as_secs_f64() * 1000.0;
        println!("a page of 50 at the {place} of {messages}: p50 {:.1} ms, p99 {:.1} ms", at(50), at(99));
    }
}
