//! Who carries a push to a device: one port, an adapter for each.

pub mod apns;
pub mod fcm;
pub mod jwt;
pub mod web;
pub mod webhook;

use crate::{
    http::{Answer, Failed},
    notice::Notice,
    store::Subscription,
};
use async_trait::async_trait;
use http::Uri;
use madang_mesh::{clock::now_ms, refused::Said};
use madang_proto::notify::v1::Provider as Name;
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What becomes of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken.
    Sent,
    /// Not now; after that time, if it was said.
    Later(Option<Duration>),
    /// Not so many: to this device, or at all; and after which time, if it was said.
    Less(Option<Duration>),
    /// The device is another app's or project's, it says: so it is, or ours is set wrongly. Nothing is dropped for that.
    Mismatch,
    /// The device is not known any more.
    Gone,
    /// Never.
    Refused,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// In short.
    pub verdict: Verdict,
    /// The HTTP status; 0: none came.
    pub status: u16,
}

impl Told {
    /// Nothing was sent: it can't be.
    #[must_use]
    pub fn never() -> Self {
        Self { verdict: Verdict::Refused, status: 0 }
    }

    /// No answer came of what was called.
    #[must_use]
    pub fn failed(by: Name, called: &Uri, why: Failed) -> Self {
        let (provider, host) = (label(by), called.host().unwrap_or_default());
        match due(&SAID, (by, why), Instant::now()) {
            Some(times) => tracing::warn!(provider, host, %why, times, "a push service does not answer"),
            None => tracing::debug!(provider, host, %why, "a push service does not answer"),
        }
        let verdict = if why == Failed::Request { Verdict::Refused } else { Verdict::Later(None) };
        Self { verdict, status: 0 }
    }

    /// Not taken, and the answer broke off before it said why: nothing is dropped for that.
    #[must_use]
    pub fn unexplained(answer: &Answer) -> Self {
        let status = answer.status.as_u16();
        let not_now = if status == 429 { Verdict::Less } else { Verdict::Later };
        Self { verdict: not_now(answer.retry_after), status }
    }

    /// Says where it was not taken for what may be ours to mend.
    #[must_use]
    pub fn said(self, by: Name) -> Self {
        let is_ours = match self.verdict {
            Verdict::Mismatch => true,
            Verdict::Later(None) => matches!(self.status, 400..=499) && !matches!(self.status, 408 | 425),
            _ => false,
        };
        let due = is_ours.then(|| due(&OURS, (by, self.status), Instant::now())).flatten();
        if let Some(times) = due {
            let (provider, status) = (label(by), self.status);
            tracing::warn!(provider, status, times, "a push service refuses us, or says that devices are another's");
        }
        self
    }

    /// What an answer says by its status alone, where it means what HTTP means by it.
    #[must_use]
    pub fn of(answer: &Answer) -> Self {
        let status = answer.status.as_u16();
        let verdict = match status {
            200..=299 => Verdict::Sent,
            404 | 410 => Verdict::Gone,
            // 401, 403: our key or clock; 3xx: nobody is followed.
            429 => Verdict::Less(answer.retry_after),
            408 | 425 | 500..=599 => Verdict::Later(answer.retry_after),
            _ => Verdict::Refused,
        };
        Self { verdict, status }
    }
}

/// What was said of each provider, and of what: a warning now and then, since users name hosts at will.
type AllSaid<K> = Mutex<HashMap<(Name, K), Said>>;

/// Why they did not answer.
static SAID: LazyLock<AllSaid<Failed>> = LazyLock::new(Mutex::default);
/// With which status they refused what may be ours to mend.
static OURS: LazyLock<AllSaid<u16>> = LazyLock::new(Mutex::default);

/// It has happened once more: how often since it was said, if it is time to say so.
fn due<K: Eq + Hash>(said: &AllSaid<K>, what: (Name, K), now: Instant) -> Option<u64> {
    said.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default().due(now)
}

/// The time, seconds since 1970. Tests have their own.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The server's.
#[must_use]
pub fn clock() -> Clock {
    Arc::new(|| now_ms() / 1000)
}

/// Carries pushes.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Whose health a push to this device depends on.
    fn host(&self, to: &Subscription) -> String;

    /// Gets what is needed before anything can be sent; why that can't be had. It may take long, so whether a push is still
    /// to be sent is looked at after it.
    async fn ready(&self) -> Result<(), Told> {
        Ok(())
    }

    /// Tells a device. What is too long is shortened.
    async fn send(&self, to: &Subscription, notice: &Notice) -> Told;
}

/// Those that are configured.
#[derive(Clone, Default)]
pub struct Providers(HashMap<Name, Arc<dyn Provider>>);

impl Providers {
    /// Adds one.
    pub fn add(&mut self, name: Name, provider: impl Provider) {
        self.0.insert(name, Arc::new(provider));
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, name: Name) -> Option<&Arc<dyn Provider>> {
        self.0.get(&name)
    }
}

/// A provider's label among metrics.
#[must_use]
pub fn label(name: Name) -> &'static str {
    match name {
        Name::WebPush => "web_push",
        Name::Fcm => "fcm",
        Name::Apns => "apns",
        Name::Webhook => "webhook",
        Name::Unspecified => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_mesh::refused::SAID as OFTEN;

    #[test]
    fn what_fails_again_and_again_is_said_now_and_then() {
        let (all, start) = (AllSaid::default(), Instant::now());
        let due = |what, now| due(&all, what, now);
        let dead = (Name::WebPush, Failed::Refused);
        assert_eq!(due(dead, start), Some(1));
        assert!((0..1000).all(|_| due(dead, start + OFTEN / 2).is_none()));
        assert_eq!(due((Name::WebPush, Failed::Tls), start + OFTEN / 2), Some(1), "another reason");
        assert_eq!(due((Name::Apns, Failed::Refused), start + OFTEN / 2), Some(1), "another provider");
        assert_eq!(due(dead, start + OFTEN), Some(1001));
    }
}
