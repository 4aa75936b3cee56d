//! What this process counts, for Prometheus: one registry, shown at `/metrics` of the admin port. Names are
//! `madang_<service>_<what>_<unit>`; a name with a wrong form or used twice is said in the log and not shown. Names and helps
//! are literals where they are used: docs/metrics.md is made from them.

mod exemplars;
mod process;
mod queues;

pub use exemplars::exemplar;
pub(crate) use exemplars::{Exemplar, Exemplars, take as take_exemplars};
pub use queues::queue;

use prometheus::{
    Counter, Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, TextEncoder, proto::MetricFamily,
};

/// Seconds from 100 µs to 10 s.
pub const SECONDS: &[f64] =
    &[0.0001, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// How many of something, from 1 to 1,000.
pub const COUNTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

/// Registers what was made; where that fails it counts all the same, unseen. Panics where the name is none that
/// Prometheus takes: a mistake in the code, which its first use shows.
#[allow(clippy::expect_used)] // names are literals, checked by the first use
fn shown<T: prometheus::core::Collector + Clone + 'static>(made: prometheus::Result<T>) -> T {
    let made = made.expect("a metric's name is well formed");
    if let Err(error) = prometheus::register(Box::new(made.clone())) {
        tracing::error!(%error, "a metric is not shown");
    }
    made
}

/// A counter, such as `madang_gateway_events_total`.
#[must_use]
pub fn counter(name: &str, help: &str) -> IntCounter {
    shown(IntCounter::new(name, help))
}

/// A counter of seconds, such as `process_cpu_seconds_total`.
#[must_use]
pub fn seconds(name: &str, help: &str) -> Counter {
    shown(Counter::new(name, help))
}

/// Counters with labels, which must be few: kinds of things; never users or conversations.
#[must_use]
pub fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    shown(IntCounterVec::new(Opts::new(name, help), labels))
}

/// A gauge, such as `madang_gateway_connections`.
#[must_use]
pub fn gauge(name: &str, help: &str) -> IntGauge {
    shown(IntGauge::new(name, help))
}

/// Gauges with labels, which must be few: shards, groups; never users or conversations.
#[must_use]
pub fn gauges(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    shown(IntGaugeVec::new(Opts::new(name, help), labels))
}

/// A histogram with these buckets.
#[must_use]
pub fn histogram(name: &str, help: &str, buckets: &[f64]) -> Histogram {
    shown(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
}

/// Histograms with labels, which must be few: methods; never users or conversations.
#[must_use]
pub fn histograms(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
    shown(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
}

/// All of it; what is only known by looking is looked up.
#[must_use]
pub fn gather() -> Vec<MetricFamily> {
    process::look();
    queues::look();
    prometheus::gather()
}

/// All of it, in Prometheus' text format.
#[must_use]
pub fn text() -> Vec<u8> {
    let mut text = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&gather(), &mut text) {
        tracing::error!(%error, "metrics can't be shown");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        counter("madang_test_things_total", "Things.").inc_by(3);
        gauges("madang_test_places", "Places.", &["shard"]).with_label_values(&["7"]).set(5);
        histogram("madang_test_seconds", "How long.", SECONDS).observe(0.003);
        let text = String::from_utf8(text()).unwrap();
        for line in ["madang_test_things_total 3", "madang_test_places{shard=\"7\"} 5", "madang_test_seconds_count 1"] {
            assert!(text.lines().any(|each| each == line), "{line} is not in {text}");
        }
    }
}
