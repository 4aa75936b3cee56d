//! The log is full, silent, or lost; the databases are behind.

use super::{super::*, stage::*};
use madang_proto::{
    client::v1::{ConversationKind, Role},
    id::{ClientId, UserId},
    log::v1::{Created, JoinedUser},
};
use std::{collections::BTreeSet, sync::atomic::Ordering::SeqCst};

fn people() -> (UserId, UserId) {
    (UserId::new(), UserId::new())
}

#[tokio::test]
async fn a_full_log_refuses_and_a_retry_is_saved_once() {
    let stage = Stage::new();
    let ((ann, bob), id) = (people(), ClientId::now());
    let home = stage.home(None).await;
    home.send(ann, bob, ClientId::now()).await.unwrap();
    stage.log.mood(Mood::Full);
    assert_eq!(home.send(ann, bob, id).await.unwrap_err().reason, Reason::Unavailable);
    stage.log.mood(Mood::Well);
    let ack = home.send(ann, bob, id).await.unwrap();
    assert_eq!((ack.seq, ack.duplicate), (2, false));
    assert!(home.send(ann, bob, id).await.unwrap().duplicate);
}

/// Somebody is removed and speaks, in one batch: if the removal is not saved, nobody is told for good that they are out.
#[tokio::test]
async fn a_refusal_that_follows_from_what_is_not_saved_yet_waits_for_it() {
    let stage = Stage::new();
    let ((ann, bob), group) = (people(), ConversationId::direct(UserId::new(), UserId::new()));
    let user = |user: UserId, role: Role| JoinedUser { user: user.bytes().to_vec().into(), role: role.into() };
    let created = Created {
        kind: ConversationKind::Group.into(),
        members: vec![user(ann, Role::Owner), user(bob, Role::Member)],
        ..Created::default()
    };
    let home = stage.home(None).await;
    home.ask(group, ann, What::Request(Request::Create(created), 0)).await.unwrap().unwrap();
    let both = async || {
        let removed = home.ask(group, ann, What::Request(Request::Remove(bob), 0));
        let said = home.ask(group, bob, saying(None, ClientId::now()));
        (removed.await.unwrap(), said.await.unwrap())
    };
    stage.log.mood(Mood::Full);
    let (removed, said) = both().await;
    assert_eq!((removed.unwrap_err().reason, said.unwrap_err().reason), (Reason::Unavailable, Reason::Unavailable));
    stage.log.mood(Mood::Well);
    let (removed, said) = both().await;
    assert!(removed.is_ok());
    assert_eq!(said.unwrap_err().reason, Reason::ConversationNotFound);
}

#[tokio::test(start_paused = true)]
async fn while_the_log_is_silent_everybody_is_refused_within_5_s_and_a_retry_is_saved_once() {
    let stage = Stage::new();
    let ((ann, bob), (one, two)) = (people(), (ClientId::now(), ClientId::now()));
    let home = stage.home(None).await;
    home.send(ann, bob, ClientId::now()).await.unwrap();
    stage.log.mood(Mood::Silent);
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        for id in [one, two] {
            let asked = tokio::time::Instant::now();
            let refused = home.send(ann, bob, id).await.unwrap_err();
            assert!(refused.reason == Reason::Unavailable && refused.retry_after_ms > 0, "{refused:?}");
            assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        }
    }
    stage.log.mood(Mood::Well);
    let mut acks = Vec::new();
    for id in [one, two, one, two] {
        acks.push(loop {
            match home.send(ann, bob, id).await {
                Ok(ack) => break ack.seq,
                Err(refusal) => assert_eq!(refusal.reason, Reason::Unavailable),
            }
        });
    }
    assert_eq!((acks[0], acks[1]), (acks[2], acks[3]), "one number for each id");
    let events = stage.log.records().iter().map(|record| record.events.len()).sum::<usize>();
    assert_eq!((acks[0].max(acks[1]), events), (3, 4), "the room, and three messages");
}

#[tokio::test(start_paused = true)]
async fn a_home_that_is_not_it_any_more_answers_nothing_from_memory() {
    let stage = Stage::new();
    let (ann, bob) = people();
    let (home, id) = (stage.home(None).await, ClientId::now());
    home.send(ann, bob, id).await.unwrap();
    // It is paused here, and its shard taken by another, which it has not heard of yet.
    stage.held.send_replace(BTreeSet::new());
    let conversation = ConversationId::direct(ann, bob);
    let again = home.send(ann, bob, id).await.map(|ack| ack.seq);
    let read = home.ask(conversation, bob, What::Read(1, None)).await.unwrap().map(|ack| ack.seq);
    let stranger = home.ask(conversation, UserId::new(), What::Read(1, None)).await.unwrap().map(|ack| ack.seq);
    for (what, answer) in [("a retry", again), ("a mark", read), ("what it would refuse", stranger)] {
        let refusal = answer.expect_err(what);
        assert!(refusal.reason == Reason::Unavailable && refusal.retry_after_ms > 0, "{what}: {refusal:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_append_whose_answer_is_lost_is_one_message() {
    let stage = Stage::new();
    let (ann, bob) = people();
    let home = stage.home(None).await;
    stage.log.mood(Mood::Forgetful);
    assert_eq!(home.send(ann, bob, ClientId::now()).await.unwrap().seq, 1);
    assert_eq!(stage.log.entries().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn sends_are_refused_while_the_databases_are_too_far_behind() {
    let stage = Stage::new();
    let (ann, bob) = people();
    let first = stage.home(None).await;
    let read = first.send(ann, bob, ClientId::now()).await.unwrap().seq;
    first.task.abort();
    // All that is in the log has waited for 11 minutes already.
    for entry in &mut *stage.log.entries() {
        entry.at_micros -= 11 * 60 * 1_000_000;
    }
    stage.write(0).await;
    let home = stage.home(None).await;
    let conversation = ConversationId::direct(ann, bob);
    let refused = loop {
        match home.send(ann, bob, ClientId::now()).await {
            Err(refusal) => break refusal,
            Ok(_) => tokio::time::sleep(TICK).await,
        }
    };
    assert_eq!((refused.reason, refused.retry_after_ms), (Reason::Lagging, 2000));
    assert!(home.ask(conversation, bob, What::Read(read, None)).await.unwrap().is_ok(), "marks are taken");
    // What was acknowledged is all there, and sends are taken again.
    let all = stage.log.entries().len() as u64;
    stage.write(all).await;
    let ack = loop {
        match home.send(ann, bob, ClientId::now()).await {
            Ok(ack) => break ack,
            Err(refusal) => assert_eq!(refusal.reason, Reason::Lagging),
        }
        tokio::time::sleep(TICK).await;
    };
    let messages = stage.log.records().iter().flat_map(|record| &record.events).map(|event| event.last_seq).max();
    assert_eq!(messages, Some(ack.seq));
}

#[tokio::test]
async fn a_log_that_is_gone_is_not_begun_anew() {
    let stage = Stage::new();
    let (ann, bob) = people();
    let home = stage.home(None).await;
    home.send(ann, bob, ClientId::now()).await.unwrap();
    home.stop().await.unwrap();
    stage.write(2).await;
    // The log and all that was said of it are gone; only the databases remember. If they don't answer, nobody knows.
    stage.databases.lose_the_log();
    let wiped = Stage { registry: Arc::default(), ..stage };
    wiped.databases.down.store(true, SeqCst);
    assert!(wiped.refusal().await.is_some());
    wiped.databases.down.store(false, SeqCst);
    let why = wiped.refusal().await.unwrap();
    assert!(why.contains("LOST"), "{why}");
    assert!(wiped.log.entries().is_empty(), "not even a marker");
    // Somebody has it begin anew: numbers go on, and none is used twice. Not if one database has more than the other.
    let reset = async |position: &str| {
        wiped.registry.put("log.reset.0", position.to_owned().into()).await.unwrap();
    };
    reset("1").await;
    assert!(wiped.refusal().await.is_some(), "they have read up to 2");
    reset("2").await;
    wiped.databases.behind.store(1, SeqCst);
    assert!(wiped.refusal().await.is_some());
    wiped.databases.behind.store(0, SeqCst);
    let home = wiped.home(None).await;
    let ack = home.send(ann, bob, ClientId::now()).await.unwrap();
    assert_eq!((ack.seq, ack.duplicate), (2, false));
    assert_eq!(wiped.log.entries().iter().map(|entry| entry.position).collect::<Vec<_>>(), [3, 4]);
    home.stop().await.unwrap();
}

#[tokio::test]
async fn a_log_that_was_restored_from_too_long_ago_is_as_bad_as_none() {
    let stage = Stage::new();
    stage.home(None).await.stop().await.unwrap();
    stage.write(9).await;
    assert!(stage.refusal().await.unwrap().contains("LOST"));
}

#[tokio::test(start_paused = true)]
async fn a_home_whose_log_is_replaced_steps_down() {
    let stage = Stage::new();
    let (ann, bob) = people();
    let home = stage.home(None).await;
    home.send(ann, bob, ClientId::now()).await.unwrap();
    stage.write(50).await;
    let why = home.task.await.unwrap().err().unwrap();
    assert!(why.contains("has read up to 50"), "{why}");
}
