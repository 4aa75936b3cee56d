//! The simulated inboxes: kept for five minutes in the memory of a server that may lose them at any time, or only the
//! newest of what is in them.

use super::{
    clock::{self, MS, between, chance},
    net::{self, Port},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use madang_chat::inbox::{Inbox, InboxEntry, Unavailable};
use madang_mesh::shard::Shard;
use madang_proto::id::UserId;
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
};
use tokio::sync::watch;

/// How long entries are kept, in microseconds.
const KEEP: i64 = 300_000_000;

struct Shelf {
    there: bool,
    /// Counts how often it was lost.
    life: u64,
    sequence: u64,
    entries: VecDeque<InboxEntry>,
    news: watch::Sender<u64>,
}

thread_local! {
    static SHELVES: RefCell<BTreeMap<Shard, Shelf>> = RefCell::default();
}

fn shelf<T>(shard: Shard, act: impl FnOnce(&mut Shelf) -> T) -> T {
    let new = || Shelf { there: false, life: 0, sequence: 0, entries: VecDeque::new(), news: watch::Sender::new(0) };
    SHELVES.with_borrow_mut(|shelves| act(shelves.entry(shard).or_insert_with(new)))
}

/// The server that holds a shard's inbox starts anew: it is empty, or not even there.
pub fn lose(shard: Shard) {
    shelf(shard, |shelf| {
        (shelf.there, shelf.life, shelf.sequence) = (chance(500) && shelf.there, shelf.life + 1, 0);
        shelf.entries.clear();
        shelf.news.send_modify(|news| *news += 1);
    });
}

/// The newest few entries are lost, which some readers may have had; their numbers are given out again.
pub fn drop_tail(shard: Shard, count: u64) {
    shelf(shard, |shelf| {
        for _ in 0..count {
            if shelf.entries.pop_back().is_some() {
                shelf.sequence -= 1;
            }
        }
        shelf.news.send_modify(|news| *news += 1);
    });
}

fn publish(shard: Shard, payload: Bytes) -> bool {
    shelf(shard, |shelf| {
        if !shelf.there {
            return false;
        }
        shelf.sequence += 1;
        let now = clock::wall_micros();
        shelf.entries.push_back(InboxEntry { sequence: shelf.sequence, at_micros: now, payload });
        while shelf.entries.front().is_some_and(|oldest| now - oldest.at_micros > KEEP) {
            shelf.entries.pop_front();
        }
        shelf.news.send_modify(|news| *news += 1);
        true
    })
}

/// The inboxes, as one process reaches them.
pub struct SimulatedInbox(pub usize);

#[async_trait]
impl Inbox for SimulatedInbox {
    async fn create(&self, shard: Shard) -> Result<(), Unavailable> {
        let created = net::call(self.0, Port::Inbox, move || shelf(shard, |shelf| shelf.there = true)).await;
        created.map_err(|_| Unavailable("timed out".into()))
    }

    async fn publish(&self, shard: Shard, _user: Option<UserId>, payload: Bytes) -> Result<(), Unavailable> {
        match net::call(self.0, Port::Inbox, move || publish(shard, payload)).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Unavailable("there is no such inbox".into())),
            Err(_) => Err(Unavailable("timed out".into())),
        }
    }

    async fn read(&self, shard: Shard) -> Result<BoxStream<'static, InboxEntry>, Unavailable> {
        let process = self.0;
        let asked = net::call(process, Port::Inbox, move || {
            shelf(shard, |shelf| shelf.there.then(|| (shelf.life, shelf.news.subscribe())))
        });
        let (life, news) = asked.await.ok().flatten().ok_or_else(|| Unavailable("there is no such inbox".into()))?;
        Ok(stream::unfold((0, news), move |(had, news)| next(process, shard, life, had, news)).boxed())
    }
}

async fn next(
    process: usize,
    shard: Shard,
    life: u64,
    had: u64,
    mut news: watch::Receiver<u64>,
) -> Option<(InboxEntry, (u64, watch::Receiver<u64>))> {
    loop {
        if net::is_cut(process, Port::Inbox) {
            net::pause(between(20 * MS, 200 * MS)).await;
            if chance(100) {
                return None;
            }
            continue;
        }
        news.borrow_and_update();
        let (lost, entry) = shelf(shard, |shelf| {
            let lost = shelf.life != life || shelf.sequence < had;
            (lost, shelf.entries.iter().find(|entry| entry.sequence > had).cloned())
        });
        if lost {
            return None;
        }
        if let Some(entry) = entry {
            if chance(200) {
                net::pause(between(MS / 2, 4 * MS)).await;
            }
            let had = entry.sequence;
            return Some((entry, (had, news)));
        }
        if news.changed().await.is_err() {
            return None;
        }
    }
}
