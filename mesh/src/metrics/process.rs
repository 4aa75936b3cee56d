//! What the system knows of this process, under the names that all Prometheus clients give it.

use crate::metrics;
use prometheus::{Counter, IntGauge};
use std::{
    fs,
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

/// How many ticks a second has in /proc, on every Linux there is.
const TICKS: f64 = 100.0;
/// How many bytes a page has in /proc/self/statm; on machines with larger ones the number is too small.
const PAGE: i64 = 4096;

static RESIDENT: LazyLock<IntGauge> = LazyLock::new(|| {
    let help = "How many bytes of memory the process has.";
    metrics::gauge("process_resident_memory_bytes", help)
});
static CPU: LazyLock<Counter> = LazyLock::new(|| {
    let help = "How many seconds of CPU the process has used, in user and kernel.";
    metrics::seconds("process_cpu_seconds_total", help)
});
static THREADS: LazyLock<IntGauge> =
    LazyLock::new(|| metrics::gauge("madang_process_threads", "How many threads the process has."));
static FILES: LazyLock<IntGauge> =
    LazyLock::new(|| metrics::gauge("process_open_fds", "How many files and sockets the process has open."));
static START: LazyLock<IntGauge> = LazyLock::new(|| {
    let help = "When the process began to count, seconds since 1970.";
    let start = metrics::gauge("process_start_time_seconds", help);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    start.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    start
});

/// The seconds of CPU and the threads in /proc/self/stat, whose second field is a name that may hold anything.
fn stat(text: &str) -> Option<(f64, i64)> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some((ticks / TICKS, fields.get(17)?.parse().ok()?))
}

/// Looks; what can't be known, as on systems that are no Linux, stays as it was.
pub(super) fn look() {
    LazyLock::force(&START);
    let pages =
        fs::read_to_string("/proc/self/statm").ok().and_then(|text| text.split(' ').nth(1)?.parse::<i64>().ok());
    pages.into_iter().for_each(|pages| RESIDENT.set(pages * PAGE));
    if let Some((cpu, threads)) = fs::read_to_string("/proc/self/stat").ok().and_then(|text| stat(&text)) {
        // Two who look at once may count a moment twice.
        CPU.inc_by((cpu - CPU.get()).max(0.0));
        THREADS.set(threads);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        FILES.set(i64::try_from(files.count()).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_known() {
        let text = String::from_utf8(metrics::text()).unwrap();
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
            line.unwrap_or_else(|| panic!("{name} is not in {text}"))
                .rsplit_once(' ')
                .unwrap()
                .1
                .parse::<i64>()
                .unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1 << 20);
        assert!(value("process_open_fds") > 2 && value("madang_process_threads") > 0);
        assert!(value("process_start_time_seconds") > 1_700_000_000);
        let line = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 30 13 14 15 16 5 18";
        assert_eq!(stat(line), Some((2.8, 5)));
    }
}
