//! `madang dev`: the cluster on one machine. Every service is a process of its own, on a real nats-server, Postgres and
//! Cassandra; ports are free loopback ones, and data, logs and state are in one folder, `.dev`.
//!
//! `up` starts `tests/backends/run.py` in the background, which starts the backends and, within them,
//! `madang dev services`; that one holds the folder's lock for as long as it lives, so a stale state is never believed.

pub mod reads;
mod services;
mod state;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
pub use state::State;
use std::{
    fs::File,
    io::{self, Write},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// What starts the backends, in the project's folder.
pub(crate) const BACKENDS: &str = "tests/backends/run.py";
/// How long everything may take to be up; the first start also downloads the backends.
const UP: Duration = Duration::from_secs(600);
/// How long everything may take to be down.
const DOWN: Duration = Duration::from_secs(60);
/// How often is looked whether it is.
const LOOK: Duration = Duration::from_millis(100);
/// How much of a log is shown when a start fails.
const TAIL: usize = 2000;

/// What `madang dev` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where data, logs and state are.
    #[arg(long, default_value = ".dev", global = true)]
    folder: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Start the backends and the services, and wait until all are ready.
    Up(services::Args),
    /// Say what runs where; exit 1 if something does not.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print how often each table of the databases was read so far, by their own counters.
    Reads,
    /// Stop everything; what was saved stays in the folder.
    Down,
    /// What `up` runs among the backends.
    #[command(hide = true)]
    Services(services::Args),
}

/// Runs it; false: something that should run does not, which has been said.
pub async fn run(args: Args) -> anyhow::Result<bool> {
    let folder = args.folder;
    match args.action {
        Action::Up(args) => up(&folder, &args)?,
        Action::Status { json } => return status(&folder, json),
        Action::Reads => reads(&folder).await?,
        Action::Down => down(&folder)?,
        Action::Services(args) => services::run(&folder, args).await?,
    }
    Ok(true)
}

fn up(folder: &Path, args: &services::Args) -> anyhow::Result<()> {
    let missing = "run this in Madang's source folder: it starts the backends as the tests do";
    ensure!(Path::new(BACKENDS).exists(), "{BACKENDS} is not here; {missing}");
    crate::services::binaries()?;
    std::fs::create_dir_all(folder).with_context(|| format!("can't write to {}", folder.display()))?;
    if state::locked(folder)? {
        bail!("it is up already (madang dev status), or still coming up or going down");
    }
    State::remove(folder)?;
    let log = folder.join("log");
    std::fs::create_dir_all(&log)?;
    let log = log.join("backends.log");
    let out = File::create(&log)?;
    let mut child = Command::new("python3")
        .arg(BACKENDS)
        .arg("--folder")
        .arg(folder.join("backends"))
        .arg(std::env::current_exe()?)
        .args(["dev", "--folder"])
        .arg(folder)
        .arg("services")
        .args(args.flags())
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        // The terminal's Ctrl-C is not meant for it.
        .process_group(0)
        .spawn()
        .context("can't start python3")?;
    writeln!(io::stderr(), "starting (the first start downloads the backends); log: {}", log.display())?;
    let end = Instant::now() + UP;
    loop {
        if let Some(state) = State::read(folder)? {
            return show(&state, &mut io::stdout());
        }
        if let Some(exit) = child.try_wait()? {
            let text = std::fs::read(&log)?;
            let tail = String::from_utf8_lossy(&text[text.len().saturating_sub(TAIL)..]).into_owned();
            bail!("it did not come up ({exit}):\n{tail}");
        }
        ensure!(Instant::now() < end, "it did not come up in {UP:?}; see {}", log.display());
        std::thread::sleep(LOOK);
    }
}

fn show(state: &State, out: &mut impl Write) -> anyhow::Result<()> {
    for (name, address) in &state.backends {
        writeln!(out, "{name:<10} {address}")?;
    }
    for process in &state.processes {
        let address = process.http.as_deref().map_or(format!("grpc {}", process.grpc), |http| format!("http {http}"));
        writeln!(out, "{:<10} {address:<24} admin {:<16} pid {}", process.name, process.admin, process.pid)?;
    }
    let doors = |name: &str| {
        let of = state.processes.iter().filter(|process| process.name.starts_with(name));
        of.filter_map(|process| process.http.as_ref())
            .map(|http| format!("http://{http}"))
            .collect::<Vec<_>>()
            .join(",")
    };
    writeln!(out, "\nas a client: --server {} --gateways {}   (madang replay, bench)", doors("api"), doors("gateway"))?;
    Ok(out.flush()?)
}

fn alive(pid: u32) -> bool {
    i32::try_from(pid).ok().and_then(Pid::from_raw).is_some_and(|pid| test_kill_process(pid).is_ok())
}

fn status(folder: &Path, json: bool) -> anyhow::Result<bool> {
    let mut out = io::stdout();
    let state = if state::locked(folder)? { State::read(folder)? } else { None };
    let Some(state) = state else {
        writeln!(io::stderr(), "it is not up (madang dev up)")?;
        return Ok(false);
    };
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&state)?)?;
    } else {
        show(&state, &mut out)?;
    }
    let gone: Vec<_> = state.processes.iter().filter(|process| !alive(process.pid)).collect();
    for process in &gone {
        let log = folder.join("log").join(format!("{}.log", process.name));
        writeln!(io::stderr(), "{} (pid {}) is gone; log: {}", process.name, process.pid, log.display())?;
    }
    Ok(gone.is_empty())
}

async fn reads(folder: &Path) -> anyhow::Result<()> {
    let state = State::read(folder)?.context("it is not up (madang dev up)")?;
    let address = |name: &str| state.backends.get(name).with_context(|| format!("the state names no {name}"));
    for (name, count) in reads::count(address("cassandra")?, address("postgres")?).await? {
        writeln!(io::stdout(), "{name} {count}")?;
    }
    Ok(())
}

fn down(folder: &Path) -> anyhow::Result<()> {
    if !state::locked(folder)? {
        State::remove(folder)?;
        writeln!(io::stderr(), "it is not up")?;
        return Ok(());
    }
    let state = State::read(folder)?.context("it is still coming up; try again in a moment")?;
    let pid = i32::try_from(state.supervisor).ok().and_then(Pid::from_raw).context("the state names no process")?;
    kill_process(pid, Signal::TERM).context("can't stop it")?;
    let end = Instant::now() + DOWN;
    // The backends stop after the services: their starter is the last to go.
    while state::locked(folder)? || alive(state.launcher) {
        ensure!(Instant::now() < end, "it did not stop in {DOWN:?}; see {}", folder.join("log").display());
        std::thread::sleep(LOOK);
    }
    State::remove(folder)
}
