//! Inboxes in NATS JetStream: a memory stream for each shard, which a restart of the servers empties.

use super::{Inbox, InboxEntry, Unavailable};
use async_nats::jetstream::{
    self, Context,
    consumer::{DeliverPolicy, pull::OrderedConfig},
    stream::{Config, DiscardPolicy, StorageType},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use madang_mesh::shard::{LAYOUT, Shard};
use madang_proto::id::UserId;
use std::time::Duration;

/// How long an entry is kept.
const MAX_AGE: Duration = Duration::from_secs(300);
/// How many bytes a shard's inbox keeps.
const MAX_BYTES: i64 = 256 << 20;
/// How long a publish is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// Inboxes in JetStream.
pub struct JetStreamInbox {
    context: Context,
    replicas: usize,
}

fn unavailable(error: impl std::fmt::Display) -> Unavailable {
    Unavailable(error.to_string())
}

fn name(shard: Shard) -> String {
    format!("INBOX_{LAYOUT}_{shard:02}")
}

impl JetStreamInbox {
    /// On a connection; new streams have so many replicas.
    #[must_use]
    pub fn new(client: async_nats::Client, replicas: usize) -> Self {
        Self { context: jetstream::new(client), replicas }
    }
}

#[async_trait]
impl Inbox for JetStreamInbox {
    async fn create(&self, shard: Shard) -> Result<(), Unavailable> {
        let config = Config {
            name: name(shard),
            subjects: vec![format!("inbox.{shard}"), format!("inbox.{shard}.user.*")],
            storage: StorageType::Memory,
            discard: DiscardPolicy::Old,
            max_age: MAX_AGE,
            max_bytes: MAX_BYTES,
            num_replicas: self.replicas,
            ..Config::default()
        };
        self.context.get_or_create_stream(config).await.map(drop).map_err(unavailable)
    }

    async fn publish(&self, shard: Shard, user: Option<UserId>, payload: Bytes) -> Result<(), Unavailable> {
        let subject = match user {
            Some(user) => format!("inbox.{shard}.user.{user}"),
            None => format!("inbox.{shard}"),
        };
        let publish = async {
            let ack = self.context.publish(subject, payload).await.map_err(unavailable)?;
            ack.await.map(drop).map_err(unavailable)
        };
        tokio::time::timeout(PATIENCE, publish).await.map_err(unavailable)?
    }

    async fn read(&self, shard: Shard) -> Result<BoxStream<'static, InboxEntry>, Unavailable> {
        let stream = self.context.get_stream(name(shard)).await.map_err(unavailable)?;
        let config = OrderedConfig { deliver_policy: DeliverPolicy::All, ..OrderedConfig::default() };
        let consumer = stream.create_consumer(config).await.map_err(unavailable)?;
        let messages = consumer.messages().await.map_err(unavailable)?;
        let entry = |message: jetstream::Message| {
            let (sequence, at) = {
                let info = message.info().ok()?;
                (info.stream_sequence, info.published.unix_timestamp_nanos() / 1000)
            };
            Some(InboxEntry { sequence, at_micros: i64::try_from(at).ok()?, payload: message.message.payload })
        };
        // Until the first error: then the inbox counts as lost, and is read anew.
        let entries = messages.map(move |message| message.ok().and_then(entry));
        Ok(entries.take_while(|entry| std::future::ready(entry.is_some())).filter_map(std::future::ready).boxed())
    }
}
