//! What a process refuses or drops because somebody asks for too much: each time counted
//! (`madang_mesh_refused_total{what}`), and now and then said in one line that an operator can act on. The line names
//! what was full and which setting moves it; never an address, a token, a name or a text.

use prometheus::{IntCounter, IntCounterVec};
use std::{
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How often a line is written at most, for each kind of refusal.
const SAID: Duration = Duration::from_secs(10);

static REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "How many times something was refused, dropped or closed because a bound was reached.";
    crate::metrics::counters("madang_mesh_refused_total", help, &["what"])
});

/// One kind of refusal.
pub struct Refused {
    what: &'static str,
    advice: &'static str,
    counter: IntCounter,
    /// When a line was written, and how many there were since.
    said: Mutex<(Option<Instant>, u64)>,
}

impl Refused {
    /// `what`: the label, few words of `[a-z_]`; `advice`: what an operator may do about it.
    #[must_use]
    pub fn new(what: &'static str, advice: &'static str) -> Self {
        Self { what, advice, counter: REFUSED.with_label_values(&[what]), said: Mutex::default() }
    }

    /// It has happened once more.
    pub fn count(&self) {
        self.counter.inc();
        if let Some(times) = self.due(Instant::now()) {
            tracing::warn!(what = self.what, times, "refused: {}", self.advice);
        }
    }

    /// How many there were since the last line, if it is time for one.
    fn due(&self, now: Instant) -> Option<u64> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.1 += 1;
        let due = said.0.is_none_or(|at| now.saturating_duration_since(at) >= SAID);
        due.then(|| std::mem::replace(&mut *said, (Some(now), 0)).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_few_are_said() {
        let (refused, start) = (Refused::new("test", "nothing to do"), Instant::now());
        assert_eq!(refused.due(start), Some(1));
        assert!((0..1000).all(|_| refused.due(start + SAID / 2).is_none()));
        assert_eq!(refused.due(start + SAID), Some(1001));
        refused.count();
        let text = String::from_utf8(crate::metrics::text()).unwrap();
        assert!(text.contains("madang_mesh_refused_total{what=\"test\"} 1"), "{text}");
    }
}
