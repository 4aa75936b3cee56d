//! What a home is asked for again, where it may have been done before: it is refused then because of what it did itself (who
//! has left is in no such group), so what there is decides, not the refusal.

use super::{DONE, Groups, failed, found, operation};
use crate::store::{keys, present};
use madang_mesh::{clock, status::to_status};
use madang_proto::{
    chat::v1::operation::Body,
    client::v1::Role,
    group::v1::RoomState,
    id::{ConversationId, UserId},
    reason::Reason,
};
use tonic::Status;

/// Whether somebody was in a group and is no more, since later than a revision.
pub(super) fn has_left(room: &RoomState, user: UserId, since: u64) -> bool {
    room.members.iter().any(|member| member.user == user.bytes() && member.left_revision > since)
}

/// Whether somebody in a group has a rank.
pub(super) fn has_role(room: &RoomState, user: UserId, role: i32) -> bool {
    role != i32::from(Role::Unspecified) && present(room, user).is_some_and(|member| member.role == role)
}

/// Whether nobody is in a group any more.
pub(super) fn has_ended(room: &RoomState) -> bool {
    room.members.iter().all(|member| member.left_revision > 0)
}

impl Groups {
    /// As of which revision of a group it was first asked under a key that people come into it. Whether they came is not known
    /// to who asks again; but who has left later is not to be brought back.
    pub(super) async fn first_asked(&self, whose: UserId, key: String, room: &RoomState) -> Result<u64, Status> {
        let (now, at) = (keys::of_revision(room.revision), clock::now_ms());
        Ok(self.store.made(whose, key, now, at).await.map_err(|error| failed(&error))?.revision())
    }

    /// Has the home do something after which something is so; the revision, and the room once the database has it.
    pub(super) async fn done(
        &self,
        id: ConversationId,
        actor: UserId,
        body: Body,
        is_so: impl Fn(&RoomState) -> bool,
    ) -> Result<(u64, RoomState), Status> {
        match self.operations.tried(id, operation(id, actor, body)).await {
            (Ok(ack), _) => Ok((ack.revision, self.changed(id, &ack).await?)),
            (Err(refusal), true) if matches!(refusal.reason, Reason::ConversationNotFound | Reason::RoleRequired) => {
                let room = self.projection.room_when(DONE, id, |room| room.is_some_and(&is_so)).await;
                match found(room) {
                    Ok(room) => Ok((room.revision, room)),
                    Err(_) => Err(to_status(&refusal)),
                }
            }
            (Err(refusal), _) => Err(to_status(&refusal)),
        }
    }
}
