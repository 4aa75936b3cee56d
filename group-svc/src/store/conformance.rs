//! What every store of groups must do; each adapter passes it.

#![allow(clippy::expect_used)] // checks for tests: a panic is how they tell

use super::{Error, GroupStore, Listed};
use madang_proto::{
    client::v1::{Content, ConversationKind, History, Role},
    group::v1::RoomState,
    id::{ConversationId, UserId},
    log::v1::{
        Created, GroupChanged, JoinedUser, LoggedEvent, MarksMoved, MembersJoined, MembersLeft, MovedMark, RoleSet,
        logged_event::Body,
    },
};
use uuid::Uuid;

const FAILED: &str = "the store does what it is asked";

/// A conversation's events, as its home would number them.
struct Room {
    id: ConversationId,
    revision: u64,
    seq: u64,
    at: i64,
}

fn bytes(user: UserId) -> Vec<u8> {
    user.bytes().to_vec()
}

fn joined(users: &[(UserId, Role)]) -> Vec<JoinedUser> {
    users.iter().map(|(user, role)| JoinedUser { user: bytes(*user).into(), role: (*role).into() }).collect()
}

impl Room {
    fn new(at: i64) -> Self {
        Self { id: ConversationId::from(Uuid::now_v7()), revision: 0, seq: 0, at }
    }

    fn event(&mut self, actor: UserId, body: Body) -> LoggedEvent {
        self.revision += 1;
        self.at += 1;
        self.seq += u64::from(matches!(body, Body::Message(_)));
        LoggedEvent {
            conversation: self.id.bytes().to_vec().into(),
            revision: self.revision,
            at_micros: self.at,
            last_seq: self.seq,
            actor: bytes(actor).into(),
            body: Some(body),
            ..Default::default()
        }
    }

    fn say(&mut self, actor: UserId) -> LoggedEvent {
        self.event(actor, Body::Message(Content { text: "안녕".into(), ..Default::default() }))
    }
}

async fn one(store: &dyn GroupStore, room: &Room) -> RoomState {
    store.rooms(vec![room.id]).await.expect(FAILED).pop().expect("the room is there")
}

fn member(state: &RoomState, user: UserId) -> (i32, u64, u64, u64) {
    let found = state.members.iter().find(|member| member.user[..] == user.bytes()[..]).expect("a member");
    (found.role, found.joined_seq, found.left_revision, found.read_seq)
}

/// Checks a store; panics where it does not do what it should.
///
/// # Panics
/// That is how it tells.
pub async fn check(store: &dyn GroupStore) {
    let [ann, bob, cho] = [UserId::new(), UserId::new(), UserId::new()];
    let (mut room, mut other) = (Room::new(1_000_000), Room::new(2_000_000));
    assert_eq!(store.cursor(3).await.expect(FAILED), 0);
    assert!(store.rooms(vec![room.id]).await.expect(FAILED).is_empty());
    assert_eq!(store.badge(ann).await.expect(FAILED), (0, 0));

    let created = |members: &[(UserId, Role)]| {
        Body::Created(Created {
            kind: ConversationKind::Group.into(),
            name: "마당".into(),
            history: History::All.into(),
            data: [("k".to_owned(), "v".to_owned())].into(),
            members: joined(members),
        })
    };
    let mut first = vec![room.event(ann, created(&[(ann, Role::Owner), (bob, Role::Member)]))];
    first.extend((0..10).map(|_| room.say(ann)));
    first.push(other.event(bob, created(&[(bob, Role::Owner)])));
    store.apply(3, first.clone(), 1).await.expect(FAILED);
    let state = one(store, &room).await;
    assert_eq!((state.revision, state.last_seq, state.name.as_str(), state.history()), (11, 10, "마당", History::All));
    assert_eq!(state.data.get("k").map(String::as_str), Some("v"));
    assert_eq!(member(&state, ann), (Role::Owner.into(), 0, 0, 10), "sending moves one's own mark");
    assert_eq!(member(&state, bob), (Role::Member.into(), 0, 0, 0));
    assert_eq!(store.badge(bob).await.expect(FAILED), (10, 2));

    // Comings, goings, roles, names and marks, among messages, in one batch.
    let mark = |user, seq| MovedMark { user: bytes(user).into(), seq };
    let second = vec![
        room.event(ann, Body::Joined(MembersJoined { members: joined(&[(cho, Role::Member)]) })),
        room.say(cho),
        room.event(ann, Body::Role(RoleSet { user: bytes(cho).into(), role: Role::Admin.into() })),
        room.event(ann, Body::Left(MembersLeft { users: vec![bytes(bob).into()], ended: false })),
        room.event(
            ann,
            Body::Changed(GroupChanged { name: "새 이름".into(), picture: "p".into(), data: Default::default() }),
        ),
        room.say(ann),
        room.event(cho, Body::Read(MarksMoved { marks: vec![mark(cho, 12), mark(ann, 3)] })),
    ];
    store.apply(3, second.clone(), 2).await.expect(FAILED);
    let state = one(store, &room).await;
    assert_eq!((state.revision, state.last_seq, state.name.as_str(), state.picture.as_str()), (18, 12, "새 이름", "p"));
    assert!(state.data.is_empty());
    assert_eq!(member(&state, cho), (Role::Admin.into(), 10, 0, 12));
    assert_eq!(member(&state, bob), (Role::Member.into(), 0, 15, 0));
    assert_eq!(member(&state, ann).3, 12, "a mark never goes back");
    assert_eq!(store.badge(bob).await.expect(FAILED), (0, 1), "who left has nothing to read there");
    assert_eq!(store.cursor(3).await.expect(FAILED), 2);
    assert_eq!(store.cursor(4).await.expect(FAILED), 0, "shards have cursors of their own");

    // Who comes back reads from there.
    let back = room.event(ann, Body::Joined(MembersJoined { members: joined(&[(bob, Role::Member)]) }));
    store.apply(3, vec![back], 3).await.expect(FAILED);
    assert_eq!(member(&one(store, &room).await, bob), (Role::Member.into(), 12, 0, 12));

    // The log comes again: nothing changes, and nothing goes back.
    let before = one(store, &room).await;
    store.apply(3, [first, second].concat(), 2).await.expect(FAILED);
    assert_eq!(one(store, &room).await, before);
    assert_eq!(store.cursor(3).await.expect(FAILED), 3);

    // An event that does not follow is refused, and with it the whole batch.
    let next = room.say(ann);
    room.revision += 1;
    let hole = room.say(ann);
    assert!(matches!(store.apply(3, vec![next, hole], 4).await, Err(Error::Hole { has: 20, next: 22, .. })));
    assert_eq!(one(store, &room).await, before);
    assert_eq!(store.cursor(3).await.expect(FAILED), 3);

    // Lists: latest first, in pages, nothing missed.
    let all = store.list(bob, None, 10).await.expect(FAILED);
    let ids: Vec<_> = all.iter().map(|listed| listed.conversation).collect();
    assert_eq!(ids, [other.id, room.id]);
    let Some(Listed { conversation, activity_micros }) = all.first() else { return };
    let place = (*activity_micros, conversation.bytes().to_vec());
    assert_eq!(store.list(bob, Some(place), 10).await.expect(FAILED), all[1..]);
    assert_eq!(store.list(bob, None, 1).await.expect(FAILED), all[..1]);
    assert_eq!(store.rooms(vec![other.id, room.id]).await.expect(FAILED).len(), 2);

    // A key makes one group, for a day, and for its user alone.
    let (new, newer) = (ConversationId::from(Uuid::now_v7()), ConversationId::from(Uuid::now_v7()));
    let day = 24 * 3600 * 1000;
    assert_eq!(store.made(ann, "k".into(), new, 1000).await.expect(FAILED), new);
    assert_eq!(store.made(ann, "k".into(), newer, 2000).await.expect(FAILED), new);
    assert_eq!(store.made(bob, "k".into(), newer, 2000).await.expect(FAILED), newer);
    assert_eq!(store.made(ann, "k".into(), newer, 1001 + day).await.expect(FAILED), newer);
}
