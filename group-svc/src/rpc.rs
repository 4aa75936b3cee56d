//! gRPC: reads from the rows, changes by way of the room's home.

mod again;
mod bring;
mod coming;
pub mod invites;
mod load;
mod make;
mod own;
mod show;

use crate::{
    projection::{PATIENCE, Projection, Unseen},
    store::{self, Access, After, GroupStore, Page, Seen, Wanted, first_seq, present, settings},
    token::{Place, Sync},
};
use again::{has_ended, has_left, has_role};
use madang_mesh::{
    channel::Channel,
    clock,
    operations::Operations,
    rate::Rate,
    shard::shard_of,
    status::{invalid_field, to_status},
    subscription::Lag,
};
use madang_proto::{
    account::v1::account_service_client::AccountServiceClient,
    chat::v1::{self as chat, Operation, operation::Body},
    client::v1::{Ack, Conversation, ConversationKind, Member, User},
    group::v1::{group_service_server::GroupService, *},
    id::{ConversationId, UserId},
    log::v1::MemberSettings,
    reason::{self, Reason},
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use unicode_normalization::UnicodeNormalization;

/// Conversations and members.
pub struct Groups {
    pub(crate) store: Arc<dyn GroupStore>,
    pub(crate) projection: Arc<Projection>,
    pub(crate) account: AccountServiceClient<Channel>,
    pub(crate) operations: Operations,
    pub(crate) settings: madang_mesh::settings::Settings,
    pub(crate) lag: Lag,
    /// Codes of invites that people try.
    pub(crate) tries: Rate<UserId>,
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

fn late() -> Status {
    to_status(
        &reason::Refusal::new(Reason::Lagging, "this revision is not here yet: ask again a little later").after(500),
    )
}

fn stale() -> Status {
    let message = "conversations are being caught up with, and would be shown as they were: ask again a little later";
    to_status(&reason::Refusal::new(Reason::Lagging, message).after(1000))
}

fn too_many(field: &str, message: &str) -> Status {
    to_status(&reason::Refusal::new(Reason::TooLarge, message).of(field))
}

fn user(text: &str) -> Result<UserId, Status> {
    user_of("user", text)
}

/// A user whom a field names.
fn user_of(field: &str, text: &str) -> Result<UserId, Status> {
    let message = "a user must be a user's id: a UUID in lower-case canonical text";
    text.parse().map_err(|_| invalid_field(field, message))
}

fn conversation(text: &str) -> Result<ConversationId, Status> {
    let message = "conversation must be a conversation's id: a UUID in lower-case canonical text";
    text.parse().map_err(|_| invalid_field("conversation", message))
}

/// How long a change that a home has made is waited for; the call's own deadline comes later.
const DONE: Duration = Duration::from_secs(6);

fn found(room: Result<Option<RoomState>, Option<store::Error>>) -> Result<RoomState, Status> {
    match room {
        Ok(room) => room.ok_or_else(not_found),
        Err(Some(error)) => Err(failed(&error)),
        Err(None) => Err(late()),
    }
}

fn operation(conversation: ConversationId, actor: UserId, body: Body) -> Operation {
    let (conversation, actor, body) = (conversation.to_string(), actor.to_string(), Some(body));
    Operation { conversation, actor, body, ..Operation::default() }
}

/// A key under which something is made once.
fn good_key(key: &str) -> Result<(), Status> {
    let message = "an idempotency key takes at most 255 bytes";
    if key.len() > 255 { Err(invalid_field("idempotencyKey", message)) } else { Ok(()) }
}

/// A key that something else was made under.
fn reused(what: &str) -> Status {
    let message = format!("this Idempotency-Key stands for another {what} of yours: take a new one");
    refuse(Reason::KeyReused, message)
}

/// A name: NFC, trimmed, 1 to 50 code points, no controls.
fn group_name(text: &str) -> Result<String, Status> {
    let name: String = text.trim().nfc().collect();
    if name.is_empty() || name.chars().count() > 50 || name.chars().any(char::is_control) {
        return Err(invalid_field("name", "name must be 1 to 50 characters, without control characters"));
    }
    Ok(name)
}

fn id_only(bytes: &[u8]) -> User {
    let user = UserId::from_slice(bytes).map(|id| id.to_string()).unwrap_or_default();
    User { user, ..User::default() }
}

/// A conversation as one of its members sees it.
fn view(seen: Seen) -> Conversation {
    let Seen { room, me, first, count, activity_micros } = seen;
    let first_seq = first_seq(&room, &me);
    let direct = room.kind() == ConversationKind::Direct;
    // What one has hidden or cleared is read, also before the others are told.
    let read_seq = me.read_seq.max(me.settings.as_ref().map_or(0, MemberSettings::read_by));
    let peer = || first.iter().find(|user| **user != me.user).unwrap_or(&me.user);
    Conversation {
        conversation: ConversationId::from_slice(&room.conversation).map(|id| id.to_string()).unwrap_or_default(),
        kind: room.kind,
        peer: direct.then(|| id_only(peer())),
        first_members: first.iter().map(|user| id_only(user)).collect(),
        member_count: u32::try_from(count).unwrap_or(u32::MAX),
        name: room.name,
        picture: room.picture,
        data: room.data,
        history: room.history,
        revision: room.revision,
        role: me.role,
        settings: Some(settings::view(me.settings.as_ref(), room.last_seq)),
        last_seq: room.last_seq,
        last_message: None,
        read_seq,
        first_seq,
        unread: room.last_seq.saturating_sub(read_seq),
        activity_at: activity_micros / 1000,
    }
}

/// What a page of a list is asked for: from where on, since when, and as of when its first page was.
struct Asked {
    after: After,
    since: Option<Sync>,
    start: Option<Sync>,
}

impl Asked {
    fn read(page_token: &str, since: &str, shards: u32) -> Result<Self, reason::Refusal> {
        if !page_token.is_empty() {
            let (place, after) = Place::read(page_token, shards)?;
            return Ok(Self { after, since: place.since, start: Some(place.start) });
        }
        let since = if since.is_empty() { None } else { Some(Sync::read(since, shards, clock::now_ms())?) };
        Ok(Self { after: After::Nothing, since, start: None })
    }

    /// The next page's token, after a page that has `more` or is the last.
    fn next(self, start: Sync, last: Option<&Seen>, more: bool) -> String {
        let id = |seen: &Seen| seen.room.conversation.clone();
        match (self.after, last) {
            (After::Moved(_), Some(last)) if more => Place::moved(start, self.since, id(last)).text(),
            (After::Moved(_), _) => String::new(),
            (_, Some(last)) if more => Place::after(start, self.since, last.activity_micros, id(last)).text(),
            // One page is of one moment: nothing has moved while it was listed.
            (After::Nothing, _) => String::new(),
            (After::Place(..), _) => Place::moved(start, self.since, Vec::new()).text(),
        }
    }
}

impl Groups {
    /// What a user may see of a conversation. One that they are not in is not found, like one that does not exist: both
    /// are waited for alike where a revision is asked for, since the user may be about to join.
    async fn access(&self, user: UserId, id: ConversationId, at_least: u64) -> Result<Access, Status> {
        match self.projection.access(user, id, at_least).await {
            Ok(access) => Ok(access),
            Err(Unseen::NotIn) => Err(not_found()),
            Err(Unseen::Failed(error)) => Err(failed(&error)),
            Err(Unseen::Late) => Err(late()),
        }
    }

    /// Refuses to show what is older than [`madang_mesh::subscription::STALE`]: who has left since must not see it.
    async fn fresh(&self, id: ConversationId) -> Result<(), Status> {
        let shard = shard_of(id.bytes(), self.settings.shards);
        if self.lag.fresh(shard, PATIENCE).await { Ok(()) } else { Err(stale()) }
    }

    /// Waits for what happened longer than so many milliseconds ago, if that is asked for.
    async fn reached(&self, within_ms: Option<u64>) -> Result<(), Status> {
        // Before this process's clock began nothing can be proven, nor need be.
        let moment = within_ms.and_then(|within| Instant::now().checked_sub(Duration::from_millis(within)));
        match moment {
            Some(moment) if !self.lag.all_reached(moment, PATIENCE).await => Err(stale()),
            _ => Ok(()),
        }
    }

    async fn room(&self, id: ConversationId, at_least: u64) -> Result<RoomState, Status> {
        found(self.projection.room(id, at_least).await)
    }

    /// A room that a home has changed, once the database has it. It is done: whoever is told to try again does it twice, so
    /// that is waited for longer than a read would be.
    async fn changed(&self, id: ConversationId, ack: &Ack) -> Result<RoomState, Status> {
        found(self.projection.room_within(DONE, id, ack.revision).await)
    }

    /// A room as a user sees it who is in it.
    fn seen(&self, whose: UserId, room: RoomState) -> Result<Seen, Status> {
        let me = present(&room, whose).ok_or_else(not_found)?.clone();
        Ok(Seen::of(room, me))
    }

    fn full(&self) -> Status {
        let message =
            format!("a group takes at most {} members: add fewer, or make another group", self.settings.max_members);
        refuse(Reason::GroupFull, message)
    }

    async fn operate(&self, id: ConversationId, actor: UserId, body: Body) -> Result<Ack, Status> {
        let operation = operation(id, actor, body);
        self.operations.operate(id, operation).await.map_err(|refusal| to_status(&refusal))
    }
}

#[tonic::async_trait]
impl GroupService for Groups {
    async fn list_conversations(
        &self,
        request: Request<ListConversationsRequest>,
    ) -> Answer<ListConversationsResponse> {
        let ListConversationsRequest { user: whose, page_size, page_token, since } = request.into_inner();
        let (whose, shards) = (user(&whose)?, self.settings.shards);
        let refused = |refusal| to_status(&refusal);
        let asked = Asked::read(&page_token, &since, shards).map_err(refused)?;
        if !self.lag.all_fresh(PATIENCE).await {
            return Err(stale());
        }
        let size = self.settings.page(page_size);
        // What has moved since the first page is all that has changed since then.
        let from = if matches!(asked.after, After::Moved(_)) { &asked.start } else { &asked.since };
        let since = from.as_ref().map(|sync| sync.positions().clone()).unwrap_or_default();
        let wanted =
            Wanted { user: whose, since, after: asked.after.clone(), limit: size + 1, shards, now_ms: clock::now_ms() };
        let Page { mut conversations, removed, badge, positions } =
            self.store.list(wanted).await.map_err(|error| failed(&error))?;
        for sync in asked.since.iter().chain(&asked.start) {
            sync.check(&positions).map_err(refused)?;
        }
        if removed.len() > store::REMOVED {
            let message = "too much was left since then to be named: page the whole list, without since";
            return Err(refuse(Reason::TooOld, message));
        }
        let start = asked.start.clone().unwrap_or_else(|| Sync::new(positions, clock::now_ms()));
        let more = conversations.len() > size;
        conversations.truncate(size);
        let sync = start.text();
        let next_page_token = asked.next(start, conversations.last(), more);
        let (conversations, removed) =
            (conversations.into_iter().map(view).collect(), removed.iter().map(ToString::to_string).collect());
        Ok(Response::new(ListConversationsResponse { conversations, next_page_token, badge, removed, sync }))
    }

    async fn get_conversation(&self, request: Request<GetConversationRequest>) -> Answer<GetConversationResponse> {
        let GetConversationRequest { user: whose, conversation: id, at_least } = request.into_inner();
        let (whose, id) = (user(&whose)?, conversation(&id)?);
        self.fresh(id).await?;
        self.access(whose, id, at_least).await?;
        let seen = self.seen(whose, self.room(id, 0).await?)?;
        Ok(Response::new(GetConversationResponse { conversation: Some(view(seen)) }))
    }

    async fn list_members(&self, request: Request<ListMembersRequest>) -> Answer<ListMembersResponse> {
        let ListMembersRequest { user: whose, conversation: id, at_least } = request.into_inner();
        let id = conversation(&id)?;
        let room = if whose.is_empty() {
            self.room(id, at_least).await?
        } else {
            let whose = user(&whose)?;
            self.fresh(id).await?;
            self.access(whose, id, at_least).await?;
            let room = self.room(id, 0).await?;
            present(&room, whose).ok_or_else(not_found)?;
            room
        };
        let members = room.members.iter().filter(|member| member.left_revision == 0).map(|member| Member {
            profile: Some(id_only(&member.user)),
            role: member.role,
            read_seq: member.read_seq,
            joined_at: member.joined_at_micros / 1000,
        });
        Ok(Response::new(ListMembersResponse { members: members.collect(), revision: room.revision }))
    }

    async fn create_group(&self, request: Request<CreateGroupRequest>) -> Answer<CreateGroupResponse> {
        self.make(request.into_inner()).await.map(Response::new)
    }

    async fn add_members(&self, request: Request<AddMembersRequest>) -> Answer<AddMembersResponse> {
        let AddMembersRequest { user: whose, conversation: id, mut users, idempotency_key: key } = request.into_inner();
        let (whose, id) = (user(&whose)?, conversation(&id)?);
        good_key(&key)?;
        if !key.is_empty() {
            match self.room(id, 0).await {
                // Who is not in it is told nothing of it, also not by what a key stands for: its home refuses them.
                Ok(room) if present(&room, whose).is_none() => {}
                Ok(room) => {
                    let since = self.first_asked(whose, format!("add {id} {key}"), &room).await?;
                    users.retain(|each| !each.parse().is_ok_and(|user| has_left(&room, user, since)));
                }
                // A direct conversation that has just begun, or none at all: its home knows. Nobody has left either.
                Err(status) if status.code() == tonic::Code::NotFound => {}
                Err(status) => return Err(status),
            }
        }
        let add = |users| Ok(Body::AddMembers(chat::AddMembers { users }));
        let (ack, refused) = self.bring("users", &users, (id, whose), add).await?;
        self.changed(id, &ack).await?;
        Ok(Response::new(AddMembersResponse { revision: ack.revision, refused }))
    }

    async fn remove_member(&self, request: Request<RemoveMemberRequest>) -> Answer<RemoveMemberResponse> {
        let RemoveMemberRequest { user: whose, conversation: id, member } = request.into_inner();
        let (whose, id, member) = (user(&whose)?, conversation(&id)?, user(&member)?);
        let remove = Body::RemoveMember(chat::RemoveMember { user: member.to_string() });
        let (revision, room) = self.done(id, whose, remove, |room| has_left(room, member, 0)).await?;
        let picture_before = if has_ended(&room) { room.picture } else { String::new() };
        Ok(Response::new(RemoveMemberResponse { revision, picture_before }))
    }

    async fn set_role(&self, request: Request<SetRoleRequest>) -> Answer<SetRoleResponse> {
        let SetRoleRequest { user: whose, conversation: id, member, role } = request.into_inner();
        let (whose, id, member) = (user(&whose)?, conversation(&id)?, user(&member)?);
        let set = Body::SetRole(chat::SetRole { user: member.to_string(), role });
        let (revision, _) = self.done(id, whose, set, |room| has_role(room, member, role)).await?;
        Ok(Response::new(SetRoleResponse { revision }))
    }

    async fn update_group(&self, request: Request<UpdateGroupRequest>) -> Answer<UpdateGroupResponse> {
        let UpdateGroupRequest { user: whose, conversation: id, name, picture, clear_data, data, drop_data } =
            request.into_inner();
        let (whose, id) = (user(&whose)?, conversation(&id)?);
        let name = name.map(|name| group_name(&name)).transpose()?;
        let change = chat::ChangeGroup { name, picture, clear_data, data, drop_data, picture_was: None };
        let (ack, picture_before) = self.show(id, whose, change).await?;
        let seen = self.seen(whose, self.changed(id, &ack).await?)?;
        Ok(Response::new(UpdateGroupResponse { conversation: Some(view(seen)), picture_before }))
    }

    async fn end_group(&self, request: Request<EndGroupRequest>) -> Answer<EndGroupResponse> {
        let EndGroupRequest { user: whose, conversation: id } = request.into_inner();
        let (whose, id) = (user(&whose)?, conversation(&id)?);
        let (revision, room) = self.done(id, whose, Body::EndGroup(chat::EndGroup {}), has_ended).await?;
        Ok(Response::new(EndGroupResponse { revision, picture_before: room.picture }))
    }

    async fn update_settings(&self, request: Request<UpdateSettingsRequest>) -> Answer<UpdateSettingsResponse> {
        let settings = self.set(request.into_inner()).await?;
        Ok(Response::new(UpdateSettingsResponse { settings: Some(settings) }))
    }

    async fn list_invites(&self, request: Request<ListInvitesRequest>) -> Answer<ListInvitesResponse> {
        Ok(Response::new(ListInvitesResponse { invites: self.invites_of(request.into_inner()).await? }))
    }

    async fn create_invite(&self, request: Request<CreateInviteRequest>) -> Answer<CreateInviteResponse> {
        let invite = self.invite(request.into_inner()).await?;
        Ok(Response::new(CreateInviteResponse { invite: Some(invite) }))
    }

    async fn delete_invite(&self, request: Request<DeleteInviteRequest>) -> Answer<DeleteInviteResponse> {
        self.uninvite(request.into_inner()).await?;
        Ok(Response::new(DeleteInviteResponse {}))
    }

    async fn get_invite(&self, request: Request<GetInviteRequest>) -> Answer<GetInviteResponse> {
        self.look(request.into_inner()).await.map(Response::new)
    }

    async fn accept_invite(&self, request: Request<AcceptInviteRequest>) -> Answer<AcceptInviteResponse> {
        let conversation = self.join(request.into_inner()).await?;
        Ok(Response::new(AcceptInviteResponse { conversation: Some(conversation) }))
    }

    async fn get_access(&self, request: Request<GetAccessRequest>) -> Answer<GetAccessResponse> {
        let GetAccessRequest { user: whose, conversation: id, at_least } = request.into_inner();
        let (whose, id) = (user(&whose)?, conversation(&id)?);
        // History is shown as of this.
        self.fresh(id).await?;
        let Access { first_seq, first_revision, revision, last_seq, .. } = self.access(whose, id, at_least).await?;
        Ok(Response::new(GetAccessResponse { first_seq, first_revision, revision, last_seq }))
    }

    async fn list_access(&self, request: Request<ListAccessRequest>) -> Answer<ListAccessResponse> {
        let ListAccessRequest { user: whose, conversations } = request.into_inner();
        if conversations.len() > 1000 {
            return Err(too_many("conversations", "at most 1000 conversations are asked about at once"));
        }
        let ids: Vec<_> = conversations.iter().map(|id| conversation(id)).collect::<Result<_, _>>()?;
        if !self.lag.all_fresh(PATIENCE).await {
            return Err(stale());
        }
        let found = self.store.access(user(&whose)?, ids.clone()).await.map_err(|error| failed(&error))?;
        let found: HashMap<ConversationId, Access> =
            found.into_iter().filter(|each| each.present).map(|each| (each.conversation, each)).collect();
        let access = ids.into_iter().filter_map(|id| {
            let Access { first_seq, first_revision, revision, last_seq, .. } = *found.get(&id)?;
            Some(ConversationAccess { conversation: id.to_string(), first_seq, first_revision, revision, last_seq })
        });
        Ok(Response::new(ListAccessResponse { access: access.collect() }))
    }

    async fn list_acquainted(&self, request: Request<ListAcquaintedRequest>) -> Answer<ListAcquaintedResponse> {
        let ListAcquaintedRequest { user: whose, users, within_ms } = request.into_inner();
        if users.len() > 1000 {
            return Err(too_many("users", "at most 1000 users are asked about at once"));
        }
        let others = users.iter().map(|each| user_of("users", each)).collect::<Result<_, _>>()?;
        self.reached(within_ms).await?;
        let found = self.store.acquainted(user(&whose)?, others).await.map_err(|error| failed(&error))?;
        Ok(Response::new(ListAcquaintedResponse { users: found.iter().map(ToString::to_string).collect() }))
    }

    async fn load_rooms(&self, request: Request<LoadRoomsRequest>) -> Answer<LoadRoomsResponse> {
        Ok(Response::new(self.loaded(request.into_inner()).await?))
    }

    async fn list_badges(&self, request: Request<ListBadgesRequest>) -> Answer<ListBadgesResponse> {
        let users = request.into_inner().users;
        if users.len() > 1000 {
            return Err(too_many("users", "at most 1000 users are asked for at once"));
        }
        let now = clock::now_ms();
        let users = users.iter().map(|each| user_of("users", each)).collect::<Result<Vec<_>, _>>()?;
        let found = self.store.badges(users.clone(), now).await.map_err(|error| failed(&error))?;
        let badges = users.iter().map(|user| found.get(user).copied().unwrap_or_default());
        Ok(Response::new(ListBadgesResponse { badges: badges.collect() }))
    }

    async fn get_cursor(&self, request: Request<GetCursorRequest>) -> Answer<GetCursorResponse> {
        let position = self.store.cursor(request.into_inner().shard).await.map_err(|error| failed(&error))?;
        Ok(Response::new(GetCursorResponse { position }))
    }

    async fn list_memberships(&self, request: Request<ListMembershipsRequest>) -> Answer<ListMembershipsResponse> {
        let ListMembershipsRequest { user: whose, after, page_size, within_ms } = request.into_inner();
        self.reached(within_ms).await?;
        let after = if after.is_empty() { None } else { Some(conversation(&after)?) };
        let limit = if page_size == 0 { 200 } else { page_size.min(1000) } as usize;
        let found = self.store.memberships(user(&whose)?, after, limit).await.map_err(|error| failed(&error))?;
        let one = |each: store::Membership| Membership {
            conversation: each.conversation.to_string(),
            kind: each.kind,
            present: each.present,
        };
        Ok(Response::new(ListMembershipsResponse { memberships: found.into_iter().map(one).collect() }))
    }
}

#[cfg(test)]
mod tests;
