//! The rooms of a replay: one group for each, made once by its first member however often the run is started.

use super::{
    check::{RoomPlan, client_id},
    dataset::Dataset,
};
use crate::{
    Error,
    people::{self, Person},
};
use futures_util::{StreamExt as _, stream};
use indicatif::ProgressBar;
use madang_client::{Http, http};
use madang_proto::client::v1::History;
use std::{collections::HashMap, sync::atomic::AtomicU64};
use uuid::Uuid;

/// Words with which a server says that a room is too large for it.
const TOO_MANY: [&str; 3] = ["GROUP_FULL", "INVALID_FIELD", "TOO_LARGE"];
/// Members that any server takes unless it is configured lower.
const USUAL: usize = 200;

/// Makes the rooms; gives those made, and how many were refused for their size.
pub async fn make(
    http: &Http,
    dataset: &Dataset,
    people: &[Person],
    run: &str,
    started_at: u64,
    concurrency: usize,
    progress: &ProgressBar,
) -> Result<(Vec<RoomPlan>, usize), Error> {
    progress.set_length(dataset.rooms.len() as u64);
    let ids: HashMap<usize, &str> =
        people.iter().enumerate().map(|(number, person)| (number, person.tokens.user.as_str())).collect();
    let all = stream::iter(dataset.rooms.iter().enumerate()).map(async |(place, room)| {
        let Some((owner, others)) = room.members.split_first() else {
            return Err(Error::Format(format!("room {} has no members", room.name)));
        };
        let members: Vec<String> = others.iter().map(|member| ids[member].to_owned()).collect();
        let key = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{run}\n{}", room.name).as_bytes()).to_string();
        let name: String = room.name.chars().take(50).collect();
        let token = &people[*owner].tokens.access_token;
        let made = people::persist(|| http.create_group(token, &name, &members, History::All, &key)).await;
        progress.inc(1);
        let group = match made {
            Ok(group) => group,
            Err(http::Error::Refused(problem))
                if problem.reason == TOO_MANY[0]
                    || room.members.len() > USUAL && TOO_MANY.contains(&problem.reason.as_str()) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(refused) = group.refused.first() {
            if TOO_MANY.contains(&refused.reason.as_str()) {
                return Ok(None);
            }
            return Err(Error::Format(format!("room {}: a member was not taken in: {}", room.name, refused.reason)));
        }
        let count = room.messages.len();
        Ok(Some(RoomPlan {
            room: place,
            conversation: group.conversation.conversation,
            revision: group.conversation.revision,
            client_ids: (0..count).map(|said| client_id(started_at, run, &room.name, said)).collect(),
            sent_at: (0..count).map(|_| AtomicU64::new(0)).collect(),
        }))
    });
    let all: Vec<_> = all.buffered(concurrency.max(1)).collect().await;
    let mut made = Vec::new();
    let mut refused = 0;
    for room in all {
        match room? {
            Some(room) => made.push(room),
            None => refused += 1,
        }
    }
    Ok((made, refused))
}
