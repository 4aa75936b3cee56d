//! What came of a load, for people and for programs.

use super::{connection::Outcome, process::Usage};
use crate::Error;
use serde::Serialize;
use std::{io::Write as _, time::Duration};

/// What came of a load.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    shape: &'static str,
    seconds: f64,
    acked_per_second: f64,
    delivered_per_second: f64,
    ack_ms: Quantiles,
    delivery_ms: Quantiles,
    lost: u64,
    gaps: u64,
    misordered: u64,
    refused: u64,
    retries: u64,
    /// CPU time of the servers and of the load generator for each delivery.
    server_micros_per_delivery: f64,
    own_micros_per_delivery: f64,
    server_cores: f64,
    own_cores: f64,
    server_mib: f64,
    /// From the last message until history had all, and until the list had, at the latest.
    store_behind_ms: f64,
    group_behind_ms: f64,
}

#[derive(Debug, Serialize)]
struct Quantiles {
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Quantiles {
    fn of(histogram: &hdrhistogram::Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: histogram.max() as f64 / 1000.0 }
    }
}

impl Report {
    /// Of what was measured, with what the servers and this process had used before and after, and how long the
    /// databases took.
    pub fn new(
        shape: &'static str,
        all: &Outcome,
        took: Duration,
        (before, after): ((Usage, Usage), (Usage, Usage)),
        (store, group): (Duration, Duration),
    ) -> Self {
        let seconds = took.as_secs_f64();
        let used = |before: Usage, after: Usage| after.cpu.saturating_sub(before.cpu).as_secs_f64();
        let (server, own) = (used(before.0, after.0), used(before.1, after.1));
        let deliveries = (all.delivered as f64).max(1.0);
        Self {
            shape,
            seconds,
            acked_per_second: all.acked as f64 / seconds,
            delivered_per_second: all.delivered as f64 / seconds,
            ack_ms: Quantiles::of(&all.ack),
            delivery_ms: Quantiles::of(&all.delivery),
            lost: all.lost,
            gaps: all.gaps,
            misordered: all.misordered,
            refused: all.refused,
            retries: all.retries,
            server_micros_per_delivery: server * 1e6 / deliveries,
            own_micros_per_delivery: own * 1e6 / deliveries,
            server_cores: server / seconds,
            own_cores: own / seconds,
            server_mib: after.0.memory as f64 / f64::from(1 << 20),
            store_behind_ms: store.as_secs_f64() * 1000.0,
            group_behind_ms: group.as_secs_f64() * 1000.0,
        }
    }

    /// Whether all that was sent arrived, once and in order.
    pub fn good(&self) -> bool {
        // Who was told to send again may be overtaken by what came after.
        self.lost == 0 && self.gaps == 0 && self.refused == 0 && (self.misordered == 0 || self.retries > 0)
    }

    fn text(&self) -> String {
        let quantiles = |q: &Quantiles| {
            format!("p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, max {:.1} ms", q.p50, q.p99, q.p999, q.max)
        };
        [
            format!(
                "{}: {:.0} acked/s, {:.0} delivered/s",
                self.shape, self.acked_per_second, self.delivered_per_second
            ),
            format!("ack      {}", quantiles(&self.ack_ms)),
            format!("delivery {}", quantiles(&self.delivery_ms)),
            format!(
                "{} lost, {} gaps, {} misordered, {} refused, {} sent again",
                self.lost, self.gaps, self.misordered, self.refused, self.retries
            ),
            format!(
                "servers {:.2} cores, {:.2} µs a delivery, {:.0} MiB; this process {:.2} cores, {:.2} µs a delivery",
                self.server_cores,
                self.server_micros_per_delivery,
                self.server_mib,
                self.own_cores,
                self.own_micros_per_delivery
            ),
            format!(
                "history had all at most {:.0} ms after the last message was sent, the list {:.0} ms",
                self.store_behind_ms, self.group_behind_ms
            ),
        ]
        .join("\n")
    }
}

/// Prints a report.
pub fn print(report: &Report, json: bool) -> Result<(), Error> {
    if json { print_json(report) } else { print_text(&report.text()) }
}

/// Prints a report for programs.
pub fn print_json(report: &impl Serialize) -> Result<(), Error> {
    print_text(&serde_json::to_string_pretty(report).map_err(|error| Error::Format(error.to_string()))?)
}

/// Prints a report for people.
pub fn print_text(text: &str) -> Result<(), Error> {
    writeln!(std::io::stdout(), "{text}").map_err(|error| Error::File("standard output".into(), error))
}
