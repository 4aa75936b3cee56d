//! A process that is tortured: started, killed, paused, stopped and started again, always with the same ports and data.
//! One that ends by itself is started again after a second, as any cluster does it; that is noted, and is a fault unless
//! it just could not start.

use crate::Error;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs::File,
    net::SocketAddr,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex as Lock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
    sync::Mutex,
    time::{Instant, sleep, timeout},
};

/// How long a process may take to end when it is told to.
const END: Duration = Duration::from_secs(30);
/// How long after a process has ended by itself it is started again.
const AGAIN: Duration = Duration::from_secs(1);
/// The status of a service that can't start, since what it needs is away.
const CANNOT_START: i32 = 1;
/// The same of a Cassandra node that finds none of the others which are started with it.
const ALONE: i32 = 3;
/// How often is looked whether a process lives and is ready.
const LOOK: Duration = Duration::from_millis(250);
/// How long it may take to say that it is ready.
const PATIENCE: Duration = Duration::from_secs(1);

/// What kind of process; and the links between them, which can be tortured as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The door for WebSockets.
    Gateway,
    /// Homes.
    Chat,
    /// The projection to Cassandra.
    Store,
    /// The projection to Postgres.
    Group,
    /// People and sessions.
    Account,
    /// Notifications.
    Notify,
    /// The door for HTTP.
    Api,
    /// The servers of the log.
    Nats,
    /// The database of messages.
    Cassandra,
    /// The database of groups and accounts.
    Postgres,
    /// What is between them.
    Link,
}

impl Kind {
    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Gateway => "gateway",
            Kind::Chat => "chat",
            Kind::Store => "store",
            Kind::Group => "group",
            Kind::Account => "account",
            Kind::Notify => "notify",
            Kind::Api => "api",
            Kind::Nats => "nats",
            Kind::Cassandra => "cassandra",
            Kind::Postgres => "postgres",
            Kind::Link => "link",
        }
    }
}

/// How it shows that a process wants work.
#[derive(Debug, Clone, Copy)]
pub enum Ready {
    /// It listens.
    Listens(SocketAddr),
    /// It answers a GET of this path with 200.
    Says(SocketAddr, &'static str),
}

/// How a process is started.
#[derive(Debug, Clone)]
pub struct Program {
    /// The kind, and which one of several.
    pub name: String,
    /// What kind of process it is.
    pub kind: Kind,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// What is added to its environment.
    pub variables: BTreeMap<String, String>,
    /// Where what it says goes.
    pub log: PathBuf,
    /// How it shows that it wants work.
    pub ready: Ready,
    /// What asks it to end.
    pub end: Signal,
}

impl Program {
    fn spawn(&self) -> std::io::Result<Child> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let (program, arguments) = self.command.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
        Command::new(program)
            .args(arguments)
            .envs(&self.variables)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for who tortures: it ends them in its order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// A process.
#[derive(Debug)]
pub struct Server {
    /// How it is started.
    pub program: Program,
    /// Whether it wants work, as it was found a moment ago.
    pub ready: Arc<AtomicBool>,
    /// How often it could not start, since what it needs was away.
    pub failed_starts: AtomicU64,
    /// With which status it has ended by itself, each time.
    exits: Lock<Vec<String>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    child: Option<Child>,
    /// Whether it should run.
    wanted: bool,
    /// Whether it was ready since it was started.
    served: bool,
    ended: Option<Instant>,
}

impl State {
    /// The process and all that it has started.
    fn family(&self) -> Vec<Pid> {
        let pid = self.child.as_ref().and_then(Child::id).and_then(|pid| Pid::from_raw(pid.cast_signed()));
        pid.map(family).unwrap_or_default()
    }

    fn signal_all(&self, signal: Signal) {
        for pid in self.family() {
            // One that has gone meanwhile needs none.
            let _ = kill_process(pid, signal);
        }
    }
}

/// A process and its descendants, it first: Postgres has many, each in a session of its own.
fn family(parent: Pid) -> Vec<Pid> {
    let mut parents: Vec<(i32, i32)> = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(text) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // PID (NAME) STATE PARENT …, and the name may hold anything.
        let rest = text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace());
        if let Some(of) = rest.and_then(|mut rest| rest.nth(1)?.parse().ok()) {
            parents.push((pid, of));
        }
    }
    let mut all = vec![parent.as_raw_nonzero().get()];
    let mut next = 0;
    while let Some(&of) = all.get(next) {
        all.extend(parents.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| *pid));
        next += 1;
    }
    all.into_iter().filter_map(Pid::from_raw).collect()
}

impl Server {
    /// One that does not run yet; `ready` will say whether it wants work.
    #[must_use]
    pub fn new(program: Program, ready: Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self {
            program,
            ready,
            failed_starts: AtomicU64::new(0),
            exits: Lock::default(),
            state: Mutex::default(),
        })
    }

    /// With which status it has ended by itself, each time: with a panic, a signal, or after it had served.
    #[must_use]
    pub fn exits(&self) -> Vec<String> {
        self.exits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts it; [`Server::tend`] keeps it running.
    pub async fn start(&self) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        state.wanted = true;
        if state.child.is_none() {
            let failed = |error| Error::File(format!("can't start {}", self.program.name), error);
            state.child = Some(self.program.spawn().map_err(failed)?);
            state.served = false;
        }
        Ok(())
    }

    /// Kills it, with all that it has started, and does not start it again.
    pub async fn kill(&self) {
        let mut state = self.state.lock().await;
        self.note_end(&mut state);
        state.wanted = false;
        state.signal_all(Signal::KILL);
        self.ready.store(false, Relaxed);
        if let Some(mut child) = state.child.take() {
            let _ = child.wait().await;
        }
    }

    /// Asks it to end and waits for that; false: it had to be killed.
    pub async fn stop(&self) -> bool {
        let mut state = self.state.lock().await;
        self.note_end(&mut state);
        state.wanted = false;
        if let Some(pid) = state.family().first() {
            let _ = kill_process(*pid, self.program.end);
        }
        let Some(child) = &mut state.child else { return true };
        let gentle = timeout(END, child.wait()).await.is_ok();
        if !gentle {
            state.signal_all(Signal::KILL);
        }
        self.ready.store(false, Relaxed);
        if let Some(mut child) = state.child.take() {
            let _ = child.wait().await;
        }
        gentle
    }

    /// Stops its time.
    pub async fn pause(&self) {
        self.state.lock().await.signal_all(Signal::STOP);
        self.ready.store(false, Relaxed);
    }

    /// Lets it go on.
    pub async fn resume(&self) {
        self.state.lock().await.signal_all(Signal::CONT);
    }

    /// Looks after it: whether it is ready, and that it runs if it should. Runs until it is dropped.
    pub async fn tend(&self) {
        loop {
            let ready = self.is_ready().await;
            self.ready.store(ready, Relaxed);
            if let Ok(mut state) = self.state.try_lock() {
                state.served |= ready;
                self.revive(&mut state);
            }
            sleep(LOOK).await;
        }
    }

    /// Takes note of it if the process has ended by itself.
    fn note_end(&self, state: &mut State) {
        if let (true, Some(child)) = (state.wanted, &mut state.child)
            && let Ok(Some(status)) = child.try_wait()
        {
            let cannot = if self.program.kind == Kind::Cassandra { ALONE } else { CANNOT_START };
            if status.code() == Some(cannot) && !state.served {
                self.failed_starts.fetch_add(1, Relaxed);
            } else {
                self.exits.lock().unwrap_or_else(PoisonError::into_inner).push(status.to_string());
            }
            (state.child, state.ended) = (None, Some(Instant::now()));
        }
    }

    fn revive(&self, state: &mut State) {
        if !state.wanted {
            return;
        }
        self.note_end(state);
        if state.child.is_none() && state.ended.is_none_or(|ended| ended.elapsed() > AGAIN) {
            // A failure is tried again, and shows as a process that never becomes ready.
            state.child = self.program.spawn().ok();
            (state.served, state.ended) = (false, Some(Instant::now()));
        }
    }

    async fn is_ready(&self) -> bool {
        let asked = async {
            match self.program.ready {
                Ready::Listens(address) => TcpStream::connect(address).await.map(drop).map(|()| true),
                Ready::Says(address, path) => {
                    let mut stream = TcpStream::connect(address).await?;
                    let ask = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
                    stream.write_all(ask.as_bytes()).await?;
                    let mut status = [0; 12];
                    stream.read_exact(&mut status).await?;
                    Ok(status.ends_with(b"200"))
                }
            }
        };
        matches!(timeout(PATIENCE, asked).await, Ok(Ok::<bool, std::io::Error>(true)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(folder: &std::path::Path, script: &str) -> Arc<Server> {
        let program = Program {
            name: "sleeper".into(),
            kind: Kind::Api,
            command: ["sh", "-c", script].map(String::from).into(),
            variables: BTreeMap::new(),
            log: folder.join("log"),
            ready: Ready::Listens(([127, 0, 0, 1], 1).into()),
            end: Signal::TERM,
        };
        Server::new(program, Arc::default())
    }

    fn state(pid: Pid) -> Option<char> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        text.rsplit_once(')')?.1.trim().chars().next()
    }

    async fn until(what: impl AsyncFn() -> bool) {
        timeout(Duration::from_secs(20), async {
            while !what().await {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
    }

    fn folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("madang-server-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[tokio::test]
    async fn who_cannot_start_is_told_from_who_fails() {
        for (script, served, failed_starts, exits) in [
            ("exit 1", false, 1, vec![]),
            ("exit 1", true, 0, vec!["exit status: 1".to_owned()]),
            ("exit 101", false, 0, vec!["exit status: 101".to_owned()]),
            ("kill -SEGV $$", false, 0, vec!["signal: 11 (SIGSEGV)".to_owned()]),
        ] {
            let folder = folder();
            let server = shell(&folder, script);
            server.start().await.unwrap();
            server.state.lock().await.served = served;
            until(async || {
                let mut state = server.state.lock().await;
                server.note_end(&mut state);
                state.child.is_none()
            })
            .await;
            server.kill().await;
            assert_eq!((server.failed_starts.load(Relaxed), server.exits()), (failed_starts, exits), "{script}");
            std::fs::remove_dir_all(folder).unwrap();
        }
    }

    #[tokio::test]
    async fn a_family_is_paused_and_killed_and_what_ends_by_itself_is_started_again() {
        let folder = folder();
        let server = shell(&folder, "sleep 1000 & wait");
        server.start().await.unwrap();
        let tending = tokio::spawn({
            let server = server.clone();
            async move { server.tend().await }
        });
        until(async || server.state.lock().await.family().len() == 2).await;
        let family = server.state.lock().await.family();
        server.pause().await;
        until(async || family.iter().all(|pid| state(*pid) == Some('T'))).await;
        server.resume().await;
        until(async || family.iter().all(|pid| state(*pid) != Some('T'))).await;
        kill_process(family[0], Signal::KILL).unwrap();
        until(async || server.exits().len() == 1 && server.state.lock().await.family().len() == 2).await;
        // The first one's child has no parent any more, and is nobody's.
        kill_process(family[1], Signal::KILL).unwrap();
        let family = server.state.lock().await.family();
        server.kill().await;
        until(async || family.iter().all(|pid| matches!(state(*pid), None | Some('Z')))).await;
        assert_eq!(server.exits(), ["signal: 9 (SIGKILL)"], "who is killed has not ended by itself");
        tending.abort();
        std::fs::remove_dir_all(folder).unwrap();
    }
}
