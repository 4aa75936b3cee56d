//! Messages are shown as they are now, and one may have been changed since it was asked who may see it: at a time when
//! who reads it had been put out already. Where there is such a change, it is asked again as of that change, and the message
//! is read again: what led to that change may have been half written when it was read first.

use super::{History, behind, failed};
use futures_util::{StreamExt, TryStreamExt, stream};
use madang_mesh::status::to_status;
use madang_proto::{
    client::v1::Message,
    id::ConversationId,
    reason::{Reason, Refusal},
};
use std::collections::HashMap;
use tonic::{Code, Status};

/// How many conversations are asked about at once for one request.
const ASKED: usize = 16;
/// How often messages that are changed all the while are read again.
const TRIES: usize = 5;

/// Of some conversations: as of which event it was asked who may see them.
pub(super) type Known = HashMap<ConversationId, u64>;

fn moved() -> Status {
    let message = "what may be seen here has changed while it was read: ask again";
    to_status(&Refusal::new(Reason::Unavailable, message).after(500))
}

impl History {
    /// Brings messages up to date for a reader, of whom it is known that they were a member as of `revision`; refuses if
    /// there is one that they may not see any more.
    pub(super) async fn still(
        &self,
        id: ConversationId,
        user: &str,
        revision: u64,
        messages: &mut Vec<Message>,
    ) -> Result<(), Status> {
        let mut all = std::mem::take(messages).into_iter().map(|message| (id, message)).collect();
        let refused = self.still_of(user, Known::from([(id, revision)]), &mut all).await?;
        messages.extend(all.into_iter().map(|(_, message)| message));
        refused.map_or(Ok(()), Err)
    }

    /// The same of messages of many conversations: what a reader may not see any more is left out; why, of one of them.
    pub(super) async fn still_of(
        &self,
        user: &str,
        mut known: Known,
        messages: &mut Vec<(ConversationId, Message)>,
    ) -> Result<Option<Status>, Status> {
        let mut refused = None;
        for _ in 0..TRIES {
            let is_newer = |known: &Known, id: &ConversationId, message: &Message| {
                known.get(id).is_none_or(|revision| message.revision > *revision)
            };
            let newer: Vec<_> = messages.iter().filter(|(id, message)| is_newer(&known, id, message)).collect();
            if newer.is_empty() {
                return Ok(refused);
            }
            let places = newer.iter().map(|(id, message)| (*id, message.seq)).collect();
            let mut newest = Known::new();
            for (id, message) in newer {
                let newest = newest.entry(*id).or_default();
                *newest = message.revision.max(*newest);
            }
            let asked = stream::iter(newest).map(|(id, newest)| async move {
                match self.access(id, user, newest).await {
                    Ok((access, revision)) => Ok((id, access.first_seq, revision, None)),
                    Err(status) if status.code() == Code::NotFound => Ok((id, u64::MAX, u64::MAX, Some(status))),
                    Err(status) => Err(status),
                }
            });
            let asked: Vec<_> = asked.buffer_unordered(ASKED).try_collect().await?;
            let again = self.store.messages(places).await.map_err(failed)?;
            let mut again: HashMap<_, _> =
                again.into_iter().map(|(id, message)| ((id, message.seq), message)).collect();
            for (id, first_seq, revision, status) in asked {
                known.insert(id, revision);
                let count = messages.len();
                messages.retain(|(of, message)| *of != id || message.seq >= first_seq);
                if messages.len() < count {
                    refused.get_or_insert(status.unwrap_or_else(moved));
                }
            }
            for (id, message) in messages.iter_mut() {
                if let Some(now) = again.remove(&(*id, message.seq)) {
                    *message = now;
                }
            }
        }
        Err(behind())
    }
}

#[cfg(test)]
mod tests;
