//! What waits for its provider to be ready is as it is when that is: not as it was when it was found.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // a test: a panic is its failure

#[path = "shared/alone.rs"]
mod alone;

use alone::{Alone, only, push, until};
use async_trait::async_trait;
use madang_notify::{
    notice::Notice,
    provider::{Provider, Told, Verdict},
    sender::{Origin, Push},
    store::Subscription,
    ticket::Progress,
};
use madang_proto::{
    id::ConversationId,
    notify::v1::{Outcome, Provider as Name},
};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Takes everything, but is ready only when it is told to be.
struct Unready {
    /// It was asked, and may answer.
    asked: watch::Sender<bool>,
    go: watch::Receiver<bool>,
    sent: Arc<Mutex<Vec<u64>>>,
}

#[async_trait]
impl Provider for Unready {
    fn host(&self, _: &Subscription) -> String {
        "unready".into()
    }

    async fn ready(&self) -> Result<(), Told> {
        self.asked.send_replace(true);
        // It ends with the test.
        let _ = self.go.clone().wait_for(|go| *go).await;
        Ok(())
    }

    async fn send(&self, _: &Subscription, notice: &Notice) -> Told {
        self.sent.lock().unwrap().push(notice.seq);
        Told { verdict: Verdict::Sent, status: 200 }
    }
}

/// One device, whose provider is not ready.
struct Waits {
    alone: Alone,
    phone: Subscription,
    asking: watch::Receiver<bool>,
    go: watch::Sender<bool>,
    sent: Arc<Mutex<Vec<u64>>>,
    log: Progress,
}

impl Waits {
    async fn set() -> Self {
        let (sent, (go, given), (asked, asking)) =
            (Arc::<Mutex<Vec<u64>>>::default(), watch::channel(false), watch::channel(false));
        let providers = only(Name::Fcm, Unready { asked, go: given, sent: sent.clone() });
        let alone = Alone::with(providers);
        let mut phone = alone.device("token".into()).await;
        phone.target.provider = Name::Fcm;
        Self { alone, phone, asking, go, sent, log: Progress::from(0) }
    }

    /// Sends it as the next of the log.
    async fn send(&self, push: Push) {
        assert!(self.alone.sender.send(push, Origin::Log(self.log.take(self.log.read() + 1))).await);
    }

    /// It is ready; what was sent when all is written.
    async fn goes(&self) -> Vec<u64> {
        self.go.send_replace(true);
        until(async || self.log.done() == self.log.read()).await;
        self.sent.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_waited_for_its_provider_to_be_ready_is_looked_at_again_before_it_is_sent() {
    let mut waits = Waits::set().await;
    let first = push(&waits.phone, ConversationId::new(), 1);
    let found = first.checked;
    waits.send(first).await;
    waits.asking.wait_for(|asked| *asked).await.unwrap();
    until(async || found.elapsed() > Duration::from_secs(1)).await;
    assert_eq!(waits.goes().await, [0; 0]);
    // Here nobody can say whether it is still to be sent.
    let all = waits.alone.reports.latest(100, |_| true);
    assert_eq!(all.iter().map(|each| each.outcome()).collect::<Vec<_>>(), [Outcome::Later]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_behind_one_that_is_about_to_go_is_told_of_if_that_one_is_taken_back() {
    for (behind, expected) in [(5, &[6][..]), (6, &[])] {
        let mut waits = Waits::set().await;
        let here = ConversationId::new();
        waits.send(stays(&waits.phone, here, 6)).await;
        waits.asking.wait_for(|asked| *asked).await.unwrap();
        waits.send(stays(&waits.phone, here, behind)).await;
        waits.alone.sender.amended.note(here, 6, None);
        assert_eq!(waits.goes().await, expected);
    }
}

/// A message that is not looked at again, however slow this machine is.
fn stays(to: &Subscription, conversation: ConversationId, seq: u64) -> Push {
    Push { checked: Instant::now() + Duration::from_secs(3600), ..push(to, conversation, seq) }
}
