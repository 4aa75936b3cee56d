//! What is written down about a running cluster, for `status` and `down`.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// A running cluster.
#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    /// Who started the services and stops them when it is told to end.
    pub supervisor: u32,
    /// Who started the backends and stops them after the services.
    pub launcher: u32,
    /// Where the backends are.
    pub backends: BTreeMap<String, String>,
    /// The services.
    pub processes: Vec<Process>,
}

/// A service's process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Process {
    /// The service, and which one of several.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// Where it serves gRPC.
    pub grpc: String,
    /// Health and metrics.
    pub admin: String,
    /// Its public door, if it has one.
    pub http: Option<String>,
}

fn path(folder: &Path) -> PathBuf {
    folder.join("state.json")
}

impl State {
    /// What was written; none: nothing.
    pub fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        match std::fs::read(path(folder)) {
            Ok(text) => serde_json::from_slice(&text).map(Some).context("can't read the state: remove state.json"),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes it, so that nobody reads half of it.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let new = folder.join("state.new");
        std::fs::write(&new, serde_json::to_vec_pretty(self)?)?;
        Ok(std::fs::rename(new, path(folder))?)
    }

    /// Removes it, if it is there.
    pub fn remove(folder: &Path) -> anyhow::Result<()> {
        match std::fs::remove_file(path(folder)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// The lock of a running cluster's folder, held until it is dropped; none: another holds it.
pub fn lock(folder: &Path) -> anyhow::Result<Option<File>> {
    let file = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Whether a cluster runs there.
pub fn locked(folder: &Path) -> anyhow::Result<bool> {
    Ok(folder.exists() && lock(folder)?.is_none())
}
