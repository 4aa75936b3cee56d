//! Inboxes in NATS JetStream: a memory stream for each shard, which a restart of the servers empties. Beacons go over
//! core NATS.

use super::{Heard, Inbox, InboxEntry, Unavailable};
use async_nats::jetstream::{
    self, Context,
    consumer::{AckPolicy, DeliverPolicy, pull},
    stream::{Config, DiscardPolicy, StorageType},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use madang_mesh::{
    shard::{LAYOUT, Shard},
    streams,
};
use madang_proto::id::UserId;
use std::time::Duration;

/// How long an entry is kept.
const MAX_AGE: Duration = Duration::from_secs(300);
/// How long a publish, or any other answer of NATS, is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// After a reader was not heard of for so long, the server forgets it.
const INACTIVE: Duration = Duration::from_secs(30);
/// How long one request for entries stands.
const EXPIRES: Duration = Duration::from_secs(10);
/// How often the server says that it is still there; after two that did not come the reading ends.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Inboxes in JetStream.
pub struct JetStreamInbox {
    client: async_nats::Client,
    context: Context,
    replicas: usize,
    bytes: u64,
}

fn unavailable(error: impl std::fmt::Display) -> Unavailable {
    Unavailable(error.to_string())
}

/// Where beacons go: no subject of the stream.
fn beacons(shard: Shard) -> String {
    format!("inbox.{shard}.sent")
}

fn name(shard: Shard) -> String {
    format!("INBOX_{LAYOUT}_{shard:02}")
}

impl JetStreamInbox {
    /// On a connection; new streams have so many replicas, and keep so many bytes of a shard.
    #[must_use]
    pub fn new(client: async_nats::Client, replicas: usize, bytes: u64) -> Self {
        let mut context = jetstream::new(client.clone());
        // What was asked of a leader that died meanwhile nobody answers: asked again, the next one does.
        context.set_timeout(PATIENCE);
        Self { context, client, replicas, bytes }
    }

    /// How a shard's stream is made.
    #[must_use]
    pub fn config(&self, shard: Shard) -> Config {
        Config {
            name: name(shard),
            subjects: vec![format!("inbox.{shard}"), format!("inbox.{shard}.user.*")],
            storage: StorageType::Memory,
            discard: DiscardPolicy::Old,
            max_age: MAX_AGE,
            max_bytes: self.bytes.try_into().unwrap_or(i64::MAX),
            num_replicas: self.replicas,
            ..Config::default()
        }
    }
}

#[async_trait]
impl Inbox for JetStreamInbox {
    async fn create(&self, shard: Shard) -> Result<(), Unavailable> {
        streams::make(&self.context, self.config(shard)).await.map_err(unavailable)
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

    async fn announce(&self, shard: Shard, payload: Bytes) -> Result<(), Unavailable> {
        self.client.publish(beacons(shard), payload).await.map_err(unavailable)
    }

    async fn read(&self, shard: Shard) -> Result<BoxStream<'static, Heard>, Unavailable> {
        let beacons = self.client.subscribe(beacons(shard)).await.map_err(unavailable)?;
        let stream = self.context.get_stream_no_info(name(shard)).await.map_err(unavailable)?;
        // No ordered consumer: that would go on by itself, past what an inbox that began anew has had meanwhile.
        let config = pull::Config {
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::None,
            inactive_threshold: INACTIVE,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(unavailable)?;
        let empty = consumer.cached_info().num_pending == 0;
        let entries = consumer.stream().expires(EXPIRES).heartbeat(HEARTBEAT).messages().await.map_err(unavailable)?;
        let (mut expected, mut last) = (1, None);
        let entries = entries.map(move |message| {
            let heard = entry(&message.ok()?, expected, &mut last)?;
            expected += 1;
            Some(heard)
        });
        // None, until which it is read: an error, or the end. Then the inbox counts as lost, and is read anew.
        let entries = entries.chain(stream::once(std::future::ready(None)));
        let beacons = beacons.map(|message| Some(vec![Heard::Beacon(message.payload)]));
        let heard = stream::select(entries, beacons)
            .take_while(|heard| std::future::ready(heard.is_some()))
            .flat_map(|heard| stream::iter(heard.unwrap_or_default()));
        Ok(stream::iter(empty.then_some(Heard::End)).chain(heard).boxed())
    }
}

/// What a message of the stream says; none if it is not the next one: one was lost on the way, or was purged unread.
fn entry(message: &jetstream::Message, expected: u64, last: &mut Option<u64>) -> Option<Vec<Heard>> {
    let info = message.info().ok()?;
    let follows = last.replace(info.stream_sequence).is_none_or(|last| info.stream_sequence == last + 1);
    if info.consumer_sequence != expected || !follows {
        return None;
    }
    let at_micros = i64::try_from(info.published.unix_timestamp_nanos() / 1000).ok()?;
    let entry = InboxEntry { sequence: info.stream_sequence, at_micros, payload: message.message.payload.clone() };
    let end = (info.pending == 0).then_some(Heard::End);
    Some(std::iter::once(Heard::Entry(entry)).chain(end).collect())
}
