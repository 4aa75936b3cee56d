//! Who comes into a conversation: nobody who is in as many as one may be in. They are announced before the home is asked, and
//! that is called off where it refuses.

use super::{Groups, conversation, failed, refuse, user_of};
use madang_mesh::{
    clock,
    status::{from_status, to_status},
};
use madang_proto::{
    group::v1::Beginning,
    id::{ConversationId, UserId},
    reason::{Reason, Refusal},
};
use std::collections::HashSet;
use tonic::Status;

/// Whether it may have been done all the same.
pub(super) fn may_be_done(refusal: &Refusal) -> bool {
    matches!(refusal.reason, Reason::Unavailable | Reason::Timeout | Reason::NotHome | Reason::Internal)
}

impl Groups {
    /// Announces users; those who are not, being in as many as one may be in.
    pub(super) async fn announce(&self, id: ConversationId, users: Vec<UserId>) -> Result<HashSet<UserId>, Status> {
        let most = self.settings.max_conversations;
        self.store.announce(id, users, most, clock::now_ms()).await.map_err(|error| failed(&error))
    }

    /// Announces who comes by themselves.
    pub(super) async fn announce_self(&self, id: ConversationId, whose: UserId) -> Result<(), Status> {
        if self.announce(id, vec![whose]).await?.is_empty() {
            return Ok(());
        }
        let most = self.settings.max_conversations;
        let message = format!("you are in {most} conversations, as many as one may be in: leave one first");
        Err(refuse(Reason::TooManyConversations, message))
    }

    /// Who was announced does not come, unless it may have been done all the same. Where that can't be noted they count for a
    /// quarter of an hour.
    pub(super) async fn call_off(&self, id: ConversationId, users: Vec<UserId>, status: &Status) {
        if users.is_empty() || may_be_done(&from_status(status)) {
            return;
        }
        if let Err(error) = self.store.call_off(id, users).await {
            tracing::warn!(%error, "who does not come into a conversation counts as if they did");
        }
    }

    /// Announces who will be in a conversation; because of whom it can't begin, if so.
    pub(super) async fn begins(&self, begins: Beginning) -> Result<Option<Beginning>, Status> {
        let id = conversation(&begins.conversation)?;
        let users = begins.users.iter().map(|each| user_of("begins", each)).collect::<Result<Vec<_>, _>>()?;
        let full = self.announce(id, users.clone()).await?;
        if full.is_empty() {
            return Ok(None);
        }
        let (full, others): (Vec<_>, Vec<_>) = users.into_iter().partition(|user| full.contains(user));
        self.call_off(id, others, &to_status(&Refusal::new(Reason::TooManyConversations, ""))).await;
        Ok(Some(Beginning { users: full.iter().map(ToString::to_string).collect(), ..begins }))
    }

    /// Those of these users who are in as many conversations as one may be in.
    pub(super) async fn full_of(&self, users: Vec<UserId>) -> Result<HashSet<UserId>, Status> {
        if users.is_empty() {
            return Ok(HashSet::new());
        }
        let counts = self.store.counts(users).await.map_err(|error| failed(&error))?;
        let full = counts.into_iter().filter(|(_, count)| *count >= self.settings.max_conversations);
        Ok(full.map(|(user, _)| user).collect())
    }
}
