//! What a group shows of itself is changed. Who sets a picture is told which one that has replaced, for it to be forgotten: so
//! the home is told which one it should be, and where it is another, that one is waited for.

use super::{DONE, Groups, found, operation};
use madang_mesh::status::to_status;
use madang_proto::{
    chat::v1::{ChangeGroup, operation::Body},
    client::v1::Ack,
    id::{ConversationId, UserId},
    reason::Reason,
};
use tokio::time::Instant;
use tonic::Status;

impl Groups {
    /// Has the home change what a group shows; and the picture that this has replaced, or nothing.
    pub(super) async fn show(
        &self,
        id: ConversationId,
        actor: UserId,
        mut change: ChangeGroup,
    ) -> Result<(Ack, String), Status> {
        let Some(picture) = change.picture.clone() else {
            return Ok((self.operate(id, actor, Body::ChangeGroup(change)).await?, String::new()));
        };
        let end = Instant::now() + DONE;
        let mut shown = self.room(id, 0).await?.picture;
        loop {
            change.picture_was = Some(shown.clone());
            let body = Body::ChangeGroup(change.clone());
            let (refusal, unheard) = match self.operations.tried(id, operation(id, actor, body)).await {
                (Ok(ack), _) if shown == picture => return Ok((ack, String::new())),
                (Ok(ack), _) => return Ok((ack, shown)),
                (Err(refusal), unheard) => (refusal, unheard),
            };
            if refusal.reason != Reason::Lagging || Instant::now() >= end {
                return Err(to_status(&refusal));
            }
            let other = self.projection.room_when(DONE, id, |room| room.is_none_or(|room| room.picture != shown));
            let Ok(room) = found(other.await) else { return Err(to_status(&refusal)) };
            match unheard {
                false => shown = room.picture,
                // It was set by an earlier try, of which nobody has heard.
                true if room.picture == picture => {
                    return Ok((Ack { revision: room.revision, ..Ack::default() }, shown));
                }
                // Whether it was set before that is not known.
                true => return Err(to_status(&refusal)),
            }
        }
    }
}
