//! Connections on which nothing happens, and what each costs the servers in memory.

use super::{Common, connection, process::Usage, report};
use crate::Error;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use std::time::Duration;
use tokio::time::sleep;

/// How many connect at once.
const AT_ONCE: usize = 64;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    connections: usize,
    server_kib_before: u64,
    server_kib_after: u64,
    kib_per_connection: f64,
    lost: usize,
}

/// Opens them, waits, and says what they cost.
pub async fn run(common: &Common, connections: usize, seconds: u64) -> Result<bool, Error> {
    let https = common.http()?;
    let people = common.people(&https[0], connections).await?;
    let before = Usage::of(&common.pid).memory / 1024;
    let progress = common.bar("connecting");
    progress.set_length(connections as u64);
    let sockets = stream::iter(people.iter().enumerate())
        .map(async |(number, person)| {
            let socket = connection::open(common.gateway(number), common.source(number), person).await?;
            progress.inc(1);
            Ok::<_, Error>(socket)
        })
        .buffer_unordered(AT_ONCE);
    let sockets: Vec<_> = sockets.try_collect().await?;
    progress.finish_and_clear();
    let tasks: Vec<_> = sockets
        .into_iter()
        .map(|mut socket| tokio::spawn(async move { while socket.receive_bytes().await.is_ok() {} }))
        .collect();
    sleep(Duration::from_secs(seconds)).await;
    let after = Usage::of(&common.pid).memory / 1024;
    let lost = tasks.iter().filter(|task| task.is_finished()).count();
    let kib_per_connection = after.saturating_sub(before) as f64 / connections.max(1) as f64;
    let report = Report { connections, server_kib_before: before, server_kib_after: after, kib_per_connection, lost };
    if common.json {
        report::print_json(&report)?;
    } else {
        report::print_text(&format!(
            "{connections} idle connections, {lost} of them lost: {kib_per_connection:.1} KiB each ({before} KiB before, {after} KiB after)"
        ))?;
    }
    Ok(lost == 0)
}
