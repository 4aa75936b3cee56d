//! What is not in memory is in the databases: rooms from group-svc, client ids from store-svc, people from account-svc.

use crate::retry::{Key, Use};
use async_trait::async_trait;
use madang_mesh::{channel::Channel, log::Position, shard::Shard, status::from_status};
use madang_proto::{
    account::v1::{GetUsersRequest, account_service_client::AccountServiceClient},
    group::v1::{self as group, LoadRoomsRequest, RoomState, group_service_client::GroupServiceClient},
    id::{ClientId, ConversationId, UserId},
    reason::Refusal,
    store::v1::{self as store, ListClientIdsRequest, store_service_client::StoreServiceClient},
};
use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

/// The most rooms of one request.
const ROOMS: usize = 1000;
/// How long a fetch may take.
const DEADLINE: Duration = Duration::from_secs(4);

/// The port to the databases, as a home sees them.
#[async_trait]
pub trait Sources: Send + Sync + 'static {
    /// Those of these rooms that there are, each as of some event of it.
    async fn rooms(&self, conversations: &[ConversationId]) -> Result<HashMap<ConversationId, RoomState>, Refusal>;

    /// The client ids that a room has seen since a time (microseconds since 1970), up to this event at least.
    async fn client_ids(
        &self,
        conversation: ConversationId,
        since_micros: i64,
        revision: u64,
    ) -> Result<Vec<(Key, Use)>, Refusal>;

    /// How far store-svc and group-svc have come in the log of a shard, as their databases have it.
    async fn cursors(&self, _shard: Shard) -> Result<[Position; 2], Refusal> {
        Ok([0, 0])
    }

    /// Those of these users who are somebody.
    async fn known(&self, users: &HashSet<UserId>) -> Result<HashSet<UserId>, Refusal>;
}

/// The databases, by way of their services.
pub struct Services {
    /// group-svc.
    pub group: GroupServiceClient<Channel>,
    /// store-svc.
    pub store: StoreServiceClient<Channel>,
    /// account-svc.
    pub account: AccountServiceClient<Channel>,
}

/// What a home wants.
#[derive(Debug)]
pub enum Wanted {
    /// A room; if it is not there, whether `peer` is somebody.
    Room {
        /// Which.
        conversation: ConversationId,
        /// To whom a first message goes.
        peer: Option<UserId>,
    },
    /// A room's client ids.
    Ids {
        /// Of which room.
        conversation: ConversationId,
        /// Since when.
        since_micros: i64,
        /// Up to which event at least.
        revision: u64,
    },
}

/// What came.
#[derive(Debug)]
pub enum Fetched {
    /// The room.
    Room(ConversationId, Box<RoomState>),
    /// There is no such room; whether the peer is somebody.
    Absent(ConversationId, bool),
    /// The room's client ids.
    Ids {
        /// Of which room.
        conversation: ConversationId,
        /// Since when: all of them.
        since_micros: i64,
        /// The ids.
        uses: Vec<(Key, Use)>,
    },
    /// A source did not answer.
    Failed(ConversationId, Refusal),
}

async fn bounded<T>(call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>) -> Result<T, Refusal> {
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(from_status(&status)),
        Err(_) => Err(super::moving()),
    }
}

#[async_trait]
impl Sources for Services {
    async fn rooms(&self, conversations: &[ConversationId]) -> Result<HashMap<ConversationId, RoomState>, Refusal> {
        let mut found = HashMap::new();
        for some in conversations.chunks(ROOMS) {
            let request = LoadRoomsRequest { conversations: some.iter().map(ToString::to_string).collect() };
            for room in bounded(self.group.clone().load_rooms(request)).await?.rooms {
                if let Ok(id) = ConversationId::from_slice(&room.conversation) {
                    found.insert(id, room);
                }
            }
        }
        Ok(found)
    }

    async fn client_ids(
        &self,
        conversation: ConversationId,
        since_micros: i64,
        revision: u64,
    ) -> Result<Vec<(Key, Use)>, Refusal> {
        let request = ListClientIdsRequest { conversation: conversation.to_string(), since_micros, at_least: revision };
        let answer = bounded(self.store.clone().list_client_ids(request)).await?;
        let uses = answer.uses.iter().filter_map(|each| {
            let key = (UserId::from_slice(&each.sender).ok()?, ClientId::from_slice(&each.client_id).ok()?);
            let used =
                Use { hash: each.request_hash, seq: each.seq, revision: each.revision, at_micros: each.at_micros };
            Some((key, used))
        });
        Ok(uses.collect())
    }

    async fn cursors(&self, shard: Shard) -> Result<[Position; 2], Refusal> {
        let (mut store, mut group) = (self.store.clone(), self.group.clone());
        let stored = bounded(store.get_cursor(store::GetCursorRequest { shard })).await?.position;
        Ok([stored, bounded(group.get_cursor(group::GetCursorRequest { shard })).await?.position])
    }

    async fn known(&self, users: &HashSet<UserId>) -> Result<HashSet<UserId>, Refusal> {
        let mut known = HashSet::new();
        let all: Vec<String> = users.iter().map(ToString::to_string).collect();
        for some in all.chunks(ROOMS) {
            let request = GetUsersRequest { users: some.to_vec(), handle: String::new() };
            let users = bounded(self.account.clone().get_users(request)).await?.users;
            known.extend(users.iter().filter(|user| !user.deleted).filter_map(|user| user.user.parse::<UserId>().ok()));
        }
        Ok(known)
    }
}

/// All that is wanted, with one request for the rooms.
pub async fn fetch(sources: Arc<dyn Sources>, wanted: Vec<Wanted>) -> Vec<Fetched> {
    let mut rooms = Vec::new();
    let mut fetched = Vec::new();
    for each in wanted {
        match each {
            Wanted::Room { conversation, peer } => rooms.push((conversation, peer)),
            Wanted::Ids { conversation, since_micros, revision } => {
                fetched.push(match sources.client_ids(conversation, since_micros, revision).await {
                    Ok(uses) => Fetched::Ids { conversation, since_micros, uses },
                    Err(refusal) => Fetched::Failed(conversation, refusal),
                });
            }
        }
    }
    if !rooms.is_empty() {
        fetch_rooms(&*sources, rooms, &mut fetched).await;
    }
    fetched
}

async fn fetch_rooms(sources: &dyn Sources, wanted: Vec<(ConversationId, Option<UserId>)>, fetched: &mut Vec<Fetched>) {
    let ids: Vec<_> = wanted.iter().map(|(conversation, _)| *conversation).collect();
    let mut found = match sources.rooms(&ids).await {
        Ok(found) => found,
        Err(refusal) => {
            return fetched.extend(ids.into_iter().map(|id| Fetched::Failed(id, refusal.clone())));
        }
    };
    let is_absent = |id: &ConversationId| !found.contains_key(id);
    let peers: HashSet<_> = wanted.iter().filter(|(id, _)| is_absent(id)).filter_map(|(_, peer)| *peer).collect();
    let known = match sources.known(&peers).await {
        Ok(known) => known,
        Err(refusal) => {
            return fetched.extend(ids.into_iter().map(|id| Fetched::Failed(id, refusal.clone())));
        }
    };
    fetched.extend(wanted.into_iter().map(|(id, peer)| match found.remove(&id) {
        Some(row) => Fetched::Room(id, Box::new(row)),
        None => Fetched::Absent(id, peer.is_some_and(|peer| known.contains(&peer))),
    }));
}
