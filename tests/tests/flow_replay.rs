//! Recorded conversations through the public doors: every one acked, delivered and read back, byte for byte.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use clap::Parser;
use madang_loadgen::replay;
use madang_tests::start;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    replay: replay::Args,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fixture_comes_back_as_it_was_sent() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../loadgen/fixtures/small.jsonl.gz");
    let url = format!("http://{}", server.http);
    let args = Cli::parse_from(["", file, "--server", &url, "--json"]).replay;
    let report = replay::replay(args).await.unwrap();
    assert!(report.good(), "{report:?}");
    assert_eq!((report.rooms, report.acked, report.refused, report.deliveries), (9, 198, 2, 1026));
    server.stop().await;
}
