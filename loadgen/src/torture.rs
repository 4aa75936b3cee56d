//! `madang torture`: people talk on a cluster while its processes are killed, paused and restarted and its network is
//! cut, in a sequence that follows from a seed. Everything is mended again; then what every device was told and what
//! the histories say is judged against what was acknowledged.

mod client;
pub mod cluster;
pub mod crowd;
mod guests;
pub mod link;
mod report;
pub(crate) mod scene;
pub mod schedule;
pub mod server;
mod talk;
pub(crate) mod tally;

use crate::Error;
use cluster::{Cluster, Done};
use crowd::Crowd;
use report::Report;
use scene::Scene;
use schedule::{Action, Fault, Schedule, Then};
use server::Kind;
use std::{io::Write as _, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// How long each step towards rest may take at the end.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long nothing is broken at the beginning.
const CALM: Duration = Duration::from_secs(3);

/// How to torture.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Args {
    /// For how many minutes things are broken, and at least until each kind of `--to` was once.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// What the faults follow from; by default another each time, and it is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// What is done, separated by commas; by default all of it.
    #[arg(long, value_enum, value_delimiter = ',')]
    faults: Vec<Action>,
    /// To what it is done, separated by commas; by default to everything.
    #[arg(long, value_enum, value_delimiter = ',')]
    to: Vec<Kind>,
    /// How many people talk.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(2..))]
    clients: u16,
    /// How many messages they send a second, all together.
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// How long a fault lasts at most, in seconds.
    #[arg(long, default_value_t = 60.0)]
    longest: f64,
    /// Where the report goes, as JSON. It is printed for people as well.
    #[arg(long)]
    report: Option<PathBuf>,
}

/// Tortures a cluster that does not run yet, and stops it; false: a promise was broken, which has been said.
pub async fn run(args: Args, cluster: Cluster) -> Result<bool, Error> {
    let mut tending = JoinSet::new();
    let cluster = Arc::new(cluster);
    let started = cluster.start(&mut tending).await;
    let report = match started {
        Ok(()) => torture(&args, &cluster).await,
        Err(error) => Err(error),
    };
    cluster.stop().await;
    let report = report?;
    if let Some(path) = &args.report {
        let failed = |error| Error::File(path.display().to_string(), error);
        let json = serde_json::to_vec_pretty(&report).map_err(|error| Error::Format(error.to_string()))?;
        std::fs::write(path, json).map_err(failed)?;
    }
    say(&report.text());
    Ok(report.kept)
}

/// Tells the person who watches; that nobody does is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}

async fn torture(args: &Args, cluster: &Arc<Cluster>) -> Result<Report, Error> {
    let seed = args.seed.unwrap_or_else(rand::random);
    say(&format!("seed {seed}"));
    let schedule = Schedule::new(seed, &args.to, &args.faults, Duration::from_secs_f64(args.longest.max(0.0)));
    let schedule = schedule.ok_or_else(|| Error::Usage("nothing of --faults can be done to what --to names".into()))?;
    let mut scene = Scene::set(&cluster.api, &cluster.gateway, args.clients.into(), seed).await?;
    let crowd = scene.crowd.clone();
    scene.begin(args.rate);
    sleep(CALM).await;
    let (first, broken) = (Instant::now(), Duration::from_secs_f64(args.minutes.max(0.0) * 60.0));
    let done = inflict(schedule, cluster, &crowd, first + broken).await;
    let seconds = first.elapsed().as_secs_f64();
    sleep(CALM).await;
    say("all is mended; waiting for rest");
    let judged = scene.judge(PATIENCE).await;
    Ok(Report::new((seed, seconds, args.clients.into()), &crowd, done, judged, cluster.ends()))
}

/// Does one thing after another, now and then two at once, until a time, and to everything at least once.
async fn inflict(schedule: Schedule, cluster: &Arc<Cluster>, crowd: &Arc<Crowd>, until: Instant) -> Vec<Done> {
    let (mut running, mut done) = (JoinSet::new(), Vec::new());
    let mut kinds: Vec<Kind> = Vec::new();
    let least = schedule.round();
    for (number, fault) in schedule.enumerate() {
        if kinds.contains(&fault.kind) {
            finish(&mut running, &mut kinds, &mut done).await;
        }
        if Instant::now() >= until && number >= least {
            break;
        }
        let left = until.saturating_duration_since(Instant::now());
        let lasts = if number < least { fault.lasts } else { fault.lasts.min(left) };
        let fault = Fault { lasts, ..fault };
        let (cluster, crowd) = (cluster.clone(), crowd.clone());
        kinds.push(fault.kind);
        running.spawn(async move {
            let done = cluster.inflict(fault, &crowd).await;
            say(&done.to_string());
            done
        });
        let rest = match fault.then {
            Then::After(rest) => {
                finish(&mut running, &mut kinds, &mut done).await;
                rest
            }
            Then::During(rest) => rest,
        };
        sleep(rest.min(until.saturating_duration_since(Instant::now()))).await;
    }
    finish(&mut running, &mut kinds, &mut done).await;
    done.sort_by(|one, other| one.from.total_cmp(&other.from));
    done
}

async fn finish(running: &mut JoinSet<Done>, kinds: &mut Vec<Kind>, done: &mut Vec<Done>) {
    while let Some(one) = running.join_next().await {
        done.extend(one);
    }
    kinds.clear();
}
