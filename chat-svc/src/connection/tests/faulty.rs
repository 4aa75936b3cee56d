//! An inbox of one shard that keeps what it is given, as the real one does, and loses or repeats it when it is told to.

use crate::inbox::{Heard, Inbox, InboxEntry, Unavailable};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use madang_mesh::shard::Shard;
use madang_proto::id::UserId;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{broadcast, watch};

struct Shelf {
    life: u64,
    entries: Vec<InboxEntry>,
    /// So many came before them.
    purged: usize,
    clock: i64,
    lose: usize,
}

struct Inner {
    shelf: Mutex<Shelf>,
    news: watch::Sender<()>,
    beacons: broadcast::Sender<Bytes>,
}

/// The inbox.
#[derive(Clone)]
pub struct Faulty(Arc<Inner>);

impl Faulty {
    pub fn new() -> Self {
        let shelf = Shelf { life: 0, entries: Vec::new(), purged: 0, clock: 1_000_000, lose: 0 };
        let (news, beacons) = (watch::Sender::new(()), broadcast::channel(64).0);
        Self(Arc::new(Inner { shelf: Mutex::new(shelf), news, beacons }))
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.shelf.lock().unwrap()
    }

    /// So many entries from now on are acknowledged, and lost.
    pub fn lose_next(&self, count: usize) {
        self.shelf().lose = count;
    }

    /// All is lost: it begins again at 1.
    pub fn lose_all(&self) {
        let mut shelf = self.shelf();
        shelf.life += 1;
        shelf.entries.clear();
        shelf.purged = 0;
        self.0.news.send_replace(());
    }

    /// Emptied, also of what was not read yet: it goes on with the next number, and who reads it does not notice.
    pub fn purge(&self) {
        let mut shelf = self.shelf();
        shelf.purged += shelf.entries.len();
        shelf.entries.clear();
    }

    /// Whoever reads it has to begin at its beginning again.
    pub fn reread(&self) {
        self.shelf().life += 1;
        self.0.news.send_replace(());
    }

    /// The newest entry comes once more.
    pub fn repeat(&self) {
        let mut shelf = self.shelf();
        let payload = shelf.entries.last().unwrap().payload.clone();
        shelf.put(payload);
        self.0.news.send_replace(());
    }
}

impl Shelf {
    fn put(&mut self, payload: Bytes) {
        self.clock += 1000;
        let sequence = (self.purged + self.entries.len()) as u64 + 1;
        self.entries.push(InboxEntry { sequence, at_micros: self.clock, payload });
    }
}

#[async_trait]
impl Inbox for Faulty {
    async fn create(&self, _: Shard) -> Result<(), Unavailable> {
        Ok(())
    }

    async fn publish(&self, shard: Shard, _: Option<UserId>, payload: Bytes) -> Result<(), Unavailable> {
        if shard == 0 {
            let mut shelf = self.shelf();
            if shelf.lose > 0 {
                shelf.lose -= 1;
            } else {
                shelf.put(payload);
                self.0.news.send_replace(());
            }
        }
        Ok(())
    }

    async fn announce(&self, shard: Shard, payload: Bytes) -> Result<(), Unavailable> {
        if shard == 0 {
            // Nobody reading is no fault.
            let _ = self.0.beacons.send(payload);
        }
        Ok(())
    }

    async fn read(&self, _: Shard) -> Result<BoxStream<'static, Heard>, Unavailable> {
        let (entries, life) = {
            let shelf = self.shelf();
            (shelf.entries.clone(), shelf.life)
        };
        let backlog = entries.into_iter().map(Heard::Entry).chain([Heard::End]);
        Ok(stream::iter(backlog).chain(self.follow(life)).boxed())
    }
}

impl Faulty {
    /// What comes after all that is there now.
    fn follow(&self, life: u64) -> BoxStream<'static, Heard> {
        let (news, beacons) = (self.0.news.subscribe(), self.0.beacons.subscribe());
        let had = {
            let shelf = self.shelf();
            shelf.purged + shelf.entries.len()
        };
        let state = (self.clone(), had, news, beacons);
        stream::unfold(state, move |(inbox, mut had, mut news, mut beacons)| async move {
            loop {
                let next = {
                    let shelf = inbox.shelf();
                    if shelf.life != life {
                        return None;
                    }
                    had = had.max(shelf.purged);
                    shelf.entries.get(had - shelf.purged).cloned()
                };
                if let Some(entry) = next {
                    had += 1;
                    return Some((vec![Heard::Entry(entry), Heard::End], (inbox, had, news, beacons)));
                }
                tokio::select! {
                    changed = news.changed() => changed.ok()?,
                    beacon = beacons.recv() => if let Ok(beacon) = beacon {
                        return Some((vec![Heard::Beacon(beacon)], (inbox, had, news, beacons)));
                    },
                }
            }
        })
        .flat_map(stream::iter)
        .boxed()
    }
}
