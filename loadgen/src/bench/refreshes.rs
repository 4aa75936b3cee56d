//! A storm of refreshes: everybody at once, as after an hour without servers. Who is told to come again does, when it is told to.

use super::{Common, process::Usage, report};
use crate::{Error, replay::check::histogram};
use madang_client::http;
use serde::Serialize;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Barrier;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    people: usize,
    /// From the beginning until the last one has new tokens.
    seconds: f64,
    per_second: f64,
    /// From the beginning until one has them, however often one came.
    p50_ms: f64,
    p99_ms: f64,
    /// Told to come again later.
    turned_away: u64,
    failed: u64,
    server_cpu_seconds: f64,
}

/// Refreshes the tokens of so many people at once.
pub async fn run(common: &Common, count: usize) -> Result<bool, Error> {
    let https = common.http()?;
    let people = common.people(&https[0], count).await?;
    let (start, before) = (Arc::new(Barrier::new(count + 1)), Usage::of(&common.pid));
    let tasks: Vec<_> = people
        .into_iter()
        .enumerate()
        .map(|(number, person)| {
            let (door, start) = (https[number % https.len()].clone(), start.clone());
            tokio::spawn(async move {
                start.wait().await;
                let (began, mut turned_away) = (Instant::now(), 0);
                loop {
                    match door.refresh(&person.tokens.refresh_token).await {
                        Ok(_) => return (Some(began.elapsed()), turned_away),
                        Err(error) if error.retryable() => {
                            turned_away += 1;
                            let asked =
                                if let http::Error::Refused(problem) = &error { problem.retry_after_ms } else { 0 };
                            tokio::time::sleep(Duration::from_millis(asked.max(100))).await;
                        }
                        Err(_) => return (None, turned_away),
                    }
                }
            })
        })
        .collect();
    start.wait().await;
    let began = Instant::now();
    let (mut times, mut turned_away, mut failed) = (histogram()?, 0, 0);
    for task in tasks {
        let (took, more_away) = task.await?;
        turned_away += more_away;
        match took {
            Some(took) => times.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
            None => failed += 1,
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
    let report = Report {
        people: count,
        seconds,
        per_second: times.len() as f64 / seconds,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        turned_away,
        failed,
        server_cpu_seconds: (Usage::of(&common.pid).cpu - before.cpu).as_secs_f64(),
    };
    if common.json {
        report::print_json(&report)?;
    } else {
        report::print_text(&format!(
            "{count} refreshed in {seconds:.1} s ({:.0}/s), p50 {:.0} ms, p99 {:.0} ms, {turned_away} turned away, {failed} failed; \
             {:.1} s of server CPU",
            report.per_second, report.p50_ms, report.p99_ms, report.server_cpu_seconds
        ))?;
    }
    Ok(failed == 0)
}
