//! Messages are shown as they are now, and one may have been changed since it was asked who may see it: at a time when
//! who reads it had been put out already. Where there is such a change, it is asked again as of that change. The message is
//! shown as it was read: a store shows what led to a change with it, or neither.

use super::History;
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

/// Of some conversations: as of which event it was asked who may see them.
pub(super) type Known = HashMap<ConversationId, u64>;

fn moved() -> Status {
    let message = "what may be seen here has changed while it was read: ask again";
    to_status(&Refusal::new(Reason::Unavailable, message).after(500))
}

impl History {
    /// Looks whether a reader, of whom it is known that they were a member as of `revision`, may see messages as they are;
    /// refuses if there is one that they may not see any more.
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
        known: Known,
        messages: &mut Vec<(ConversationId, Message)>,
    ) -> Result<Option<Status>, Status> {
        let mut newest = Known::new();
        for (id, message) in messages.iter() {
            if known.get(id).is_none_or(|revision| message.revision > *revision) {
                let newest = newest.entry(*id).or_default();
                *newest = message.revision.max(*newest);
            }
        }
        let asked = stream::iter(newest).map(|(id, newest)| async move {
            match self.access(id, user, newest).await {
                Ok((access, _)) => Ok((id, access.first_seq, None)),
                Err(status) if status.code() == Code::NotFound => Ok((id, u64::MAX, Some(status))),
                Err(status) => Err(status),
            }
        });
        let asked: Vec<_> = asked.buffer_unordered(ASKED).try_collect().await?;
        let mut refused = None;
        for (id, first_seq, status) in asked {
            let count = messages.len();
            messages.retain(|(of, message)| *of != id || message.seq >= first_seq);
            if messages.len() < count {
                refused.get_or_insert(status.unwrap_or_else(moved));
            }
        }
        Ok(refused)
    }
}

#[cfg(test)]
mod tests;
