//! A way to a registry in memory that tests can cut: nothing comes through then, in either direction, until it is mended.

use super::{Item, Registry, Revision, Unavailable, memory::MemoryRegistry};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use std::sync::Arc;
use tokio::sync::watch;

/// The way of one process.
#[derive(Clone)]
pub struct Way {
    registry: Arc<MemoryRegistry>,
    open: Arc<watch::Sender<bool>>,
}

impl Way {
    /// An open one.
    #[must_use]
    pub fn new(registry: &Arc<MemoryRegistry>) -> Self {
        Self { registry: registry.clone(), open: Arc::new(watch::Sender::new(true)) }
    }

    /// Cuts it.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Mends it.
    pub fn mend(&self) {
        self.open.send_replace(true);
    }

    async fn passable(&self) {
        // It has the sender itself, so this does not end before it is open.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

#[async_trait]
impl Registry for Way {
    async fn get(&self, key: &str) -> Result<Option<Item>, Unavailable> {
        self.passable().await;
        self.registry.get(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<Item>, Unavailable> {
        self.passable().await;
        self.registry.list(prefix).await
    }
    async fn put(&self, key: &str, value: Bytes) -> Result<Revision, Unavailable> {
        self.passable().await;
        self.registry.put(key, value).await
    }
    async fn compare_and_set(&self, key: &str, value: Bytes, old: Revision) -> Result<Option<Revision>, Unavailable> {
        self.passable().await;
        self.registry.compare_and_set(key, value, old).await
    }
    async fn delete(&self, key: &str) -> Result<(), Unavailable> {
        self.passable().await;
        self.registry.delete(key).await
    }
    async fn watch(&self, prefix: &str) -> Result<BoxStream<'static, Item>, Unavailable> {
        self.passable().await;
        let (this, items) = (self.clone(), self.registry.watch(prefix).await?);
        let slow = move |item| {
            let this = this.clone();
            async move {
                this.passable().await;
                item
            }
        };
        Ok(items.then(slow).boxed())
    }
}
