//! The log in NATS JetStream: one file stream per shard, `sync_interval: always` on the servers, `discard: new`, no age
//! limit. The server itself refuses a writer whose idea of the last position is wrong.

use super::{Bounds, Entries, Entry, Error, Log, Position};
use crate::{
    registry::Unavailable,
    shard::{LAYOUT, Shard},
    streams::{
        self, PATIENCE, There,
        follow::{Followed, follow},
    },
};
use async_nats::{
    HeaderMap,
    jetstream::{
        self, Context,
        consumer::DeliverPolicy,
        context::{PublishError, PublishErrorKind},
        stream::{Config, DiscardPolicy, Placement, StorageType, Stream},
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};

/// What the server answers where the last sequence is another.
const WRONG_LAST_SEQUENCE: u64 = 10_071;

/// The log of all shards, in JetStream.
#[derive(Clone)]
pub struct JetStreamLog {
    context: Context,
    replicas: usize,
    max_bytes: i64,
    tags: Vec<String>,
}

fn name(shard: Shard) -> String {
    format!("LOG_{LAYOUT}_{shard:02}")
}

fn subject(shard: Shard) -> String {
    format!("log.{LAYOUT}.{shard}")
}

fn unavailable(error: impl std::fmt::Display) -> Error {
    Error::Unavailable(error.to_string())
}

fn silent(Unavailable(why): Unavailable) -> Error {
    Error::Unavailable(why)
}

impl JetStreamLog {
    /// On a connection; new streams have so many replicas and take so many bytes each.
    #[must_use]
    pub fn new(client: async_nats::Client, replicas: usize, max_bytes: i64) -> Self {
        let mut context = jetstream::new(client);
        context.set_timeout(PATIENCE);
        Self { context, replicas, max_bytes, tags: Vec::new() }
    }

    /// New streams are placed on servers that have all of these tags.
    #[must_use]
    pub fn on_servers_with(self, tags: Vec<String>) -> Self {
        Self { tags, ..self }
    }

    /// The shards that have a log, whatever number of shards is configured.
    pub async fn shards(&self) -> Result<Vec<Shard>, Error> {
        There::ask(&self.context).await.map(|there| there.shards()).map_err(silent)
    }

    /// How a shard's stream is made.
    #[must_use]
    pub fn config(&self, shard: Shard) -> Config {
        let placement = !self.tags.is_empty();
        Config {
            name: name(shard),
            subjects: vec![subject(shard)],
            storage: StorageType::File,
            discard: DiscardPolicy::New,
            num_replicas: self.replicas,
            max_bytes: self.max_bytes,
            placement: placement.then(|| Placement { cluster: None, tags: self.tags.clone() }),
            ..Config::default()
        }
    }

    async fn stream(&self, shard: Shard) -> Result<Stream, Error> {
        self.context.get_stream(name(shard)).await.map_err(unavailable)
    }
}

fn refused(error: &PublishError, expected: Option<Position>) -> Error {
    match error.kind() {
        PublishErrorKind::WrongLastSequence => Error::Conflict { expected: expected.unwrap_or(0) },
        PublishErrorKind::StreamNotFound => unavailable("the stream is not there"),
        // Not even sent.
        PublishErrorKind::MaxPayloadExceeded => unavailable("the record is larger than the server's max_payload"),
        PublishErrorKind::Other => {
            // The server answered with an error of its own.
            let text = error.to_string();
            match () {
                () if text.contains(&WRONG_LAST_SEQUENCE.to_string()) => {
                    Error::Conflict { expected: expected.unwrap_or(0) }
                }
                () if text.contains("maximum") => Error::Full,
                () => Error::Unknown(text),
            }
        }
        _ => Error::Unknown(error.to_string()),
    }
}

#[async_trait]
impl Log for JetStreamLog {
    async fn create(&self, shard: Shard) -> Result<(), Error> {
        streams::make(&self.context, self.config(shard)).await.map_err(unavailable)
    }

    async fn begin_after(&self, shard: Shard, position: Position) -> Result<(), Error> {
        if self.bounds(shard).await?.last != 0 {
            return Err(unavailable("something is in it"));
        }
        self.context.delete_stream(name(shard)).await.map_err(unavailable)?;
        let config = Config { first_sequence: Some(position + 1), ..self.config(shard) };
        let made = self.context.create_stream(&config).await;
        made.map(drop).map_err(|error| unavailable(streams::refused(&config, &error)))
    }

    async fn append(&self, shard: Shard, payload: Bytes, expected: Option<Position>) -> Result<Position, Error> {
        let mut headers = HeaderMap::new();
        if let Some(expected) = expected {
            headers.insert("Nats-Expected-Last-Sequence", expected.to_string().as_str());
        }
        let publish = async {
            let ack = self.context.publish_with_headers(subject(shard), headers, payload).await;
            ack.map_err(|error| refused(&error, expected))?.await.map_err(|error| refused(&error, expected))
        };
        let late = |_| Error::Unknown("no acknowledgement in time".into());
        Ok(tokio::time::timeout(PATIENCE, publish).await.map_err(late)??.sequence)
    }

    async fn bounds(&self, shard: Shard) -> Result<Bounds, Error> {
        let info = self.stream(shard).await?.get_info().await.map_err(unavailable)?;
        if streams::is_leaderless(&info) {
            // Any of its servers answers then, also one that is behind.
            return Err(unavailable("the log's stream has no leader"));
        }
        let state = info.state;
        let first = if state.messages == 0 { state.last_sequence + 1 } else { state.first_sequence };
        Ok(Bounds { first, last: state.last_sequence, bytes: state.bytes })
    }

    async fn read(&self, shard: Shard, from: Position) -> Result<Entries, Error> {
        // The server would give what it has, or wait for ever: it is asked first.
        let Bounds { first, last, .. } = self.bounds(shard).await?;
        if from < first || from > last + 1 {
            let missing = Error::Missing { wanted: from, first, last };
            return Ok(stream::once(async { Err(missing) }).boxed());
        }
        let deliver_policy = DeliverPolicy::ByStartSequence { start_sequence: from };
        let stream = self.stream(shard).await?;
        let (_, followed) = follow(&stream, deliver_policy).await.map_err(silent)?;
        let mut wanted = from;
        // What was trimmed meanwhile the server passes over.
        let entries = followed.map(move |one| {
            let Followed { sequence: position, at_micros, payload, .. } = one.map_err(silent)?;
            if position != wanted {
                return Err(Error::Missing { wanted, first: position, last: position });
            }
            wanted += 1;
            Ok(Entry { position, at_micros, payload })
        });
        Ok(entries.boxed())
    }

    async fn trim(&self, shard: Shard, before: Position) -> Result<(), Error> {
        let purge = self.stream(shard).await?;
        purge.purge().sequence(before).await.map(drop).map_err(unavailable)
    }
}
