//! The newest client ids of a shard, as its log has them: a home that has just begun need not ask store-svc whether what
//! is sent now was sent before, so sends go on while Cassandra is down, and a home that dies costs Cassandra no reads.
//!
//! They are read once, while the home already serves; who needs them waits for that. What is older, or too much for
//! memory, is asked of store-svc as ever.

use super::{Home, fetch::Fetched};
use crate::{
    ask::Ask,
    retry::{self, Key, MARGIN_MS, Use},
    room::Room,
};
use futures_util::StreamExt;
use madang_mesh::{
    clock::now_micros,
    log::{Entry, Error, Log, Position},
    shard::Shard,
};
use madang_proto::{id::ConversationId, record};
use std::{collections::HashMap, time::Duration};

/// How far back the log is read: an id made now needs all from [`MARGIN_MS`] before it.
const REACH_MS: i64 = MARGIN_MS + 2 * 60 * 1000;
/// How many ids are kept at most: some 10 MiB.
const MOST: usize = 100_000;
/// How long reading may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The ids that a log's records have, of those between two times.
#[derive(Debug)]
pub struct Recalled {
    /// Since when they are all here, ms since 1970.
    since_ms: i64,
    /// Up to when: when the home began.
    until_ms: i64,
    ids: HashMap<ConversationId, Vec<(Key, Use)>>,
    /// Those of requests that changed nothing, each as of when that was asked, ms since 1970.
    unchanged: Vec<(ConversationId, i64, (Key, Use))>,
}

/// How far a home is with that.
#[derive(Debug, Default)]
pub enum Recall {
    /// It is being read; these rooms wait for it. False: it will be of no use.
    Reading(Vec<ConversationId>, bool),
    /// It is here.
    Here(Recalled),
    /// It could not be read, or is of no use any more.
    #[default]
    Gone,
}

impl Home {
    /// Begins to read what the log has of before the home.
    pub(super) fn recall(&mut self) {
        self.recall = Recall::Reading(Vec::new(), true);
        let (log, shard, epoch) = (self.world.log.clone(), self.shard, self.epoch);
        self.bring(vec![Fetched::Recalled(None)], async move {
            let read = tokio::time::timeout(PATIENCE, read(&*log, shard, epoch)).await;
            let recalled = read.unwrap_or_else(|_| Err(Error::Unavailable("too slow".into())));
            let recalled = recalled.inspect_err(|error| {
                tracing::info!(shard, %error, "newest client ids are not read from the log, but asked of store-svc");
            });
            vec![Fetched::Recalled(recalled.ok())]
        });
    }

    /// It has been read, or can't be: who waits for it goes on.
    pub(super) fn recalled(&mut self, mut recalled: Option<Recalled>) {
        let Recall::Reading(waiting, useful) = std::mem::take(&mut self.recall) else { return };
        for (conversation, at_ms, of) in
            recalled.iter_mut().flat_map(|recalled| std::mem::take(&mut recalled.unchanged))
        {
            self.unchanged.note(conversation, at_ms, of);
        }
        self.recall = recalled.filter(|_| useful).map_or(Recall::Gone, Recall::Here);
        for conversation in waiting {
            self.go_on_with_ids(conversation, None);
        }
    }

    /// Finds out about ids of a room since a time, up to an event at least: from the log's newest where these reach, or from
    /// store-svc.
    pub(super) fn find_ids(&mut self, ask: Ask, (since_micros, revision): (i64, u64)) {
        let (conversation, wanted) = (ask.conversation, (since_micros, revision));
        if let Some(room) = self.rooms.get_mut(&conversation) {
            for (at_ms, key, used) in self.unchanged.of(&conversation) {
                room.seen.note_at(at_ms, key, used);
            }
        }
        match &mut self.recall {
            Recall::Gone => self.wait_for_ids(ask, wanted, true),
            Recall::Reading(waiting, _) => {
                waiting.push(conversation);
                self.wait_for_ids(ask, wanted, false);
            }
            Recall::Here(recalled) => {
                // What came after the home's beginning is in memory.
                let in_memory = |room: &&mut Room| room.seen.horizon_ms() <= recalled.until_ms;
                let Some(room) = self.rooms.get_mut(&conversation).filter(in_memory) else {
                    return self.wait_for_ids(ask, wanted, true);
                };
                if recalled.since_ms > since_micros / 1000 {
                    return self.wait_for_ids(ask, wanted, true);
                }
                let ids = recalled.ids.get(&conversation).cloned().unwrap_or_default();
                room.seen.extend_back(recalled.since_ms * 1000, ids);
                self.weigh(&conversation);
                self.ready.push_front(ask);
            }
        }
    }

    /// Forgets them once nothing that is sent now needs them, and long before rooms forget what came after the beginning.
    pub(super) fn forget_recalled(&mut self) {
        if let Recall::Here(recalled) = &self.recall
            && now_micros() / 1000 - recalled.until_ms > MARGIN_MS + 60_000
        {
            self.recall = Recall::Gone;
        }
    }

    /// Rooms were forgotten, so some of what came after the beginning is not in memory: store-svc has that.
    pub(super) fn recall_no_more(&mut self) {
        match &mut self.recall {
            Recall::Reading(_, useful) => *useful = false,
            other => *other = Recall::Gone,
        }
    }
}

/// Reads what the log has from before a home's marker.
async fn read(log: &dyn Log, shard: Shard, epoch: Position) -> Result<Recalled, Error> {
    let first = log.bounds(shard).await?.first.min(epoch);
    let until_ms = at(log, shard, epoch).await?.at_micros / 1000;
    let since_ms = until_ms - REACH_MS;
    let from = begin(log, shard, (first, epoch), since_ms).await?;
    // Before the log's first record nothing was.
    let since_ms = if from == 1 { 1 } else { since_ms };
    let since_ms = if from == first && from > 1 { at(log, shard, from).await?.at_micros / 1000 } else { since_ms };
    let (mut ids, mut unchanged) = (HashMap::<_, Vec<_>>::new(), Vec::new());
    let mut count = 0;
    let mut entries = log.read(shard, from).await?;
    for _ in from..epoch {
        let entry = entries.next().await.ok_or_else(|| Error::Unavailable("the log ended".into()))??;
        let at_micros = entry.at_micros;
        let record = record::read(entry.payload).map_err(|error| Error::Unavailable(error.to_string()))?;
        for event in &record.events {
            let id = ConversationId::from_slice(&event.conversation);
            let (Ok(id), Some(used)) = (id, retry::used(event)) else { continue };
            ids.entry(id).or_default().push(used);
            count += 1;
        }
        for (id, key, used) in retry::all_unchanged(&record) {
            unchanged.push((id, at_micros / 1000, (key, used)));
            count += 1;
        }
        if count > MOST {
            return Err(Error::Unavailable(format!("it has more than {MOST} of {} min", REACH_MS / 60_000)));
        }
    }
    Ok(Recalled { since_ms, until_ms, ids, unchanged })
}

async fn at(log: &dyn Log, shard: Shard, position: Position) -> Result<Entry, Error> {
    let next = log.read(shard, position).await?.next().await;
    next.unwrap_or_else(|| Err(Error::Unavailable("the log ended".into())))
}

/// The first record that the log took since a time, or its newest.
async fn begin(
    log: &dyn Log,
    shard: Shard,
    (first, last): (Position, Position),
    since_ms: i64,
) -> Result<Position, Error> {
    let (mut low, mut high) = (first, last);
    while low < high {
        let middle = low + (high - low) / 2;
        if at(log, shard, middle).await?.at_micros / 1000 < since_ms {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}
