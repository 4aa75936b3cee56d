//! One message for one id, whatever was forgotten; and what is forgotten is only what the databases have.

use super::{super::*, stage::*};
use crate::{
    retry::{BACK_MS, MARGIN_MS},
    room::{Amendment, How},
};
use madang_proto::id::{ClientId, UserId};
use std::sync::atomic::Ordering::SeqCst;

/// An id made so many ms ago.
fn dated(ago_ms: i64) -> ClientId {
    ClientId::at((now_micros() / 1000 - ago_ms).unsigned_abs(), rand::random())
}

/// A home that has room for nothing, so that rooms go as soon as they may.
async fn forgetful() -> (Stage, Running) {
    let stage = Stage { memory: 0, ..Stage::new() };
    let home = stage.home(None).await;
    (stage, home)
}

/// The databases have all, and the home has heard of it, and has forgotten all rooms.
async fn forgotten(stage: &Stage) {
    let all = stage.log.entries().len() as u64;
    stage.write(all).await;
    tokio::time::sleep(12 * TICK).await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_found_in_the_store_once_its_room_was_forgotten() {
    let (stage, home) = forgetful().await;
    let (ann, bob) = (UserId::new(), UserId::new());
    let old = [dated(0), dated(4 * 60_000), dated(BACK_MS - 60_000)];
    let mut acks = Vec::new();
    for id in old {
        acks.push(home.send(ann, bob, id).await.unwrap());
    }
    assert_eq!(stage.databases.ids_asked.load(SeqCst), 0, "a room that was just made has seen nothing else");
    forgotten(&stage).await;
    let asked = stage.databases.rooms_asked.load(SeqCst);
    for (id, before) in old.iter().zip(&acks) {
        let again = home.send(ann, bob, *id).await.unwrap();
        assert_eq!((again.seq, again.duplicate), (before.seq, true));
    }
    assert!(stage.databases.rooms_asked.load(SeqCst) > asked, "it was forgotten");
    let asked = stage.databases.ids_asked.load(SeqCst);
    assert!((1..=2).contains(&asked), "one look for the new ids, one for the old: {asked}");
    let new = home.send(ann, bob, dated(0)).await.unwrap();
    assert_eq!((new.seq, new.duplicate), (4, false));
    assert_eq!(stage.databases.ids_asked.load(SeqCst), asked, "an id that can only be new costs nothing");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_looked_up_is_refused_and_never_doubled() {
    let (stage, home) = forgetful().await;
    let (ann, bob, id) = (UserId::new(), UserId::new(), dated(MARGIN_MS + 60_000));
    home.send(ann, bob, id).await.unwrap();
    forgotten(&stage).await;
    // The room is loaded; then the databases go away.
    home.ask(ConversationId::direct(ann, bob), bob, What::Read(1, None)).await.unwrap().unwrap();
    stage.databases.down.store(true, SeqCst);
    let refused = home.send(ann, bob, id).await.unwrap_err();
    assert!(refused.reason.retryable(), "{refused:?}");
    stage.databases.down.store(false, SeqCst);
    assert!(home.send(ann, bob, id).await.unwrap().duplicate);
}

/// A group that was forgotten and is back in memory, without its older ids: its home, and three who are in it.
async fn without_older_ids() -> (Stage, Running, ConversationId, [UserId; 3]) {
    let (stage, home) = forgetful().await;
    let people = [UserId::new(), UserId::new(), UserId::new()];
    let group = home.group(&people).await;
    forgotten(&stage).await;
    home.ask(group, people[0], saying(None, dated(0))).await.unwrap().unwrap();
    (stage, home, group, people)
}

/// An answer, which nothing may hold up.
async fn soon<T>(answer: tokio::sync::oneshot::Receiver<T>) -> T {
    tokio::time::timeout(Duration::from_secs(3), answer).await.expect("it is held up").unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_late_retry_is_in_nobody_elses_way_and_its_sender_stays_in_order() {
    let (stage, home, group, [ann, bob, cho]) = without_older_ids().await;
    let (asked, held) = (stage.databases.ids_asked.load(SeqCst), stage.databases.ids_slow.lock().await);
    let late = home.ask(group, ann, saying(None, dated(MARGIN_MS + 60_000)));
    let next = home.ask(group, ann, saying(None, dated(0)));
    let elsewhere = home.ask(ConversationId::direct(bob, cho), bob, what(cho, dated(0)));
    let other = home.ask(group, bob, saying(None, dated(0)));
    let read = home.ask(group, ann, What::Read(1, None));
    assert_eq!(soon(other).await.unwrap().seq, 2);
    assert_eq!(soon(elsewhere).await.unwrap().seq, 1);
    soon(read).await.unwrap();
    // It stays in memory, whatever that costs: what comes is of before it was loaded.
    forgotten(&stage).await;
    let rooms = stage.databases.rooms_asked.load(SeqCst);
    drop(held);
    assert_eq!((soon(late).await.unwrap().seq, soon(next).await.unwrap().seq), (3, 4));
    assert_eq!(stage.databases.rooms_asked.load(SeqCst), rooms);
    assert_eq!(stage.databases.ids_asked.load(SeqCst), asked + 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_up_is_bounded_in_bytes_and_nobody_elses_way_is_full() {
    let (stage, home, group, [ann, bob, _]) = without_older_ids().await;
    let held = stage.databases.ids_slow.lock().await;
    let mut late = Vec::new();
    for _ in 0..2 {
        late.extend((0..3).map(|_| home.ask_large(2 << 20, group, ann, saying(None, dated(MARGIN_MS + 60_000)))));
        soon(home.ask_large(2 << 20, group, bob, saying(None, dated(0)))).await.unwrap();
    }
    forgotten(&stage).await;
    drop(held);
    let mut taken = 0;
    for each in late {
        match soon(each).await {
            Ok(_) => taken += 1,
            Err(refusal) => assert_eq!(refusal.reason, Reason::Overloaded, "{refusal:?}"),
        }
    }
    assert_eq!(taken, QUEUE_BYTES >> 21);
    forgotten(&stage).await;
    let again = home.ask_large(8 << 20, group, ann, saying(None, dated(2 * MARGIN_MS)));
    assert!(!soon(again).await.unwrap().duplicate, "what was answered takes nothing");
}

#[tokio::test(start_paused = true)]
async fn where_older_ids_can_not_be_had_only_who_needs_them_is_refused() {
    let expired = Refusal::new(Reason::ClientIdExpired, "too many since then");
    for (refusal, all) in [(expired, false), (moving(), true)] {
        let (stage, home, group, [ann, bob, cho]) = without_older_ids().await;
        let hour = 3_600_000;
        let before = if all { i64::MAX } else { (now_micros() / 1000 - 2 * MARGIN_MS - hour) * 1000 };
        *stage.databases.no_ids.lock().unwrap() = Some((before, refusal.clone()));
        let held = stage.databases.ids_slow.lock().await;
        let late = home.ask(group, ann, saying(None, dated(MARGIN_MS + 2 * hour)));
        let next = home.ask(group, ann, saying(None, dated(0)));
        let other = home.ask(group, bob, saying(None, dated(0)));
        assert_eq!(soon(other).await.unwrap().seq, 2);
        // Of less long ago: that may be known all the same.
        let later = home.ask(group, cho, saying(None, dated(MARGIN_MS + 60_000)));
        soon(home.ask(group, bob, saying(None, dated(0)))).await.unwrap();
        forgotten(&stage).await;
        drop(held);
        assert_eq!(soon(late).await.unwrap_err().reason, refusal.reason);
        let answers = [soon(next).await, soon(later).await]
            .map(|answer| answer.map(|ack| ack.seq).map_err(|refusal| refusal.reason));
        assert_eq!(answers, if all { [Err(refusal.reason); 2] } else { [Ok(4), Ok(5)] });
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_that_the_databases_do_not_have_yet_is_not_forgotten() {
    let (stage, home) = forgetful().await;
    let (ann, bob, id) = (UserId::new(), UserId::new(), dated(0));
    home.send(ann, bob, id).await.unwrap();
    // store-svc has it, group-svc does not.
    stage.registry.put("progress.store.0", "2".into()).await.unwrap();
    stage.registry.put("progress.group.0", "1".into()).await.unwrap();
    tokio::time::sleep(40 * TICK).await;
    let asked = stage.databases.rooms_asked.load(SeqCst);
    let again = home.send(ann, bob, id).await.unwrap();
    assert_eq!((again.seq, again.duplicate, stage.databases.rooms_asked.load(SeqCst)), (1, true, asked));
}

/// One that was restored from a back-up has less than the home has heard of.
#[tokio::test(start_paused = true)]
async fn a_room_that_was_forgotten_does_not_come_back_from_an_older_database() {
    let (stage, home) = forgetful().await;
    let (ann, bob) = (UserId::new(), UserId::new());
    for _ in 0..3 {
        home.send(ann, bob, dated(0)).await.unwrap();
    }
    forgotten(&stage).await;
    *stage.databases.written.lock().unwrap() = 2;
    let refused = home.send(ann, bob, dated(0)).await.unwrap_err();
    assert_eq!(refused.reason, Reason::Lagging);
    forgotten(&stage).await;
    let ack = home.send(ann, bob, dated(0)).await.unwrap();
    assert_eq!((ack.seq, ack.duplicate), (4, false));
}

#[tokio::test]
async fn a_retry_whose_original_is_only_in_the_log_is_found_by_the_next_home() {
    let stage = Stage::new();
    let (ann, bob, id) = (UserId::new(), UserId::new(), dated(BACK_MS / 2));
    let one = stage.home(None).await;
    let first = one.send(ann, bob, id).await.unwrap();
    one.task.abort();
    // group-svc has written it, store-svc has not.
    *stage.databases.written.lock().unwrap() = 2;
    stage.registry.put("progress.store.0", "1".into()).await.unwrap();
    stage.registry.put("progress.group.0", "2".into()).await.unwrap();
    let two = stage.home(None).await;
    let again = two.send(ann, bob, id).await.unwrap();
    assert_eq!((again.seq, again.duplicate), (first.seq, true));
    assert_eq!(stage.databases.ids_asked.load(SeqCst), 0);
}

/// The log has the newest ids: what is sent now needs no database, and a retry over a home that died is found.
#[tokio::test]
async fn a_home_that_has_just_begun_takes_sends_while_the_store_is_down() {
    let stage = Stage::new();
    let (ann, bob, id) = (UserId::new(), UserId::new(), dated(0));
    let one = stage.home(None).await;
    let first = one.send(ann, bob, id).await.unwrap();
    one.task.abort();
    stage.write(2).await;
    let two = stage.home(None).await;
    // The room is group-svc's to give, and whether there is a block account-svc's.
    two.ask(ConversationId::direct(ann, bob), bob, What::Typing).await.unwrap().unwrap();
    stage.databases.down.store(true, SeqCst);
    let again = two.send(ann, bob, id).await.unwrap();
    assert_eq!((again.seq, again.duplicate), (first.seq, true));
    let new = two.send(bob, ann, dated(0)).await.unwrap();
    assert_eq!((new.seq, new.duplicate), (2, false));
    assert_eq!(stage.databases.ids_asked.load(SeqCst), 0);
    let refused = two.send(ann, bob, dated(BACK_MS / 2)).await;
    // The log goes back to its first record, before which nothing was.
    assert!(!refused.unwrap().duplicate);
}

/// Whoever was found not to be there just before, and is there now, is not numbered from 1 once more.
#[tokio::test(start_paused = true)]
async fn a_room_that_was_absent_once_is_not_absent_for_ever() {
    let stage = Stage { memory: 0, ..Stage::new() };
    let (ann, bob) = (UserId::new(), UserId::new());
    let conversation = ConversationId::direct(ann, bob);
    let mut home = Home {
        absent: HashMap::from([(
            conversation,
            Absent { both_known: Some(true), full: (false, false), blocks: crate::room::Blocks::None },
        )]),
        ..Home::new(0, stage.world(), 0, Pressure::new(0, []), 1)
    };
    home.keep(conversation, Room::begun(crate::room::nothing(&Default::default())));
    assert!(home.absent.is_empty());
    home.forget_rooms();
    assert_eq!((home.rooms.len(), home.share_used()), (0, 0));
}

#[tokio::test]
async fn a_pass_forgets_those_used_longest_ago_and_looks_at_few() {
    const ROOMS: usize = 20_000;
    let stage = Stage { memory: 2_000_000, ..Stage::new() };
    let mut home = Home::new(0, stage.world(), 0, Pressure::new(0, []), 1);
    let mut ids = Vec::new();
    for _ in 0..ROOMS {
        let id = ConversationId::direct(UserId::new(), UserId::new());
        ids.push(id);
        home.keep(id, Room::begun(crate::room::nothing(&Default::default())));
    }
    home.ticks = 1;
    for id in &ids[..100] {
        home.rooms.get_mut(id).unwrap().touched = 1;
    }
    let before = home.rooms.len();
    home.forget_rooms();
    assert!(before - home.rooms.len() <= 4096, "a pass is short");
    for _ in 0..100 {
        home.forget_rooms();
    }
    let kept = home.rooms.len();
    assert!(home.share_used() <= 2_000_000 && home.share_used() > 1_800_000 && kept > 1000, "{kept}");
    assert!(ids[..100].iter().all(|id| home.rooms.contains_key(id)), "those used last stay");
    assert!(ids[ids.len() - 100..].iter().all(|id| home.rooms.contains_key(id)), "and those that came last");
    // Nothing may go: a pass is done once in a tick, and finds nothing.
    home.rooms.values_mut().for_each(|room| room.last_position = 9);
    home.keep(ConversationId::direct(UserId::new(), UserId::new()), Room { last_position: 9, ..room_of_many() });
    for _ in 0..100 {
        home.forget_rooms();
    }
    assert_eq!(home.rooms.len(), kept + 1);
}

fn room_of_many() -> Room {
    let mut room = Room::begun(crate::room::nothing(&Default::default()));
    room.marks = (0..10_000).map(|_| (UserId::new(), 1)).collect();
    room
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_what_panics_is_refused_and_may_try_again() {
    let (stage, home) = forgetful().await;
    let (ann, bob) = (UserId::new(), UserId::new());
    let group = home.group(&[ann, bob]).await;
    home.ask(group, ann, saying(None, dated(0))).await.unwrap().unwrap();
    forgotten(&stage).await;
    home.ask(group, ann, saying(None, dated(0))).await.unwrap().unwrap();
    let how = How::React { emoji: "a".into(), removed: false };
    let reacts = Amendment { seq: 1, client_id: dated(0), hash: 7, how };
    let (old, first) = (dated(MARGIN_MS + 60_000), dated(0));
    // Older ids, a message, and a room.
    let all = async || {
        let answers = [
            home.ask(group, bob, saying(None, old)),
            home.ask(group, ann, What::Request(Request::Amend(reacts.clone()), now_micros() / 1000)),
            home.ask(ConversationId::direct(ann, bob), ann, what(bob, first)),
        ];
        let mut answered = Vec::new();
        for answer in answers {
            answered.push(soon(answer).await);
        }
        answered
    };
    stage.databases.ill.store(true, SeqCst);
    assert!(all().await.into_iter().all(|answer| answer.unwrap_err().reason.retryable()));
    stage.databases.ill.store(false, SeqCst);
    let written = stage.log.entries().len() as u64;
    stage.write(written).await;
    all().await.into_iter().for_each(|answer| drop(answer.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn what_one_asks_comes_in_order_whatever_else_its_room_waits_for() {
    let (stage, home) = forgetful().await;
    let (ann, bob) = (UserId::new(), UserId::new());
    let room = ConversationId::direct(ann, bob);
    home.send(ann, bob, dated(0)).await.unwrap();
    forgotten(&stage).await;
    home.send(bob, ann, dated(0)).await.unwrap();
    home.ask(room, bob, What::BlocksChanged(None)).await.unwrap().unwrap();
    let (ids, blocks) = (stage.databases.ids_slow.lock().await, stage.databases.blocks_slow.lock().await);
    // It waits for older ids; then the room waits for blocks, since somebody is writing; then the same one says more.
    let late = home.ask(room, ann, what(bob, dated(MARGIN_MS + 60_000)));
    let typing = home.ask(room, bob, What::Typing);
    let next = home.ask(room, ann, what(bob, dated(0)));
    tokio::time::sleep(TICK).await;
    let all = stage.log.entries().len() as u64;
    stage.write(all).await;
    drop(ids);
    tokio::time::sleep(TICK).await;
    drop(blocks);
    let (late, next) = (late.await.unwrap().unwrap(), next.await.unwrap().unwrap());
    assert_eq!((late.seq, next.seq), (3, 4));
    drop(typing);
}
