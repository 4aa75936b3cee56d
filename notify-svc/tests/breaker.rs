//! Which answers say that a host is not well, so that it is left alone, and which are of a device alone.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

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
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Answers all in one way.
struct Stub {
    verdict: Verdict,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl Provider for Stub {
    fn host(&self, to: &Subscription) -> String {
        to.target.host()
    }

    async fn send(&self, _: &Subscription, _: &Notice) -> Told {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Told { verdict: self.verdict, status: 0 }
    }
}

/// How many devices of a host are asked after that were to be told one after the other, where it answers so; and what became of
/// the last of them.
async fn asked(verdict: Verdict) -> (usize, Outcome) {
    let asked = Arc::<AtomicUsize>::default();
    let alone = Alone::with(only(Name::Webhook, Stub { verdict, asked: asked.clone() }));
    let log = Progress::from(0);
    for position in 1..=12 {
        let to = alone.device(format!("https://host/{}", Uuid::new_v4())).await;
        let checked = Instant::now() + Duration::from_secs(3600);
        let push = Push { checked, ..push(&to, ConversationId::new(), 1) };
        assert!(alone.sender.send(push, Origin::Log(log.take(position))).await);
        until(async || log.done() >= position).await;
    }
    (asked.load(Ordering::Relaxed), alone.reports.latest(1, |_| true)[0].outcome())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_a_device_alone_is_in_no_others_way() {
    assert_eq!(asked(Verdict::Sent).await, (12, Outcome::Sent));
    assert_eq!(asked(Verdict::Gone).await, (12, Outcome::Gone));
    assert_eq!(asked(Verdict::Refused).await, (12, Outcome::Refused));
    assert_eq!(asked(Verdict::Mismatch).await, (12, Outcome::Later));
    assert_eq!(asked(Verdict::Less(None)).await, (12, Outcome::Later), "it answers, but not to so many");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_fails_again_and_again_is_left_alone() {
    assert_eq!(asked(Verdict::Later(None)).await, (8, Outcome::Later));
    let minute = Some(Duration::from_secs(60));
    assert_eq!(asked(Verdict::Later(minute)).await, (1, Outcome::Later), "at once, where it asks for that");
    assert_eq!(asked(Verdict::Less(minute)).await, (8, Outcome::Later), "of devices one by one, and then for all");
}
