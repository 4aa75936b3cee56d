//! What every store of groups must do; each adapter passes it.

#![allow(clippy::expect_used)] // checks for tests: a panic is how they tell

mod comings;
mod invites;

pub use comings::check_comings;
pub use invites::check_invites;

use super::{After, Error, Gone, GroupStore, Page, Positions, Wanted, keys::Made};
use madang_proto::{
    client::v1::{Content, ConversationKind, History, Role},
    group::v1::RoomState,
    id::{ConversationId, UserId},
    log::v1::{
        Created, GroupChanged, JoinedUser, LoggedEvent, MarksMoved, MemberSettings, MembersJoined, MembersLeft,
        MovedMark, RoleSet, logged_event::Body,
    },
};
use std::time::Duration;
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
    store.rooms(vec![room.id], Gone::Since(0)).await.expect(FAILED).pop().expect("the room is there")
}

/// What somebody has not read, asked with others; and in how many conversations they are.
async fn badge(store: &dyn GroupStore, user: UserId, now_ms: i64) -> (u64, usize) {
    let badges = store.badges(vec![UserId::new(), user, UserId::new()], now_ms).await.expect(FAILED);
    assert_eq!(badges.values().sum::<u64>(), badges.get(&user).copied().unwrap_or_default(), "strangers have read all");
    let counts = store.counts(vec![user]).await.expect(FAILED);
    (badges.get(&user).copied().unwrap_or_default(), counts.get(&user).copied().unwrap_or_default())
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
    assert!(store.rooms(vec![room.id], Gone::Whole).await.expect(FAILED).is_empty());
    assert_eq!(badge(store, ann, NOW).await, (0, 0));

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
    assert_eq!(badge(store, bob, NOW).await, (10, 2));
    let both = store.badges(vec![ann, bob], NOW).await.expect(FAILED);
    assert_eq!((both.get(&ann), both.get(&bob)), (Some(&0), Some(&10)), "of each their own");

    // Comings, goings, roles, names and marks, among messages, in one batch.
    let mark = |user, seq| MovedMark { user: bytes(user).into(), seq, ..MovedMark::default() };
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
    assert_eq!(badge(store, bob, NOW).await, (0, 1), "who left has nothing to read there");
    assert_eq!(store.cursor(3).await.expect(FAILED), 2);
    assert_eq!(store.cursor(4).await.expect(FAILED), 0, "shards have cursors of their own");

    let acquainted = async |user| {
        let mut found = store.acquainted(user, vec![ann, bob, cho, UserId::new()]).await.expect(FAILED);
        found.sort_by_key(|user| [ann, bob, cho].iter().position(|each| each == user));
        found
    };
    assert_eq!(acquainted(ann).await, [ann, cho], "bob has left");
    assert_eq!(acquainted(bob).await, [bob], "he is in a group of his own");

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

    // What somebody may see.
    let access = store.access(cho, vec![room.id, other.id]).await.expect(FAILED);
    assert_eq!(access.iter().map(|access| access.conversation).collect::<Vec<_>>(), [room.id]);
    let Some(access) = access.first() else { return };
    assert_eq!(
        (access.first_seq, access.first_revision, access.revision, access.last_seq),
        (1, 1, 19, 12),
        "all of it"
    );
    assert!(access.present);
    let access = store.access(ann, vec![other.id]).await.expect(FAILED);
    assert!(access.is_empty(), "nothing of what they are not in");
    let unknown = ConversationId::from(Uuid::now_v7());
    let rooms = store.rooms(vec![other.id, unknown, room.id], Gone::NOBODY).await.expect(FAILED);
    let ids: Vec<_> = rooms.iter().map(|room| &room.conversation[..]).collect();
    assert_eq!(ids, [&other.id.bytes()[..], &room.id.bytes()[..]], "in the order asked for");

    // A key makes one group, for a day, and for its user alone.
    let (new, newer) = (ConversationId::from(Uuid::now_v7()), ConversationId::from(Uuid::now_v7()));
    let day = 24 * 3600 * 1000;
    let made = async |who, id, at| store.made(who, "k".into(), id, at).await.expect(FAILED);
    let of = |id, asked: Option<[u8; 32]>| Made { id, asked: asked.map(Into::into) };
    assert_eq!(made(ann, new, 1000).await, of(new, None));
    assert_eq!(made(ann, newer, 2000).await, of(new, None));
    assert_eq!(made(bob, newer, 2000).await, of(newer, None));
    for asked in [1, 2] {
        store.done(ann, "k".into(), [asked; 32]).await.expect(FAILED);
        assert_eq!(made(ann, newer, 3000).await, of(new, Some([1; 32])), "what was said first holds");
    }
    assert_eq!(made(bob, new, 3000).await, of(newer, None));
    assert_eq!(made(ann, newer, 1001 + day).await, of(newer, None));
}

fn created(members: &[(UserId, Role)]) -> Body {
    let kind = ConversationKind::Group.into();
    Body::Created(Created { kind, members: joined(members), ..Default::default() })
}

const SHARDS: u32 = 4;
/// When lists are asked for, ms since 1970.
const NOW: i64 = 5_000;

async fn list(store: &dyn GroupStore, user: UserId, since: &Positions, after: After, limit: usize) -> Page {
    let wanted = Wanted { user, since: since.clone(), after, limit, shards: SHARDS, now_ms: NOW };
    store.list(wanted).await.expect(FAILED)
}

fn ids(page: &Page) -> Vec<ConversationId> {
    page.conversations.iter().map(|seen| ConversationId::from_slice(&seen.room.conversation).expect("an id")).collect()
}

/// Checks lists, in pages and since others; panics where the store does not do what it should.
///
/// # Panics
/// That is how it tells.
pub async fn check_lists(store: &dyn GroupStore) {
    let [ann, bob, cho, dan, eve] = std::array::from_fn(|_| UserId::new());
    let nothing = Positions::new();
    let empty = list(store, ann, &nothing, After::Nothing, 10).await;
    assert_eq!((empty.conversations.len(), empty.badge, empty.positions.len()), (0, 0, 4), "who is in nothing");

    // Ten rooms, in two shards, the last one with the latest message.
    let mut rooms: Vec<Room> = (1..=10).map(|n| Room::new(n * 1_000_000)).collect();
    let everybody: Vec<_> =
        [ann, bob, cho, dan, eve].into_iter().zip([Role::Owner].into_iter().chain([Role::Member; 4])).collect();
    for (n, room) in rooms.iter_mut().enumerate() {
        let events = vec![room.event(ann, created(&everybody)), room.say(ann)];
        store.apply(shard(n), events, position(n)).await.expect(FAILED);
    }
    let latest_first: Vec<_> = rooms.iter().rev().map(|room| room.id).collect();
    let all = list(store, bob, &nothing, After::Nothing, 50).await;
    assert_eq!((ids(&all), all.badge), (latest_first.clone(), 10));
    assert_eq!((all.removed.len(), &all.positions[..2]), (0, &[5, 5][..]));
    let Some(seen) = all.conversations.first() else { return };
    assert_eq!((seen.count, seen.first.len(), seen.me.role), (5, 4, Role::Member.into()));
    assert_eq!(seen.first[0], bytes(ann), "in the order in which they came, or by id");
    assert_eq!((seen.room.revision, seen.room.last_seq, seen.me.read_seq), (2, 1, 0));
    let second = list(store, bob, &nothing, place(&all, 2), 3).await;
    assert_eq!(ids(&second), latest_first[3..6]);
    let since = all.positions.clone();
    assert!(list(store, bob, &since, After::Nothing, 50).await.conversations.is_empty(), "nothing since");

    // What moves up while it is paged is found among what has moved.
    let mut say = vec![rooms[1].say(ann)];
    rooms[1].at += 20_000_000;
    say.push(rooms[1].say(ann));
    store.apply(1, say, 6).await.expect(FAILED);
    let rest = list(store, bob, &nothing, place(&all, 2), 50).await;
    assert!(!ids(&rest).contains(&rooms[1].id), "it has moved past the place");
    let moved = list(store, bob, &since, After::Moved(None), 50).await;
    assert_eq!((ids(&moved), moved.badge), (vec![rooms[1].id], 12));
    let none = list(store, bob, &since, After::Moved(Some(rooms[1].id)), 50).await;
    assert!(none.conversations.is_empty());

    // Since then: a message, a mark of one's own, a name, a new conversation, two that were left, one that ended.
    let mark = MovedMark { user: bytes(bob).into(), seq: 1, ..MovedMark::default() };
    let read = rooms[2].event(bob, Body::Read(MarksMoved { marks: vec![mark] }));
    let renamed = rooms[4].event(ann, Body::Changed(GroupChanged { name: "새".into(), ..Default::default() }));
    let left = |user, ended| Body::Left(MembersLeft { users: vec![bytes(user).into()], ended });
    let gone = rooms[6].event(bob, left(bob, false));
    store.apply(0, vec![read, renamed, gone], 6).await.expect(FAILED);
    let mut newest = Room::new(90_000_000);
    let all_go = MembersLeft { users: everybody.iter().map(|(user, _)| bytes(*user).into()).collect(), ended: true };
    let events = vec![
        newest.event(bob, created(&[(bob, Role::Owner)])),
        rooms[3].event(ann, Body::Left(all_go)),
        rooms[5].event(bob, left(bob, false)),
    ];
    store.apply(1, events, 7).await.expect(FAILED);
    let changed = list(store, bob, &since, After::Nothing, 50).await;
    assert_eq!(ids(&changed), [newest.id, rooms[1].id, rooms[4].id, rooms[2].id]);
    let mut removed = changed.removed.clone();
    removed.sort_unstable_by_key(|id| *id.bytes());
    let mut wanted = vec![rooms[3].id, rooms[5].id, rooms[6].id];
    wanted.sort_unstable_by_key(|id| *id.bytes());
    assert_eq!(removed, wanted);
    assert_eq!(&changed.positions[..2], &[6, 7]);
    let later = list(store, bob, &since, place(&changed, 0), 50).await;
    assert_eq!((ids(&later), later.removed.len()), (vec![rooms[1].id, rooms[4].id, rooms[2].id], 0));

    // Who comes back is in it again, and it is not named as left.
    let back = rooms[5].event(ann, Body::Joined(MembersJoined { members: joined(&[(bob, Role::Member)]) }));
    store.apply(1, vec![back], 8).await.expect(FAILED);
    let after = list(store, bob, &changed.positions, After::Nothing, 50).await;
    assert_eq!((ids(&after), after.removed), (vec![rooms[5].id], vec![]));
    // The log comes again: nothing counts as changed by it.
    let now = after.positions;
    let again = vec![rooms[5].say(ann)];
    store.apply(1, again.clone(), 9).await.expect(FAILED);
    let then = list(store, bob, &now, After::Nothing, 50).await.positions;
    store.apply(1, again, 9).await.expect(FAILED);
    assert!(list(store, bob, &then, After::Nothing, 50).await.conversations.is_empty());
}

/// Checks what members set for themselves; panics where the store does not do what it should.
///
/// # Panics
/// That is how it tells.
pub async fn check_settings(store: &dyn GroupStore) {
    let [ann, bob] = [UserId::new(), UserId::new()];
    let mut room = Room::new(1_000_000);
    let mut events = vec![room.event(ann, created(&[(ann, Role::Owner), (bob, Role::Member)]))];
    events.extend((0..10).map(|_| room.say(ann)));
    store.apply(0, events.clone(), 1).await.expect(FAILED);
    assert_eq!(store.settings(bob, room.id).await.expect(FAILED), Some((None, 10)));
    assert_eq!(store.settings(UserId::new(), room.id).await.expect(FAILED), None, "not a member");
    let before = list(store, bob, &Positions::new(), After::Nothing, 50).await.positions;

    let data = [("k".to_owned(), "v".to_owned())].into();
    let mut set = MemberSettings { muted_until_ms: NOW, cleared_seq: 4, data, updated_at_ms: 7, ..Default::default() };
    let whisper = |room: &Room, set: &MemberSettings| LoggedEvent {
        revision: 0,
        body: Some(Body::Settings(set.clone())),
        actor: bytes(bob).into(),
        conversation: room.id.bytes().to_vec().into(),
        ..LoggedEvent::default()
    };
    // Also before other events of the same batch, and between them.
    let mixed = vec![room.say(ann), whisper(&room, &set), room.say(ann)];
    store.apply(0, mixed.clone(), 2).await.expect(FAILED);
    assert_eq!(store.settings(bob, room.id).await.expect(FAILED), Some((Some(set.clone()), 12)));
    assert_eq!(badge(store, bob, NOW).await, (8, 1), "what is cleared is read");
    assert_eq!(badge(store, bob, NOW - 1).await, (0, 1), "muted till then");
    assert_eq!(member(&one(store, &room).await, bob).3, 0, "others see it once the mark has moved");
    let access = store.access(bob, vec![room.id]).await.expect(FAILED);
    assert_eq!(access.first().map(|access| access.first_seq), Some(5), "cleared messages are gone");
    let access = store.access(ann, vec![room.id]).await.expect(FAILED);
    assert_eq!(access.first().map(|access| access.first_seq), Some(1), "for oneself");

    // A list since then has it, also where nothing else happened; the other member's has not.
    let since = list(store, bob, &Positions::new(), After::Nothing, 50).await.positions;
    (set.hidden_until_seq, set.muted_until_ms, set.updated_at_ms) = (13, NOW + 1, 8);
    store.apply(0, vec![whisper(&room, &set)], 3).await.expect(FAILED);
    let changed = list(store, bob, &since, After::Nothing, 50).await;
    assert_eq!((ids(&changed), changed.badge), (vec![room.id], 0));
    let own = changed.conversations.first().and_then(|seen| seen.me.settings.clone());
    assert_eq!(own, Some(set.clone()));
    assert_eq!(list(store, bob, &since, After::Moved(None), 50).await.conversations.len(), 1);
    assert_eq!(list(store, ann, &since, After::Nothing, 50).await.conversations.len(), 0);
    assert_eq!(list(store, ann, &before, After::Nothing, 50).await.conversations.len(), 1);
    assert_eq!(one(store, &room).await.members.iter().filter(|member| member.settings.is_some()).count(), 1);

    // The log comes again: the latest hold.
    store.apply(0, [events, mixed].concat(), 3).await.expect(FAILED);
    assert_eq!(store.settings(bob, room.id).await.expect(FAILED), Some((Some(set.clone()), 12)));
    assert_eq!(badge(store, bob, NOW + 2).await, (0, 1), "hidden: read");
    let message = room.say(ann);
    store.apply(0, vec![message], 4).await.expect(FAILED);
    assert_eq!(badge(store, bob, NOW + 1).await, (1, 1));
    assert_eq!(badge(store, bob, NOW).await, (0, 1));

    // Who has left is shown to who reads the log from before that; what they had set waits for them.
    let gone = MembersLeft { users: vec![bytes(bob).into()], ended: false };
    let left = room.event(bob, Body::Left(gone));
    store.apply(0, vec![left], 5).await.expect(FAILED);
    let id = room.id;
    let loaded = async |gone| {
        let room = store.rooms(vec![id], gone).await.expect(FAILED).pop();
        let members = room.map_or(Vec::new(), |room| room.members);
        let found = members.into_iter().find(|member| member.user == bytes(bob));
        found.map(|member| (member.left_revision > 0, member.settings.is_some()))
    };
    assert_eq!(loaded(Gone::Whole).await, Some((true, true)));
    assert_eq!(loaded(Gone::Since(5)).await, Some((true, false)));
    assert_eq!((loaded(Gone::Since(6)).await, loaded(Gone::NOBODY).await), (None, None));
    let back = room.event(ann, Body::Joined(MembersJoined { members: joined(&[(bob, Role::Member)]) }));
    store.apply(0, vec![back], 6).await.expect(FAILED);
    assert_eq!(loaded(Gone::NOBODY).await, Some((false, true)));
}

fn shard(n: usize) -> u32 {
    u32::try_from(n % 2).unwrap_or_default()
}

fn position(n: usize) -> u64 {
    n as u64 / 2 + 1
}

fn place(page: &Page, at: usize) -> After {
    let seen = &page.conversations[at];
    After::Place(seen.activity_micros, ConversationId::from_slice(&seen.room.conversation).expect("an id"))
}

/// Checks two replicas on one database, of which one has lost the shard and does not know it yet, and a replica that is
/// cut off between any two steps; panics where they do not do what they should.
///
/// # Panics
/// That is how it tells.
pub async fn check_replicas(old: &dyn GroupStore, new: &dyn GroupStore) {
    let [ann, bob] = [UserId::new(), UserId::new()];
    let mut room = Room::new(1_000_000);
    let mut all = vec![room.event(ann, created(&[(ann, Role::Owner), (bob, Role::Member)]))];
    all.extend((0..399).map(|_| room.say(ann)));
    old.apply(2, all[..100].to_vec(), 10).await.expect(FAILED);
    new.apply(2, all[50..200].to_vec(), 20).await.expect(FAILED);
    let (one, other) = tokio::join!(old.apply(2, all[100..150].to_vec(), 15), new.apply(2, all[200..250].to_vec(), 25));
    one.and(other).expect(FAILED);
    old.apply(2, all[..120].to_vec(), 12).await.expect(FAILED);
    for store in [old, new] {
        assert_eq!(store.cursor(2).await.expect(FAILED), 25, "a cursor never goes back");
        assert_eq!((one_of(store, &room).await, badge(store, bob, NOW).await), ((250, 249), (249, 1)));
    }
    for (micros, position) in (0..).map(|n| n * 150).zip(26..56) {
        let upto = 250 + usize::try_from(position - 25).unwrap_or_default() * 5;
        let cut = Duration::from_micros(micros);
        // Not waited for any more; what becomes of it is known by the cursor alone.
        let _ = tokio::time::timeout(cut, new.apply(2, all[200..upto].to_vec(), position)).await;
        let cursor = old.cursor(2).await.expect(FAILED);
        let (revision, _) = one_of(old, &room).await;
        assert!([position - 1, position].contains(&cursor), "{cursor} after {position}");
        assert!(revision >= 250 + (cursor - 25) * 5, "rows and cursor are of one transaction");
        new.apply(2, all[200..upto].to_vec(), position).await.expect(FAILED);
        assert_eq!(one_of(old, &room).await, (upto as u64, upto as u64 - 1));
        assert_eq!(badge(old, bob, NOW).await, (upto as u64 - 1, 1));
    }
}

async fn one_of(store: &dyn GroupStore, room: &Room) -> (u64, u64) {
    let state = one(store, room).await;
    (state.revision, state.last_seq)
}
