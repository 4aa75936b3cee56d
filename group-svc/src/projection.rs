//! From the log to rows.

use crate::store::{Error, GroupStore};
use async_trait::async_trait;
use madang_mesh::{
    log::{Entry, Position},
    shard::Shard,
    subscription::{HandleError, Handler},
};
use madang_proto::{group::v1::RoomState, id::ConversationId, log::v1::Record};
use prost::Message as _;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// The newest format of records that this version reads.
const FORMAT: u32 = 1;
/// How long a reader waits for a revision.
const PATIENCE: Duration = Duration::from_secs(2);

/// Writes what the log says.
pub struct Projection {
    store: Arc<dyn GroupStore>,
    written: watch::Sender<u64>,
}

impl Projection {
    /// Into a store.
    #[must_use]
    pub fn new(store: Arc<dyn GroupStore>) -> Self {
        Self { store, written: watch::Sender::new(0) }
    }

    /// A room at a revision or later; `Ok(None)`: there is none; `Err(None)`: not in time.
    pub async fn room(&self, id: ConversationId, at_least: u64) -> Result<Option<RoomState>, Option<Error>> {
        let mut written = self.written.subscribe();
        let reached = async {
            loop {
                written.borrow_and_update();
                let room = self.store.rooms(vec![id]).await.map_err(Some)?.pop();
                if at_least == 0 || room.as_ref().is_some_and(|room| room.revision >= at_least) {
                    return Ok(room);
                }
                written.changed().await.map_err(|_| None)?;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or(Err(None))
    }
}

#[async_trait]
impl Handler for Projection {
    async fn cursor(&self, shard: Shard) -> Result<Position, HandleError> {
        self.store.cursor(shard).await.map_err(|error| HandleError::Retry(error.to_string()))
    }

    async fn handle(&self, shard: Shard, entries: &[Entry]) -> Result<(), HandleError> {
        let mut events = Vec::new();
        for entry in entries {
            let stop = |why: String| HandleError::Stop(format!("position {}: {why}", entry.position));
            let record = Record::decode(entry.payload.clone()).map_err(|error| stop(error.to_string()))?;
            if record.format > FORMAT {
                return Err(stop(format!("format {}, and this version reads {FORMAT}", record.format)));
            }
            events.extend(record.events);
        }
        let Some(last) = entries.last() else { return Ok(()) };
        match self.store.apply(shard, events, last.position).await {
            Ok(()) => self.written.send_modify(|count| *count += 1),
            Err(error @ (Error::Hole { .. } | Error::Event(_))) => return Err(HandleError::Stop(error.to_string())),
            Err(error) => return Err(HandleError::Retry(error.to_string())),
        }
        Ok(())
    }
}
