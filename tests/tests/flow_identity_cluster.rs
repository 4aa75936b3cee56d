//! A cluster whose services are known by certificates: it does its job, also while these are renewed and a home is
//! replaced, and homes take calls from nobody else.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use clap::Parser;
use madang_loadgen::replay;
use madang_mesh::channel::Channels;
use madang_proto::chat::v1::{WatchShardsRequest, home_service_client::HomeServiceClient};
use madang_solo::certs;
use madang_tests::cluster::{Cluster, Plan};
use std::time::Duration;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    replay: replay::Args,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fixture_comes_back_while_certificates_are_renewed_and_a_home_is_replaced() {
    let parent = tempfile::tempdir().unwrap();
    let folder = certs::make(parent.path()).unwrap();
    let plan = Plan { chats: 2, gateways: 2, certificates: Some(folder), ..Plan::default() };
    let mut cluster = Cluster::with(plan).await;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../loadgen/fixtures/small.jsonl.gz");
    let (api, gateways) = (cluster.api.clone(), cluster.gateways.join(","));
    let play = async || {
        let args = Cli::parse_from(["", file, "--server", &api, "--gateways", &gateways, "--json"]).replay;
        let report = replay::replay(args).await.unwrap();
        assert!(report.good(), "{report:?}");
        assert_eq!((report.rooms, report.acked, report.refused, report.deliveries), (9, 198, 2, 1026));
    };
    play().await;
    let renew = async {
        loop {
            certs::make(parent.path()).unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let replace = async {
        let chat = cluster.chats.pop().unwrap().restart().await;
        cluster.chats.push(chat);
    };
    tokio::select! {
        _ = async { tokio::join!(play(), replace) } => {}
        () = renew => {}
    }
    play().await;
    let plain = Channels::new().get(&cluster.chats[0].grpc).unwrap();
    assert!(HomeServiceClient::new(plain).watch_shards(WatchShardsRequest {}).await.is_err(), "without a certificate");
    cluster.stop().await;
}
