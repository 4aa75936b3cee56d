//! People who talk while somebody else changes the servers: an upgrade, a roll-out, pods that come and go. In pairs and
//! groups, over sockets and HTTP, they send until it is acknowledged, come back from where they were, edit, react, come
//! and go; at the end every promise is judged, as `madang torture` does, and what is told is for how long, and when,
//! anybody waited for an ack.

use super::{Common, report as printed};
use crate::{
    Error,
    history::Verdict,
    torture::{
        crowd::{Crowd, Wait},
        scene::{Scene, Unsettled},
        tally::Tally,
    },
};
use clap::Args as Arguments;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How long each step towards rest may take at the end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Seconds in which nobody waited that long are not told.
const TOLD_MS: u64 = 300;

/// How they talk.
#[derive(Debug, Clone, Arguments)]
pub struct Args {
    /// How many people; 20 of them at a time are in a group.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(2..))]
    people: u16,
    /// How many messages they send a second, all together.
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// For how long, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// A wait for an ack that is longer, in ms, is a failure; by default none is.
    #[arg(long)]
    longest: Option<u64>,
    #[command(flatten)]
    common: Common,
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// Every promise was kept, everything came to rest, and nobody waited too long.
    good: bool,
    seconds: u64,
    people: u16,
    #[serde(flatten)]
    tally: Tally,
    /// How many messages waited over 50 ms, half a second, and a second for their ack, and the longest of them, in ms.
    over_50_ms: usize,
    over_500_ms: usize,
    over_1_s: usize,
    longest_ms: u64,
    /// The longest wait that began in each second in which there was a noticeable one: UNIX seconds, ms.
    longest_by_second: BTreeMap<u64, u64>,
}

/// Lets people talk, and prints what came of it; true: nothing went wrong.
pub async fn run(args: &Args) -> Result<bool, Error> {
    let common = &args.common;
    let mut scene = Scene::set(&common.server[0], common.gateway(0), args.people.into(), rand::random()).await?;
    let crowd = scene.crowd.clone();
    // Everything from here on is counted, what it took to set the scene is not.
    let began =
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(crowd.began().elapsed());
    scene.begin(args.rate);
    // Whoever changes the servers waits for this. That nobody reads it is no reason to stop.
    let _ = writeln!(std::io::stderr(), "talking");
    let progress = common.bar("talking");
    progress.set_length(args.seconds);
    super::seconds(args.seconds, &progress).await;
    progress.finish_and_clear();
    let judged = scene.judge(PATIENCE).await;
    let report = Report::new(args, &crowd, began, judged);
    if common.json {
        printed::print_json(&report)?
    } else {
        printed::print_text(&report.text())?
    }
    Ok(report.good)
}

fn ms(wait: &Wait) -> u64 {
    // Never negative, and far from the bounds.
    ((wait.to - wait.from).max(0.0) * 1000.0) as u64
}

/// The longest of the waits that began in each second since `began`.
fn by_second(waits: &[Wait], began: Duration) -> BTreeMap<u64, u64> {
    let mut seconds = BTreeMap::new();
    for wait in waits.iter().filter(|wait| ms(wait) >= TOLD_MS) {
        let longest = seconds.entry((began + Duration::from_secs_f64(wait.from.max(0.0))).as_secs()).or_default();
        *longest = ms(wait).max(*longest);
    }
    seconds
}

impl Report {
    fn new(args: &Args, crowd: &Crowd, began: Duration, judged: (Verdict, Unsettled)) -> Self {
        let waits = crowd.waits();
        let over = |least: u64| waits.iter().filter(|wait| ms(wait) > least).count();
        let longest_ms = waits.iter().map(ms).max().unwrap_or(0);
        let patient = args.longest.is_none_or(|most| longest_ms <= most);
        let tally = Tally::new(crowd, judged);
        Self {
            good: tally.kept && patient,
            seconds: args.seconds,
            people: args.people,
            tally,
            over_50_ms: waits.len(),
            over_500_ms: over(500),
            over_1_s: over(1000),
            longest_ms,
            longest_by_second: by_second(&waits, began),
        }
    }

    fn text(&self) -> String {
        let (mut text, tally) = (String::new(), &self.tally);
        let good = if self.good { "all was well" } else { "NOT all was well" };
        let _ = writeln!(
            text,
            "{good}: {} messages acked ({} attempts) of {} people in {} s, and {} changes of them; {} deliveries; {} \
             connections lost, {} times away, {} snapshots, {} resyncs",
            tally.acked,
            tally.attempts,
            self.people,
            self.seconds,
            tally.counts.amended,
            tally.counts.delivered,
            tally.lost_connections,
            tally.went_away,
            tally.snapshots,
            tally.resyncs
        );
        tally.write_wrong(&mut text);
        let _ = writeln!(
            text,
            "waits for an ack: the longest {} ms; over 50 ms {}, over 500 ms {}, over 1 s {}",
            self.longest_ms, self.over_50_ms, self.over_500_ms, self.over_1_s
        );
        for (second, longest) in &self.longest_by_second {
            let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
            let _ = writeln!(text, "  began at {hour:02}:{minute:02}:{second:02} UTC: up to {longest} ms");
        }
        let _ = writeln!(text, "refused: {:?}", tally.refusals);
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_of_each_second_is_told_and_short_ones_are_not() {
        let wait = |from: f64, took: f64| Wait { from, to: from + took };
        let waits = [wait(0.25, 0.5), wait(0.5, 0.875), wait(1.0, 0.25), wait(2.5, 7.0)];
        let seconds = by_second(&waits, Duration::from_millis(100_200));
        assert_eq!(seconds.into_iter().collect::<Vec<_>>(), [(100, 875), (102, 7000)]);
    }
}
