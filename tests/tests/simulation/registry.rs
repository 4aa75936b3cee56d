//! The simulated registry: consistent, and out of reach now and then. An answer that is lost may have been done.

use super::{
    clock::{MS, between, chance},
    net::{self, Port},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use madang_mesh::registry::{Item, Registry, Revision, Unavailable};
use std::{cell::RefCell, collections::BTreeMap};
use tokio::sync::watch;

struct State {
    items: BTreeMap<String, (Bytes, Revision)>,
    changes: Vec<Item>,
    news: watch::Sender<usize>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::new(State {
        items: BTreeMap::new(),
        changes: Vec::new(),
        news: watch::Sender::new(0),
    });
}

fn state<T>(act: impl FnOnce(&mut State) -> T) -> T {
    STATE.with_borrow_mut(act)
}

impl State {
    fn change(&mut self, key: &str, value: Option<Bytes>) -> Revision {
        let revision = self.changes.len() as Revision + 1;
        match &value {
            Some(value) => drop(self.items.insert(key.to_owned(), (value.clone(), revision))),
            None => drop(self.items.remove(key)),
        }
        self.changes.push(Item { key: key.to_owned(), value, revision });
        self.news.send_replace(self.changes.len());
        revision
    }

    fn list(&self, prefix: &str) -> Vec<Item> {
        let wanted = self.items.iter().filter(|(key, _)| key.starts_with(prefix));
        wanted
            .map(|(key, (value, revision))| Item { key: key.clone(), value: Some(value.clone()), revision: *revision })
            .collect()
    }
}

/// The registry, as one process reaches it.
pub struct SimulatedRegistry(pub usize);

impl SimulatedRegistry {
    async fn call<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        net::call(self.0, Port::Registry, move || state(act)).await.map_err(|_| Unavailable("timed out".into()))
    }
}

#[async_trait]
impl Registry for SimulatedRegistry {
    async fn get(&self, key: &str) -> Result<Option<Item>, Unavailable> {
        let key = key.to_owned();
        self.call(move |state| {
            let (value, revision) = state.items.get(&key)?.clone();
            Some(Item { key, value: Some(value), revision })
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Item>, Unavailable> {
        let prefix = prefix.to_owned();
        self.call(move |state| state.list(&prefix)).await
    }

    async fn put(&self, key: &str, value: Bytes) -> Result<Revision, Unavailable> {
        let key = key.to_owned();
        self.call(move |state| state.change(&key, Some(value))).await
    }

    async fn compare_and_set(
        &self,
        key: &str,
        value: Bytes,
        expected: Revision,
    ) -> Result<Option<Revision>, Unavailable> {
        let key = key.to_owned();
        self.call(move |state| {
            let revision = state.items.get(&key).map_or(0, |(_, revision)| *revision);
            (revision == expected).then(|| state.change(&key, Some(value)))
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<(), Unavailable> {
        let key = key.to_owned();
        self.call(move |state| {
            if state.items.contains_key(&key) {
                state.change(&key, None);
            }
        })
        .await
    }

    async fn watch(&self, prefix: &str) -> Result<BoxStream<'static, Item>, Unavailable> {
        let (process, prefix) = (self.0, prefix.to_owned());
        let wanted = prefix.clone();
        let (now, place, news) =
            self.call(move |state| (state.list(&wanted), state.changes.len(), state.news.subscribe())).await?;
        let later = stream::unfold((place, news), move |(mut place, mut news)| {
            let prefix = prefix.clone();
            async move {
                loop {
                    if net::is_cut(process, Port::Registry) {
                        net::pause(between(50 * MS, 300 * MS)).await;
                        if chance(200) {
                            return None;
                        }
                        continue;
                    }
                    news.borrow_and_update();
                    let changes = state(|state| state.changes[place..].to_vec());
                    for item in changes {
                        place += 1;
                        if item.key.starts_with(&prefix) {
                            return Some((item, (place, news)));
                        }
                    }
                    news.changed().await.ok()?;
                }
            }
        });
        Ok(stream::iter(now).chain(later).boxed())
    }
}
