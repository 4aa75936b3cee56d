//! Who is in a room: what events make of them. Of who leaves nothing stays: however many come and go, a room is as large as
//! those who are in it make it.

use super::State;
use madang_proto::{
    client::v1::Role,
    id::UserId,
    log::v1::{self as log, LoggedEvent, logged_event::Body},
};
use std::{collections::BTreeMap, sync::Arc};

/// Somebody who is in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Their rank.
    pub role: Role,
    /// The event with which they joined.
    pub joined_revision: u64,
    /// The newest message when they joined.
    pub joined_seq: u64,
    /// Whether it is known here what they had set when they joined; not of who joined since the room was loaded.
    pub settled: bool,
}

/// Who is in a room.
#[derive(Debug, Clone, Default)]
pub struct Members {
    pub(super) by_user: BTreeMap<UserId, Member>,
    present: Arc<[UserId]>,
}

impl Members {
    /// Everybody, for the recipients of an event.
    #[must_use]
    pub fn present(&self) -> Arc<[UserId]> {
        self.present.clone()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, user: &UserId) -> Option<&Member> {
        self.by_user.get(user)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (&UserId, &Member)> {
        self.by_user.iter()
    }

    /// These.
    #[must_use]
    pub fn of(by_user: BTreeMap<UserId, Member>) -> Self {
        let present = by_user.keys().copied().collect();
        Self { by_user, present }
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut BTreeMap<UserId, Member>)) {
        change(&mut self.by_user);
        self.present = self.by_user.keys().copied().collect();
    }
}

/// What an event does to who is in the room.
pub(super) fn change(state: &mut State, event: &LoggedEvent) {
    let (revision, joined_seq) = (event.revision, event.last_seq);
    // Before it began nobody can have set anything.
    let settled = matches!(event.body, Some(Body::Created(_)));
    let join = |members: &mut BTreeMap<UserId, Member>, joined: &[log::JoinedUser]| {
        for each in joined {
            if let Ok(user) = UserId::from_slice(&each.user) {
                members.insert(user, Member { role: each.role(), joined_revision: revision, joined_seq, settled });
            }
        }
    };
    match &event.body {
        Some(Body::Created(created)) => Arc::make_mut(&mut state.members).change(|all| join(all, &created.members)),
        Some(Body::Joined(joined)) => Arc::make_mut(&mut state.members).change(|all| join(all, &joined.members)),
        Some(Body::Left(left)) => {
            let is_gone = |user: &UserId| left.users.iter().any(|gone| gone[..] == user.bytes()[..]);
            Arc::make_mut(&mut state.members).change(|all| all.retain(|user, _| !is_gone(user)));
            if state.settings.keys().any(is_gone) {
                Arc::make_mut(&mut state.settings).retain(|user, _| !is_gone(user));
            }
        }
        Some(Body::Role(set)) => Arc::make_mut(&mut state.members).change(|all| {
            if let Some(member) = UserId::from_slice(&set.user).ok().and_then(|user| all.get_mut(&user)) {
                member.role = set.role();
            }
        }),
        _ => {}
    }
}
