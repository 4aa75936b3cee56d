//! Random histories of everything that can be done with messages, groups, settings, invites, blocks, profiles and read marks, by
//! several people at once whose devices are cut off, also before they are answered, and come back; in some, somebody's account
//! ends. Who is there and who writes is told to nobody who may not know. When all is quiet, what each device holds (from what it
//! was sent and what docs/protocol.md tells it to ask for) is what the server answers, page by page, both are what a simple model
//! makes of the acknowledged operations, and the model allows everything that was answered, also what was refused.
//!
//! Some are the same in each run, the others new ones: their seeds are printed, and those of a history that fails once more.
//! `MADANG_HISTORIES_SEED=N` runs one alone, `MADANG_HISTORIES=N` so many, `MADANG_HISTORIES_FIRST=N` from that seed on.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

#[path = "histories/check.rs"]
mod check;
#[path = "histories/device.rs"]
mod device;
#[path = "histories/doors.rs"]
mod doors;
#[path = "histories/ends.rs"]
mod ends;
#[path = "histories/model.rs"]
mod model;
#[path = "histories/pages.rs"]
mod pages;
#[path = "histories/people.rs"]
mod people;
#[path = "histories/play.rs"]
mod play;
#[path = "histories/record.rs"]
mod record;
#[path = "histories/wires.rs"]
mod wires;

use doors::Doors;
use futures_util::{FutureExt, StreamExt, stream};
use madang_tests::{cluster::Cluster, log::Log, start_with};
use record::Counts;
use std::{io::Write, net::SocketAddr, panic::AssertUnwindSafe};

/// How many are played at once.
const AT_ONCE: usize = 48;
/// Of the histories of a run one in so many is the same each time.
const KEPT: u64 = 10;

/// What is rare, but is there in a thousand of them.
const RARE: [&str; 17] = [
    "Add: GROUP_FULL",
    "Delete: ROLE_REQUIRED",
    "Delete: done before",
    "Delete: no answer",
    "Edit: MESSAGE_DELETED",
    "Edit: NOT_SENDER",
    "Edit: done before",
    "Edit: no answer",
    "React: MESSAGE_DELETED",
    "React: TOO_MANY_REACTIONS",
    "React: no answer",
    "Erased: done",
    "Say: BLOCKED",
    "Say: USER_NOT_FOUND",
    "accounts that ended",
    "presence that was told",
    "typing that was told",
];

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// Says something, which the harness does not keep to itself.
fn say(what: &str) {
    let mut out = std::io::stderr();
    out.write_all(format!("{what}\n").as_bytes()).unwrap();
}

/// The seeds of a run, said also where it goes well.
fn seeds(what: &str, count: u64) -> Vec<u64> {
    if let Some(seed) = setting("MADANG_HISTORIES_SEED") {
        return vec![seed];
    }
    let (count, from) = (setting("MADANG_HISTORIES").unwrap_or(count), setting("MADANG_HISTORIES_FIRST"));
    let kept = if from.is_some() { 0 } else { count / KEPT };
    let first = from.unwrap_or_else(|| rand::random::<u32>().into());
    let (all, last) = ((1..=kept).chain(first..first + count - kept), first + count - kept - 1);
    say(&format!("histories {what}: seeds 1 to {kept}, and {first} to {last}"));
    all.collect()
}

/// Plays so many; panics with the seeds of those that fail.
async fn play_all(what: &str, doors: &Doors, count: u64) {
    let one = |seed| async move { (seed, AssertUnwindSafe(play::history(doors, seed)).catch_unwind().await) };
    let played: Vec<_> = stream::iter(seeds(what, count)).map(one).buffer_unordered(AT_ONCE).collect().await;
    let mut counts = Counts::new();
    for (of, times) in played.iter().filter_map(|(_, counts)| counts.as_ref().ok()).flatten() {
        *counts.entry(of.clone()).or_default() += times;
    }
    for (of, times) in &counts {
        say(&format!("{times:>10} {of}"));
    }
    for of in RARE.iter().filter(|_| played.len() >= 1000) {
        assert!(counts.contains_key(*of), "in so many histories there was no {of}");
    }
    let failed: Vec<u64> = played.iter().filter(|(_, counts)| counts.is_err()).map(|(seed, _)| *seed).collect();
    assert!(failed.is_empty(), "again: MADANG_HISTORIES_SEED={} (all that failed: {failed:?})", failed[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded() {
    let _said = Log::try_keep("warn".into()).map(Log::if_failed);
    let folder = tempfile::tempdir().unwrap();
    let server = start_with(folder.path(), &["--max-members", "3"]).await;
    play_all("embedded", &Doors { api: server.http, gateways: vec![server.http], most: 3, pictures: true }, 1000).await;
}

fn address(url: &str) -> SocketAddr {
    url.strip_prefix("http://").unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_real_backends() {
    let cluster = Cluster::start(2, 2).await;
    let doors = Doors {
        api: address(&cluster.api),
        gateways: cluster.gateways.iter().map(|gateway| address(gateway)).collect(),
        most: 200,
        pictures: false,
    };
    play_all("on the real backends", &doors, 60).await;
    cluster.stop().await;
}
