//! What clients went through, and what was judged of it: the part of a report that is the same whoever breaks things.

use super::{crowd::Crowd, scene::Unsettled};
use crate::history::{Counts, Faults, Verdict};
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _, sync::atomic::Ordering::Relaxed};

/// What clients went through, and what was judged of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Messages that were acknowledged.
    pub acked: u64,
    /// How often they were sent, first or again.
    pub attempts: u64,
    /// What went wrong, counted.
    pub faults: Faults,
    /// The first of it in words.
    pub examples: Vec<String>,
    /// What did not come to rest in time.
    pub unsettled: Unsettled,
    /// What was judged.
    pub counts: Counts,
    /// How often clients lost a connection, went away by themselves, were told to start over when they came back, and
    /// while they were connected.
    pub lost_connections: u64,
    /// See there.
    pub went_away: u64,
    /// See there.
    pub snapshots: u64,
    /// See there.
    pub resyncs: u64,
    /// What was refused for good; what is not theirs is refused to strangers.
    pub refusals: BTreeMap<String, u64>,
    /// Whether every promise was kept, and everything came to rest.
    #[serde(skip)]
    pub kept: bool,
}

impl Tally {
    /// Of a run that has been judged.
    #[must_use]
    pub fn new(crowd: &Crowd, (verdict, unsettled): (Verdict, Unsettled)) -> Self {
        Self {
            kept: verdict.good() && unsettled.none(),
            acked: crowd.acked.load(Relaxed),
            attempts: crowd.attempts.load(Relaxed),
            faults: verdict.faults,
            examples: verdict.examples,
            unsettled,
            counts: verdict.counts,
            lost_connections: crowd.lost.load(Relaxed),
            went_away: crowd.away.load(Relaxed),
            snapshots: crowd.snapshots.load(Relaxed),
            resyncs: crowd.resyncs.load(Relaxed),
            refusals: crowd.refusals(),
        }
    }

    /// What went wrong, for people.
    pub fn write_wrong(&self, text: &mut String) {
        let _ = writeln!(text, "{}", self.faults);
        for example in &self.examples {
            let _ = writeln!(text, "  {example}");
        }
        if !self.unsettled.none() {
            let _ = writeln!(text, "not come to rest: {:?}", self.unsettled);
        }
    }
}
