//! Who leaves takes along what they have set; who comes back finds it.

use super::{super::*, stage::*};
use madang_proto::{
    chat::v1::ChangeSettings,
    client::v1::{Content, History},
    id::{ClientId, UserId},
    log::v1::{MemberSettings, logged_event::Body},
};
use std::sync::atomic::Ordering::SeqCst;

fn mute(until: i64) -> What {
    let muted_until = Some(until);
    What::Request(Request::Settings(ChangeSettings { muted_until, ..ChangeSettings::default() }), 0)
}

fn pin(at: i64) -> What {
    let pinned_at = Some(at);
    What::Request(Request::Settings(ChangeSettings { pinned_at, ..ChangeSettings::default() }), 0)
}

/// Until when it is muted and when it was pinned, as the log says it last.
fn set(stage: &Stage) -> (i64, i64) {
    let events = stage.log.records().into_iter().flat_map(|record| record.events);
    let set = events.filter_map(|event| match event.body {
        Some(Body::Settings(set)) => Some(set),
        _ => None,
    });
    let MemberSettings { muted_until_ms, pinned_at_ms, .. } = set.last().unwrap();
    (muted_until_ms, pinned_at_ms)
}

async fn all_written(stage: &Stage) {
    let written = stage.log.entries().len() as u64;
    stage.write(written).await;
}

async fn leave_and_come_back(home: &Running, group: ConversationId, [owner, user]: [UserId; 2]) {
    for (actor, request) in [(user, Request::Remove(user)), (owner, Request::Add(vec![user]))] {
        home.ask(group, actor, What::Request(request, 0)).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_finds_what_they_had_set() {
    let stage = Stage::new();
    let home = stage.home(None).await;
    stage.write(1).await;
    let people @ [ann, bob] = [UserId::new(), UserId::new()];
    let group = home.group(&people).await;
    home.ask(group, bob, mute(3)).await.unwrap().unwrap();
    all_written(&stage).await;
    home.ask(group, bob, mute(7)).await.unwrap().unwrap();
    leave_and_come_back(&home, group, people).await;
    let asked = || stage.databases.rooms_asked.load(SeqCst);
    let before = asked();
    // The rows do not have it yet that they came: what these have is older than what was set last.
    let [pinned, again] = [pin(1), pin(2)].map(|what| home.ask(group, bob, what));
    let said = home.ask(group, ann, saying(None, ClientId::now())).await.unwrap().unwrap();
    assert_eq!(said.seq, 1, "others go on");
    tokio::time::sleep(TICK).await;
    assert!(asked() > before, "they are asked");
    assert_eq!(set(&stage), (7, 0), "it waits for them");
    all_written(&stage).await;
    for answer in [pinned, again] {
        assert!(!answer.await.unwrap().unwrap().duplicate);
    }
    assert_eq!(set(&stage), (7, 2));
    let known = asked();
    home.ask(group, bob, mute(9)).await.unwrap().unwrap();
    home.ask(group, ann, mute(1)).await.unwrap().unwrap();
    assert_eq!(asked(), known, "of who was there from the start, and of who was asked about, all is known");
}

#[tokio::test(start_paused = true)]
async fn while_that_cannot_be_had_they_are_told_to_try_again() {
    let stage = Stage::new();
    let home = stage.home(None).await;
    stage.write(1).await;
    let people @ [ann, bob] = [UserId::new(), UserId::new()];
    let group = home.group(&people).await;
    home.ask(group, bob, mute(7)).await.unwrap().unwrap();
    leave_and_come_back(&home, group, people).await;
    assert_eq!(home.ask(group, bob, pin(1)).await.unwrap().unwrap_err().reason, Reason::Lagging);
    stage.databases.down.store(true, SeqCst);
    assert!(home.ask(group, bob, pin(1)).await.unwrap().unwrap_err().reason.retryable());
    home.ask(group, ann, saying(None, ClientId::now())).await.unwrap().unwrap();
    assert_eq!(set(&stage), (7, 0));
}

#[tokio::test(start_paused = true)]
async fn the_next_home_knows_of_whom_that_is_not_known() {
    let stage = Stage::new();
    let home = stage.home(None).await;
    stage.write(1).await;
    let people @ [_, bob] = [UserId::new(), UserId::new()];
    let group = home.group(&people).await;
    home.ask(group, bob, mute(7)).await.unwrap().unwrap();
    leave_and_come_back(&home, group, people).await;
    let next = stage.home(Some(handed(home.stop().await.unwrap()))).await;
    all_written(&stage).await;
    next.ask(group, bob, pin(1)).await.unwrap().unwrap();
    assert_eq!(set(&stage), (7, 1));
    // And one that has replayed the log, on top of rows from before they left.
    leave_and_come_back(&next, group, people).await;
    next.task.abort();
    let last = stage.home(None).await;
    all_written(&stage).await;
    last.ask(group, bob, mute(8)).await.unwrap().unwrap();
    assert_eq!(set(&stage), (8, 1));
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_where_all_is_shown_does_not_see_what_they_had_cleared() {
    let stage = Stage::new();
    let home = stage.home(None).await;
    stage.write(1).await;
    let people @ [ann, bob] = [UserId::new(), UserId::new()];
    let group = home.group_with(&people, History::All).await;
    for _ in 0..2 {
        home.ask(group, ann, saying(None, ClientId::now())).await.unwrap().unwrap();
    }
    let clear = ChangeSettings { cleared_seq: Some(1), ..ChangeSettings::default() };
    home.ask(group, bob, What::Request(Request::Settings(clear), 0)).await.unwrap().unwrap();
    let asked = || stage.databases.rooms_asked.load(SeqCst);
    let before = asked();
    leave_and_come_back(&home, group, people).await;
    tokio::time::sleep(TICK).await;
    assert!(asked() > before, "it is asked for as they come");
    let answer = |seq| {
        let content = Content { text: "hi".into(), reply_to: seq, ..Content::default() };
        let client_id = ClientId::now();
        What::Request(Request::Send { first_to: None, client_id, hash: 1, content }, client_id.at_ms().unwrap())
    };
    // What they say next comes next.
    let [mut cleared, mut seen, mut next] = [answer(1), answer(2), answer(0)].map(|what| home.ask(group, bob, what));
    let said = home.ask(group, ann, saying(None, ClientId::now())).await.unwrap().unwrap();
    assert_eq!(said.seq, 3, "others go on");
    for waits in [&mut cleared, &mut seen, &mut next] {
        assert!(waits.try_recv().is_err());
    }
    all_written(&stage).await;
    assert_eq!(cleared.await.unwrap().unwrap_err().reason, Reason::MessageNotFound);
    let (seen, next) = (seen.await.unwrap().unwrap(), next.await.unwrap().unwrap());
    assert_eq!((seen.seq, next.seq), (4, 5));
}
