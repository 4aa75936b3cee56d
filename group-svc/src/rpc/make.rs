//! Groups are made: under an idempotency key once, and whoever asks again is told of the same one, also where they could make
//! no further one.

use super::{Groups, bring::sorted, clock, failed, good_key, group_name, reused, user, view};
use crate::store::{Gone, keys, present};
use madang_proto::{
    chat::v1::{self as chat, operation::Body},
    group::v1::*,
    id::{ConversationId, UserId},
};
use tonic::Status;

impl Groups {
    pub(super) async fn make(&self, request: CreateGroupRequest) -> Result<CreateGroupResponse, Status> {
        let CreateGroupRequest { user: whose, name, members, history, data, idempotency_key: key } = request;
        let whose = user(&whose)?;
        let name = group_name(&name)?;
        good_key(&key)?;
        // Not to be taken for what else was asked under a key: what is remembered of that is nobody's to see.
        let key = if key.is_empty() { key } else { format!("group {key}") };
        let asked = keys::of_group(&name, &members, history, &data);
        let mut id = ConversationId::new();
        if !key.is_empty() {
            let made =
                self.store.made(whose, key.clone(), id, clock::now_ms()).await.map_err(|error| failed(&error))?;
            if made.is_of_another(&asked) {
                return Err(reused("group"));
            }
            if made.id != id {
                id = made.id;
                let room = self.store.rooms(vec![id], Gone::Since(0)).await.map_err(|error| failed(&error))?.pop();
                if let Some(room) = room {
                    self.made(whose, key, asked).await?;
                    return self.again(whose, room, &members).await;
                }
            }
        }
        self.announce_self(id, whose).await?;
        let create = |members: Vec<String>| {
            if members.len() + 1 > self.settings.max_members as usize {
                return Err(self.full());
            }
            let (name, data) = (name.clone(), data.clone());
            Ok(Body::CreateGroup(chat::CreateGroup { name, history, data, members }))
        };
        let (ack, refused) = match self.bring("members", &members, (id, whose), create).await {
            Ok(brought) => brought,
            Err(status) => {
                self.call_off(id, vec![whose], &status).await;
                return Err(status);
            }
        };
        self.made(whose, key, asked).await?;
        let room = self.changed(id, &ack).await?;
        let seen = self.seen(whose, room)?;
        Ok(CreateGroupResponse { conversation: Some(view(seen)), refused })
    }

    /// A key's group is made: from now on it stands for nothing else.
    async fn made(&self, whose: UserId, key: String, asked: keys::Asked) -> Result<(), Status> {
        if key.is_empty() {
            return Ok(());
        }
        self.store.done(whose, key, asked).await.map_err(|error| failed(&error))
    }

    /// The group as it is now, and who is not in it because they could not be brought in.
    async fn again(&self, whose: UserId, room: RoomState, members: &[String]) -> Result<CreateGroupResponse, Status> {
        let known = self.known("members", members, whose).await?;
        let full = self.full_of(known.iter().map(|(user, _)| *user).collect()).await?;
        let (_, mut refused) = sorted(known, &full);
        // Whom the group itself has brought to as many conversations as one may be in was not refused.
        refused.retain(|each| each.user.parse().is_ok_and(|user| present(&room, user).is_none()));
        let seen = self.seen(whose, room)?;
        Ok(CreateGroupResponse { conversation: Some(view(seen)), refused })
    }
}
