//! A sender whose providers answer as a test tells them to.
#![allow(dead_code)] // not every test needs all of it

use crate::alone::{self, Alone, SHARD, only, until};
use async_trait::async_trait;
use madang_notify::{
    notice::Notice,
    provider::{Provider, Told, Verdict},
    sender::{Origin, Push},
    store::Subscription,
    ticket::Progress,
};
use madang_proto::{
    id::{ConversationId, DeviceId},
    notify::v1::{Outcome, Provider as Name},
};
use std::{
    ops::Deref,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::sync::watch;
use uuid::Uuid;

pub const PATIENCE: Duration = Duration::from_secs(60);

/// What was sent: to which device, and which message.
pub type Sent = Arc<Mutex<Vec<(DeviceId, u64)>>>;

/// Takes at once what goes to `well`; anything else gets its answer when it is given.
pub struct Stub {
    pub answer: watch::Receiver<Option<Verdict>>,
    pub sent: Sent,
}

#[async_trait]
impl Provider for Stub {
    fn host(&self, to: &Subscription) -> String {
        to.target.host()
    }

    async fn send(&self, to: &Subscription, notice: &Notice) -> Told {
        self.sent.lock().unwrap().push((to.device, notice.seq));
        let verdict = match to.target.host().as_str() {
            "well" => Verdict::Sent,
            "small" if notice.preview.is_some() => return Told { verdict: Verdict::Refused, status: 413 },
            "small" => Verdict::Sent,
            "crowded" => return Told { verdict: Verdict::Less(Some(Duration::from_secs(1800))), status: 429 },
            // It ends with the test.
            _ => self.answer.clone().wait_for(Option::is_some).await.map_or(Verdict::Refused, |given| given.unwrap()),
        };
        Told { verdict, status: 0 }
    }
}

pub struct Stage {
    pub alone: Alone,
    pub answer: watch::Sender<Option<Verdict>>,
    pub sent: Sent,
    pub log: Progress,
}

impl Deref for Stage {
    type Target = Alone;

    fn deref(&self) -> &Alone {
        &self.alone
    }
}

impl Stage {
    pub fn set() -> Self {
        let (sent, (answer, given)) = (Sent::default(), watch::channel(None));
        let providers = only(Name::Webhook, Stub { answer: given, sent: sent.clone() });
        Self { alone: Alone::with(providers), answer, sent, log: Progress::from(0) }
    }

    pub async fn device(&self, host: &str) -> Subscription {
        self.alone.device(format!("https://{host}/{}", Uuid::new_v4())).await
    }

    /// Sends it as the next of the log.
    pub async fn send(&self, push: Push) {
        let ticket = self.log.take(self.log.read() + 1);
        let sent = tokio::time::timeout(PATIENCE, self.sender.send(push, Origin::Log(ticket))).await;
        assert!(sent.expect("there is room"));
    }

    /// What is kept for a device, of which messages.
    pub async fn kept(&self, of: &Subscription) -> Vec<u64> {
        let all = self.store.due(SHARD, i64::MAX, usize::MAX, Vec::new()).await.unwrap();
        all.iter().filter(|late| late.whom.1 == of.device).map(|late| late.seq).collect()
    }

    pub fn sent(&self, to: &Subscription) -> Vec<u64> {
        self.sent.lock().unwrap().iter().filter(|(device, _)| *device == to.device).map(|(_, seq)| *seq).collect()
    }

    pub fn outcomes(&self, of: &Subscription) -> Vec<Outcome> {
        let device = of.device.to_string();
        let all = self.reports.latest(100, |each| each.device == device);
        all.iter().rev().map(|each| each.outcome()).collect()
    }

    pub async fn all_written(&self) {
        until(async || self.log.done() == self.log.read()).await;
    }
}

/// A message of a conversation to a device. It is not looked at again, however slow this machine is.
pub fn push(to: &Subscription, conversation: ConversationId, seq: u64) -> Push {
    Push { checked: Instant::now() + Duration::from_secs(3600), ..alone::push(to, conversation, seq) }
}
