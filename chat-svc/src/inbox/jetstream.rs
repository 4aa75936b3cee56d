//! Inboxes in NATS JetStream: a memory stream for each shard, which a restart of the servers empties. Beacons go over
//! core NATS.

use super::{Heard, Inbox, InboxEntry, Unavailable};
use async_nats::jetstream::{
    self, Context,
    consumer::DeliverPolicy,
    stream::{Config, DiscardPolicy, StorageType},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use madang_mesh::{
    clock::now_micros,
    shard::{LAYOUT, Shard},
    streams::{
        self, PATIENCE,
        follow::{Followed, follow},
    },
};
use madang_proto::id::UserId;
use std::time::Duration;

/// How long an entry is kept.
const MAX_AGE: Duration = Duration::from_secs(300);

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

    async fn since(&self, shard: Shard) -> Result<i64, Unavailable> {
        let stream = self.context.get_or_create_stream(self.config(shard)).await.map_err(unavailable)?;
        // When it was made does not tell: a cluster remembers that for a stream of which it has lost everything.
        let state = &stream.cached_info().state;
        let micros = |at: i128| i64::try_from(at / 1000).unwrap_or(0);
        Ok(match (state.last_sequence, state.first_sequence) {
            (0, _) => now_micros(),
            (_, 1) => micros(state.first_timestamp.unix_timestamp_nanos()),
            _ => 0,
        })
    }

    async fn read(&self, shard: Shard) -> Result<BoxStream<'static, Heard>, Unavailable> {
        let beacons = self.client.subscribe(beacons(shard)).await.map_err(unavailable)?;
        let stream = self.context.get_stream_no_info(name(shard)).await.map_err(unavailable)?;
        let (now, followed) = follow(&stream, DeliverPolicy::All).await.map_err(|error| Unavailable(error.0))?;
        let mut last = None;
        let entries = followed.map(move |one| heard(one.ok()?, &mut last));
        // None, until which it is read: an error, or the end. Then the inbox counts as lost, and is read anew.
        let entries = entries.chain(stream::once(std::future::ready(None)));
        let beacons = beacons.map(|message| Some(vec![Heard::Beacon(message.payload)]));
        let heard = stream::select(entries, beacons)
            .take_while(|heard| std::future::ready(heard.is_some()))
            .flat_map(|heard| stream::iter(heard.unwrap_or_default()));
        Ok(stream::iter((now == 0).then_some(Heard::End)).chain(heard).boxed())
    }
}

/// What a message of the stream says; none if it is not the next one: others were purged unread.
fn heard(one: Followed, last: &mut Option<u64>) -> Option<Vec<Heard>> {
    let Followed { sequence, at_micros, payload, pending } = one;
    if last.replace(sequence).is_some_and(|last| sequence != last + 1) {
        return None;
    }
    let end = (pending == 0).then_some(Heard::End);
    Some(std::iter::once(Heard::Entry(InboxEntry { sequence, at_micros, payload })).chain(end).collect())
}
