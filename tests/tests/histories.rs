//! Random histories of everything that can be done with groups, settings, invites and read marks, by several people at
//! once whose devices are cut off and come back: when all is quiet, what each device holds (from what it was sent and what
//! docs/protocol.md tells it to ask for) is what the server answers, and both are what a simple model makes of the
//! acknowledged operations. The seed of a history that fails is printed; `MADANG_HISTORIES_SEED` runs it alone.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

#[path = "histories/device.rs"]
mod device;
#[path = "histories/model.rs"]
mod model;
#[path = "histories/play.rs"]
mod play;

use device::Doors;
use futures_util::{FutureExt, StreamExt, stream};
use madang_tests::{cluster::Cluster, start_with};
use std::{net::SocketAddr, panic::AssertUnwindSafe};

/// How many are played at once.
const AT_ONCE: usize = 48;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// Plays so many; panics with the seeds of those that fail.
async fn play_all(doors: &Doors, count: u64) {
    let first = setting("MADANG_HISTORIES_FIRST").unwrap_or(1);
    let seeds = match setting("MADANG_HISTORIES_SEED") {
        Some(seed) => seed..=seed,
        None => first..=first + setting("MADANG_HISTORIES").unwrap_or(count) - 1,
    };
    let one = |seed| async move { (seed, AssertUnwindSafe(play::history(doors, seed)).catch_unwind().await.is_ok()) };
    let played: Vec<(u64, bool)> = stream::iter(seeds).map(one).buffer_unordered(AT_ONCE).collect().await;
    let failed: Vec<u64> = played.iter().filter(|(_, well)| !well).map(|(seed, _)| *seed).collect();
    assert!(failed.is_empty(), "again: MADANG_HISTORIES_SEED={} (all that failed: {failed:?})", failed[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with(folder.path(), &["--max-members", "4"]).await;
    play_all(&Doors { api: server.http, gateways: vec![server.http] }, 1000).await;
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
    };
    play_all(&doors, 60).await;
    cluster.stop().await;
}
