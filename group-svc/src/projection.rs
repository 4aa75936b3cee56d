//! From the log to rows.

use crate::store::{Access, Error, Gone, GroupStore};
use async_trait::async_trait;
use madang_mesh::{
    log::{Entry, Position},
    shard::Shard,
    subscription::{HandleError, Handler, Written},
    trace,
};
use madang_proto::{
    group::v1::RoomState,
    id::{ConversationId, UserId},
    log::v1::MemberSettings,
    record,
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long a reader waits for a revision.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// Why somebody is not told what they may see.
#[derive(Debug)]
pub enum Unseen {
    /// They are not in it, or there is no such conversation.
    NotIn,
    /// What they ask for did not come in time.
    Late,
    /// The store failed.
    Failed(Error),
}

/// Writes what the log says.
pub struct Projection {
    store: Arc<dyn GroupStore>,
    written: Written,
}

impl Projection {
    /// Into a store.
    #[must_use]
    pub fn new(store: Arc<dyn GroupStore>) -> Self {
        Self { store, written: Written::default() }
    }

    /// A room at a revision or later; `Ok(None)`: there is none; `Err(None)`: not in time.
    pub async fn room(&self, id: ConversationId, at_least: u64) -> Result<Option<RoomState>, Option<Error>> {
        self.room_within(PATIENCE, id, at_least).await
    }

    /// The same, waited for as long as that.
    pub async fn room_within(
        &self,
        patience: Duration,
        id: ConversationId,
        at_least: u64,
    ) -> Result<Option<RoomState>, Option<Error>> {
        self.room_when(patience, id, |room| at_least == 0 || room.is_some_and(|room| room.revision >= at_least)).await
    }

    /// The same, once something is so of it.
    pub async fn room_when(
        &self,
        patience: Duration,
        id: ConversationId,
        is_so: impl Fn(Option<&RoomState>) -> bool,
    ) -> Result<Option<RoomState>, Option<Error>> {
        let mut looks = self.written.looks();
        let reached = async {
            loop {
                let room = self.store.rooms(vec![id], Gone::Since(0)).await.map_err(Some)?.pop();
                if is_so(room.as_ref()) {
                    return Ok(room);
                }
                looks.again().await;
            }
        };
        tokio::time::timeout(patience, reached).await.unwrap_or(Err(None))
    }

    /// What somebody has set, as their room's home has said, once that is as of a time or later, and the newest message's number;
    /// `Err(None)`: not in time. The home may have let them in just now: they are waited for as well.
    pub async fn settings(
        &self,
        user: UserId,
        id: ConversationId,
        at_ms: i64,
    ) -> Result<(Option<MemberSettings>, u64), Option<Error>> {
        let mut looks = self.written.looks();
        let reached = async {
            loop {
                let found = self.store.settings(user, id).await.map_err(Some)?;
                let at = |set: &Option<MemberSettings>| set.as_ref().map_or(0, |set| set.updated_at_ms);
                if let Some(found) = found.filter(|(set, _)| at(set) >= at_ms) {
                    return Ok(found);
                }
                looks.again().await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or(Err(None))
    }

    /// What a user may see of a conversation, as of a revision or later. Who is not in it is waited for as well: they may
    /// be about to join; and so it takes as long as for a conversation that does not exist.
    pub async fn access(&self, user: UserId, id: ConversationId, at_least: u64) -> Result<Access, Unseen> {
        let mut looks = self.written.looks();
        let end = Instant::now() + PATIENCE;
        loop {
            let access = self.store.access(user, vec![id]).await.map_err(Unseen::Failed)?.pop();
            match access {
                Some(access) if access.revision >= at_least => {
                    return if access.present { Ok(access) } else { Err(Unseen::NotIn) };
                }
                None if at_least == 0 => return Err(Unseen::NotIn),
                _ => {}
            }
            if tokio::time::timeout_at(end, looks.again()).await.is_err() {
                return Err(if access.is_some_and(|access| access.present) { Unseen::Late } else { Unseen::NotIn });
            }
        }
    }
}

#[async_trait]
impl Handler for Projection {
    async fn cursor(&self, shard: Shard) -> Result<Position, HandleError> {
        self.store.cursor(shard).await.map_err(|error| HandleError::Retry(error.to_string()))
    }

    async fn handle(&self, shard: Shard, entries: &[Entry]) -> Result<(), HandleError> {
        let (mut events, mut spans) = (Vec::new(), Vec::new());
        for entry in entries {
            let stop = |why: String| HandleError::Stop(format!("position {}: {why}", entry.position));
            let record = record::read(entry.payload.clone()).map_err(|error| stop(error.to_string()))?;
            spans.extend(trace::projected("group", &record));
            events.extend(record.events);
        }
        let Some(last) = entries.last() else { return Ok(()) };
        let applied = self.store.apply(shard, events, last.position).await;
        if applied.is_err() {
            spans.iter_mut().for_each(|span| span.fail("not written"));
        }
        match applied {
            Ok(()) => self.written.now(),
            Err(error @ (Error::Hole { .. } | Error::Event(_))) => return Err(HandleError::Stop(error.to_string())),
            Err(error) => return Err(HandleError::Retry(error.to_string())),
        }
        Ok(())
    }
}
