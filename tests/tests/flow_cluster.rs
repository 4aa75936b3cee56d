//! The main job on the real backends: two chat-svc, two gateways, NATS, Cassandra, Postgres.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use clap::Parser;
use madang_loadgen::replay;
use madang_tests::cluster::Cluster;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    replay: replay::Args,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fixture_comes_back_over_two_homes_and_two_gateways() {
    let cluster = Cluster::start(2, 2).await;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../loadgen/fixtures/small.jsonl.gz");
    let gateways = cluster.gateways.join(",");
    let args = Cli::parse_from(["", file, "--server", &cluster.api, "--gateways", &gateways, "--json"]).replay;
    let report = replay::replay(args).await.unwrap();
    assert!(report.good(), "{report:?}");
    assert_eq!((report.rooms, report.acked, report.refused, report.deliveries), (9, 198, 2, 1026));
    cluster.stop().await;
}
