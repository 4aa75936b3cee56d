//! Homes, leases, log, inboxes and connections under thousands of seeded schedules of faults: the real code on
//! simulated ports, in virtual time. docs/simulation.md says what is simulated, and how a failing seed is run again.
//!
//! `MADANG_SIM_SEED=N` runs one schedule and says what happens; `MADANG_SIM_SCHEDULES=N` runs more or fewer,
//! `MADANG_SIM_FIRST=N` from another seed on, `MADANG_SIM_FAILURES=N` up to the nth that fails.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)] // a test: a panic is its failure

mod simulation {
    pub mod check;
    pub mod clock;
    pub mod databases;
    pub mod devices;
    pub mod inbox;
    pub mod journal;
    pub mod log;
    pub mod net;
    pub mod operations;
    pub mod processes;
    pub mod registry;
    pub mod schedule;
}

use std::{
    collections::BTreeMap,
    process::{Command, ExitCode},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// How many schedules a run has, unless it is told.
const SCHEDULES: u64 = 2000;
/// Seeds that have found something, or are worth keeping for what they do.
const KEPT: [u64; 0] = [];
/// Tells a process of this binary which schedule it is to run.
const CHILD: &str = "MADANG_SIM_CHILD";

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// Runs one schedule in this process, and says what came of it: one line for each count, the hash, what is wrong.
fn child(seed: u64, trace: bool) -> ExitCode {
    std::panic::set_hook(Box::new(move |info| {
        println!("wrong a panic: {info}");
        std::process::exit(1);
    }));
    if trace {
        tracing_subscriber::fmt().without_time().with_writer(std::io::stderr).with_ansi(false).init();
    }
    // Std's hash keys are a thread's own: the schedule has one that nothing else has used.
    let outcome = std::thread::spawn(move || simulation::schedule::run(seed, trace)).join().unwrap();
    for (what, count) in &outcome.counts {
        println!("count {count} {what}");
    }
    println!("hash {:016x}", outcome.hash);
    match outcome.wrong {
        None => ExitCode::SUCCESS,
        Some(what) => {
            println!("wrong {what}");
            ExitCode::FAILURE
        }
    }
}

/// What a process that ran a schedule said.
#[derive(Default)]
struct Said {
    wrong: Option<String>,
    hash: String,
    counts: BTreeMap<String, u64>,
}

fn schedule(seed: u64) -> Said {
    let output = Command::new(std::env::current_exe().unwrap()).env(CHILD, seed.to_string()).output().unwrap();
    let mut said = Said::default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        match line.split_once(' ') {
            Some(("hash", hash)) => hash.clone_into(&mut said.hash),
            Some(("wrong", what)) => said.wrong = Some(what.to_owned()),
            Some(("count", rest)) => {
                let (count, what) = rest.split_once(' ').unwrap();
                said.counts.insert(what.to_owned(), count.parse().unwrap());
            }
            _ => {}
        }
    }
    if !output.status.success() && said.wrong.is_none() {
        said.wrong = Some(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    said
}

/// Runs schedules on all cores; what went wrong, and how often what happened.
fn schedules(seeds: &[u64]) -> (Vec<(u64, String)>, BTreeMap<String, u64>) {
    let (next, failed, counts) = (AtomicU64::new(0), Mutex::new(Vec::new()), Mutex::new(BTreeMap::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let most = usize::try_from(number("MADANG_SIM_FAILURES").unwrap_or(1)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while failed.lock().unwrap().len() < most {
                    let place = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
                    let Some(seed) = seeds.get(place) else { return };
                    let said = schedule(*seed);
                    let mut counts = counts.lock().unwrap();
                    *counts.entry("schedules".to_owned()).or_default() += 1;
                    for (what, count) in said.counts {
                        *counts.entry(what).or_default() += count;
                    }
                    if let Some(wrong) = said.wrong {
                        failed.lock().unwrap().push((*seed, wrong));
                    }
                }
            });
        }
    });
    (failed.into_inner().unwrap(), counts.into_inner().unwrap())
}

fn main() -> ExitCode {
    // As the standard harness: a name that is not this test's runs nothing, and a list is asked for by tools.
    let mut words = std::env::args().skip(1);
    if words.any(|word| word == "--list" || (!word.starts_with('-') && !"simulation".contains(&word))) {
        return ExitCode::SUCCESS;
    }
    if let Some(seed) = number(CHILD) {
        return child(seed, false);
    }
    if let Some(seed) = number("MADANG_SIM_SEED") {
        return child(seed, true);
    }
    let first = number("MADANG_SIM_FIRST").unwrap_or(1);
    let count = number("MADANG_SIM_SCHEDULES").unwrap_or(SCHEDULES);
    let seeds: Vec<u64> = KEPT.into_iter().chain(first..first + count).collect();
    let (failed, counts) = schedules(&seeds);
    for (what, count) in &counts {
        println!("{count:>10} {what}");
    }
    for (seed, wrong) in &failed {
        println!("seed {seed}: {wrong}");
        println!("  again, with all that happens: MADANG_SIM_SEED={seed} cargo test -p madang-tests --test simulation");
    }
    // The same seed is the same schedule, to the last byte of the log.
    for seed in seeds.iter().take(8) {
        let (one, other) = (schedule(*seed), schedule(*seed));
        if one.hash != other.hash {
            println!("seed {seed} is not the same twice: {} and {}", one.hash, other.hash);
            return ExitCode::FAILURE;
        }
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
