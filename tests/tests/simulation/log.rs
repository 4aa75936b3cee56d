//! The simulated log: what JetStream promises of it, and no more.

use super::{
    check,
    clock::{self, MS, between, chance},
    net::{self, Lost, Port},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use madang_mesh::{
    log::{Bounds, Entries, Entry, Error, Log, Position},
    shard::Shard,
};
use std::{cell::RefCell, collections::BTreeMap};
use tokio::sync::watch;

struct Shelf {
    /// The first record's place is 1.
    records: Vec<Entry>,
    first: Position,
    last: watch::Sender<Position>,
}

impl Default for Shelf {
    fn default() -> Self {
        Self { records: Vec::new(), first: 1, last: watch::Sender::new(0) }
    }
}

thread_local! {
    static SHELVES: RefCell<BTreeMap<Shard, Shelf>> = RefCell::default();
}

fn shelf<T>(shard: Shard, act: impl FnOnce(&mut Shelf) -> T) -> T {
    SHELVES.with_borrow_mut(|shelves| act(shelves.entry(shard).or_default()))
}

/// The newest position of a shard.
pub fn last(shard: Shard) -> Position {
    shelf(shard, |shelf| shelf.records.len() as Position)
}

/// The newest position that a shard had so long ago, in nanoseconds.
pub fn last_before(shard: Shard, ago: u64) -> Position {
    let then = clock::wall_micros() - i64::try_from(ago / 1000).unwrap_or(i64::MAX);
    shelf(shard, |shelf| shelf.records.partition_point(|each| each.at_micros <= then) as Position)
}

fn append(shard: Shard, payload: &Bytes, expected_last: Option<Position>) -> Result<Position, Error> {
    let last = last(shard);
    if let Some(expected) = expected_last
        && expected != last
    {
        return Err(Error::Conflict { expected });
    }
    if check::full() {
        return Err(Error::Full);
    }
    let entry = Entry { position: last + 1, at_micros: clock::wall_micros(), payload: payload.clone() };
    check::appended(shard, &entry);
    shelf(shard, |shelf| {
        shelf.records.push(entry);
        shelf.last.send_replace(last + 1);
    });
    Ok(last + 1)
}

/// The log, as one process reaches it.
pub struct SimulatedLog(pub usize);

impl SimulatedLog {
    async fn call<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        net::call(self.0, Port::Log, act).await.map_err(|lost| match lost {
            Lost::Refused => Error::Unavailable("no servers".into()),
            Lost::Unknown => Error::Unavailable("timed out".into()),
        })
    }
}

#[async_trait]
impl Log for SimulatedLog {
    async fn create(&self, shard: Shard) -> Result<(), Error> {
        self.call(move || shelf(shard, |_| ())).await
    }

    async fn append(&self, shard: Shard, payload: Bytes, expected_last: Option<Position>) -> Result<Position, Error> {
        let asked = net::call(self.0, Port::Log, move || append(shard, &payload, expected_last)).await;
        match asked {
            Ok(answer) => answer,
            Err(Lost::Refused) => Err(Error::Unavailable("no servers".into())),
            Err(Lost::Unknown) => {
                check::count("unknown appends");
                Err(Error::Unknown("timed out".into()))
            }
        }
    }

    async fn bounds(&self, shard: Shard) -> Result<Bounds, Error> {
        self.call(move || {
            shelf(shard, |shelf| Bounds {
                first: shelf.first,
                last: shelf.records.len() as Position,
                bytes: shelf.records.iter().map(|each| each.payload.len() as u64).sum(),
            })
        })
        .await
    }

    async fn read(&self, shard: Shard, from: Position) -> Result<Entries, Error> {
        let (first, last, news) = self
            .call(move || shelf(shard, |shelf| (shelf.first, shelf.records.len() as Position, shelf.last.subscribe())))
            .await?;
        if from < first || from > last + 1 {
            return Ok(stream::iter([Err(Error::Missing { wanted: from, first, last })]).boxed());
        }
        let process = self.0;
        Ok(stream::unfold(Some((from, news)), move |state| next(process, shard, state)).boxed())
    }

    async fn trim(&self, shard: Shard, before: Position) -> Result<(), Error> {
        check::count("trims");
        self.call(move || {
            check::trimmed(shard, before);
            shelf(shard, |shelf| shelf.first = shelf.first.max(before.min(shelf.records.len() as Position + 1)));
        })
        .await
    }
}

type Reading = Option<(Position, watch::Receiver<Position>)>;

async fn next(process: usize, shard: Shard, reading: Reading) -> Option<(Result<Entry, Error>, Reading)> {
    let (at, mut news) = reading?;
    loop {
        if net::is_cut(process, Port::Log) {
            net::pause(between(20 * MS, 200 * MS)).await;
            if chance(100) {
                return Some((Err(Error::Unavailable("the connection is lost".into())), None));
            }
            continue;
        }
        news.borrow_and_update();
        let entry = shelf(shard, |shelf| {
            if at < shelf.first {
                let last = shelf.records.len() as Position;
                return Some(Err(Error::Missing { wanted: at, first: shelf.first, last }));
            }
            usize::try_from(at - 1).ok().and_then(|at| shelf.records.get(at).cloned()).map(Ok)
        });
        match entry {
            Some(Ok(entry)) => {
                if chance(200) {
                    net::pause(between(MS / 2, 4 * MS)).await;
                }
                return Some((Ok(entry), Some((at + 1, news))));
            }
            Some(Err(error)) => return Some((Err(error), None)),
            None => {
                if news.changed().await.is_err() {
                    return None;
                }
            }
        }
    }
}
