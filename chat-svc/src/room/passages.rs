//! Who was in a room at an event that group-svc's row has passed. The row says when each came or went last; what was before
//! that, the events of the log say that are read again.

use madang_proto::{
    group::v1::{RoomMember, RoomState},
    id::UserId,
    log::v1::{LoggedEvent, logged_event::Body},
};
use std::collections::{BTreeSet, HashMap};

/// Somebody came or went.
#[derive(Debug, Clone, Copy)]
struct Passage {
    revision: u64,
    /// The newest message when they came; none: they went.
    joined_seq: Option<u64>,
}

/// Who came and went in a stretch of a room's events.
#[derive(Debug, Default)]
pub struct Passages(HashMap<UserId, Vec<Passage>>);

impl Passages {
    /// Takes the next event.
    pub fn note(&mut self, event: &LoggedEvent) {
        let (users, joined_seq): (Vec<_>, _) = match &event.body {
            Some(Body::Created(all)) => (all.members.iter().map(|each| &each.user).collect(), Some(event.last_seq)),
            Some(Body::Joined(all)) => (all.members.iter().map(|each| &each.user).collect(), Some(event.last_seq)),
            Some(Body::Left(all)) => (all.users.iter().collect(), None),
            _ => return,
        };
        for user in users.into_iter().filter_map(|user| UserId::from_slice(user).ok()) {
            self.0.entry(user).or_default().push(Passage { revision: event.revision, joined_seq });
        }
    }

    /// What is known of somebody up to an event, with it, and after it.
    fn around(&self, user: &UserId, revision: u64) -> (&[Passage], &[Passage]) {
        let passages = self.0.get(user).map_or(&[][..], Vec::as_slice);
        passages.split_at(passages.partition_point(|passage| passage.revision <= revision))
    }

    /// Who is sent an event: who was there before or after it.
    #[must_use]
    pub fn recipients(&self, row: &RoomState, revision: u64) -> BTreeSet<UserId> {
        let members = row.members.iter().filter_map(|member| Some((UserId::from_slice(&member.user).ok()?, member)));
        let sent = members.filter(|(user, member)| {
            [revision, revision.saturating_sub(1)].iter().any(|at| self.there_after(user, member, *at))
        });
        sent.map(|(user, _)| user).collect()
    }

    fn there_after(&self, user: &UserId, member: &RoomMember, revision: u64) -> bool {
        match self.around(user, revision) {
            ([.., last], _) => last.joined_seq.is_some(),
            ([], [next, ..]) => next.joined_seq.is_none(),
            ([], []) => {
                member.joined_revision <= revision && (member.left_revision == 0 || revision < member.left_revision)
            }
        }
    }

    /// The newest message when somebody had joined who was sent an event. Where that is not known any more, since they have
    /// left and joined again, it is as if they had joined after all: they are shown nothing too much.
    #[must_use]
    pub fn joined_seq(&self, row: &RoomState, user: &UserId, revision: u64) -> Option<u64> {
        let (before, after) = self.around(user, revision);
        let joined = |passages: &[Passage]| passages.iter().rev().find_map(|passage| passage.joined_seq);
        match (joined(before), joined(after)) {
            (Some(seq), _) => Some(seq),
            (None, Some(_)) => Some(u64::MAX),
            (None, None) => {
                row.members.iter().find(|member| member.user[..] == user.bytes()[..]).map(|member| member.joined_seq)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::log::v1::{JoinedUser, MembersJoined, MembersLeft};

    fn event(revision: u64, body: Body) -> LoggedEvent {
        LoggedEvent { revision, last_seq: revision - 1, body: Some(body), ..LoggedEvent::default() }
    }

    fn joined(revision: u64, user: UserId) -> LoggedEvent {
        let members = vec![JoinedUser { user: user.bytes().to_vec().into(), ..JoinedUser::default() }];
        event(revision, Body::Joined(MembersJoined { members }))
    }

    fn left(revision: u64, user: UserId) -> LoggedEvent {
        event(revision, Body::Left(MembersLeft { users: vec![user.bytes().to_vec().into()], ..MembersLeft::default() }))
    }

    fn row(user: UserId, joined_revision: u64, left_revision: u64) -> RoomState {
        let (user, joined_seq) = (user.bytes().to_vec(), joined_revision - 1);
        let member = RoomMember { user, joined_revision, joined_seq, left_revision, ..RoomMember::default() };
        RoomState { members: vec![member], revision: 20, ..RoomState::default() }
    }

    #[test]
    fn who_has_left_and_joined_again_was_there_before_that() {
        let user = UserId::new();
        let mut passages = Passages::default();
        passages.note(&left(9, user));
        passages.note(&joined(15, user));
        let row = row(user, 15, 0);
        let sent: Vec<_> = (4..=17).filter(|revision| !passages.recipients(&row, *revision).is_empty()).collect();
        assert_eq!(sent, [4, 5, 6, 7, 8, 9, 15, 16, 17]);
        assert_eq!(passages.joined_seq(&row, &user, 8), Some(u64::MAX), "the row does not know it any more");
        assert_eq!(passages.joined_seq(&row, &user, 16), Some(14));
    }

    #[test]
    fn of_whom_nothing_is_read_the_row_knows_all() {
        let user = UserId::new();
        let sent = |row: &RoomState| {
            let there = |revision: &u64| !Passages::default().recipients(row, *revision).is_empty();
            (1..=12).filter(there).collect::<Vec<_>>()
        };
        assert_eq!(sent(&row(user, 9, 0)), [9, 10, 11, 12]);
        assert_eq!(sent(&row(user, 3, 6)), [3, 4, 5, 6]);
        assert_eq!(Passages::default().joined_seq(&row(user, 9, 0), &user, 10), Some(8));
    }
}
