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
use madang_chat::inbox::{Heard, Inbox, InboxEntry, Unavailable};
use madang_mesh::shard::Shard;
use madang_proto::id::UserId;
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
};
use tokio::sync::{broadcast, watch};

/// How long entries are kept, in microseconds.
const KEEP: i64 = 300_000_000;

/// How many beacons wait for a reader at most.
const BEACONS: usize = 64;

struct Shelf {
    there: bool,
    /// Counts how often it was lost.
    life: u64,
    /// When this one began.
    since: i64,
    sequence: u64,
    entries: VecDeque<InboxEntry>,
    news: watch::Sender<u64>,
    beacons: broadcast::Sender<Bytes>,
}

thread_local! {
    static SHELVES: RefCell<BTreeMap<Shard, Shelf>> = RefCell::default();
}

fn shelf<T>(shard: Shard, act: impl FnOnce(&mut Shelf) -> T) -> T {
    let new = || Shelf {
        there: false,
        life: 0,
        since: clock::wall_micros(),
        sequence: 0,
        entries: VecDeque::new(),
        news: watch::Sender::new(0),
        beacons: broadcast::channel(BEACONS).0,
    };
    SHELVES.with_borrow_mut(|shelves| act(shelves.entry(shard).or_insert_with(new)))
}

/// The server that holds a shard's inbox starts anew: it is empty, or not even there.
pub fn lose(shard: Shard) {
    shelf(shard, |shelf| {
        (shelf.there, shelf.life, shelf.sequence) = (chance(500) && shelf.there, shelf.life + 1, 0);
        shelf.entries.clear();
        shelf.since = clock::wall_micros();
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

    async fn announce(&self, shard: Shard, payload: Bytes) -> Result<(), Unavailable> {
        // Nobody reading is no fault.
        let send = move || shelf(shard, |shelf| drop(shelf.beacons.send(payload)));
        net::call(self.0, Port::Inbox, send).await.map_err(|_| Unavailable("timed out".into()))
    }

    async fn since(&self, shard: Shard) -> Result<i64, Unavailable> {
        let since = net::call(self.0, Port::Inbox, move || shelf(shard, |shelf| shelf.since)).await;
        since.map_err(|_| Unavailable("timed out".into()))
    }

    async fn read(&self, shard: Shard) -> Result<BoxStream<'static, Heard>, Unavailable> {
        let process = self.0;
        let asked = net::call(process, Port::Inbox, move || {
            let open = |shelf: &mut Shelf| (shelf.life, shelf.news.subscribe(), shelf.beacons.subscribe());
            shelf(shard, |shelf| shelf.there.then(|| open(shelf)))
        });
        let (life, news, beacons) =
            asked.await.ok().flatten().ok_or_else(|| Unavailable("there is no such inbox".into()))?;
        let reader = Reader { process, shard, life, had: 0, at_end: false, news, beacons };
        Ok(stream::unfold(reader, next).boxed())
    }
}

struct Reader {
    process: usize,
    shard: Shard,
    life: u64,
    had: u64,
    /// It has been said that there is no more.
    at_end: bool,
    news: watch::Receiver<u64>,
    beacons: broadcast::Receiver<Bytes>,
}

async fn next(mut reader: Reader) -> Option<(Heard, Reader)> {
    loop {
        if net::is_cut(reader.process, Port::Inbox) {
            net::pause(between(20 * MS, 200 * MS)).await;
            if chance(100) {
                return None;
            }
            // Who is cut off hears no beacon.
            reader.beacons = reader.beacons.resubscribe();
            continue;
        }
        reader.news.borrow_and_update();
        let (lost, entry) = shelf(reader.shard, |shelf| {
            let lost = shelf.life != reader.life || shelf.sequence < reader.had;
            (lost, shelf.entries.iter().find(|entry| entry.sequence > reader.had).cloned())
        });
        if lost {
            return None;
        }
        if let Some(entry) = entry {
            if chance(200) {
                net::pause(between(MS / 2, 4 * MS)).await;
            }
            (reader.had, reader.at_end) = (entry.sequence, false);
            return Some((Heard::Entry(entry), reader));
        }
        if !reader.at_end {
            reader.at_end = true;
            return Some((Heard::End, reader));
        }
        tokio::select! {
            biased;
            changed = reader.news.changed() => changed.ok()?,
            beacon = reader.beacons.recv() => if let Ok(beacon) = beacon {
                return Some((Heard::Beacon(beacon), reader));
            },
        }
    }
}
