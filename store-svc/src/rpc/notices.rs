//! The notices of a page of history: all that stand between its messages. Where they are more than are given at once, the
//! page ends sooner; and where so many stand around one message, it is said up to where they are there.

use super::{Access, History, changes::cut_notices, failed, near::Near};
use crate::messages::NOTICES;
use madang_proto::{id::ConversationId, store::v1::ListMessagesResponse};
use tonic::Status;

impl History {
    /// Adds them to a page that lies between two numbers, and lets go of messages far from what was asked for until they fit.
    pub(super) async fn add_notices(
        &self,
        id: ConversationId,
        access: Access,
        (mut low, mut high): (u64, u64),
        near: Near,
        page: &mut ListMessagesResponse,
    ) -> Result<(), Status> {
        loop {
            // Before the first message that one sees stands one's own joining.
            let seqs = (
                if page.has_before { low } else { access.first_seq.saturating_sub(1) },
                if page.has_after { high } else { access.last_seq.max(high) },
            );
            let revisions = (access.first_revision, page.revision);
            let mut notices = self.store.notices(id, seqs, revisions).await.map_err(failed)?;
            let many = notices.len() >= NOTICES;
            let cut = cut_notices(&mut notices);
            let count = page.messages.len();
            if !many && !cut || count <= 1 {
                if many || cut {
                    page.notices_until = notices.last().map(|last| last.revision);
                }
                page.notices = notices;
                return Ok(());
            }
            let (before, after) = near.cut(&mut page.messages, usize::MAX, count - count / 2);
            page.has_before |= before;
            page.has_after |= after;
            if let (Some(first), Some(last)) = (page.messages.first(), page.messages.last()) {
                (low, high) = (first.seq, last.seq);
            }
        }
    }
}
