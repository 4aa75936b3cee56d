//! What came of a storm.

use super::{
    crowd::{Crowd, Phase},
    reads::Reads,
};
use crate::history::Verdict;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed};

/// How long all may take to be back, in seconds.
const IN_TIME: f64 = 30.0;

/// What came of a storm.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    connections: usize,
    all_back: bool,
    /// From the kill until the last, the median, and 99 of 100 clients were live again.
    seconds_until_live: f64,
    p50_seconds: f64,
    p99_seconds: f64,
    resumed: u64,
    snapshots: u64,
    /// Connections that were lost, the cut ones among them, or did not come about.
    lost: u64,
    resyncs: u64,
    refreshed: u64,
    ended: u64,
    calm: Talkers,
    storm: Talkers,
    reads: Vec<Read>,
    verdict: Verdict,
}

/// What those met with who talked.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Talkers {
    messages: u64,
    ack_p50_ms: f64,
    ack_p99_ms: f64,
    delivery_p50_ms: f64,
    delivery_p99_ms: f64,
    /// The longest wait for an ack, ms, of what should have been sent in each tenth of a second, by when that began in ms.
    longest_by_tenth: BTreeMap<u64, f64>,
}

/// What the databases read, by one counter.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    counter: String,
    calm: u64,
    storm: u64,
}

fn milliseconds(of: &Histogram<u64>, quantile: f64) -> f64 {
    of.value_at_quantile(quantile) as f64 / 1000.0
}

impl Talkers {
    fn of(crowd: &Crowd, phase: Phase) -> Self {
        let Some(times) = crowd.times(phase) else {
            return Self::default();
        };
        let longest = times.longest.iter();
        Self {
            messages: times.ack.len(),
            ack_p50_ms: milliseconds(&times.ack, 0.5),
            ack_p99_ms: milliseconds(&times.ack, 0.99),
            delivery_p50_ms: milliseconds(&times.delivery, 0.5),
            delivery_p99_ms: milliseconds(&times.delivery, 0.99),
            longest_by_tenth: longest.map(|(tenth, micros)| (tenth * 100, *micros as f64 / 1000.0)).collect(),
        }
    }

    /// When, after the beginning, there were waits of over so many ms: `1.2 s: 310 ms`.
    fn over(&self, least: f64) -> String {
        let over = self.longest_by_tenth.iter().filter(|(_, took)| **took > least);
        let over: Vec<_> = over.map(|(at, took)| format!("{:.1} s: {took:.0} ms", *at as f64 / 1000.0)).collect();
        if over.is_empty() { "none".into() } else { over.join(", ") }
    }

    fn text(&self) -> String {
        format!(
            "ack p50 {:.1} ms, p99 {:.1} ms; delivery p50 {:.1} ms, p99 {:.1} ms ({} messages)",
            self.ack_p50_ms, self.ack_p99_ms, self.delivery_p50_ms, self.delivery_p99_ms, self.messages
        )
    }
}

impl Report {
    /// Of a storm that is over.
    pub fn new(connections: usize, all_back: bool, crowd: &Crowd, reads: &Reads, verdict: Verdict) -> Self {
        let seconds = |quantile| milliseconds(&crowd.took(), quantile) / 1000.0;
        let back = &crowd.back;
        Self {
            connections,
            all_back,
            seconds_until_live: seconds(1.0),
            p50_seconds: seconds(0.5),
            p99_seconds: seconds(0.99),
            resumed: back.resumed.load(Relaxed),
            snapshots: back.snapshots.load(Relaxed),
            lost: back.tries.load(Relaxed),
            resyncs: back.resyncs.load(Relaxed),
            refreshed: back.refreshed.load(Relaxed),
            ended: back.ended.load(Relaxed),
            calm: Talkers::of(crowd, Phase::Calm),
            storm: Talkers::of(crowd, Phase::Storm),
            reads: compare(reads).unwrap_or_default(),
            verdict,
        }
    }

    /// Whether all came back in time, from where they were, with nothing lost, at no cost to the databases.
    pub fn good(&self) -> bool {
        self.all_back
            && self.seconds_until_live <= IN_TIME
            && self.snapshots == 0
            && self.ended == 0
            && self.read_for_clients() == 0
            && self.verdict.good()
    }

    /// What was read in the storm of tables that were not read while it was calm: nobody but clients can have caused it.
    /// Others are read by the projections as they write, and by those who ask for ended sessions all the time.
    fn read_for_clients(&self) -> u64 {
        self.reads.iter().filter(|read| read.calm == 0).map(|read| read.storm).sum()
    }

    /// For people.
    pub fn text(&self) -> String {
        let ratio = |storm: f64, calm: f64| storm / calm.max(1e-3);
        let counts = &self.verdict.counts;
        let mut lines = vec![
            format!(
                "{} clients cut off; {} live again after {:.1} s (p50 {:.1} s, p99 {:.1} s)",
                self.connections,
                if self.all_back { "all" } else { "NOT all" },
                self.seconds_until_live,
                self.p50_seconds,
                self.p99_seconds
            ),
            format!(
                "{} resumed, {} told to start over, {} connections lost or refused, {} resyncs, {} ended, {} tokens refreshed",
                self.resumed, self.snapshots, self.lost, self.resyncs, self.ended, self.refreshed
            ),
            format!("others, calm:  {}", self.calm.text()),
            format!("others, storm: {}", self.storm.text()),
            format!(
                "p99 in the storm, of calm: ack {:.2}, delivery {:.2}",
                ratio(self.storm.ack_p99_ms, self.calm.ack_p99_ms),
                ratio(self.storm.delivery_p99_ms, self.calm.delivery_p99_ms)
            ),
        ];
        let twice = 2.0 * self.calm.ack_p99_ms;
        lines.push(format!("waits of over twice the calm p99, by when after the kill: {}", self.storm.over(twice)));
        let (rest, read): (Vec<_>, Vec<_>) = self.reads.iter().partition(|read| read.calm + read.storm == 0);
        if !rest.is_empty() {
            let names: Vec<_> = rest.iter().map(|read| read.counter.as_str()).collect();
            lines.push(format!("never read, calm or storm: {}", names.join(", ")));
        }
        for Read { counter, calm, storm } in read {
            let whose = if *calm == 0 { ": FOR CLIENTS" } else { ", by whoever reads it without a storm" };
            lines.push(format!("read, {counter}: {calm} times while calm, {storm} in the storm{whose}"));
        }
        lines
            .push(format!("{} messages acked, {} deliveries judged: {}", counts.acked, counts.delivered, self.verdict));
        lines.push(if self.good() { "all is as it should be".into() } else { "NOT as it should be".into() });
        lines.join("\n")
    }
}

fn compare(reads: &Reads) -> Option<Vec<Read>> {
    let (before, during) = (reads.between(0)?, reads.between(1)?);
    let read = |(counter, storm): (String, u64)| {
        let calm = before.get(&counter).copied().unwrap_or(0);
        Read { counter, calm, storm }
    };
    Some(during.into_iter().map(read).collect())
}
