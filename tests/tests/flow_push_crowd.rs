//! A hundred groups are written to at once, of whose members nobody is there, on the real backends: all are told of every
//! message, once, and nobody who has been removed. `MADANG_CROWD_MEMBERS=50`: 5,000 people.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use clap::Parser;
use madang_loadgen::bench;
use madang_tests::cluster::{Cluster, Plan};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    bench: bench::Args,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_is_away_is_told_of_everything_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let [certificate, key] = [&certificate, &key].map(|path| path.to_str().unwrap());
    let flags = ["--push-ca", certificate].map(str::to_owned).to_vec();
    let cluster = Cluster::with(Plan { chats: 2, push: flags, ..Plan::default() }).await;
    let members = std::env::var("MADANG_CROWD_MEMBERS").unwrap_or_else(|_| "10".to_owned());
    let size = ["--groups", "100", "--members", &members, "--rounds", "2", "--settle", "120"];
    let at = ["--listen", "127.0.0.1:0", "--certificate", certificate, "--key", key, "--server", &cluster.api];
    let cli = Cli::parse_from(["bench", "push"].iter().chain(&size).chain(&at));
    let good = bench::run(cli.bench).await.unwrap();
    cluster.stop().await;
    assert!(good, "the report above says what was missing, doubled or stray");
}
