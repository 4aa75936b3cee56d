//! Who reacted: to one message, for its home; and which of many reactions are a reader's own.

use super::{History, conversation, failed};
use crate::messages::emoji_key;
use madang_mesh::status::to_status;
use madang_proto::{
    client::v1::Message,
    id::{ConversationId, UserId},
    reason::{Reason, Refusal},
    store::v1::*,
};
use tonic::Status;

impl History {
    pub(super) async fn load(&self, request: LoadMessageRequest) -> Result<LoadMessageResponse, Status> {
        let LoadMessageRequest { conversation: id, seq, at_least } = request;
        let id = conversation(&id)?;
        self.reach(id, at_least).await?;
        let missing =
            || to_status(&Refusal::new(Reason::MessageNotFound, "there is no such message: check the number"));
        let mut loaded = self.store.load(id, seq).await.map_err(failed)?.ok_or_else(missing)?;
        let reactors = loaded.message.reactions.iter().map(|each| {
            let (began, users) = loaded.reactors.remove(&emoji_key(&each.emoji)).unwrap_or_default();
            Reactors { emoji: each.emoji.clone(), began, users }
        });
        let reactors = reactors.collect();
        Ok(LoadMessageResponse { message: Some(loaded.message), reactors, changed_micros: loaded.changed_micros })
    }

    /// Marks which reactions are the reader's own.
    pub(super) async fn mark_mine(
        &self,
        id: ConversationId,
        user: &str,
        messages: impl Iterator<Item = &mut Message>,
    ) -> Result<(), Status> {
        let Ok(user) = user.parse::<UserId>() else { return Ok(()) };
        let with: Vec<_> = messages.filter(|message| !message.reactions.is_empty()).collect();
        if with.is_empty() {
            return Ok(());
        }
        let seqs = with.iter().map(|message| message.seq).collect();
        let own = self.store.reacted(id, user.bytes().to_vec(), seqs).await.map_err(failed)?;
        for message in with {
            for reaction in &mut message.reactions {
                reaction.mine = own.contains(&(message.seq, emoji_key(&reaction.emoji)));
            }
        }
        Ok(())
    }
}
