//! Rooms as group-svc has them: many at once, by as many answers as that takes.

use madang_proto::{
    group::v1::{LoadRoomsRequest, LoadRoomsResponse, RoomState},
    id::ConversationId,
};
use std::{collections::HashMap, future::Future};

/// How many are asked for at once, at most.
const AT_ONCE: usize = 1000;

/// Rooms by their conversations, those that exist. `how` says in what form, and by how many bytes; `ask` is the call.
pub async fn load<E, F>(
    conversations: impl IntoIterator<Item = &ConversationId>,
    how: &LoadRoomsRequest,
    mut ask: impl FnMut(LoadRoomsRequest) -> F,
) -> Result<HashMap<ConversationId, RoomState>, E>
where
    F: Future<Output = Result<LoadRoomsResponse, E>>,
{
    let all: Vec<String> = conversations.into_iter().map(ToString::to_string).collect();
    let mut found = HashMap::new();
    for some in all.chunks(AT_ONCE) {
        let mut asked = some.to_vec();
        while !asked.is_empty() {
            let answer = ask(LoadRoomsRequest { conversations: asked, ..how.clone() }).await?;
            let known = |room: RoomState| Some((ConversationId::from_slice(&room.conversation).ok()?, room));
            found.extend(answer.rooms.into_iter().filter_map(known));
            asked = answer.not_yet;
        }
    }
    Ok(found)
}
