//! Numbering, over random histories and at its edges.

mod amend;

use super::*;
use proptest::prelude::*;

const LIMITS: Limits = Limits { members: 5 };

fn user(n: u8) -> UserId {
    UserId::from_slice(&[n; 16]).unwrap()
}

fn conversation() -> ConversationId {
    ConversationId::from_slice(&[9; 16]).unwrap()
}

fn say(first_to: Option<UserId>) -> Request {
    Request::Send {
        first_to,
        client_id: ClientId::now(),
        hash: 1,
        content: Content { text: "hi".into(), ..Content::default() },
    }
}

fn create(members: &[u8]) -> Request {
    let joined = |n: &u8| log::JoinedUser {
        user: slice(&user(*n)),
        role: if *n == members[0] { Role::Owner.into() } else { Role::Member.into() },
    };
    Request::Create(log::Created {
        kind: ConversationKind::Group.into(),
        members: members.iter().map(joined).collect(),
        ..log::Created::default()
    })
}

fn ask(state: &mut Option<State>, actor: u8, request: Request) -> Result<Vec<Numbered>, Reason> {
    match number(state, conversation(), Some(user(actor)), request, &HashMap::new(), 1_000, LIMITS) {
        Ok(Verdict::Events(events)) => Ok(events),
        Ok(Verdict::Nothing | Verdict::Unchanged(..)) => Ok(Vec::new()),
        Err(refusal) => Err(refusal.reason),
    }
}

#[test]
fn a_picture_is_set_in_the_place_of_the_one_that_was_seen() {
    let mut state = None;
    ask(&mut state, 1, create(&[1, 2])).unwrap();
    let [one, other] = ["6ba7b810-9dad-41d1-80b4-00c04fd430c8", "6ba7b811-9dad-41d1-80b4-00c04fd430c8"];
    let set = |picture: &str, was: Option<&str>| {
        let (picture, picture_was) = (Some(picture.into()), was.map(Into::into));
        Request::Change(ChangeGroup { picture, picture_was, ..ChangeGroup::default() })
    };
    let mut set_to = |actor, picture, was| ask(&mut state, actor, set(picture, was)).map(|events| events.len());
    assert_eq!(set_to(2, one, Some("x")), Err(Reason::RoleRequired));
    assert_eq!(set_to(1, one, Some("")), Ok(1));
    assert_eq!(set_to(1, other, Some("")), Err(Reason::Lagging), "another was quicker");
    assert_eq!(set_to(1, one, Some(one)), Ok(0));
    assert_eq!(set_to(1, other, Some(one)), Ok(1));
    assert_eq!(set_to(1, one, None), Ok(1), "whatever it was");
}

#[test]
fn a_first_message_makes_the_direct_room() {
    let mut state = None;
    let events = ask(&mut state, 1, say(Some(user(2)))).unwrap();
    assert_eq!(
        events.iter().map(|each| (each.event.revision, each.event.last_seq)).collect::<Vec<_>>(),
        [(1, 0), (2, 1)]
    );
    assert!(events.iter().all(|each| each.recipients[..] == [user(1), user(2)]));
    assert_eq!(ask(&mut state, 2, say(Some(user(1)))).unwrap()[0].event.last_seq, 2);
    assert_eq!(ask(&mut state, 1, Request::Add(vec![user(3)])), Err(Reason::DirectConversation));
}

#[test]
fn strangers_and_the_removed_are_told_that_there_is_no_such_room() {
    let mut state = None;
    assert_eq!(ask(&mut state, 1, say(None)).unwrap_err(), Reason::ConversationNotFound);
    ask(&mut state, 1, create(&[1, 2, 3])).unwrap();
    assert_eq!(ask(&mut state, 4, say(None)).unwrap_err(), Reason::ConversationNotFound);
    let removed = ask(&mut state, 1, Request::Remove(user(2))).unwrap();
    assert!(removed[0].recipients.contains(&user(2)), "who is removed learns of it");
    assert_eq!(ask(&mut state, 2, say(None)).unwrap_err(), Reason::ConversationNotFound);
    let next = ask(&mut state, 1, say(None)).unwrap();
    assert!(!next[0].recipients.contains(&user(2)));
}

#[test]
fn roles_decide_who_removes_and_an_owner_has_an_heir() {
    let mut state = None;
    ask(&mut state, 1, create(&[1, 2, 3])).unwrap();
    assert_eq!(ask(&mut state, 2, Request::Remove(user(3))), Err(Reason::RoleRequired));
    let left = ask(&mut state, 1, Request::Remove(user(1))).unwrap();
    assert!(matches!(left[1].event.body, Some(Body::Role(_))));
    assert_eq!(state.as_ref().unwrap().members.get(&user(2)).unwrap().role, Role::Owner);
}

#[test]
fn the_member_limit_holds() {
    let mut state = None;
    ask(&mut state, 1, create(&[1, 2, 3, 4])).unwrap();
    assert_eq!(ask(&mut state, 1, Request::Add(vec![user(5), user(6)])), Err(Reason::GroupFull));
    assert!(ask(&mut state, 1, Request::Add(vec![user(5), user(1)])).is_ok());
}

impl PartialEq for Numbered {
    fn eq(&self, other: &Self) -> bool {
        self.event == other.event
    }
}

proptest! {
    /// P3 and the replay: whatever is asked, numbers have no hole, time goes on, and replaying the events gives the
    /// state that numbering gave.
    #[test]
    fn numbers_have_no_holes_and_replay_agrees(asks in proptest::collection::vec((1u8..7, 0u8..4, 1u8..7, 0i64..5), 1..60)) {
        let mut state = None;
        let mut events = Vec::new();
        ask(&mut state, 1, create(&[1, 2])).map(|new| events.extend(new)).unwrap();
        for (actor, what, other, now) in asks {
            let request = match what {
                0 => Request::Add(vec![user(other)]),
                1 => Request::Remove(user(other)),
                2 => Request::Marks(vec![(user(other), (1, None))]),
                _ => say(None),
            };
            let actor = if what == 2 { None } else { Some(user(actor)) };
            if let Ok(Verdict::Events(new)) = number(&mut state, conversation(), actor, request, &HashMap::new(), now, LIMITS) {
                events.extend(new);
            }
        }
        let mut room = Room::begun(nothing(&events[0].event));
        let mut seq = 0;
        let mut at = 0;
        for (n, each) in events.iter().enumerate() {
            prop_assert_eq!(each.event.revision, n as u64 + 1);
            prop_assert!(each.event.at_micros > at);
            at = each.event.at_micros;
            seq += u64::from(matches!(each.event.body, Some(Body::Message(_))));
            prop_assert_eq!(each.event.last_seq, seq);
            prop_assert!(room.replay(&each.event));
        }
        let state = state.unwrap();
        prop_assert_eq!(room.state.members.by_user.keys().collect::<Vec<_>>(), state.members.by_user.keys().collect::<Vec<_>>());
        prop_assert_eq!((room.state.revision, room.state.last_seq), (state.revision, state.last_seq));
    }
}
