//! A short `madang torture`: the real binaries on three nats-servers, Cassandra and Postgres of their own, broken one
//! after the other while people talk; every promise holds. `MADANG_TORTURE_SEED` and `MADANG_TORTURE_MINUTES` make it
//! another one, or a longer one.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_tests::program::program;
use serde_json::Value;
use std::{path::Path, process::Command};

/// Whatever the seed, each of them comes once before any comes again.
const KINDS: [&str; 11] =
    ["gateway", "chat", "store", "group", "account", "notify", "api", "nats", "cassandra", "postgres", "link"];

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.into())
}

#[test]
fn every_promise_holds_while_everything_breaks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = tempfile::tempdir().unwrap();
    // Postgres is another user.
    let data = folder.path().join("torture");
    let report = folder.path().join("report.json");
    let (seed, minutes) = (setting("MADANG_TORTURE_SEED", "5"), setting("MADANG_TORTURE_MINUTES", "0.75"));
    let usual =
        ["torture", "--clients", "100", "--rate", "20", "--longest", "6", "--seed", &seed, "--minutes", &minutes];
    let said = Command::new(program("madang"))
        .args(usual)
        .arg("--folder")
        .arg(&data)
        .arg("--report")
        .arg(&report)
        .current_dir(root)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stderr);
    eprintln!("{text}");
    let report: Value = serde_json::from_slice(&std::fs::read(&report).unwrap_or_default()).unwrap_or_default();
    assert!(said.status.success(), "seed {seed}: {:#}, {:#}", report["faults"], report["exits"]);
    assert_eq!(report["kept"], true);
    let done = report["done"].as_array().unwrap();
    let happened = |what: &str, wanted: &str| done.iter().any(|one| one[what] == wanted);
    for kind in KINDS {
        assert!(happened("kind", kind), "nothing was done to {kind}: {done:#?}");
    }
    for action in ["kill", "pause", "restart", "rolling"] {
        assert!(happened("action", action), "{action} was not done: {done:#?}");
    }
    assert!(["cut", "stall", "delay"].iter().any(|action| happened("action", action)), "no link: {done:#?}");
    assert!(report["exits"].as_object().unwrap().is_empty(), "{:#}", report["exits"]);
    assert!(report["counts"]["delivered"].as_u64().unwrap() > report["acked"].as_u64().unwrap());
    assert!(report["acked"].as_u64().unwrap() > 100);
}
