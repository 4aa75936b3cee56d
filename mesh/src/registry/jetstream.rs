//! The registry in a NATS key-value bucket.

use super::{Item, Registry, Revision, Unavailable};
use async_nats::jetstream::{
    self,
    consumer::{DeliverPolicy, pull::OrderedConfig},
    kv::{Config, CreateErrorKind, Operation, Store, UpdateErrorKind},
    stream::StorageType,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};

/// The bucket.
const BUCKET: &str = "madang";
/// The header of what is no value: a deletion or a purge.
const OPERATION: &str = "KV-Operation";

/// A registry in JetStream.
pub struct JetStreamRegistry {
    store: Store,
}

fn unavailable(error: impl std::fmt::Display) -> Unavailable {
    Unavailable(error.to_string())
}

/// Whether another's write to the same key is on its way: what a cluster answers instead of "wrong last sequence" while
/// it can't say yet which that is. The client library does not know the code.
fn overtaken(error: &impl std::fmt::Display) -> bool {
    error.to_string().contains("error code 10164")
}

impl JetStreamRegistry {
    /// On a connection; the bucket is made if it is not there, with so many replicas.
    pub async fn open(client: async_nats::Client, replicas: usize) -> Result<Self, Unavailable> {
        let context = jetstream::new(client);
        let config = Config {
            bucket: BUCKET.into(),
            history: 1,
            storage: StorageType::File,
            num_replicas: replicas,
            ..Config::default()
        };
        let store = match context.get_key_value(BUCKET).await {
            Ok(store) => store,
            Err(_) => context.create_key_value(config).await.map_err(unavailable)?,
        };
        Ok(Self { store })
    }

    async fn item(&self, key: &str) -> Result<Option<Item>, Unavailable> {
        let entry = self.store.entry(key).await.map_err(unavailable)?;
        Ok(entry.filter(|entry| entry.operation == Operation::Put).map(|entry| Item {
            key: key.to_owned(),
            value: Some(entry.value),
            revision: entry.revision,
        }))
    }
}

#[async_trait]
impl Registry for JetStreamRegistry {
    async fn get(&self, key: &str) -> Result<Option<Item>, Unavailable> {
        self.item(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Item>, Unavailable> {
        // One pass over the newest of each key, not a request for each.
        let config = OrderedConfig {
            filter_subject: format!("{}{prefix}>", self.store.prefix),
            deliver_policy: DeliverPolicy::LastPerSubject,
            ..OrderedConfig::default()
        };
        let consumer = self.store.stream.create_consumer(config).await.map_err(unavailable)?;
        let mut more = consumer.cached_info().num_pending > 0;
        let mut messages = consumer.messages().await.map_err(unavailable)?;
        let mut items = Vec::new();
        while more {
            let message = messages.next().await.ok_or_else(|| unavailable("the list ended"))?.map_err(unavailable)?;
            let (revision, pending) = {
                let info = message.info().map_err(unavailable)?;
                (info.stream_sequence, info.pending)
            };
            more = pending > 0;
            let deleted = message.headers.as_ref().is_some_and(|headers| headers.get(OPERATION).is_some());
            if let Some(key) = message.subject.strip_prefix(&self.store.prefix).filter(|_| !deleted) {
                items.push(Item { key: key.to_owned(), value: Some(message.payload.clone()), revision });
            }
        }
        Ok(items)
    }

    async fn put(&self, key: &str, value: Bytes) -> Result<Revision, Unavailable> {
        self.store.put(key, value).await.map_err(unavailable)
    }

    async fn compare_and_set(
        &self,
        key: &str,
        value: Bytes,
        expected: Revision,
    ) -> Result<Option<Revision>, Unavailable> {
        if expected == 0 {
            return match self.store.create(key, value).await {
                Ok(revision) => Ok(Some(revision)),
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists || overtaken(&error) => Ok(None),
                Err(error) => Err(unavailable(error)),
            };
        }
        match self.store.update(key, value, expected).await {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision || overtaken(&error) => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), Unavailable> {
        self.store.delete(key).await.map_err(unavailable)
    }

    async fn watch(&self, prefix: &str) -> Result<BoxStream<'static, Item>, Unavailable> {
        let watch = self.store.watch_with_history(format!("{prefix}>")).await.map_err(unavailable)?;
        let items = watch.take_while(|entry| std::future::ready(entry.is_ok())).filter_map(|entry| async {
            let entry = entry.ok()?;
            let value = (entry.operation == Operation::Put).then_some(entry.value);
            Some(Item { key: entry.key, value, revision: entry.revision })
        });
        Ok(items.boxed())
    }
}
