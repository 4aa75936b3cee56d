//! Rooms for homes and for notifications: as many as one answer bears. What people have set for themselves stays in the
//! rows when they leave, for when they come back; it is no part of the room meanwhile.

use super::{Groups, conversation, failed, too_many, user_of};
use crate::store::Gone;
use futures_util::{StreamExt, TryStreamExt, stream};
use madang_proto::{
    group::v1::{LoadRoomsRequest, LoadRoomsResponse, RoomState},
    id::ConversationId,
};
use prost::Message as _;
use std::collections::HashSet;
use tonic::Status;

/// How many are read from the database at once.
const TOGETHER: usize = 100;

/// How many of the conversations that are about to begin are looked at at once.
const BEGINS: usize = 8;

/// Only what says who is to hear of something.
pub(super) fn shorten(room: &mut RoomState) {
    room.data.clear();
    for settings in room.members.iter_mut().filter_map(|member| member.settings.as_mut()) {
        settings.data.clear();
    }
}

impl Groups {
    pub(super) async fn loaded(&self, request: LoadRoomsRequest) -> Result<LoadRoomsResponse, Status> {
        let LoadRoomsRequest { conversations: asked, mut users, begins, brief, enough_bytes, left_from } = request;
        for (field, count) in [("conversations", asked.len()), ("users", users.len()), ("begins", begins.len())] {
            if count > 1000 {
                return Err(too_many(field, "at most 1000 rooms and users are loaded at once"));
            }
        }
        // Those are counted with what begins.
        let begin: HashSet<&String> = begins.iter().flat_map(|each| &each.users).collect();
        users.retain(|user| !begin.contains(user));
        let ids = asked.iter().map(|id| conversation(id)).collect::<Result<Vec<_>, _>>()?;
        let gone = match (brief, left_from) {
            (true, _) => Gone::NOBODY,
            // A home of the version before keeps what they had set.
            (false, 0) => Gone::Whole,
            (false, position) => Gone::Since(position),
        };
        let (rooms, looked_at) = self.rooms_of(&ids, (brief, gone), enough_bytes).await?;
        let users = users.iter().map(|each| user_of("users", each)).collect::<Result<Vec<_>, _>>()?;
        let full = self.full_of(users).await?.iter().map(ToString::to_string).collect();
        let begins = stream::iter(begins).map(|each| self.begins(each)).buffered(BEGINS);
        let kept_out = begins.try_filter_map(|kept_out| std::future::ready(Ok(kept_out))).try_collect().await?;
        let not_yet = asked.into_iter().skip(looked_at).collect();
        Ok(LoadRoomsResponse { rooms, full, kept_out, not_yet })
    }

    /// Rooms, until they are large enough (0: all), and how many of the ids were looked at: at least one, if there is one.
    async fn rooms_of(
        &self,
        ids: &[ConversationId],
        (brief, gone): (bool, Gone),
        enough_bytes: u64,
    ) -> Result<(Vec<RoomState>, usize), Status> {
        let (mut rooms, mut bytes, mut looked_at) = (Vec::new(), 0, 0);
        let is_enough = |bytes: u64| enough_bytes > 0 && bytes >= enough_bytes;
        for some in ids.chunks(TOGETHER) {
            let mut found =
                self.store.rooms(some.to_vec(), gone).await.map_err(|error| failed(&error))?.into_iter().peekable();
            for id in some {
                if is_enough(bytes) {
                    return Ok((rooms, looked_at));
                }
                looked_at += 1;
                // They come in the order asked for; those that do not exist are left out.
                let Some(mut room) = found.next_if(|room| room.conversation == id.bytes()) else { continue };
                if brief {
                    shorten(&mut room);
                }
                bytes += room.encoded_len() as u64;
                rooms.push(room);
            }
        }
        Ok((rooms, looked_at))
    }
}
