//! A collector as operators run them: Rotel, which prints what it has understood.

use crate::PATIENCE;
use madang_mesh::serve::free;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

/// A collector at work; killed when this is dropped.
pub struct Rotel {
    /// Where it takes OTLP over gRPC.
    pub port: u16,
    log: PathBuf,
    _child: Child,
}

impl Rotel {
    /// Starts one, its files in a folder.
    pub async fn start(folder: &Path) -> Self {
        let started = tokio::time::timeout(PATIENCE, async {
            loop {
                // It can't be told to take any port and to say which: another may take this one meanwhile.
                if let Some(started) = Self::try_start(folder, [(); 2].map(|()| free().unwrap().port())).await {
                    return started;
                }
            }
        });
        started.await.unwrap_or_else(|_| panic!("{}", std::fs::read_to_string(folder.join("rotel.log")).unwrap()))
    }

    async fn try_start(folder: &Path, [port, http]: [u16; 2]) -> Option<Self> {
        let program = std::env::var("MADANG_TEST_COLLECTOR");
        let program =
            program.unwrap_or_else(|_| panic!("MADANG_TEST_COLLECTOR is not set: run the tests with `make test`"));
        let log = folder.join("rotel.log");
        let out = std::fs::File::create(&log).unwrap();
        let mut child = Command::new(program)
            .arg("start")
            .arg("--pid-file")
            .arg(folder.join("rotel.pid"))
            .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{port}")])
            .args(["--otlp-http-endpoint", &format!("127.0.0.1:{http}")])
            .args(["--exporter", "blackhole", "--debug-log-verbosity", "detailed"])
            .args(["traces", "metrics", "logs"].into_iter().flat_map(|kind| ["--debug-log", kind]))
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        loop {
            if child.try_wait().unwrap().is_some() {
                return None;
            }
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Some(Self { port, log, _child: child });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a block of what it prints has all of these words; the text that it has printed so far.
    pub async fn understands(&self, block: &str, words: &[&str]) -> String {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let text = String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned();
            if text.split(block).skip(1).any(|part| words.iter().all(|word| part.contains(word))) {
                return text;
            }
            assert!(tokio::time::Instant::now() < end, "no {block} with {words:?}: {text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
