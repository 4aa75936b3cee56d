//! A record of a format that this version does not know, as a later version would write it: whoever reads it stops there and
//! says so, and nothing of it is taken for read. Other shards go on.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use clap::Parser;
use madang_client::{Http, http};
use madang_loadgen::people::{self, Person};
use madang_mesh::{
    channel::Channels,
    log::{Log as _, jetstream::JetStreamLog},
    shard::{Shard, shard_of},
};
use madang_proto::{
    group::v1::{GetCursorRequest, group_service_client::GroupServiceClient},
    id::{ClientId, ConversationId},
    log::v1::Record,
    record::{NEWEST, USUAL},
    store::v1::{self as store, store_service_client::StoreServiceClient},
};
use madang_tests::{
    cluster::{Cluster, Plan},
    log::Log,
    until,
};
use prost::Message as _;
use serde_json::{Value, json};

const SHARDS: u32 = 8;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    config: madang_chat::Config,
}

#[test]
fn a_format_that_this_version_can_not_write_is_refused_by_name() {
    assert_eq!(Cli::parse_from([""]).config.log_format, USUAL);
    let later = (NEWEST + 1).to_string();
    let Err(refused) = Cli::try_parse_from(["", "--log-format", &later]) else { panic!("it was taken") };
    let refused = refused.to_string();
    assert!(refused.contains("--log-format") && refused.contains("this version writes records of format"), "{refused}");
}

async fn say(http: &Http, from: &Person, to: &Person) -> Result<Value, http::Error> {
    let body = json!({"user": to.tokens.user, "clientId": ClientId::now().to_string(), "text": "hello"});
    http.call("POST", "/v1/messages", Some(&from.tokens.access_token), Some(body), None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_a_later_version_stops_who_reads_it_and_no_other_shard_on_the_real_backends() {
    let said = Log::keep("info".into());
    let chat = vec!["--log-format".to_owned(), USUAL.to_string()];
    let cluster = Cluster::with(Plan { chat, ..Plan::default() }).await;
    let http = Http::new(&cluster.api).unwrap();
    let people = people::sign_up(&http, "format", 24, 4, &indicatif::ProgressBar::hidden()).await.unwrap();
    let mut shards: Vec<(Shard, &Person)> = Vec::new();
    for other in &people[1..] {
        let ack = people::persist(|| say(&http, &people[0], other)).await.unwrap();
        let conversation: ConversationId = ack["conversation"].as_str().unwrap().parse().unwrap();
        shards.push((shard_of(conversation.bytes(), SHARDS), other));
    }
    let (shard, peer) = shards[0];
    let (_, elsewhere) = *shards.iter().find(|(other, _)| *other != shard).unwrap();

    let nats = async_nats::connect(std::env::var("MADANG_TEST_NATS").unwrap()).await.unwrap();
    let log = JetStreamLog::new(nats, 1, -1);
    let later = Record { format: NEWEST + 1, process: "later".into(), ..Record::default() };
    let position = log.append(shard, later.encode_to_vec().into(), None).await.unwrap();
    let why =
        format!("position {position}: the record has format {}, and this version reads up to {NEWEST}", NEWEST + 1);
    for group in ["store", "group", "notify"] {
        until("it has stopped", async || {
            let stopped = |line: &str| line.contains("has stopped") && line.contains(&format!("group=\"{group}\""));
            said.text().lines().any(|line| stopped(line) && line.contains(&why)).then_some(())
        })
        .await;
    }
    // The home finds that another has written, and can't go on from there.
    until("the home has stopped", async || {
        let refused = say(&http, &people[0], peer).await.is_err();
        let stopped = |line: &str| line.contains("stops being the shard's home") && line.contains(&why);
        (refused && said.text().lines().any(stopped)).then_some(())
    })
    .await;

    let channels = Channels::new();
    let mut group = GroupServiceClient::new(channels.get(&cluster.groups[0].grpc).unwrap());
    let mut store = StoreServiceClient::new(channels.get(&cluster.stores[0].grpc).unwrap());
    let grouped = group.get_cursor(GetCursorRequest { shard }).await.unwrap().into_inner().position;
    let stored = store.get_cursor(store::GetCursorRequest { shard }).await.unwrap().into_inner().position;
    assert!(grouped < position && stored < position, "{grouped}, {stored}: nothing of {position} is taken for read");
    people::persist(|| say(&http, &people[0], elsewhere)).await.unwrap();
    cluster.stop().await;
}
