//! What processes use, as Linux tells it in /proc.

use std::{fs, time::Duration};

/// CPU time and memory of processes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub memory: u64,
}

/// Linux's unit of CPU time in /proc (`USER_HZ`), fixed for all architectures that we know.
const TICKS: u64 = 100;

impl Usage {
    /// Of some processes, added up; those that are gone count as nothing.
    #[must_use]
    pub fn of(pids: &[u32]) -> Self {
        pids.iter()
            .filter_map(|pid| read(&pid.to_string()))
            .fold(Self::default(), |sum, one| Self { cpu: sum.cpu + one.cpu, memory: sum.memory + one.memory })
    }

    /// Of this process.
    #[must_use]
    pub fn own() -> Self {
        read("self").unwrap_or_default()
    }
}

fn read(pid: &str) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold blanks; what follows does not.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(Usage { cpu: Duration::from_millis((user + system) * 1000 / TICKS), memory: kib * 1024 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory() {
        assert!(Usage::own().memory > 0);
        assert_eq!(Usage::of(&[std::process::id()]).memory / (64 << 20), Usage::own().memory / (64 << 20));
    }
}
