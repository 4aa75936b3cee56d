//! What is not in memory is in the databases: rooms from group-svc, client ids from store-svc, people from account-svc.

use super::former;
use crate::{
    content,
    retry::{Key, Use},
    room::{
        Blocks,
        facts::{Facts, Reacted},
    },
};
use async_trait::async_trait;
use madang_mesh::{channel::Channel, log::Position, rooms, shard::Shard, status::from_status};
use madang_proto::{
    account::v1::{FindBlocksRequest, GetUsersRequest, account_service_client::AccountServiceClient},
    client::v1::{self as client, ConversationKind},
    group::v1::{
        self as group, Beginning, ListAcquaintedRequest, LoadRoomsRequest, RoomState,
        group_service_client::GroupServiceClient,
    },
    id::{ClientId, ConversationId, UserId},
    log::v1::MemberSettings,
    reason::{Reason, Refusal},
    store::v1::{
        self as store, ListClientIdsRequest, LoadMessageRequest, LoadMessageResponse,
        store_service_client::StoreServiceClient,
    },
};
use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::Arc,
    time::Duration,
};
use tokio::sync::Semaphore;

/// The most users of one request.
const USERS: usize = 1000;
/// How many bytes of rooms are asked for at once; the last of them may be larger.
const ENOUGH_BYTES: u64 = 4 << 20;
/// The most pairs of one request.
const PAIRS: usize = 10_000;
/// How long a fetch may take.
const DEADLINE: Duration = Duration::from_secs(4);
/// Nobody who left: a room that is loaded has no use for them.
pub const NOBODY: Position = Position::MAX;

/// The port to the databases, as a home sees them.
#[async_trait]
pub trait Sources: Send + Sync + 'static {
    /// Those of these rooms that there are, each as of some event of it, with those who left it at this position of the log or
    /// later.
    async fn rooms(
        &self,
        conversations: &[ConversationId],
        left_from: Position,
    ) -> Result<HashMap<ConversationId, RoomState>, Refusal>;

    /// The client ids that a room has seen since a time (microseconds since 1970), up to this event at least.
    async fn client_ids(
        &self,
        conversation: ConversationId,
        since_micros: i64,
        revision: u64,
    ) -> Result<Vec<(Key, Use)>, Refusal>;

    /// What there is to know of a message of a room, up to this event at least.
    async fn message(&self, conversation: ConversationId, seq: u64, revision: u64) -> Result<Facts, Refusal>;

    /// How far store-svc and group-svc have come in the log of a shard, as their databases have it.
    async fn cursors(&self, _shard: Shard) -> Result<[Position; 2], Refusal> {
        Ok([0, 0])
    }

    /// How far group-svc has come in the log of a shard, as its database has it.
    async fn grouped(&self, _shard: Shard) -> Result<Position, Refusal> {
        Ok(Position::MAX)
    }

    /// Those of these users who are in a conversation with a user.
    async fn acquainted(
        &self,
        _user: UserId,
        _users: &[UserId],
        _within: Option<Duration>,
    ) -> Result<HashSet<UserId>, Refusal> {
        Ok(HashSet::new())
    }

    /// Those of these users who are somebody.
    async fn known(&self, users: &HashSet<UserId>) -> Result<HashSet<UserId>, Refusal>;

    /// Of these conversations, which are about to begin between two, those that may not, and because of whom: they are in as many
    /// as one may be in. The others count as begun.
    async fn kept_out(&self, _first: &[(ConversationId, Pair)]) -> Result<HashSet<(ConversationId, UserId)>, Refusal> {
        Ok(HashSet::new())
    }

    /// Between which of these pairs there is a block, of either by the other.
    async fn blocked(&self, _pairs: &[Pair]) -> Result<HashSet<Pair>, Refusal> {
        Ok(HashSet::new())
    }
}

/// Two users.
pub type Pair = (UserId, UserId);

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
    /// A room; if it is not there, whether who is written to is somebody.
    Room {
        /// Which.
        conversation: ConversationId,
        /// Who writes to whom, if it is a first message.
        first: Option<Pair>,
    },
    /// Whether there is a block in a direct conversation.
    Blocks(ConversationId, Pair),
    /// What there is to know of a message.
    Message {
        /// Of which room.
        conversation: ConversationId,
        /// Which one.
        seq: u64,
        /// Up to which event at least.
        revision: u64,
    },
    /// What a member had set when they joined.
    Settings {
        /// Of which room.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// With which event they joined.
        revision: u64,
    },
}

impl Wanted {
    /// What has come where it could not be asked for.
    pub fn failed(&self) -> Fetched {
        match *self {
            Self::Room { conversation, .. } | Self::Blocks(conversation, _) => {
                Fetched::Failed(conversation, super::moving())
            }
            Self::Message { conversation, seq, .. } => {
                Fetched::Message { conversation, seq, facts: Err(super::moving()) }
            }
            Self::Settings { conversation, user, revision } => {
                Fetched::Settings { conversation, user, revision, found: Err(super::moving()) }
            }
        }
    }
}

/// What is known of a room that is not there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Absent {
    /// Whether who writes first, and whom they write to, are somebody; none: that was not asked.
    pub both_known: Option<bool>,
    /// Whether who writes first, and whom they write to, are in as many conversations as one may be in.
    pub full: (bool, bool),
    /// Whether one of the two blocks the other.
    pub blocks: Blocks,
}

/// What came.
#[derive(Debug)]
pub enum Fetched {
    /// The room, and what is known of blocks in it.
    Room(ConversationId, Box<RoomState>, Blocks),
    /// There is no such room.
    Absent(ConversationId, Absent),
    /// Whether there is a block.
    Blocks(ConversationId, Blocks),
    /// The room's client ids.
    Ids {
        /// Of which room.
        conversation: ConversationId,
        /// Since when: all of them.
        since_micros: i64,
        /// The ids.
        uses: Vec<(Key, Use)>,
    },
    /// They can't be had.
    NoIds {
        /// Of which room.
        conversation: ConversationId,
        /// Since when.
        since_micros: i64,
        /// Why.
        refusal: Refusal,
    },
    /// What there is to know of a message.
    Message {
        /// Of which room.
        conversation: ConversationId,
        /// Which one.
        seq: u64,
        /// It; or why not.
        facts: Result<Arc<Facts>, Refusal>,
    },
    /// What a member had set when they joined.
    Settings {
        /// Of which room.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// With which event they joined.
        revision: u64,
        /// It; or why not.
        found: Result<MemberSettings, Refusal>,
    },
    /// The newest client ids of the shard, as its log has them; none: they can't be had.
    Recalled(Option<super::recall::Recalled>),
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
    async fn rooms(
        &self,
        conversations: &[ConversationId],
        left_from: Position,
    ) -> Result<HashMap<ConversationId, RoomState>, Refusal> {
        let how = LoadRoomsRequest { enough_bytes: ENOUGH_BYTES, left_from, ..LoadRoomsRequest::default() };
        rooms::load(conversations, &how, |request| async { bounded(self.group.clone().load_rooms(request)).await })
            .await
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

    async fn message(&self, conversation: ConversationId, seq: u64, revision: u64) -> Result<Facts, Refusal> {
        let request = LoadMessageRequest { conversation: conversation.to_string(), seq, at_least: revision };
        let store = self.store.clone().max_decoding_message_size(crate::MAX_GRPC);
        let answer = bounded(async move { { store }.load_message(request).await }).await?;
        facts(answer).ok_or_else(|| Refusal::new(Reason::Internal, "the message store answered what can't be read"))
    }

    async fn cursors(&self, shard: Shard) -> Result<[Position; 2], Refusal> {
        let mut store = self.store.clone();
        let stored = bounded(store.get_cursor(store::GetCursorRequest { shard })).await?.position;
        Ok([stored, self.grouped(shard).await?])
    }

    async fn grouped(&self, shard: Shard) -> Result<Position, Refusal> {
        Ok(bounded(self.group.clone().get_cursor(group::GetCursorRequest { shard })).await?.position)
    }

    async fn acquainted(
        &self,
        user: UserId,
        users: &[UserId],
        within: Option<Duration>,
    ) -> Result<HashSet<UserId>, Refusal> {
        let users = users.iter().map(ToString::to_string).collect();
        let within_ms = within.map(|within| u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        let request = ListAcquaintedRequest { user: user.to_string(), users, within_ms };
        let found = bounded(self.group.clone().list_acquainted(request)).await?.users;
        Ok(found.iter().filter_map(|user| user.parse().ok()).collect())
    }

    async fn known(&self, users: &HashSet<UserId>) -> Result<HashSet<UserId>, Refusal> {
        let mut known = HashSet::new();
        let all: Vec<String> = users.iter().map(ToString::to_string).collect();
        for some in all.chunks(USERS) {
            let request = GetUsersRequest { users: some.to_vec(), handle: String::new() };
            let users = bounded(self.account.clone().get_users(request)).await?.users;
            known.extend(users.iter().filter(|user| !user.deleted).filter_map(|user| user.user.parse::<UserId>().ok()));
        }
        Ok(known)
    }

    async fn kept_out(&self, first: &[(ConversationId, Pair)]) -> Result<HashSet<(ConversationId, UserId)>, Refusal> {
        let mut kept_out = HashSet::new();
        for some in first.chunks(USERS / 2) {
            let begins: Vec<_> = some
                .iter()
                .map(|(id, (one, other))| {
                    let users = vec![one.to_string(), other.to_string()];
                    Beginning { conversation: id.to_string(), users }
                })
                .collect();
            // A group-svc of the version before counts users alone.
            let users = begins.iter().flat_map(|each| each.users.clone()).collect();
            let request = LoadRoomsRequest { users, begins, ..LoadRoomsRequest::default() };
            let found = bounded(self.group.clone().load_rooms(request)).await?;
            let full: HashSet<UserId> = found.full.iter().filter_map(|user| user.parse().ok()).collect();
            let both = some.iter().flat_map(|(id, (one, other))| [(*id, *one), (*id, *other)]);
            kept_out.extend(both.filter(|(_, user)| full.contains(user)));
            for Beginning { conversation, users } in found.kept_out {
                let Ok(id) = conversation.parse::<ConversationId>() else { continue };
                kept_out.extend(users.iter().filter_map(|user| Some((id, user.parse().ok()?))));
            }
        }
        Ok(kept_out)
    }

    async fn blocked(&self, pairs: &[Pair]) -> Result<HashSet<Pair>, Refusal> {
        let mut blocked = HashSet::new();
        for some in pairs.chunks(PAIRS) {
            let both = some.iter().flat_map(|(one, other)| [*one.bytes(), *other.bytes()]).flatten().collect();
            let found = bounded(self.account.clone().find_blocks(FindBlocksRequest { pairs: both })).await?.blocked;
            blocked.extend(found.into_iter().filter_map(|place| some.get(place as usize)));
        }
        Ok(blocked)
    }
}

fn facts(answer: LoadMessageResponse) -> Option<Facts> {
    let message = answer.message?;
    let client::Message { sender, revision, deleted, text, reply_to, mentions, attachments, r#type, data, .. } =
        message;
    let content = client::Content { text, reply_to, mentions, attachments, r#type, data };
    let reacted = |each: store::Reactors| {
        let users = each.users.chunks_exact(16).map(UserId::from_slice).collect::<Result<_, _>>().ok()?;
        Some(Reacted { emoji: each.emoji, began: each.began, users })
    };
    Some(Facts {
        sender: sender.parse().ok()?,
        content: if deleted { 0 } else { content::hash("send", &content) },
        deleted,
        revision,
        at_micros: answer.changed_micros,
        reactions: answer.reactors.into_iter().map(reacted).collect::<Option<_>>()?,
    })
}

/// A room's client ids since a time, up to an event at least, once there is a place for that.
pub async fn ids(
    sources: &dyn Sources,
    places: &Semaphore,
    (conversation, since_micros, revision): (ConversationId, i64, u64),
) -> Fetched {
    let found = match tokio::time::timeout(DEADLINE, places.acquire()).await {
        Ok(Ok(_place)) => sources.client_ids(conversation, since_micros, revision).await,
        _ => Err(super::moving()),
    };
    match found {
        Ok(uses) => Fetched::Ids { conversation, since_micros, uses },
        Err(refusal) => Fetched::NoIds { conversation, since_micros, refusal },
    }
}

/// All that is wanted, with one request for the rooms: of a shard whose log the databases have had up to a position.
pub async fn fetch(sources: Arc<dyn Sources>, written: (Shard, Position), wanted: Vec<Wanted>) -> Vec<Fetched> {
    let (mut rooms, mut pairs, mut settings) = (Vec::new(), Vec::new(), Vec::new());
    let mut fetched = Vec::new();
    for each in wanted {
        match each {
            Wanted::Room { conversation, first } => rooms.push((conversation, first)),
            Wanted::Blocks(conversation, pair) => pairs.push((conversation, pair)),
            Wanted::Settings { conversation, user, revision } => settings.push((conversation, user, revision)),
            Wanted::Message { conversation, seq, revision } => {
                let facts = sources.message(conversation, seq, revision).await.map(Arc::new);
                fetched.push(Fetched::Message { conversation, seq, facts });
            }
        }
    }
    if !pairs.is_empty() {
        let all: Vec<Pair> = pairs.iter().map(|(_, pair)| *pair).collect();
        let blocked = sources.blocked(&all).await;
        fetched.extend(pairs.into_iter().map(|(id, pair)| match &blocked {
            Ok(blocked) => Fetched::Blocks(id, Blocks::of(blocked.contains(&pair))),
            Err(refusal) => Fetched::Failed(id, refusal.clone()),
        }));
    }
    if !rooms.is_empty() {
        fetch_rooms(&*sources, written, rooms, &mut fetched).await;
    }
    if !settings.is_empty() {
        former::fetch(&*sources, settings, &mut fetched).await;
    }
    fetched
}

/// group-svc has not come so far.
pub fn behind() -> Refusal {
    let message = "the conversation is being caught up with: send again a little later";
    Refusal::new(Reason::Lagging, message).after(1000)
}

/// The two who are in a direct conversation.
fn pair(row: &RoomState) -> Option<Pair> {
    match (row.kind(), &row.members[..]) {
        (ConversationKind::Direct, [one, other]) => {
            Some((UserId::from_slice(&one.user).ok()?, UserId::from_slice(&other.user).ok()?))
        }
        _ => None,
    }
}

/// Rooms, from a database that has all that the home knows it to have had. One that was restored from a back-up has not: by
/// its rows numbers would be given out twice.
async fn rooms(
    sources: &dyn Sources,
    (shard, written): (Shard, Position),
    ids: &[ConversationId],
) -> Result<HashMap<ConversationId, RoomState>, Refusal> {
    // Asked first: the rows are of this position or later.
    if sources.grouped(shard).await? < written {
        return Err(behind());
    }
    sources.rooms(ids, NOBODY).await
}

async fn fetch_rooms(
    sources: &dyn Sources,
    written: (Shard, Position),
    wanted: Vec<(ConversationId, Option<Pair>)>,
    fetched: &mut Vec<Fetched>,
) {
    let ids: Vec<_> = wanted.iter().map(|(conversation, _)| *conversation).collect();
    let mut found = match rooms(sources, written, &ids).await {
        Ok(found) => found,
        Err(refusal) => {
            return fetched.extend(ids.into_iter().map(|id| Fetched::Failed(id, refusal.clone())));
        }
    };
    let absent = wanted.iter().filter(|(id, _)| !found.contains_key(id));
    let mut begin: Vec<_> = absent.filter_map(|(id, first)| Some((*id, (*first)?))).collect();
    let both: HashSet<_> = begin.iter().flat_map(|(_, (one, other))| [*one, *other]).collect();
    let pairs: Vec<_> = found.values().filter_map(pair).chain(begin.iter().map(|(_, pair)| *pair)).collect();
    let (known, blocked) = tokio::join!(sources.known(&both), sources.blocked(&pairs));
    let begins = async {
        let known = known?;
        let may = |(one, other): &Pair| known.contains(one) && known.contains(other);
        let free = |pair: &Pair| blocked.as_ref().ok().is_none_or(|blocked| !blocked.contains(pair));
        begin.retain(|(_, pair)| may(pair) && free(pair));
        let kept_out = sources.kept_out(&begin).await?;
        Ok::<_, Refusal>((known, kept_out))
    };
    let (known, kept_out) = match begins.await {
        Ok(found) => found,
        Err(refusal) => {
            return fetched.extend(ids.into_iter().map(|id| Fetched::Failed(id, refusal.clone())));
        }
    };
    // Rooms are read without this as well: it is asked again by who says something.
    let blocks = |pair: Option<Pair>| match (pair, &blocked) {
        (Some(pair), Ok(blocked)) => Blocks::of(blocked.contains(&pair)),
        _ => Blocks::Unknown,
    };
    fetched.extend(wanted.into_iter().map(|(id, first)| match found.remove(&id) {
        Some(row) => {
            let blocks = blocks(pair(&row));
            Fetched::Room(id, Box::new(row), blocks)
        }
        None => {
            let both_known = first.map(|(one, other)| known.contains(&one) && known.contains(&other));
            let full = |user: UserId| kept_out.contains(&(id, user));
            let full = first.map_or((false, false), |(one, other)| (full(one), full(other)));
            Fetched::Absent(id, Absent { both_known, full, blocks: blocks(first) })
        }
    }));
}
