//! What came of a torture, for people and for programs.

use super::{
    cluster::{Done, Ends},
    crowd::{Crowd, Wait},
    scene::Unsettled,
    tally::Tally,
};
use crate::history::Verdict;
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _};

/// What came of a torture.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether every promise was kept, everything came to rest, no process ended by itself, and all were ready again.
    pub kept: bool,
    /// What the faults followed from.
    pub seed: u64,
    /// How long things were broken, in seconds.
    pub seconds: f64,
    /// How many clients.
    pub clients: usize,
    /// What clients went through.
    #[serde(flatten)]
    pub tally: Tally,
    /// What was done, by what it was done to.
    pub inflicted: BTreeMap<String, Kinds>,
    /// The longest that a message waited for its ack while nothing was broken, in ms.
    pub longest_wait_without_ms: u64,
    /// The longest that somebody waited for a newest page meanwhile, in ms.
    pub longest_read_without_ms: u64,
    /// How processes ended by themselves.
    #[serde(flatten)]
    pub ends: Ends,
    /// All that was done, in order.
    pub done: Vec<Done>,
}

/// Faults of one kind.
#[derive(Debug, Default, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kinds {
    /// How many.
    pub times: u64,
    /// The longest that any message waited for its ack that was waiting while one of them lasted, in ms; other faults
    /// may have lasted as well.
    pub longest_wait_ms: u64,
    /// The same of newest pages of histories, from the first asking.
    pub longest_read_ms: u64,
    /// The longest from the mending of one of them until every process was ready and everybody served, in ms.
    pub longest_until_well_ms: u64,
}

fn ms(seconds: f64) -> u64 {
    // Never negative, and far from the bounds.
    (seconds.max(0.0) * 1000.0) as u64
}

/// The longest of the waits that overlap a time.
fn longest(waits: &[Wait], from: f64, to: f64) -> u64 {
    let overlapping = waits.iter().filter(|wait| wait.from <= to && wait.to >= from);
    overlapping.map(|wait| ms(wait.to - wait.from)).max().unwrap_or(0)
}

impl Report {
    /// Of a run that has been judged.
    #[must_use]
    pub fn new(
        (seed, seconds, clients): (u64, f64, usize),
        crowd: &Crowd,
        done: Vec<Done>,
        judged: (Verdict, Unsettled),
        ends: Ends,
    ) -> Self {
        let (waits, pages) = (crowd.waits(), crowd.pages());
        let mut inflicted: BTreeMap<String, Kinds> = BTreeMap::new();
        for one in &done {
            let kinds = inflicted.entry(format!("{} {}", one.action.word(), one.kind.word())).or_default();
            kinds.times += 1;
            kinds.longest_wait_ms = kinds.longest_wait_ms.max(longest(&waits, one.from, one.well));
            kinds.longest_read_ms = kinds.longest_read_ms.max(longest(&pages, one.from, one.well));
            kinds.longest_until_well_ms = kinds.longest_until_well_ms.max(ms(one.well - one.mended));
        }
        let broken = |wait: &&Wait| done.iter().any(|one| wait.from <= one.well && wait.to >= one.from);
        let without = |waits: &[Wait]| {
            let calm = waits.iter().filter(|wait| !broken(wait));
            calm.map(|wait| ms(wait.to - wait.from)).max().unwrap_or(0)
        };
        let tally = Tally::new(crowd, judged);
        Self {
            kept: tally.kept && ends.exits.is_empty() && ends.not_ready.is_empty(),
            seed,
            seconds,
            clients,
            tally,
            inflicted,
            longest_wait_without_ms: without(&waits),
            longest_read_without_ms: without(&pages),
            ends,
            done,
        }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let (mut text, tally) = (String::new(), &self.tally);
        let kept = if tally.kept { "every promise was kept" } else { "NOT every promise was kept" };
        let _ = writeln!(text, "seed {}: {kept}", self.seed);
        for (name, statuses) in &self.ends.exits {
            let _ = writeln!(text, "NOT well: {name} ended by itself ({}): see its log", statuses.join(", "));
        }
        for name in &self.ends.not_ready {
            let _ = writeln!(text, "NOT well: {name} did not become ready once all was mended: see its log");
        }
        let _ = writeln!(
            text,
            "{} messages acked ({} attempts) of {} clients in {:.0} s, and {} changes of them; {} deliveries; {} \
             connections lost",
            tally.acked,
            tally.attempts,
            self.clients,
            self.seconds,
            tally.counts.amended,
            tally.counts.delivered,
            tally.lost_connections
        );
        tally.write_wrong(&mut text);
        for (name, kinds) in &self.inflicted {
            let Kinds { times, longest_wait_ms, longest_read_ms, longest_until_well_ms } = kinds;
            let _ = writeln!(
                text,
                "{name:<18} {times:>3} times; longest wait for an ack {longest_wait_ms} ms, for a newest page {longest_read_ms} ms; \
                 well {longest_until_well_ms} ms after it was mended"
            );
        }
        let _ = writeln!(
            text,
            "longest wait while nothing was broken: {} ms for an ack, {} ms for a newest page",
            self.longest_wait_without_ms, self.longest_read_without_ms
        );
        let _ = writeln!(
            text,
            "clients: {} times away, {} snapshots, {} resyncs; refused: {:?}; processes that could not start at once: {:?}",
            tally.went_away, tally.snapshots, tally.resyncs, tally.refusals, self.ends.failed_starts
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ends_by_itself_is_named_and_a_failure() {
        let report = |ends| Report::new((7, 1.0, 2), &Crowd::new(), Vec::new(), Default::default(), ends);
        let late = Ends { failed_starts: [("group-1".to_owned(), 2)].into(), ..Ends::default() };
        assert!(report(late).kept, "what can't start is started again");
        let ended =
            report(Ends { exits: [("chat-2".to_owned(), vec!["exit status: 101".into()])].into(), ..Ends::default() });
        assert!(!ended.kept);
        assert!(ended.text().contains("NOT well: chat-2 ended by itself (exit status: 101)"), "{}", ended.text());
        let json = serde_json::to_value(&ended).unwrap();
        assert_eq!(json["exits"]["chat-2"][0], "exit status: 101");
        let hangs = report(Ends { not_ready: vec!["store-2".into()], ..Ends::default() });
        assert!(!hangs.kept && hangs.text().contains("NOT well: store-2 did not become ready"), "{}", hangs.text());
    }

    #[test]
    fn a_wait_counts_for_what_it_overlaps() {
        let waits = [Wait { from: 1.0, to: 3.0 }, Wait { from: 4.0, to: 9.0 }, Wait { from: 20.0, to: 20.5 }];
        assert_eq!(longest(&waits, 2.0, 3.5), 2000);
        assert_eq!(longest(&waits, 3.0, 4.0), 5000);
        assert_eq!(longest(&waits, 10.0, 19.0), 0);
    }
}
