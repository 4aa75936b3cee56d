//! What became of pushes: counted by provider and outcome, and the latest kept one by one.

use crate::{provider::label, sender::Push};
use madang_mesh::{clock::now_ms, metrics};
use madang_proto::notify::v1::{Delivery, Outcome};
use prometheus::{HistogramVec, IntCounter, IntCounterVec};
use std::{
    collections::VecDeque,
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// How many are kept one by one.
const KEPT: usize = 10_000;
/// Seconds: close together about how long devices have to show that they have a message, and up to an hour, when none is
/// sent any more.
const BUCKETS: &[f64] =
    &[0.1, 0.25, 0.5, 1.0, 1.5, 1.6, 1.7, 1.8, 2.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0];

static PUSHES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "What became of pushes, by who carries them.";
    metrics::counters("madang_notify_pushes_total", help, &["provider", "outcome"])
});
static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let help = "From a message to its push's having been taken, in seconds, by who carries it.";
    metrics::histograms("madang_notify_push_seconds", help, &["provider"], BUCKETS)
});
static OLD: LazyLock<IntCounter> = LazyLock::new(|| {
    let help = "Messages that nobody was notified of, since they were an hour old when they could have been.";
    metrics::counter("madang_notify_too_old_total", help)
});

/// What has become of pushes.
#[derive(Default)]
pub struct Reports {
    latest: Mutex<VecDeque<Delivery>>,
    sent: AtomicU64,
    seen: AtomicU64,
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Unspecified => "none",
        Outcome::Sent => "sent",
        Outcome::Later => "later",
        Outcome::Gone => "gone",
        Outcome::Refused => "refused",
        Outcome::Dropped => "dropped",
        Outcome::Moot => "moot",
    }
}

impl Reports {
    /// A message was read from the log.
    pub fn seen(&self) {
        self.seen.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages were too old to notify anybody.
    pub fn too_old(&self, count: u64) {
        OLD.inc_by(count);
    }

    /// Something has become of a push.
    pub fn add(&self, push: &Push, outcome: Outcome, status: u16) {
        let now = now_ms();
        let provider = push.to.target.provider;
        let took_ms = (now - push.at_ms).max(0).unsigned_abs();
        PUSHES.with_label_values(&[label(provider), word(outcome)]).inc();
        if outcome == Outcome::Sent {
            self.sent.fetch_add(1, Ordering::Relaxed);
            #[allow(clippy::cast_precision_loss)] // milliseconds of at most an hour
            SECONDS.with_label_values(&[label(provider)]).observe(took_ms as f64 / 1000.0);
        }
        let delivery = Delivery {
            user: push.to.user.to_string(),
            device: push.to.device.to_string(),
            conversation: push.conversation.to_string(),
            seq: push.seq,
            r#type: push.kind.into(),
            provider: provider.into(),
            outcome: outcome.into(),
            status: status.into(),
            tries: push.tries + 1,
            at: now,
            took_ms,
        };
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.len() >= KEPT {
            latest.pop_front();
        }
        latest.push_back(delivery);
    }

    /// The latest that fulfil a condition, the latest first.
    #[must_use]
    pub fn latest(&self, limit: usize, wanted: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.iter().rev().filter(|each| wanted(each)).take(limit).cloned().collect()
    }

    /// Messages read, pushes taken.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.seen.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed))
    }
}
