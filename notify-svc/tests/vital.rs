//! notify-svc ends where a part of it panics that it can't do without.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

#[path = "shared/alone.rs"]
mod alone;

use alone::{Alone, push};
use async_trait::async_trait;
use madang_mesh::{channel::Channels, homes::Homes, log::Position, shard::Shard, vital};
use madang_notify::{
    audience::Audience,
    ends::Ends,
    notice::Notice,
    provider::{Provider, Providers, Told, Verdict},
    sender::{Origin, Push, Sender},
    store::{Error, Late, Settled, Subscription, Subscriptions, Where},
    ticket::Progress,
};
use madang_proto::{
    account::v1::account_service_client::AccountServiceClient,
    group::v1::group_service_client::GroupServiceClient,
    id::{ConversationId, DeviceId, SessionId, UserId},
    notify::v1::Provider as Name,
};
use std::{
    env,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const CHILD: &str = "MADANG_TEST_VITAL_NOTIFY";

/// Whatever it is asked, it panics.
struct Ill;

#[async_trait]
impl Subscriptions for Ill {
    async fn key(&self, _: Vec<u8>) -> Result<Vec<u8>, Error> {
        unimplemented!()
    }
    async fn put(&self, _: Subscription) -> Result<(), Error> {
        unimplemented!()
    }
    async fn remove(&self, _: UserId, _: DeviceId) -> Result<(), Error> {
        unimplemented!()
    }
    async fn drop_one(&self, _: Uuid) -> Result<(), Error> {
        unimplemented!()
    }
    async fn end(&self, _: Vec<SessionId>) -> Result<(), Error> {
        unimplemented!()
    }
    async fn of_users(&self, _: Vec<UserId>) -> Result<Vec<Subscription>, Error> {
        unimplemented!()
    }
    async fn sessions(&self, _: (Uuid, Uuid), _: usize) -> Result<Vec<(UserId, DeviceId, SessionId)>, Error> {
        unimplemented!()
    }
    async fn ended_until(&self) -> Result<i64, Error> {
        unimplemented!()
    }
    async fn set_ended_until(&self, _: i64) -> Result<(), Error> {
        unimplemented!()
    }
    async fn cursor(&self, _: Shard) -> Result<Position, Error> {
        unimplemented!()
    }
    async fn save_cursor(&self, _: Shard, _: Position) -> Result<(), Error> {
        unimplemented!()
    }
    async fn due(&self, _: Shard, _: i64, _: usize, _: Vec<(UserId, DeviceId)>) -> Result<Vec<Late>, Error> {
        unimplemented!()
    }
    async fn late_of(&self, _: Shard, _: Vec<ConversationId>) -> Result<Vec<Late>, Error> {
        unimplemented!()
    }
    async fn change(&self, _: Vec<(Late, Option<Vec<u8>>)>) -> Result<(), Error> {
        unimplemented!()
    }
    async fn settle(&self, _: Settled, _: i64) -> Result<(), Error> {
        Ok(())
    }
    async fn showing(&self, _: Vec<(UserId, ConversationId, u64)>) -> Result<Vec<(Where, u64)>, Error> {
        unimplemented!()
    }
}

struct Stub;

#[async_trait]
impl Provider for Stub {
    fn host(&self, _: &Subscription) -> String {
        "stub".into()
    }

    async fn send(&self, _: &Subscription, _: &Notice) -> Told {
        Told { verdict: Verdict::Sent, status: 200 }
    }
}

/// What a process of its own does, which is to end of it; if it goes on, it says so.
async fn child(part: &str) {
    let (store, channels): (Arc<dyn Subscriptions>, _) = (Arc::new(Ill), Channels::new());
    let nobody = "http://127.0.0.1:1";
    let channel = channels.get(nobody).unwrap();
    let (group, account) = (GroupServiceClient::new(channel.clone()), AccountServiceClient::new(channel));
    if part == "ends" {
        let running = tokio::spawn(Ends { store, account }.run(CancellationToken::new()));
        assert!(running.await.is_err());
        return;
    }
    let homes = Homes::follow(channels.clone(), nobody);
    let audience = Arc::new(Audience::new(store.clone(), group, account, homes, channels));
    let mut providers = Providers::default();
    providers.add(Name::Webhook, Stub);
    let sender = Sender::spawn(store, providers, audience, Arc::default());
    let to = Alone::with(Providers::default()).device("https://stub/".into()).await;
    let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
    let waited = Push { checked: long_ago, ..push(&to, ConversationId::new(), 1) };
    let log = Progress::from(0);
    assert!(sender.send(waited, Origin::Log(log.take(1))).await);
    alone::until(async || log.done() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_ends_with_what_it_cannot_do_without() {
    let name = "the_process_ends_with_what_it_cannot_do_without";
    if let Ok(part) = env::var(CHILD) {
        return child(&part).await;
    }
    for (part, what) in [("ends", "ends of sessions"), ("check", "who is still to be notified")] {
        let mut child = Command::new(env::current_exe().unwrap());
        let output = child.args(["--exact", name]).env(CHILD, part).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(vital::STATUS), "{part}: {told}");
        assert!(told.contains(&format!("{what} has panicked")), "{told}");
    }
}
