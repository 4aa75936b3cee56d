//! A storm of log-ins.

use super::{Common, report};
use crate::{Error, people, replay::check::histogram};
use serde::Serialize;
use std::time::{Duration, Instant};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    log_ins_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Told to come again later.
    turned_away: u64,
    failed: u64,
}

/// Logs people in, again and again.
pub async fn run(common: &Common, concurrency: usize, seconds: u64) -> Result<bool, Error> {
    let https = common.http()?;
    let people = common.people(&https[0], concurrency).await?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let tasks: Vec<_> = people
        .into_iter()
        .enumerate()
        .map(|(number, person)| {
            let http = https[number % https.len()].clone();
            tokio::spawn(async move {
                let (mut times, mut turned_away, mut failed) = (histogram()?, 0, 0);
                let password = people::password(&person.handle);
                while Instant::now() < end {
                    let began = Instant::now();
                    match http.log_in(&person.handle, &password, &person.device).await {
                        Ok(_) => {
                            let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                            times.saturating_record(micros);
                        }
                        Err(error) if error.retryable() => {
                            turned_away += 1;
                            tokio::time::sleep(Duration::from_millis(200)).await;
                        }
                        Err(_) => failed += 1,
                    }
                }
                Ok::<_, Error>((times, turned_away, failed))
            })
        })
        .collect();
    let (mut all, mut turned_away, mut failed) = (histogram()?, 0, 0);
    for task in tasks {
        let (times, more_away, more_failed) = task.await??;
        all.add(&times).map_err(|error| Error::Format(error.to_string()))?;
        turned_away += more_away;
        failed += more_failed;
    }
    let at = |quantile| all.value_at_quantile(quantile) as f64 / 1000.0;
    let log_ins_per_second = all.len() as f64 / seconds.max(1) as f64;
    let report = Report { log_ins_per_second, p50_ms: at(0.5), p99_ms: at(0.99), turned_away, failed };
    if common.json {
        report::print_json(&report)?;
    } else {
        report::print_text(&format!(
            "{log_ins_per_second:.0} log-ins/s, p50 {:.1} ms, p99 {:.1} ms, {turned_away} turned away, {failed} failed",
            report.p50_ms, report.p99_ms
        ))?;
    }
    Ok(failed == 0)
}
