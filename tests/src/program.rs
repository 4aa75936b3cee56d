//! The binaries, run as an operator runs them: `make test` builds them before the tests.

use crate::PATIENCE;
use madang_solo::dev::State;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// A program, beside this test's.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join(name);
    assert!(program.exists(), "{} is missing: cargo build --workspace --bins", program.display());
    program
}

/// `madang serve` as a process of its own; killed when this is dropped.
pub struct Server {
    /// Where clients connect.
    pub http: SocketAddr,
    /// Health and metrics.
    pub admin: SocketAddr,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts it on a folder, on free ports, with further flags and variables, and waits until it is ready.
    pub async fn start(folder: &Path, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let log = folder.join("serve.log");
        let any = ["--http", "--grpc", "--admin"].into_iter().flat_map(|flag| [flag, "127.0.0.1:0"]);
        let mut child = Command::new(program("madang"))
            .arg("serve")
            .arg("--data")
            .arg(folder.join("data"))
            .args(any)
            .args(["--argon2-kib", "8", "--send-rate", "0", "--drain-window", "0"])
            .args(flags)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = async {
            let (mut http, mut admin) = (None, None);
            while http.is_none() || admin.is_none() {
                let Some(line) = lines.next_line().await.unwrap() else { break };
                match line.split_once(' ') {
                    Some(("http", address)) => http = Some(address.parse().unwrap()),
                    Some(("admin", address)) => admin = Some(address.parse().unwrap()),
                    _ => {}
                }
            }
            (http, admin)
        };
        let Ok((Some(http), Some(admin))) = tokio::time::timeout(PATIENCE, ready).await else {
            panic!("it did not start: {}", std::fs::read_to_string(&log).unwrap())
        };
        Self { http, admin, child, log }
    }

    /// Tells it to stop, and waits until it has; gives how it ended and what it said.
    pub async fn stop(mut self) -> (ExitStatus, String) {
        let ended = end(&mut self.child).await;
        (ended, std::fs::read_to_string(&self.log).unwrap())
    }
}

/// Asks it to end, if it has not.
fn ask_to_end(child: &Child) {
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
        kill_process(pid, Signal::TERM).unwrap();
    }
}

async fn end(child: &mut Child) -> ExitStatus {
    ask_to_end(child);
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
    ended.unwrap_or_else(|_| panic!("it does not end")).unwrap()
}

/// All services as processes, on the backends of the tests: what `madang dev up` starts once these are there.
pub struct Services {
    /// What runs where.
    pub state: State,
    child: Child,
    folder: PathBuf,
}

impl Drop for Services {
    /// Killed, it would leave the services behind.
    fn drop(&mut self) {
        ask_to_end(&self.child);
    }
}

impl Services {
    /// Starts them, with flags and variables, and waits until all are ready.
    pub async fn start(folder: &Path, flags: &[&str], variables: &BTreeMap<&str, String>) -> Self {
        let folder = folder.join("dev");
        std::fs::create_dir_all(folder.join("log")).unwrap();
        let said = folder.join("said");
        let mut child = Command::new(program("madang"))
            .arg("dev")
            .arg("--folder")
            .arg(&folder)
            .arg("services")
            .args(flags)
            .envs(variables)
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let ready = async {
            loop {
                if let Some(state) = State::read(&folder).unwrap() {
                    return state;
                }
                let ended = child.try_wait().unwrap();
                assert!(ended.is_none(), "{}", std::fs::read_to_string(&said).unwrap());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let state = tokio::time::timeout(2 * PATIENCE, ready).await.unwrap_or_else(|_| panic!("they are not ready"));
        Self { state, child, folder }
    }

    /// Tells them to stop, and waits until they have; gives what each has said.
    pub async fn stop(mut self) -> BTreeMap<String, String> {
        assert!(end(&mut self.child).await.success());
        let log = |name: &str| std::fs::read_to_string(self.folder.join("log").join(format!("{name}.log"))).unwrap();
        self.state.processes.iter().map(|process| (process.name.clone(), log(&process.name))).collect()
    }
}
