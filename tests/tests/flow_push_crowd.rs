//! A hundred groups of 5,000 people are written to at once, of whom nobody is there, on the real backends: all are told of
//! every message, nearly always once, and nobody who has been removed.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_tests::{
    cluster::{Cluster, Plan},
    program::program,
};
use serde_json::Value;
use std::process::Stdio;
use tokio::process::Command;

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
    let size = ["--groups", "100", "--members", "50", "--rounds", "2", "--settle", "120"];
    let at = ["--listen", "127.0.0.1:0", "--certificate", certificate, "--key", key, "--server", &cluster.api];
    let bench = Command::new(program("madang"))
        .args(["bench", "push", "--json"])
        .args(size)
        .args(at)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    cluster.stop().await;
    let said = String::from_utf8(bench.stdout).unwrap();
    let report: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{}: {said}", bench.status));
    let count = |name: &str| report[name].as_u64().unwrap();
    assert_eq!((count("missing"), count("stray")), (0, 0), "{report}");
    // An answer that this machine holds up for longer than is waited for it: told again.
    assert!(count("doubled") * 10 <= count("pushes"), "{report}");
}
