//! The registry in a NATS key-value bucket.

use super::{Item, Registry, Revision, Unavailable};
use async_nats::jetstream::{
    self,
    kv::{Config, CreateErrorKind, Operation, Store, UpdateErrorKind},
    stream::StorageType,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};

/// The bucket.
const BUCKET: &str = "madang";

/// A registry in JetStream.
pub struct JetStreamRegistry {
    store: Store,
}

fn unavailable(error: impl std::fmt::Display) -> Unavailable {
    Unavailable(error.to_string())
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
        let keys = self.store.keys().await.map_err(unavailable)?;
        let keys: Vec<String> = keys.try_collect().await.map_err(unavailable)?;
        let mut items = Vec::new();
        for key in keys.iter().filter(|key| key.starts_with(prefix)) {
            items.extend(self.item(key).await?);
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
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(None),
                Err(error) => Err(unavailable(error)),
            };
        }
        match self.store.update(key, value, expected).await {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(None),
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
