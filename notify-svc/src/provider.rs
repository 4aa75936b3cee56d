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
use madang_proto::notify::v1::Provider as Name;
use std::{collections::HashMap, sync::Arc, time::Duration};

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

    /// No answer came.
    #[must_use]
    pub fn failed(error: &Failed) -> Self {
        let verdict = if matches!(error, Failed::Request) { Verdict::Refused } else { Verdict::Later(None) };
        Self { verdict, status: 0 }
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
