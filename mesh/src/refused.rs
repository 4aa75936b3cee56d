//! What a process refuses or drops because somebody asks for too much: each time counted
//! (`madang_mesh_refused_total{what}`), and now and then said in one line that an operator can act on. The line names
//! what was full and which setting moves it; never an address, a token, a name or a text.

use prometheus::{IntCounter, IntCounterVec};
use std::{
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How often a line is written at most, for each kind of refusal.
pub const SAID: Duration = Duration::from_secs(10);

static REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "How many times something was refused, dropped or closed because a bound was reached.";
    crate::metrics::counters("madang_mesh_refused_total", help, &["what"])
});

/// When a line of a kind was written, and how often it has happened since.
#[derive(Debug, Default)]
pub struct Said(Option<Instant>, u64);

impl Said {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(None, 0)
    }

    /// It has happened once more: how often since the last line, if it is time for one.
    pub fn due(&mut self, now: Instant) -> Option<u64> {
        self.1 += 1;
        let due = self.0.is_none_or(|at| now.saturating_duration_since(at) >= SAID);
        due.then(|| std::mem::replace(self, Self(Some(now), 0)).1)
    }
}

/// One kind of refusal.
pub struct Refused {
    what: &'static str,
    advice: &'static str,
    counter: IntCounter,
    said: Mutex<Said>,
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
        let due = self.said.lock().unwrap_or_else(PoisonError::into_inner).due(Instant::now());
        if let Some(times) = due {
            tracing::warn!(what = self.what, times, "refused: {}", self.advice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_few_are_said() {
        let (mut said, start) = (Said::default(), Instant::now());
        assert_eq!(said.due(start), Some(1));
        assert!((0..1000).all(|_| said.due(start + SAID / 2).is_none()));
        assert_eq!(said.due(start + SAID), Some(1001));
        Refused::new("test", "nothing to do").count();
        let text = String::from_utf8(crate::metrics::text()).unwrap();
        assert!(text.contains("madang_mesh_refused_total{what=\"test\"} 1"), "{text}");
    }
}
