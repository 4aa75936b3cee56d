//! From the log to rows: what each event leaves in history.

use crate::messages::{self, Change, Entry as Row, Head, Messages, emoji_key, feed::Kept};
use async_trait::async_trait;
use madang_mesh::{
    log::{Entry, Position},
    shard::Shard,
    subscription::{HandleError, Handler, Looks, Written},
    trace,
};
use madang_proto::{
    client::v1 as client,
    event::to_client,
    id::ConversationId,
    log::v1::{self as log, LoggedEvent, logged_event::Body},
    record,
    store::v1::ClientIdUse,
};
use std::{sync::Arc, time::Duration};

/// Writes what the log says.
pub struct Projection {
    store: Arc<dyn Messages>,
    written: Written,
}

impl Projection {
    /// Into a store.
    #[must_use]
    pub fn new(store: Arc<dyn Messages>) -> Self {
        Self { store, written: Written::default() }
    }

    /// To wait for more with.
    #[must_use]
    pub fn looks(&self) -> Looks {
        self.written.looks()
    }

    /// Waits until the rows hold a conversation's revision; how far they have come, or none in time.
    pub async fn wait_for(
        &self,
        conversation: ConversationId,
        revision: u64,
        patience: Duration,
    ) -> Result<Option<Head>, messages::Error> {
        let mut looks = self.written.looks();
        let reached = async {
            loop {
                let now = self.store.head(conversation).await?;
                if now.revision >= revision {
                    return Ok::<_, messages::Error>(now);
                }
                looks.again().await;
            }
        };
        tokio::time::timeout(patience, reached).await.ok().transpose()
    }

    /// Waits until the rows hold these revisions of many conversations; whether they do in time.
    pub async fn wait_for_all(
        &self,
        mut wanted: Vec<(ConversationId, u64)>,
        patience: Duration,
    ) -> Result<bool, messages::Error> {
        let mut looks = self.written.looks();
        let reached = async {
            while !wanted.is_empty() {
                let heads = self.store.heads(wanted.iter().map(|(id, _)| *id).collect()).await?;
                let behind = wanted.into_iter().zip(heads).filter(|((_, revision), head)| head.revision < *revision);
                wanted = behind.map(|(each, _)| each).collect();
                if !wanted.is_empty() {
                    looks.again().await;
                }
            }
            Ok::<_, messages::Error>(())
        };
        Ok(tokio::time::timeout(patience, reached).await.ok().transpose()?.is_some())
    }
}

/// What an event leaves in history; `Stop` for one that this version does not store.
pub fn row(event: LoggedEvent) -> Result<Row, HandleError> {
    let unreadable = |_| HandleError::Stop("an event names no conversation".into());
    let conversation = ConversationId::from_slice(&event.conversation).map_err(unreadable)?;
    let last_seq = event.last_seq;
    let used = |seq| ClientIdUse {
        sender: event.actor.to_vec(),
        client_id: event.client_id.to_vec(),
        request_hash: event.request_hash,
        seq,
        revision: event.revision,
        at_micros: event.at_micros,
    };
    Ok(match event.body {
        Some(Body::Message(_)) => {
            let client::Event { body: Some(client::event::Body::Message(message)), .. } = to_client(&event) else {
                return Err(HandleError::Stop("a message that clients would see no message of".into()));
            };
            Row::Message { conversation, used: used(last_seq), message: Box::new(message) }
        }
        Some(Body::Created(_) | Body::Joined(_) | Body::Left(_) | Body::Role(_) | Body::Changed(_)) => {
            Row::Notice { conversation, event: to_client(&event) }
        }
        Some(Body::Read(_)) => {
            let LoggedEvent { revision, last_seq, at_micros, .. } = event;
            Row::Other { conversation, revision, last_seq, at_micros }
        }
        Some(Body::Edited(log::MessageEdited { seq, content })) => {
            let change = Change::Edited(Box::new(content.unwrap_or_default()));
            Row::Change { conversation, last_seq, used: used(seq), change }
        }
        Some(Body::Deleted(log::MessageDeleted { seq })) => {
            Row::Change { conversation, last_seq, used: used(seq), change: Change::Deleted }
        }
        Some(Body::Reacted(reacted)) => {
            let log::MessageReacted { seq, emoji, removed, began, now, .. } = reacted;
            let now =
                now.into_iter().map(|each| client::Reaction { emoji: each.emoji, count: each.count, mine: false });
            let (key, user) = (emoji_key(&emoji), event.actor.to_vec());
            let change = Change::Reacted { key, user, removed, began, now: now.collect() };
            Row::Change { conversation, last_seq, used: used(seq), change }
        }
        Some(Body::Settings(_)) | None => {
            return Err(HandleError::Stop("an event of a kind that this version does not store".into()));
        }
    })
}

#[async_trait]
impl Handler for Projection {
    async fn cursor(&self, shard: Shard) -> Result<Position, HandleError> {
        self.store.cursor(shard).await.map_err(|error| HandleError::Retry(error.to_string()))
    }

    async fn again_from(&self, shard: Shard) -> Result<Position, HandleError> {
        self.store.again_from(shard).await.map_err(|error| HandleError::Retry(error.to_string()))
    }

    async fn lost(&self, shard: Shard) {
        self.store.lost(shard).await;
    }

    async fn released(&self, shard: Shard) {
        self.store.released(shard);
    }

    async fn handle(&self, shard: Shard, entries: &[Entry]) -> Result<(), HandleError> {
        let (mut rows, mut spans) = (Vec::new(), Vec::new());
        for entry in entries {
            let stop = |why: String| HandleError::Stop(format!("position {}: {why}", entry.position));
            let record = record::read(entry.payload.clone()).map_err(|error| stop(error.to_string()))?;
            let kept = Kept::of(entry.position, entry.at_micros, &record.events);
            spans.extend(trace::projected("store", &record));
            // What has no revision is no part of history.
            for event in record.events.into_iter().filter(|event| event.revision > 0) {
                rows.push(row(event)?);
            }
            rows.push(Row::Record(kept));
        }
        let Some(last) = entries.last() else { return Ok(()) };
        if let Err(error) = self.store.apply(shard, rows, last.position).await {
            spans.iter_mut().for_each(|span| span.fail("not written"));
            return Err(HandleError::Retry(error.to_string()));
        }
        self.written.now();
        Ok(())
    }
}
