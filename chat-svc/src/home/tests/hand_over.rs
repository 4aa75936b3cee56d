//! What one home leaves, the next goes on with; and what the log says comes first.

use super::{super::*, stage::*};
use crate::ask::Claim;
use madang_proto::{
    chat::v1::ChangeGroup,
    client::v1::{ConversationKind, Role},
    id::{ClientId, UserId},
    log::v1::{Created, JoinedUser, logged_event::Body},
};
use std::{collections::BTreeSet, sync::atomic::Ordering::SeqCst};

#[tokio::test]
async fn the_next_home_has_the_rooms_without_the_databases() {
    let stage = Stage::new();
    let (ann, bob, id) = (UserId::new(), UserId::new(), ClientId::now());
    let one = stage.home(None).await;
    let first = one.send(ann, bob, id).await.unwrap();
    let left = one.stop().await.unwrap();
    assert_eq!((left.position, left.rooms()), (stage.log.entries().len() as u64, 1));
    stage.databases.down.store(true, SeqCst);
    let two = stage.home(Some(handed(left))).await;
    let again = two.send(ann, bob, id).await.unwrap();
    assert_eq!((again.seq, again.revision, again.duplicate), (first.seq, first.revision, true));
    let next = two.send(bob, ann, ClientId::now()).await.unwrap();
    assert_eq!((next.seq, next.duplicate), (2, false));
    assert_eq!(stage.databases.rooms_asked.load(SeqCst) - 1, 0, "only the first message asked whether there is a room");
    assert_eq!(stage.databases.ids_asked.load(SeqCst), 0);
    // The room's numbers go on for the one after it, too.
    let three = stage.home(Some(handed(two.stop().await.unwrap()))).await;
    assert_eq!(three.send(ann, bob, ClientId::now()).await.unwrap().seq, 3);
}

#[tokio::test]
async fn a_group_is_handed_over_with_all_that_its_members_and_it_are() {
    let stage = Stage::new();
    let (ann, bob) = (UserId::new(), UserId::new());
    let group = ConversationId::direct(UserId::new(), UserId::new());
    let user = |user: UserId, role: Role| JoinedUser { user: user.bytes().to_vec().into(), role: role.into() };
    let created = Created {
        kind: ConversationKind::Group.into(),
        name: "the garden".into(),
        data: HashMap::from([("colour".into(), "green".into())]),
        members: vec![user(ann, Role::Owner), user(bob, Role::Member)],
        ..Created::default()
    };
    let one = stage.home(None).await;
    one.ask(group, ann, What::Request(Request::Create(created), 0)).await.unwrap().unwrap();
    let admin = What::Request(Request::SetRole(bob, Role::Admin), 0);
    one.ask(group, ann, admin).await.unwrap().unwrap();
    let two = stage.home(Some(handed(one.stop().await.unwrap()))).await;
    // An admin may, and what does not change is as it was.
    let picture =
        ChangeGroup { picture: Some("6ba7b810-9dad-41d1-80b4-00c04fd430c8".into()), ..ChangeGroup::default() };
    two.ask(group, bob, What::Request(Request::Change(picture), 0)).await.unwrap().unwrap();
    let again = stage.home(Some(handed(two.stop().await.unwrap()))).await;
    let name = ChangeGroup { name: Some("the yard".into()), ..ChangeGroup::default() };
    again.ask(group, bob, What::Request(Request::Change(name), 0)).await.unwrap().unwrap();
    let events: Vec<_> = stage.log.records().into_iter().flat_map(|record| record.events).collect();
    let Some(Body::Changed(changed)) = &events.last().unwrap().body else { panic!("{events:?}") };
    assert_eq!((&*changed.name, &*changed.picture), ("the yard", "6ba7b810-9dad-41d1-80b4-00c04fd430c8"));
    assert_eq!(changed.data.get("colour").map(String::as_str), Some("green"));
}

#[tokio::test]
async fn what_is_handed_over_counts_only_if_the_log_has_not_gone_on() {
    let stage = Stage::new();
    let (ann, bob) = (UserId::new(), UserId::new());
    let one = stage.home(None).await;
    one.send(ann, bob, ClientId::now()).await.unwrap();
    let left = one.stop().await.unwrap();
    // Another was home meanwhile, and took a message.
    stage.write(0).await;
    let between = stage.home(None).await;
    assert_eq!(between.send(ann, bob, ClientId::now()).await.unwrap().seq, 2);
    between.task.abort();
    let two = stage.home(Some(handed(left))).await;
    assert_eq!(two.send(ann, bob, ClientId::now()).await.unwrap().seq, 3);
}

#[tokio::test]
async fn read_marks_that_were_taken_are_in_the_log_when_a_home_stops() {
    let stage = Stage::new();
    let (ann, bob) = (UserId::new(), UserId::new());
    let one = stage.home(None).await;
    let conversation = ConversationId::direct(ann, bob);
    one.send(ann, bob, ClientId::now()).await.unwrap();
    let read = one.ask(conversation, bob, What::Read(1, None)).await.unwrap().unwrap();
    assert!(!read.duplicate);
    // As a shard that is given away: it is held no more before its home stops.
    stage.held.send_replace(BTreeSet::new());
    let left = one.stop().await.unwrap();
    let events: Vec<_> = stage.log.records().into_iter().flat_map(|record| record.events).collect();
    assert!(matches!(&events.last().unwrap().body, Some(Body::Read(read)) if read.marks[0].seq == 1), "{events:?}");
    // And known to the next one.
    stage.held.send_replace([0].into());
    let two = stage.home(Some(handed(left))).await;
    assert!(two.ask(conversation, bob, What::Read(1, None)).await.unwrap().unwrap().duplicate);
}

#[tokio::test]
async fn read_marks_that_the_log_does_not_take_are_handed_over() {
    let stage = Stage::new();
    let (ann, bob) = (UserId::new(), UserId::new());
    let one = stage.home(None).await;
    one.send(ann, bob, ClientId::now()).await.unwrap();
    one.ask(ConversationId::direct(ann, bob), bob, What::Read(1, None)).await.unwrap().unwrap();
    stage.log.mood(Mood::Full);
    let left = one.stop().await.unwrap();
    stage.log.mood(Mood::Well);
    let two = stage.home(Some(handed(left))).await;
    two.stop().await.unwrap();
    let events: Vec<_> = stage.log.records().into_iter().flat_map(|record| record.events).collect();
    assert!(matches!(&events.last().unwrap().body, Some(Body::Read(_))), "{events:?}");
}

#[tokio::test]
async fn whoever_waits_for_a_home_that_stops_is_told_so() {
    let stage = Stage::new();
    let (ann, bob) = (UserId::new(), UserId::new());
    let one = stage.home(None).await;
    one.send(ann, bob, ClientId::now()).await.unwrap();
    stage.databases.down.store(true, SeqCst);
    one.cancel.cancel();
    let asked: Vec<_> =
        (0..100).map(|_| one.ask(ConversationId::direct(ann, bob), ann, what(bob, ClientId::now()))).collect();
    for each in asked {
        let refusal = each.await.expect("everybody is answered").unwrap_err();
        assert!(refusal.reason.retryable(), "{refusal:?}");
    }
    assert!(one.task.await.unwrap().unwrap().is_some());
}

#[tokio::test]
async fn so_is_whoever_waits_for_something_from_the_databases_or_for_the_next_batch() {
    let stage = Stage::new();
    let mut home = Home::new(0, stage.world(), 0, Pressure::new(0, []), 1);
    let conversation = ConversationId::direct(UserId::new(), UserId::new());
    let mut answers = Vec::new();
    let mut ask = || {
        let (answer, answered) = tokio::sync::oneshot::channel();
        answers.push(answered);
        let answer = Box::new(move |result| drop(answer.send(result)));
        Ask {
            conversation,
            actor: Some(UserId::new()),
            what: What::Read(1, None),
            claim: Claim::default(),
            trace: None,
            answer,
        }
    };
    home.ready.push_back(ask());
    home.wait(ask(), None);
    home.find_ids(ask(), (0, 0));
    home.wait_for_message(ask(), 1, 1);
    let user = UserId::new();
    home.wait_for_settings(ask(), user, Some(fetch::Wanted::Settings { conversation, user, revision: 1 }));
    let (asks, receiver) = mpsc::channel(1);
    asks.try_send(ask()).ok().unwrap();
    home.turn_away(receiver);
    for each in answers {
        assert!(each.await.expect("everybody is answered").unwrap_err().reason.retryable());
    }
}
