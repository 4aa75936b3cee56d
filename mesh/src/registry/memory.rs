//! The registry of a single process.

use super::{Item, Registry, Revision, Unavailable};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::broadcast;

/// How many changes a watcher may be behind; one that is more starts over with all keys.
const BEHIND: usize = 1024;

#[derive(Default)]
struct Inner {
    items: BTreeMap<String, (Bytes, Revision)>,
    revision: Revision,
}

/// A registry in memory.
pub struct MemoryRegistry {
    inner: Mutex<Inner>,
    changes: broadcast::Sender<Item>,
}

impl Default for MemoryRegistry {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryRegistry {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: Mutex::default(), changes: broadcast::channel(BEHIND).0 }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, inner: &mut Inner, key: &str, value: Option<Bytes>) -> Revision {
        inner.revision += 1;
        let revision = inner.revision;
        match &value {
            Some(value) => inner.items.insert(key.to_owned(), (value.clone(), revision)),
            None => inner.items.remove(key),
        };
        // Nobody watching is no fault.
        let _ = self.changes.send(Item { key: key.to_owned(), value, revision });
        revision
    }
}

fn item((key, (value, revision)): (&String, &(Bytes, Revision))) -> Item {
    Item { key: key.clone(), value: Some(value.clone()), revision: *revision }
}

#[async_trait]
impl Registry for MemoryRegistry {
    async fn get(&self, key: &str) -> Result<Option<Item>, Unavailable> {
        Ok(self.lock().items.get_key_value(key).map(item))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Item>, Unavailable> {
        Ok(self.lock().items.iter().filter(|(key, _)| key.starts_with(prefix)).map(item).collect())
    }

    async fn put(&self, key: &str, value: Bytes) -> Result<Revision, Unavailable> {
        Ok(self.change(&mut self.lock(), key, Some(value)))
    }

    async fn compare_and_set(
        &self,
        key: &str,
        value: Bytes,
        expected: Revision,
    ) -> Result<Option<Revision>, Unavailable> {
        let mut inner = self.lock();
        let revision = inner.items.get(key).map_or(0, |(_, revision)| *revision);
        Ok((revision == expected).then(|| self.change(&mut inner, key, Some(value))))
    }

    async fn delete(&self, key: &str) -> Result<(), Unavailable> {
        let mut inner = self.lock();
        if inner.items.contains_key(key) {
            self.change(&mut inner, key, None);
        }
        Ok(())
    }

    async fn watch(&self, prefix: &str) -> Result<BoxStream<'static, Item>, Unavailable> {
        let inner = self.lock();
        let changes = self.changes.subscribe();
        let now: Vec<_> = inner.items.iter().filter(|(key, _)| key.starts_with(prefix)).map(item).collect();
        drop(inner);
        let prefix = prefix.to_owned();
        let later = stream::unfold((changes, prefix), |(mut changes, prefix)| async move {
            loop {
                // One that is too far behind ends: its reader watches anew.
                let item = changes.recv().await.ok()?;
                if item.key.starts_with(&prefix) {
                    return Some((item, (changes, prefix)));
                }
            }
        });
        Ok(stream::iter(now).chain(later).boxed())
    }
}
