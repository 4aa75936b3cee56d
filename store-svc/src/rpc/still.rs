//! Messages are shown as they are now, and one may have been changed since it was asked who may see it: at a time when
//! who reads it had been put out already. Where there is such a change, it is asked again, as of that change.

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
    let message = "you left and came back while this was read: ask again";
    to_status(&Refusal::new(Reason::Unavailable, message).after(500))
}

impl History {
    /// Refuses a reader, of whom it is known that they were a member as of `revision`, what they may not see any more.
    pub(super) async fn still(
        &self,
        id: ConversationId,
        user: &str,
        revision: u64,
        messages: &[Message],
    ) -> Result<(), Status> {
        let newest = messages.iter().map(|message| message.revision).max().unwrap_or(0);
        if user.is_empty() || newest <= revision {
            return Ok(());
        }
        let (access, _) = self.access(id, user, newest).await?;
        let visible = messages.iter().all(|message| message.seq >= access.first_seq);
        if visible { Ok(()) } else { Err(moved()) }
    }

    /// Leaves out, of messages of many conversations, what a reader may not see any more.
    pub(super) async fn still_of(
        &self,
        user: &str,
        known: &Known,
        messages: &mut Vec<(ConversationId, Message)>,
    ) -> Result<(), Status> {
        let mut changed: HashMap<ConversationId, u64> = HashMap::new();
        for (id, message) in messages.iter() {
            if known.get(id).is_none_or(|revision| message.revision > *revision) {
                let newest = changed.entry(*id).or_default();
                *newest = message.revision.max(*newest);
            }
        }
        if user.is_empty() || changed.is_empty() {
            return Ok(());
        }
        let asked = stream::iter(changed).map(|(id, newest)| async move {
            match self.access(id, user, newest).await {
                Ok((access, _)) => Ok((id, access.first_seq)),
                Err(status) if status.code() == Code::NotFound => Ok((id, u64::MAX)),
                Err(status) => Err(status),
            }
        });
        let first: HashMap<_, _> = asked.buffer_unordered(ASKED).try_collect().await?;
        messages.retain(|(id, message)| first.get(id).is_none_or(|first| message.seq >= *first));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
