//! gRPC: reads from the rows, changes by way of the room's home.

use crate::{
    operations::Operations,
    projection::Projection,
    store::{self, GroupStore, Place, first_seq, present},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use madang_mesh::{
    clock, settings,
    status::{from_status, to_status},
    subscription::{Lag, STALE},
};
use madang_proto::{
    account::v1::{GetUsersRequest, account_service_client::AccountServiceClient},
    chat::v1::{self as chat, Operation, operation::Body},
    client::v1::{Ack, Conversation, ConversationKind, History, Member, Settings, User},
    group::v1::{group_service_server::GroupService, *},
    id::{ConversationId, UserId},
    reason::{self, Reason},
};
use std::{collections::HashSet, sync::Arc};
use tonic::{Request, Response, Status, transport::Channel};
use unicode_normalization::UnicodeNormalization;

/// Conversations and members.
pub struct Groups {
    pub(crate) store: Arc<dyn GroupStore>,
    pub(crate) projection: Arc<Projection>,
    pub(crate) account: AccountServiceClient<Channel>,
    pub(crate) operations: Operations,
    pub(crate) settings: settings::Settings,
    pub(crate) lag: Lag,
}

type Answer<T> = Result<Response<T>, Status>;

fn refuse(reason: Reason, message: impl Into<String>) -> Status {
    to_status(&reason::Refusal::new(reason, message))
}

fn not_found() -> Status {
    refuse(Reason::ConversationNotFound, "no such conversation among yours: check its id, or ask to be added")
}

fn failed(error: &store::Error) -> Status {
    tracing::error!(%error, "the group store failed");
    refuse(Reason::Unavailable, "conversations can't be read at the moment: ask again a little later")
}

fn user(text: &str) -> Result<UserId, Status> {
    text.parse()
        .map_err(|_| refuse(Reason::InvalidField, "a user must be a user's id: a UUID in lower-case canonical text"))
}

fn conversation(text: &str) -> Result<ConversationId, Status> {
    text.parse().map_err(|_| {
        refuse(Reason::InvalidField, "conversation must be a conversation's id: a UUID in lower-case canonical text")
    })
}

fn id_only(bytes: &[u8]) -> User {
    let user = UserId::from_slice(bytes).map(|id| id.to_string()).unwrap_or_default();
    User { user, ..User::default() }
}

/// A room as one of its members sees it.
fn view(room: &RoomState, me: &RoomMember) -> Conversation {
    let here = || room.members.iter().filter(|member| member.left_revision == 0);
    let direct = room.kind() == ConversationKind::Direct;
    let peer = || here().find(|member| member.user != me.user).unwrap_or(me);
    Conversation {
        conversation: ConversationId::from_slice(&room.conversation).map(|id| id.to_string()).unwrap_or_default(),
        kind: room.kind,
        name: room.name.clone(),
        picture: room.picture.clone(),
        data: room.data.clone(),
        history: room.history,
        peer: direct.then(|| id_only(&peer().user)),
        first_members: here().take(4).map(|member| id_only(&member.user)).collect(),
        member_count: u32::try_from(here().count()).unwrap_or(u32::MAX),
        revision: room.revision,
        role: me.role,
        settings: Some(Settings { notify: madang_proto::client::v1::Notify::All.into(), ..Settings::default() }),
        last_seq: room.last_seq,
        last_message: None,
        read_seq: me.read_seq,
        first_seq: first_seq(room, me),
        unread: room.last_seq.saturating_sub(me.read_seq),
        activity_at: room.message_at_micros.max(me.joined_at_micros) / 1000,
    }
}

impl Groups {
    async fn room(&self, id: ConversationId, at_least: u64) -> Result<RoomState, Status> {
        match self.projection.room(id, at_least).await {
            Ok(room) => room.ok_or_else(not_found),
            Err(Some(error)) => Err(failed(&error)),
            Err(None) => Err(refuse(Reason::Lagging, "this revision is not here yet: ask again a little later")),
        }
    }

    /// Those of the users who are somebody, in order, and the refusals of the others.
    async fn known(&self, users: &[String], actor: UserId) -> Result<(Vec<String>, Vec<Refusal>), Status> {
        let mut seen = HashSet::from([actor]);
        let mut asked = Vec::new();
        for each in users {
            if seen.insert(user(each)?) {
                asked.push(each.clone());
            }
        }
        if asked.is_empty() {
            return Ok((asked, Vec::new()));
        }
        if asked.len() >= 1000 {
            return Err(self.full());
        }
        let request = GetUsersRequest { users: asked.clone(), handle: String::new() };
        let answer =
            self.account.clone().get_users(request).await.map_err(|status| to_status(&from_status(&status)))?;
        let known: HashSet<String> =
            answer.into_inner().users.into_iter().filter(|user| !user.deleted).map(|user| user.user).collect();
        let (known, unknown): (Vec<_>, Vec<_>) = asked.into_iter().partition(|user| known.contains(user));
        let refused = unknown.into_iter().map(|user| Refusal { user, reason: Reason::UserNotFound.word().into() });
        Ok((known, refused.collect()))
    }

    fn full(&self) -> Status {
        let message =
            format!("a group takes at most {} members: add fewer, or make another group", self.settings.max_members);
        refuse(Reason::GroupFull, message)
    }

    async fn operate(&self, id: ConversationId, actor: UserId, body: Body) -> Result<Ack, Status> {
        let operation = Operation { conversation: id.to_string(), actor: actor.to_string(), body: Some(body) };
        self.operations.operate(id, operation).await.map_err(|refusal| to_status(&refusal))
    }
}

/// The place in a list that a page token stands for; none: its beginning. `INVALID_ARGUMENT` for any other text.
pub fn place(token: &str) -> Result<Option<Place>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let invalid = || refuse(Reason::InvalidField, "pageToken is not one of this list: begin without");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    let (at, id) = bytes.split_first_chunk().ok_or_else(invalid)?;
    if id.len() == 16 { Ok(Some((i64::from_be_bytes(*at), id.to_vec()))) } else { Err(invalid()) }
}

/// A place in a list as clients hand it back.
#[must_use]
pub fn token_of((at, id): &Place) -> String {
    URL_SAFE_NO_PAD.encode([&at.to_be_bytes()[..], &id[..]].concat())
}

#[tonic::async_trait]
impl GroupService for Groups {
    async fn list_conversations(
        &self,
        request: Request<ListConversationsRequest>,
    ) -> Answer<ListConversationsResponse> {
        let ListConversationsRequest { user: whose, page_size, page_token } = request.into_inner();
        let whose = user(&whose)?;
        if self.lag.worst() > STALE {
            let message = "the list is being caught up with, and would be old: ask again a little later";
            return Err(to_status(&reason::Refusal::new(Reason::Lagging, message).after(1000)));
        }
        let size = self.settings.page(page_size);
        let listed = self.store.list(whose, place(&page_token)?, size + 1).await.map_err(|error| failed(&error))?;
        let more = listed.len() > size;
        let listed = &listed[..listed.len().min(size)];
        let ids = listed.iter().map(|each| each.conversation).collect();
        let rooms = self.store.rooms(ids).await.map_err(|error| failed(&error))?;
        let (badge, _) = self.store.badge(whose).await.map_err(|error| failed(&error))?;
        let conversations = rooms.iter().zip(listed).filter_map(|(room, listed)| {
            let view = view(room, present(room, whose)?);
            Some(Conversation { activity_at: listed.activity_micros / 1000, ..view })
        });
        let next_page_token = match listed.last() {
            Some(last) if more => token_of(&(last.activity_micros, last.conversation.bytes().to_vec())),
            _ => String::new(),
        };
        Ok(Response::new(ListConversationsResponse { conversations: conversations.collect(), next_page_token, badge }))
    }

    async fn get_conversation(&self, request: Request<GetConversationRequest>) -> Answer<GetConversationResponse> {
        let GetConversationRequest { user: whose, conversation: id, at_least } = request.into_inner();
        let whose = user(&whose)?;
        let room = self.room(conversation(&id)?, at_least).await?;
        let me = present(&room, whose).ok_or_else(not_found)?;
        Ok(Response::new(GetConversationResponse { conversation: Some(view(&room, me)) }))
    }

    async fn list_members(&self, request: Request<ListMembersRequest>) -> Answer<ListMembersResponse> {
        let ListMembersRequest { user: whose, conversation: id, at_least } = request.into_inner();
        let room = self.room(conversation(&id)?, at_least).await?;
        if !whose.is_empty() {
            present(&room, user(&whose)?).ok_or_else(not_found)?;
        }
        let members = room.members.iter().filter(|member| member.left_revision == 0).map(|member| Member {
            profile: Some(id_only(&member.user)),
            role: member.role,
            read_seq: member.read_seq,
            joined_at: member.joined_at_micros / 1000,
        });
        Ok(Response::new(ListMembersResponse { members: members.collect(), revision: room.revision }))
    }

    async fn create_group(&self, request: Request<CreateGroupRequest>) -> Answer<CreateGroupResponse> {
        let CreateGroupRequest { user: whose, name, members, history, data, idempotency_key } = request.into_inner();
        let whose = user(&whose)?;
        let name: String = name.trim().nfc().collect();
        if name.is_empty() || name.chars().count() > 50 || name.chars().any(char::is_control) {
            return Err(refuse(Reason::InvalidField, "name must be 1 to 50 characters, without control characters"));
        }
        if data.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > 4096 {
            return Err(refuse(Reason::TooLarge, "data takes at most 4 KiB"));
        }
        let (members, refused) = self.known(&members, whose).await?;
        if members.len() + 1 > self.settings.max_members as usize {
            return Err(self.full());
        }
        let (_, count) = self.store.badge(whose).await.map_err(|error| failed(&error))?;
        if count >= self.settings.max_conversations {
            let message = format!("you are in {count} conversations, as many as one may be in: leave one first");
            return Err(refuse(Reason::TooManyConversations, message));
        }
        let mut id = ConversationId::new();
        if !idempotency_key.is_empty() {
            let now = clock::now_ms();
            id = self.store.made(whose, idempotency_key, id, now).await.map_err(|error| failed(&error))?;
        }
        let body = Body::CreateGroup(chat::CreateGroup { name, history, data, members });
        let ack = self.operate(id, whose, body).await?;
        let room = self.room(id, ack.revision).await?;
        let me = present(&room, whose).ok_or_else(not_found)?;
        Ok(Response::new(CreateGroupResponse { conversation: Some(view(&room, me)), refused }))
    }

    async fn add_members(&self, request: Request<AddMembersRequest>) -> Answer<AddMembersResponse> {
        let AddMembersRequest { user: whose, conversation: id, users } = request.into_inner();
        let (whose, id) = (user(&whose)?, conversation(&id)?);
        let (users, refused) = self.known(&users, whose).await?;
        let ack = self.operate(id, whose, Body::AddMembers(chat::AddMembers { users })).await?;
        self.room(id, ack.revision).await?;
        Ok(Response::new(AddMembersResponse { revision: ack.revision, refused }))
    }

    async fn remove_member(&self, request: Request<RemoveMemberRequest>) -> Answer<RemoveMemberResponse> {
        let RemoveMemberRequest { user: whose, conversation: id, member } = request.into_inner();
        let (whose, id, member) = (user(&whose)?, conversation(&id)?, user(&member)?);
        let ack = self.operate(id, whose, Body::RemoveMember(chat::RemoveMember { user: member.to_string() })).await?;
        self.room(id, ack.revision).await?;
        Ok(Response::new(RemoveMemberResponse { revision: ack.revision }))
    }

    async fn get_access(&self, request: Request<GetAccessRequest>) -> Answer<GetAccessResponse> {
        let GetAccessRequest { user: whose, conversation: id, at_least } = request.into_inner();
        let whose = user(&whose)?;
        let room = self.room(conversation(&id)?, at_least).await?;
        let me = present(&room, whose).ok_or_else(not_found)?;
        let first_seq = first_seq(&room, me);
        let first_revision = if room.history() == History::All { 1 } else { me.joined_revision };
        Ok(Response::new(GetAccessResponse {
            first_seq,
            first_revision,
            revision: room.revision,
            last_seq: room.last_seq,
        }))
    }

    async fn load_rooms(&self, request: Request<LoadRoomsRequest>) -> Answer<LoadRoomsResponse> {
        let asked = request.into_inner().conversations;
        if asked.len() > 1000 {
            return Err(refuse(Reason::TooLarge, "at most 1000 rooms are loaded at once"));
        }
        let ids = asked.iter().map(|id| conversation(id)).collect::<Result<_, _>>()?;
        let rooms = self.store.rooms(ids).await.map_err(|error| failed(&error))?;
        Ok(Response::new(LoadRoomsResponse { rooms }))
    }
}
