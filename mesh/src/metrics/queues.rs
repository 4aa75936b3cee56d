//! How full queues are: looked up when somebody wants to know, so that it costs nothing else.

use crate::metrics;
use prometheus::IntGaugeVec;
use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::mpsc::Sender;

/// How many waiting, how many at most; none: the queue is gone.
type Look = Box<dyn Fn() -> Option<(usize, usize)> + Send>;

/// After so many new ones those that are gone are forgotten, if nobody has looked.
const MANY: usize = 1024;

static QUEUES: Mutex<Vec<(&'static str, Look)>> = Mutex::new(Vec::new());

static DEPTH: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "How many wait in a queue now: in the fullest of its kind in the process.";
    metrics::gauges("madang_queue_depth", help, &["queue"])
});
static BOUND: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "How many may wait in it.";
    metrics::gauges("madang_queue_bound", help, &["queue"])
});

fn lock() -> MutexGuard<'static, Vec<(&'static str, Look)>> {
    QUEUES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows how full a queue is, for as long as it is there. `name`: its kind, few words of `[a-z_]`; `_what`: what waits in
/// it, for docs/metrics.md.
pub fn queue<T: Send + 'static>(name: &'static str, _what: &'static str, sender: &Sender<T>) {
    let weak = sender.downgrade();
    let look = move || {
        let sender = weak.upgrade()?;
        Some((sender.max_capacity() - sender.capacity(), sender.max_capacity()))
    };
    let mut queues = lock();
    if queues.len() >= MANY {
        queues.retain(|(_, look)| look().is_some());
    }
    queues.push((name, Box::new(look)));
}

/// Looks at all of them.
pub(super) fn look() {
    let mut fullest: BTreeMap<&'static str, (usize, usize)> = BTreeMap::new();
    lock().retain(|(name, look)| {
        let found = look();
        let known = fullest.entry(name).or_default();
        *known = found.map_or(*known, |found| found.max(*known));
        found.is_some()
    });
    for (name, (depth, bound)) in fullest {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        DEPTH.with_label_values(&[name]).set(number(depth));
        if bound > 0 {
            BOUND.with_label_values(&[name]).set(number(bound));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_fullest_of_a_kind_shows_and_none_once_they_are_gone() {
        let shown = |line: &str| String::from_utf8(metrics::text()).unwrap().lines().any(|each| each == line);
        let (one, first) = tokio::sync::mpsc::channel(10);
        let (other, _second) = tokio::sync::mpsc::channel(10);
        queue("test", "things", &one);
        queue("test", "things", &other);
        for n in 0..3 {
            one.send(n).await.unwrap();
        }
        other.send(0).await.unwrap();
        assert!(shown("madang_queue_depth{queue=\"test\"} 3") && shown("madang_queue_bound{queue=\"test\"} 10"));
        drop((one, first));
        assert!(shown("madang_queue_depth{queue=\"test\"} 1"));
        drop(other);
        assert!(shown("madang_queue_depth{queue=\"test\"} 0"));
    }
}
