//! What members have set for themselves. It takes no revision and is told to nobody else; the latest holds. It moves
//! one's read mark as a `read` does: what is owed of that is found from the settings alone, so no crash loses it.
//!
//! Who leaves takes theirs along. Who comes back finds them, since group-svc's rows keep them: they are read there when
//! somebody who has joined changes theirs for the first time, or, where all is shown to who comes, as they come: what they had
//! cleared is not.

use super::{Numbered, Request, Room, State, Verdict, member_of, slice};
use madang_proto::{
    chat::v1::ChangeSettings,
    client::v1::{History, Notify},
    group::v1::RoomState,
    id::{ConversationId, UserId},
    log::v1::{LoggedEvent, MemberSettings, logged_event::Body},
    reason::{Reason, Refusal},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// The most bytes of the app's own data, keys and values together.
pub const MAX_DATA: usize = 4096;

/// What members have set.
pub type Settings = BTreeMap<UserId, MemberSettings>;

/// Data is in its bounds.
pub(super) fn check_data(data: &HashMap<String, String>) -> Result<(), Refusal> {
    let size: usize = data.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > MAX_DATA {
        let message = format!("data would have {size} bytes; it takes at most 4 KiB");
        return Err(Refusal::new(Reason::TooLarge, message).of("data"));
    }
    if data.iter().any(|(key, value)| key.contains('\0') || value.contains('\0')) {
        return Err(Refusal::new(Reason::InvalidField, "data must not contain the character U+0000").of("data"));
    }
    Ok(())
}

/// Changes data as a JSON merge patch does, if that leaves it in its bounds.
pub(super) fn patch_data(
    data: &mut HashMap<String, String>,
    clear: bool,
    drop: &[String],
    put: HashMap<String, String>,
) -> Result<(), Refusal> {
    if clear {
        data.clear();
    }
    data.retain(|key, _| !drop.contains(key));
    data.extend(put);
    check_data(data)
}

/// About how many bytes they take.
#[must_use]
pub fn cost(settings: &Settings) -> usize {
    let data = |each: &MemberSettings| each.data.iter().map(|(key, value)| key.len() + value.len() + 96).sum::<usize>();
    settings.values().map(|each| 240 + data(each)).sum()
}

/// Settings with a change, as of the newest message.
fn changed(before: &MemberSettings, change: ChangeSettings, last_seq: u64) -> Result<MemberSettings, Refusal> {
    let invalid = |field: &str, message: &str| Refusal::new(Reason::InvalidField, message).of(field);
    let mut new = before.clone();
    if let Some(until) = change.muted_until {
        new.muted_until_ms = until;
    }
    if let Some(at) = change.pinned_at {
        new.pinned_at_ms = at;
    }
    if new.muted_until_ms < 0 || new.pinned_at_ms < 0 {
        let field = if new.muted_until_ms < 0 { "mutedUntil" } else { "pinnedAt" };
        return Err(invalid(field, "mutedUntil and pinnedAt must be times in ms since 1970, or 0"));
    }
    if let Some(notify) = change.notify {
        if Notify::try_from(notify).is_ok_and(|notify| notify != Notify::Unspecified) {
            new.notify = notify;
        } else {
            return Err(invalid("notify", "notify must be NOTIFY_ALL, NOTIFY_MENTIONS or NOTIFY_NONE"));
        }
    }
    match change.hidden {
        Some(true) => new.hidden_until_seq = last_seq + 1,
        Some(false) if new.hidden_until_seq > last_seq => new.hidden_until_seq = 0,
        _ => {}
    }
    if let Some(seq) = change.cleared_seq {
        new.cleared_seq = new.cleared_seq.max(seq.min(last_seq));
    }
    patch_data(&mut new.data, change.clear_data, &change.drop_data, change.data)?;
    Ok(new)
}

/// What somebody has who has set nothing.
fn first() -> MemberSettings {
    MemberSettings { notify: Notify::All.into(), ..MemberSettings::default() }
}

/// What a member has set, by group-svc's row.
#[must_use]
pub fn in_row(row: &RoomState, user: &UserId) -> MemberSettings {
    let member = row.members.iter().find(|member| member.user[..] == user.bytes()[..]);
    member.and_then(|member| member.settings.clone()).unwrap_or_else(first)
}

/// Numbers a change; a member's alone, of whom it is known what they had set when they joined.
pub(super) fn number(
    state: &mut Option<State>,
    conversation: ConversationId,
    actor: UserId,
    change: ChangeSettings,
    now_micros: i64,
) -> Result<Verdict, Refusal> {
    let state = member_of(state, actor)?;
    if state.lacks_settings(&actor).is_some() {
        return Err(Refusal::new(Reason::Internal, "what the member had set was not asked for"));
    }
    let known = state.settings.get(&actor).cloned().unwrap_or_else(first);
    let mut new = changed(&known, change, state.last_seq)?;
    if new == known {
        return Ok(Verdict::Nothing);
    }
    new.updated_at_ms = (now_micros / 1000).max(known.updated_at_ms + 1);
    let event = LoggedEvent {
        conversation: bytes::Bytes::copy_from_slice(conversation.bytes()),
        at_micros: now_micros.max(state.last_at_micros),
        last_seq: state.last_seq,
        actor: slice(&actor),
        body: Some(Body::Settings(new.clone())),
        ..LoggedEvent::default()
    };
    Arc::make_mut(&mut state.settings).insert(actor, new);
    Ok(Verdict::Events(vec![Numbered { event, recipients: Arc::from([actor]), blind: Arc::default() }]))
}

impl State {
    /// When somebody has last changed their settings, ms since 1970.
    #[must_use]
    pub fn settings_at(&self, user: &UserId) -> i64 {
        self.settings.get(user).map_or(0, |settings| settings.updated_at_ms)
    }

    /// Whether it takes what a member has set to number a request of theirs: a change of that, and what is about a message
    /// that they may have cleared before they left and came back.
    #[must_use]
    pub fn goes_by_settings(&self, request: &Request) -> bool {
        match request {
            Request::Settings(_) => true,
            Request::Amend(_) => self.history == History::All,
            Request::Send { content, .. } => content.reply_to > 0 && self.history == History::All,
            _ => false,
        }
    }

    /// It is known now what a member had set when they joined with this event, unless they have set something since.
    pub fn settle(&mut self, user: &UserId, joined_revision: u64, former: &MemberSettings) {
        if self.lacks_settings(user) == Some(joined_revision) {
            Arc::make_mut(&mut self.settings).insert(*user, former.clone());
        }
    }

    /// Whether it is not known here what a member has set: then with which event they joined, whose row has it.
    #[must_use]
    pub fn lacks_settings(&self, user: &UserId) -> Option<u64> {
        let member = self.members.get(user).filter(|member| !member.settled)?;
        (!self.settings.contains_key(user)).then_some(member.joined_revision)
    }
}

impl Room {
    /// Settings that the log has: the latest hold.
    pub(super) fn replay_settings(&mut self, event: &LoggedEvent, new: &MemberSettings) {
        if let Ok(user) = UserId::from_slice(&event.actor)
            && self.state.members.get(&user).is_some()
            && self.state.settings_at(&user) < new.updated_at_ms
        {
            Arc::make_mut(&mut self.state.settings).insert(user, new.clone());
        }
        self.owe_marks();
    }

    /// Read marks that follow from settings and are not in the log yet are gathered as others are.
    pub fn owe_marks(&mut self) {
        for (user, settings) in &*self.state.settings {
            let seq = settings.read_by();
            if seq > self.marks.get(user).copied().unwrap_or(0) {
                let pending = self.pending_marks.entry(*user).or_default();
                if seq > pending.0 {
                    *pending = (seq, None);
                }
            }
        }
    }

    /// Marks that wait and are not above what the log has wait no more; whether any are left.
    pub fn drop_known_marks(&mut self) -> bool {
        let Self { marks, pending_marks, .. } = self;
        pending_marks.retain(|user, (seq, _)| *seq > marks.get(user).copied().unwrap_or(0));
        !pending_marks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::{Limits, Request};
    use madang_proto::{
        client::v1::{ConversationKind, Role},
        group::v1::{RoomMember, RoomState},
        log::v1::{Created, JoinedUser, MarksMoved, MembersJoined, MembersLeft, MovedMark},
    };

    fn room(users: &[UserId], last_seq: u64, set: Option<MemberSettings>) -> Room {
        let member = |user: &UserId| RoomMember { user: user.bytes().to_vec(), ..RoomMember::default() };
        let mut members: Vec<_> = users.iter().map(member).collect();
        members[0].settings = set;
        let row = RoomState { revision: 9, last_seq, members, ..RoomState::default() };
        Room::loaded(&row, 0)
    }

    fn change(room: &mut Room, user: UserId, change: ChangeSettings) -> LoggedEvent {
        let (mut state, id) = (Some(room.state.clone()), ConversationId::new());
        let limits = Limits { members: 200 };
        let verdict = crate::room::number(
            &mut state,
            id,
            Some(user),
            Request::Settings(change),
            &HashMap::new(),
            5_000_000,
            limits,
        );
        let Ok(Verdict::Events(mut events)) = verdict else { panic!("not numbered") };
        assert_eq!(&*events[0].recipients, [user]);
        assert_eq!(state.as_ref().unwrap().revision, room.state.revision, "it takes no revision");
        events.remove(0).event
    }

    #[test]
    fn marks_that_follow_from_settings_are_owed_until_the_log_has_them() {
        let users = [UserId::new(), UserId::new()];
        let mut live = room(&users, 7, None);
        let hide = ChangeSettings { hidden: Some(true), ..ChangeSettings::default() };
        let event = change(&mut live, users[0], hide);
        assert!(live.replay(&event));
        assert_eq!(live.pending_marks.get(&users[0]), Some(&(7, None)));
        // A crash later, from the row alone.
        let set = live.state.settings.get(&users[0]).cloned();
        let mut loaded = room(&users, 8, set);
        assert_eq!(loaded.pending_marks.get(&users[0]), Some(&(7, None)), "others have not been told");
        let marks = vec![MovedMark { user: slice(&users[0]), seq: 7, ..MovedMark::default() }];
        let read = LoggedEvent { revision: 10, body: Some(Body::Read(MarksMoved { marks })), ..LoggedEvent::default() };
        assert!(loaded.replay(&read));
        assert!(!loaded.drop_known_marks(), "now they have");
        loaded.owe_marks();
        assert!(loaded.pending_marks.is_empty());
    }

    #[test]
    fn the_latest_settings_hold_whatever_comes_again() {
        let users = [UserId::new(), UserId::new()];
        let mut live = room(&users, 7, None);
        let muted = |until| ChangeSettings { muted_until: Some(until), ..ChangeSettings::default() };
        let first = change(&mut live, users[0], muted(1));
        assert!(live.replay(&first));
        let second = change(&mut live, users[0], muted(2));
        assert!(live.replay(&second) && live.replay(&first));
        assert_eq!(live.state.settings[&users[0]].muted_until_ms, 2);
        assert_eq!(live.state.settings_at(&users[0]), 5001, "at the same time: one later");
        assert!(crate::home::cost(&live) > crate::home::cost(&room(&users, 7, None)), "it costs memory");
    }

    #[test]
    fn a_room_is_as_large_as_those_who_are_in_it_make_it() {
        let owner = UserId::new();
        let mut live = room(&[owner], 7, None);
        let before = (live.state.settings.len(), live.marks.len(), crate::home::cost(&live));
        let event = |live: &Room, body| LoggedEvent {
            revision: live.state.revision + 1,
            last_seq: 7,
            body: Some(body),
            ..LoggedEvent::default()
        };
        for user in (0..100).map(|_| UserId::new()) {
            let joined = JoinedUser { user: slice(&user), ..JoinedUser::default() };
            assert!(live.replay(&event(&live, Body::Joined(MembersJoined { members: vec![joined] }))));
            let hidden_until_seq = 9;
            let set = MemberSettings { hidden_until_seq, updated_at_ms: 1, ..MemberSettings::default() };
            let whispered =
                LoggedEvent { actor: slice(&user), body: Some(Body::Settings(set)), ..LoggedEvent::default() };
            assert!(live.replay(&whispered));
            assert!(live.pending_marks.contains_key(&user));
            let left = MembersLeft { users: vec![slice(&user)], ..MembersLeft::default() };
            assert!(live.replay(&event(&live, Body::Left(left))));
            // As it may be read again.
            assert!(live.replay(&whispered));
        }
        assert_eq!((live.state.settings.len(), live.marks.len(), crate::home::cost(&live)), before);
        assert!(!live.drop_known_marks(), "nobody waits for marks of who is gone");
        // Nor are they taken from a row.
        let set = MemberSettings { muted_until_ms: 1, ..MemberSettings::default() };
        let gone = RoomMember {
            user: UserId::new().bytes().to_vec(),
            left_revision: 3,
            settings: Some(set),
            ..RoomMember::default()
        };
        let row = RoomState { members: vec![gone], ..RoomState::default() };
        assert!(Room::loaded(&row, 0).state.settings.is_empty());
    }

    #[test]
    fn a_new_room_takes_them() {
        let user = UserId::new();
        let members = vec![JoinedUser { user: slice(&user), role: Role::Owner.into() }];
        let created = Created { kind: ConversationKind::Group.into(), members, ..Created::default() };
        let mut begun = Room::begun(crate::room::nothing(&LoggedEvent::default()));
        let event = LoggedEvent { revision: 1, body: Some(Body::Created(created)), ..LoggedEvent::default() };
        assert!(begun.replay(&event));
        let event = change(&mut begun, user, ChangeSettings { hidden: Some(true), ..ChangeSettings::default() });
        assert!(begun.replay(&event));
        assert!(begun.pending_marks.is_empty(), "nothing there to read");
        assert_eq!(begun.state.settings[&user].hidden_until_seq, 1);
    }
}
