//! Who is told, and who is not.

use super::*;
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
    let told = |message: Message| of_message(&room, &message, NOW).collect::<Vec<_>>();
    assert_eq!(told(message(false, &[])), [(plain, false)]);
    assert_eq!(told(message(false, &[shy])), [(plain, false), (shy, true)]);
    assert_eq!(told(message(true, &[])), [(plain, true), (shy, true)]);
}
