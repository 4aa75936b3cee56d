//! notify-svc by itself: on a database of its own, where nobody answers who is to be told, or whether a push is still to be sent.
#![allow(dead_code)] // not every test needs all of it

use madang_mesh::{channel::Channels, clock::now_ms, homes::Homes, log::sqlite::SqliteLog};
use madang_notify::{
    audience::Audience,
    provider::{Provider, Providers},
    reader::Reader,
    reports::Reports,
    sender::{Push, Sender},
    store::{Subscription, Subscriptions, Target, sqlite::SqliteSubscriptions},
    words::Shown,
};
use madang_proto::{
    account::v1::account_service_client::AccountServiceClient,
    client::v1::{DeviceKind, PushType},
    group::v1::group_service_client::GroupServiceClient,
    id::{ConversationId, DeviceId, SessionId, UserId},
    notify::v1::Provider as Name,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use uuid::Uuid;

/// Whose log is read.
pub const SHARD: u32 = 3;

/// Its parts.
pub struct Alone {
    pub folder: TempDir,
    pub store: Arc<dyn Subscriptions>,
    pub sender: Arc<Sender>,
    pub audience: Arc<Audience>,
    pub reader: Reader,
    pub reports: Arc<Reports>,
}

/// One provider, and no other.
pub fn only(name: Name, provider: impl Provider) -> Providers {
    let mut providers = Providers::default();
    providers.add(name, provider);
    providers
}

impl Alone {
    /// One that sends by these.
    pub fn with(providers: Providers) -> Self {
        let (channels, nobody) = (Channels::new(), "http://127.0.0.1:1");
        Self::among(providers, channels, nobody)
    }

    /// The same, where others are at an address.
    pub fn among(providers: Providers, channels: Channels, others: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Subscriptions> = Arc::new(SqliteSubscriptions::open(folder.path()).unwrap());
        let log = Arc::new(SqliteLog::open(folder.path()).unwrap());
        let channel = channels.get(others).unwrap();
        let (group, account) = (GroupServiceClient::new(channel.clone()), AccountServiceClient::new(channel));
        let homes = Homes::follow(channels.clone(), others);
        let audience = Arc::new(Audience::new(store.clone(), group, account, homes, channels));
        let reports = Arc::<Reports>::default();
        let sender = Sender::spawn(store.clone(), providers, audience.clone(), reports.clone());
        let reader = Reader::new(store.clone(), log, audience.clone(), sender.clone(), reports.clone(), Duration::ZERO);
        Self { folder, store, sender, audience, reader, reports }
    }

    /// A device that is told at an address.
    pub async fn device(&self, address: String) -> Subscription {
        let device = Subscription {
            id: Uuid::new_v4(),
            user: UserId::new(),
            device: DeviceId::new(),
            session: SessionId::new(),
            kind: DeviceKind::Mobile,
            target: Target { provider: Name::Webhook, address, secret: Vec::new() },
            locale: String::new(),
            preview: true,
            created_at: 1,
        };
        self.store.put(device.clone()).await.unwrap();
        device
    }
}

/// A message of a conversation to a device.
pub fn push(to: &Subscription, conversation: ConversationId, seq: u64) -> Push {
    Push {
        to: Arc::new(to.clone()),
        kind: PushType::Message,
        conversation,
        shard: SHARD,
        seq,
        revision: seq,
        sender: None,
        mentioned: 0,
        at_ms: now_ms(),
        group: String::new(),
        name: String::new(),
        shown: Shown::Nothing,
        messages: 1,
        read: 0,
        badge: 0,
        tries: 0,
        checked: Instant::now(),
        trace: None,
    }
}

/// Waits until this holds.
pub async fn until(holds: impl AsyncFn() -> bool) {
    let found = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), found).await.unwrap();
}
