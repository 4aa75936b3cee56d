//! A room: a conversation's live state in its home. Pure: it checks a request against the state, numbers it into an
//! event, and applies events; it never waits and never touches the world.
//!
//! A request is numbered into a draft; only when the log has the batch do drafts become the state, so nothing is
//! ever rolled back.

mod amend;
pub mod blocks;
pub mod facts;
pub mod marks;
mod members;
pub mod passages;
mod profile;
mod rank;
pub mod settings;

pub use amend::{Amendment, How, MOST_EMOJI, no_message, split_blind};
pub use blocks::Blocks;
use facts::{Facts, Recent};
use marks::Pending;
pub use members::{Member, Members};
pub use profile::Profile;
use rank::{heir, may_remove, require};
pub use settings::Settings;

use crate::retry::Seen;
use madang_proto::{
    chat::v1::{ChangeGroup, ChangeSettings},
    client::v1::{Content, ConversationKind, History, Role},
    group::v1::RoomState,
    id::{ClientId, ConversationId, UserId},
    log::v1::{self as log, LoggedEvent, logged_event::Body},
    reason::{Reason, Refusal},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// What is numbered: copied for a draft, so everything large is shared.
#[derive(Debug, Clone)]
pub struct State {
    /// Direct or group.
    pub kind: ConversationKind,
    /// Which messages members see.
    pub history: History,
    /// The newest event.
    pub revision: u64,
    /// The newest message.
    pub last_seq: u64,
    /// When the newest event was, microseconds since 1970.
    pub last_at_micros: i64,
    /// Who is in it.
    pub members: Arc<Members>,
    /// What it shows of itself.
    pub profile: Arc<Profile>,
    /// What its members have set for themselves.
    pub settings: Arc<Settings>,
}

/// A conversation's live state.
#[derive(Debug)]
pub struct Room {
    /// What is numbered.
    pub state: State,
    /// Up to where each member has read.
    pub marks: HashMap<UserId, u64>,
    /// Marks that were taken and wait to be gathered into one event.
    pub pending_marks: BTreeMap<UserId, Pending>,
    /// Client ids.
    pub seen: Seen,
    /// Of a direct conversation: whether one blocks the other.
    pub blocks: Blocks,
    /// What is known of its messages.
    pub recent: Recent,
    /// Where its newest event is in the log; 0: it was loaded, so the databases have all of it.
    pub last_position: u64,
    /// When it was last asked for something, in ticks of its home.
    pub touched: u64,
    /// What it was last said to cost, in bytes.
    pub weight: usize,
}

/// What a member asks of a room; checked for form already.
#[derive(Debug, Clone)]
pub enum Request {
    /// Say something. With `first_to`, the direct room is made if it is not there.
    Send {
        /// To whom one writes first.
        first_to: Option<UserId>,
        /// The client's id of it.
        client_id: ClientId,
        /// A hash of what was asked.
        hash: u64,
        /// What is said.
        content: Content,
    },
    /// Change a message.
    Amend(Amendment),
    /// Erase messages, whoever is in the room; each as it is known to be.
    Erase(Vec<u64>),
    /// Make the group.
    Create(log::Created),
    /// Bring people in.
    Add(Vec<UserId>),
    /// Remove somebody, or oneself.
    Remove(UserId),
    /// Give somebody a rank; OWNER hands the group over.
    SetRole(UserId, Role),
    /// Change what the group shows of itself.
    Change(ChangeGroup),
    /// End the group.
    End,
    /// Come in, by an invite that was checked.
    Admit,
    /// Change one's own settings.
    Settings(ChangeSettings),
    /// Read marks, gathered by the home itself.
    Marks(Vec<(UserId, Pending)>),
}

/// Limits that are settings.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Members of a group.
    pub members: usize,
}

/// A numbered event and who gets it.
#[derive(Debug, Clone)]
pub struct Numbered {
    /// The event.
    pub event: LoggedEvent,
    /// Members before or after it.
    pub recipients: Arc<[UserId]>,
    /// Members who may not see the message that it changes: they get it without its body.
    pub blind: Arc<[UserId]>,
}

/// A conversation that one is not in, and one that does not exist: the same answer.
#[must_use]
pub fn not_found() -> Refusal {
    Refusal::new(Reason::ConversationNotFound, "no such conversation among yours: check its id, or ask to be added")
}

/// What came of a request.
#[derive(Debug)]
pub enum Verdict {
    /// It is numbered, once the log has it.
    Events(Vec<Numbered>),
    /// It changes nothing.
    Nothing,
    /// It changes nothing of a message, which is as an event (its number, and microseconds since 1970) has left it.
    Unchanged(u64, i64),
}

/// The messages of which something must be known before a request is numbered.
#[must_use]
pub fn needs<'a>(state: Option<&'a State>, actor: Option<UserId>, request: &'a Request) -> &'a [u64] {
    match (state, actor, request) {
        (Some(state), Some(actor), Request::Amend(Amendment { seq, .. }))
            if (1..=state.last_seq).contains(seq) && amend::sees(state, actor, *seq) =>
        {
            std::slice::from_ref(seq)
        }
        (Some(_), _, Request::Erase(seqs)) => seqs,
        _ => &[],
    }
}

/// Numbers a request into `state`, which is a draft's copy; `None`: there is no such room (yet). `facts` has what is known
/// of the messages that it [`needs`].
pub fn number(
    state: &mut Option<State>,
    conversation: ConversationId,
    actor: Option<UserId>,
    request: Request,
    facts: &HashMap<u64, Arc<Facts>>,
    now_micros: i64,
    limits: Limits,
) -> Result<Verdict, Refusal> {
    let mut events = Vec::with_capacity(1);
    let actor_bytes = actor.map(|user| bytes::Bytes::copy_from_slice(user.bytes())).unwrap_or_default();
    let mut push = |state: &mut State, body: Body, id: Option<(ClientId, u64)>| {
        let before = state.members.present();
        state.revision += 1;
        state.last_at_micros = now_micros.max(state.last_at_micros + 1);
        state.last_seq += u64::from(matches!(body, Body::Message(_)));
        let event = LoggedEvent {
            conversation: bytes::Bytes::copy_from_slice(conversation.bytes()),
            revision: state.revision,
            at_micros: state.last_at_micros,
            last_seq: state.last_seq,
            actor: actor_bytes.clone(),
            client_id: id.map(|(id, _)| bytes::Bytes::copy_from_slice(id.bytes())).unwrap_or_default(),
            request_hash: id.map(|(_, hash)| hash).unwrap_or_default(),
            trace: bytes::Bytes::new(),
            body: Some(body),
        };
        change(state, &event);
        let after = state.members.present();
        let recipients = if before.len() > after.len() { before } else { after };
        let joined = |user: &UserId| state.members.get(user).map_or(0, |member| member.joined_seq);
        let (recipients, blind) = split_blind(recipients, &event, |user| state.hidden_upto(user, joined(user)));
        events.push(Numbered { event, recipients, blind });
    };
    match request {
        Request::Create(created) => {
            if state.is_some() {
                return Ok(Verdict::Nothing);
            }
            if created.members.len() > limits.members {
                return Err(full(limits));
            }
            settings::check_data(&created.data)?;
            push(state.insert(empty(created.kind())), Body::Created(created), None);
        }
        Request::Send { first_to, client_id, hash, content } => {
            let actor = actor.ok_or_else(not_found)?;
            if let (None, Some(other)) = (&state, first_to) {
                push(state.insert(empty(ConversationKind::Direct)), Body::Created(direct(actor, other)), None);
            }
            let state = member_of(state, actor)?;
            amend::check_reply(state, actor, content.reply_to, true)?;
            push(state, Body::Message(content), Some((client_id, hash)));
        }
        Request::Amend(amendment) => {
            let actor = actor.ok_or_else(not_found)?;
            let state = member_of(state, actor)?;
            let known = facts.get(&amendment.seq).ok_or_else(|| no_message(amendment.seq))?;
            let id = (amendment.client_id, amendment.hash);
            match amend::amended(state, actor, amendment, known)? {
                None => return Ok(Verdict::Unchanged(known.revision, known.at_micros)),
                Some(body) => push(state, body, Some(id)),
            }
        }
        Request::Erase(seqs) => {
            let Some(state) = state else { return Ok(Verdict::Nothing) };
            let theirs = |seq: &u64| facts.get(seq).is_some_and(|it| !it.deleted && Some(it.sender) == actor);
            for seq in seqs.into_iter().filter(theirs) {
                push(state, Body::Deleted(log::MessageDeleted { seq }), None);
            }
        }
        Request::Add(mut users) => {
            let state = group_of(state, actor.ok_or_else(not_found)?)?;
            users.sort_unstable();
            users.dedup();
            users.retain(|user| state.members.get(user).is_none());
            if users.is_empty() {
                return Ok(Verdict::Nothing);
            }
            if state.members.by_user.len() + users.len() > limits.members {
                return Err(full(limits));
            }
            let joined = |user: UserId| log::JoinedUser { user: slice(&user), role: Role::Member.into() };
            let members = users.into_iter().map(joined).collect();
            push(state, Body::Joined(log::MembersJoined { members }), None);
        }
        Request::Remove(user) => {
            let actor = actor.ok_or_else(not_found)?;
            let state = group_of(state, actor)?;
            let Some(target) = state.members.get(&user).copied() else { return Ok(Verdict::Nothing) };
            may_remove(state, actor, user, target)?;
            let ended = state.members.by_user.len() == 1;
            push(state, Body::Left(log::MembersLeft { users: vec![slice(&user)], ended }), None);
            if let (Role::Owner, false, Some(heir)) = (target.role, ended, heir(&state.members)) {
                push(state, Body::Role(log::RoleSet { user: slice(&heir), role: Role::Owner.into() }), None);
            }
        }
        Request::SetRole(user, role) => {
            let actor = actor.ok_or_else(not_found)?;
            let state = group_of(state, actor)?;
            if rank::is_so(state, actor, user, role)? {
                return Ok(Verdict::Nothing);
            }
            push(state, Body::Role(log::RoleSet { user: slice(&user), role: role.into() }), None);
            if role == Role::Owner {
                push(state, Body::Role(log::RoleSet { user: slice(&actor), role: Role::Admin.into() }), None);
            }
        }
        Request::Change(change) => {
            let actor = actor.ok_or_else(not_found)?;
            let state = group_of(state, actor)?;
            require(state, actor, &[Role::Owner, Role::Admin], "only admins change what a group shows of itself")?;
            let profile = state.profile.changed(change)?;
            if profile == *state.profile {
                return Ok(Verdict::Nothing);
            }
            push(state, Body::Changed(profile.to_log()), None);
        }
        Request::End => {
            let actor = actor.ok_or_else(not_found)?;
            let state = group_of(state, actor)?;
            require(state, actor, &[Role::Owner], "only the owner ends a group")?;
            let users = state.members.present().iter().map(slice).collect();
            push(state, Body::Left(log::MembersLeft { users, ended: true }), None);
        }
        Request::Admit => {
            let actor = actor.ok_or_else(not_found)?;
            let Some(state) = rank::admit(state, actor, limits)? else { return Ok(Verdict::Nothing) };
            let members = vec![log::JoinedUser { user: slice(&actor), role: Role::Member.into() }];
            push(state, Body::Joined(log::MembersJoined { members }), None);
        }
        Request::Settings(change) => {
            let actor = actor.ok_or_else(not_found)?;
            return settings::number(state, conversation, actor, change, now_micros);
        }
        Request::Marks(marks) => {
            let Some(state) = state else { return Ok(Verdict::Nothing) };
            let present = |user: &UserId| state.members.get(user).is_some();
            let marks: Vec<_> = marks.into_iter().filter(|(user, _)| present(user)).collect();
            if marks.is_empty() {
                return Ok(Verdict::Nothing);
            }
            let marks = marks.iter().map(|(user, pending)| marks::moved(user, *pending)).collect();
            push(state, Body::Read(log::MarksMoved { marks }), None);
        }
    }
    Ok(Verdict::Events(events))
}

/// The state that an actor acts on: only a member's.
fn member_of(state: &mut Option<State>, actor: UserId) -> Result<&mut State, Refusal> {
    state.as_mut().filter(|state| state.members.get(&actor).is_some()).ok_or_else(not_found)
}

fn group_of(state: &mut Option<State>, actor: UserId) -> Result<&mut State, Refusal> {
    let state = member_of(state, actor)?;
    if state.kind == ConversationKind::Direct {
        let message = "a direct conversation has its two members for good: hide it instead, or make a group";
        return Err(Refusal::new(Reason::DirectConversation, message));
    }
    Ok(state)
}

/// What somebody has set who is in the room.
fn set_by(member: &madang_proto::group::v1::RoomMember) -> Option<(UserId, log::MemberSettings)> {
    Some((UserId::from_slice(&member.user).ok()?, member.settings.clone()?))
}

fn not_a_member() -> Refusal {
    Refusal::new(Reason::UserNotFound, "this user is not in the group: check the id, or add them first")
}

fn full(limits: Limits) -> Refusal {
    let message =
        format!("a group takes at most {} members: remove somebody first, or make another group", limits.members);
    Refusal::new(Reason::GroupFull, message)
}

fn empty(kind: ConversationKind) -> State {
    let (members, profile, settings) = (Arc::default(), Arc::default(), Arc::default());
    let history = History::Unspecified;
    State { kind, history, revision: 0, last_seq: 0, last_at_micros: 0, members, profile, settings }
}

/// A room before its first event, which says what kind it is.
#[must_use]
pub fn nothing(first: &LoggedEvent) -> State {
    let kind = match &first.body {
        Some(Body::Created(created)) => created.kind(),
        _ => ConversationKind::Unspecified,
    };
    empty(kind)
}

fn direct(one: UserId, other: UserId) -> log::Created {
    let mut users = vec![one, other];
    users.dedup();
    let members = users.iter().map(|user| log::JoinedUser { user: slice(user), role: Role::Member.into() }).collect();
    log::Created {
        kind: ConversationKind::Direct.into(),
        history: History::All.into(),
        members,
        ..log::Created::default()
    }
}

fn slice(user: &UserId) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(user.bytes())
}

/// What an event does to who is in the room, and to what it shows of itself.
fn change(state: &mut State, event: &LoggedEvent) {
    if let Some(profile) = Profile::after(event) {
        state.profile = Arc::new(profile);
    }
    if let Some(Body::Created(created)) = &event.body {
        state.history = created.history();
    }
    members::change(state, event);
}

impl Room {
    /// A room that the log has just begun, with nothing before it.
    #[must_use]
    pub fn begun(state: State) -> Self {
        let (marks, pending_marks, seen) = (HashMap::new(), BTreeMap::new(), Seen::default());
        let (blocks, recent) = (Blocks::Unknown, Recent::default());
        Self { state, marks, pending_marks, seen, blocks, recent, last_position: 0, touched: 0, weight: 0 }
    }

    /// A room as group-svc has it; ids before `horizon_ms` are not in memory.
    #[must_use]
    pub fn loaded(row: &RoomState, horizon_ms: i64) -> Self {
        let mut members = Members::default();
        let mut marks = HashMap::new();
        let present = || row.members.iter().filter(|member| member.left_revision == 0);
        members.change(|all| {
            for member in present() {
                if let Ok(user) = UserId::from_slice(&member.user) {
                    let (joined_revision, joined_seq) = (member.joined_revision, member.joined_seq);
                    all.insert(user, Member { role: member.role(), joined_revision, joined_seq, settled: true });
                    marks.insert(user, member.read_seq);
                }
            }
        });
        let state = State {
            kind: row.kind(),
            history: row.history(),
            revision: row.revision,
            last_seq: row.last_seq,
            last_at_micros: row.last_at_micros,
            members: Arc::new(members),
            profile: Arc::new(Profile::of(row)),
            settings: Arc::new(present().filter_map(set_by).collect()),
        };
        let (pending_marks, seen) = (BTreeMap::new(), Seen::since(horizon_ms));
        let (blocks, recent) = (Blocks::Unknown, Recent::default());
        let (last_position, touched, weight) = (0, 0, 0);
        let mut room = Self { state, marks, pending_marks, seen, blocks, recent, last_position, touched, weight };
        room.owe_marks();
        room
    }

    /// Applies an event that the log has: in replay, where there was no draft. Events that the state has are skipped;
    /// false: one is missing between.
    #[must_use]
    pub fn replay(&mut self, event: &LoggedEvent) -> bool {
        if let Some(Body::Settings(new)) = &event.body {
            self.replay_settings(event, new);
            return true;
        }
        if event.revision <= self.state.revision {
            return true;
        }
        if event.revision != self.state.revision + 1 {
            return false;
        }
        self.state.revision = event.revision;
        self.state.last_seq = event.last_seq;
        self.state.last_at_micros = event.at_micros;
        change(&mut self.state, event);
        self.apply_marks(event);
        self.recent.replay(event);
        true
    }

    /// What an event does to read marks; after the draft has become the state.
    pub fn apply_marks(&mut self, event: &LoggedEvent) {
        let mut raise = |user: &[u8], seq: u64| {
            if let Ok(user) = UserId::from_slice(user) {
                let mark = self.marks.entry(user).or_default();
                *mark = (*mark).max(seq);
            }
        };
        match &event.body {
            Some(Body::Message(_)) => raise(&event.actor, event.last_seq),
            Some(Body::Joined(joined)) => joined.members.iter().for_each(|each| raise(&each.user, event.last_seq)),
            Some(Body::Read(read)) => read.marks.iter().for_each(|mark| raise(&mark.user, mark.seq)),
            // Who comes back has read all of it.
            Some(Body::Left(left)) => {
                for user in left.users.iter().filter_map(|user| UserId::from_slice(user).ok()) {
                    self.marks.remove(&user);
                    self.pending_marks.remove(&user);
                }
            }
            Some(Body::Settings(_)) => self.owe_marks(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
