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
use madang_mesh::refused::Said;
use madang_proto::notify::v1::Provider as Name;
use std::{
    collections::HashMap,
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
        let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
        let due = said.entry((by, why)).or_default().due(Instant::now());
        drop(said);
        match due {
            Some(times) => tracing::warn!(provider, host, %why, times, "a push service does not answer"),
            None => tracing::debug!(provider, host, %why, "a push service does not answer"),
        }
        let verdict = if why == Failed::Request { Verdict::Refused } else { Verdict::Later(None) };
        Self { verdict, status: 0 }
    }

    /// Not taken, and the answer broke off before it said why: nothing is dropped for that.
    #[must_use]
    pub fn unexplained(answer: &Answer) -> Self {
        Self { verdict: Verdict::Later(answer.retry_after), status: answer.status.as_u16() }
    }

    /// What an answer says by its status alone, where it means what HTTP means by it.
    #[must_use]
    pub fn of(answer: &Answer) -> Self {
        let status = answer.status.as_u16();
        let verdict = match status {
            200..=299 => Verdict::Sent,
            404 | 410 => Verdict::Gone,
            // 401, 403: our key or clock; 3xx: nobody is followed.
            408 | 425 | 429 | 500..=599 => Verdict::Later(answer.retry_after),
            _ => Verdict::Refused,
        };
        Self { verdict, status }
    }
}

/// What was said of each provider and reason, which is a warning now and then: users name hosts at will.
static SAID: LazyLock<Mutex<HashMap<(Name, Failed), Said>>> = LazyLock::new(Mutex::default);

/// Carries pushes.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Whose health a push to this device depends on.
    fn host(&self, to: &Subscription) -> String;

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
        let (mut all, start) = (HashMap::<(Name, Failed), Said>::new(), Instant::now());
        let mut due = |what, now| all.entry(what).or_default().due(now);
        let dead = (Name::WebPush, Failed::Refused);
        assert_eq!(due(dead, start), Some(1));
        assert!((0..1000).all(|_| due(dead, start + OFTEN / 2).is_none()));
        assert_eq!(due((Name::WebPush, Failed::Tls), start + OFTEN / 2), Some(1), "another reason");
        assert_eq!(due((Name::Apns, Failed::Refused), start + OFTEN / 2), Some(1), "another provider");
        assert_eq!(due(dead, start + OFTEN), Some(1001));
    }
}
