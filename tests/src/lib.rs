//! The harness of the end-to-end tests: all of Madang in this process, on free ports and in a folder of the test's own;
//! or every service by itself, on the real backends, as in a cluster.
#![allow(clippy::unwrap_used, clippy::panic)] // for tests alone: a panic is their failure

pub mod abrupt;
pub mod backup;
pub mod browser;
pub mod client;
pub mod cluster;
pub mod collector;
pub mod consumer;
pub mod crowd;
pub mod device;
pub mod doors;
pub mod log;
pub mod nats;
pub mod notify;
pub mod program;
pub mod provider;
pub mod proxy;
pub mod push;
pub mod rotel;
pub mod secure;
pub mod shown;
pub mod talk;
pub mod vendors;

use clap::Parser;
use madang_solo::serve::{self, Running};
use std::{path::Path, time::Duration};

/// Longer than anything that comes takes on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(90);

#[derive(Parser)]
#[command(args_override_self = true)]
struct Cli {
    #[command(flatten)]
    serve: serve::Args,
}

/// Starts `madang serve` on a folder, with cheap log-ins, no send rate, no drain window, and further flags.
pub async fn start_with(data: &Path, flags: &[&str]) -> Running {
    let data = data.to_str().unwrap();
    let any = "127.0.0.1:0";
    let places = ["", "--data", data, "--http", any, "--grpc", any, "--admin", any];
    let usual = [&places[..], &["--argon2-kib", "8", "--send-rate", "0", "--drain-window", "0"]].concat();
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        match serve::start(Cli::parse_from(usual.iter().chain(flags)).serve).await {
            // One that was stopped just now lets go of its files when its last task has ended.
            Err(error) if error.to_string().contains("another process uses") && tokio::time::Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            started => return started.unwrap(),
        }
    }
}

/// Starts `madang serve` on a folder.
pub async fn start(data: &Path) -> Running {
    start_with(data, &[]).await
}

/// Looks again and again until there is something to see, which it gives, with patience.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, look).await
}

/// The same, for as long as this.
pub async fn until_within<T>(patience: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(patience, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}
