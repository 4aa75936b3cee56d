//! Who is told, and who is not.

use super::*;
use crate::ticket::Progress;
use madang_proto::log::v1::MemberSettings;

const NOW: i64 = 1_700_000_000_000;

fn member(joined: u64, left: u64, read: u64) -> RoomMember {
    let user = UserId::new().bytes().to_vec();
    RoomMember { user, joined_revision: joined, left_revision: left, read_seq: read, ..RoomMember::default() }
}

fn set(settings: MemberSettings) -> RoomMember {
    RoomMember { settings: Some(settings), ..member(1, 0, 0) }
}

#[test]
fn members_at_the_revision_who_are_so_still_and_have_not_read_it() {
    let told = |member: &RoomMember| is_told(member, (5, 3), false, NOW);
    assert!(told(&member(1, 0, 0)) && told(&member(5, 0, 2)));
    assert!(!told(&member(6, 0, 0)), "came later");
    assert!(!told(&member(1, 7, 0)), "has left since");
    assert!(!told(&member(1, 4, 0)), "had left before");
    assert!(!told(&member(1, 0, 3)), "has read it");
}

#[test]
fn who_does_not_want_to_hear_of_it_is_not_told() {
    let of = |settings: MemberSettings, mention| is_told(&set(settings), (5, 3), mention, NOW);
    let notify = |notify: Notify| MemberSettings { notify: notify.into(), ..MemberSettings::default() };
    assert!(of(MemberSettings::default(), false) && of(notify(Notify::All), false));
    assert!(!of(notify(Notify::Mentions), false) && of(notify(Notify::Mentions), true), "mentions break through");
    assert!(!of(notify(Notify::None), true));
    let muted = |until| MemberSettings { muted_until_ms: until, ..MemberSettings::default() };
    assert!(!of(muted(NOW + 1), false) && !of(muted(NOW + 1), true) && of(muted(NOW), false));
    assert!(!of(MemberSettings { cleared_seq: 3, ..MemberSettings::default() }, false), "it is gone for them");
}

#[test]
fn the_sender_is_not_told_and_who_is_named_is_known() {
    let members = vec![
        member(1, 0, 0),
        member(1, 0, 0),
        set(MemberSettings { notify: Notify::Mentions.into(), ..MemberSettings::default() }),
    ];
    let id = |at: usize| UserId::from_slice(&members[at].user).unwrap();
    let (sender, plain, shy) = (id(0), id(1), id(2));
    let room = RoomState { members: members.clone(), ..RoomState::default() };
    let message = |names_all, names: &[UserId]| Message {
        revision: 5,
        seq: 3,
        sender,
        names_all,
        names: names.iter().copied().collect(),
        shown: Shown::Nothing,
    };
    let told = |message: Message| look::of_message(&room, &message, NOW).collect::<Vec<_>>();
    assert_eq!(told(message(false, &[])), [(plain, false)]);
    assert_eq!(told(message(false, &[shy])), [(plain, false), (shy, true)]);
    assert_eq!(told(message(true, &[])), [(plain, true), (shy, true)]);
}

/// One message may concern as many as are in its group; of several, so many at once as are not too many.
#[test]
fn what_is_looked_at_together_concerns_no_more_than_so_many() {
    let progress = Progress::from(0);
    let mut rooms = Rooms::new();
    let mut of = |members: usize, position| {
        let conversation = ConversationId::new();
        let members = (0..members).map(|_| member(1, 0, 0)).collect();
        rooms.insert(conversation, RoomState { members, ..RoomState::default() });
        let message = Message {
            revision: 5,
            seq: 3,
            sender: UserId::new(),
            names_all: false,
            names: HashSet::new(),
            shown: Shown::Nothing,
        };
        let (what, ticket) = (What::Message(message), progress.take(position));
        Job { position, conversation, at_ms: NOW, due: Instant::now(), what, span: Span::none(), ticket }
    };
    let mut look = Look::at(vec![of(900, 1), of(900, 2), of(201, 3), of(5000, 4), of(1, 5)]);
    let mut parts = Vec::new();
    while !look.is_over() {
        let (concerned, part) = look::part(&look.jobs, &rooms, &HashSet::new(), NOW);
        parts.push((part, concerned.len()));
        assert!(concerned.iter().all(|(at, ..)| *at < part));
        assert_eq!(look.done(part), part as u64);
    }
    assert_eq!(parts, [(2, 1800), (1, 201), (1, 5000), (1, 1)]);
    assert_eq!(progress.done(), 5);
}
