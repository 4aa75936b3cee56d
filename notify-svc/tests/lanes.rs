//! What one device does not take is in nobody else's way: its lane is short, and the rest of it is kept in the database.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // a test: a panic is its failure

#[path = "shared/alone.rs"]
mod alone;
#[path = "shared/stage.rs"]
mod stage;

use alone::{Alone, SHARD, until};
use madang_mesh::{clock::now_ms, subscription::Handler as _};
use madang_notify::{
    provider::{Providers, Verdict},
    sender::{Kept, Origin, Push, TakenUp},
    store::{Late, Settled, Subscription},
    ticket::Progress,
    words::{Language, Shown},
};
use madang_proto::{client::v1::PushType, id::ConversationId, notify::v1::Outcome};
use stage::{Stage, push};
use std::{collections::HashSet, sync::Arc, time::Instant};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_hangs_takes_nobody_elses_room() {
    let stage = Stage::set();
    let (slow, well) = (stage.device("slow").await, stage.device("well").await);
    for seq in 1..=20_100 {
        stage.send(push(&slow, ConversationId::new(), seq)).await;
    }
    stage.send(push(&well, ConversationId::new(), 1)).await;
    until(async || stage.sent(&well) == [1]).await;
    assert_eq!(stage.sent(&slow), [1], "one at a time");
    let device = (slow.user, slow.device);
    assert_eq!(stage.sender.full(), [device]);
    until(async || stage.sender.sending() == 33).await;
    assert_eq!(stage.kept(&slow).await.len(), 20_100 - 33);
    // What is kept of it, and is due before, hides nobody else's.
    let kept = Kept::late(&push(&well, ConversationId::new(), 2), now_ms() + 2000);
    stage.store.settle(Settled { late: [(kept.whom, kept)].into(), ..Settled::default() }, now_ms()).await.unwrap();
    assert_eq!(stage.reader.cursor(SHARD).await.unwrap(), 0);
    // It is taken up, and then nobody can say whether it is still to be sent.
    until(async || stage.outcomes(&well).last() == Some(&Outcome::Later)).await;
    assert_eq!(stage.kept(&slow).await.len(), 20_100 - 33, "there is no room for it");
}

/// One more to another device of a host: what was sent to it, and what has become of it.
async fn one_more(stage: &Stage, host: &str) -> (Vec<u64>, Vec<Outcome>) {
    let to = stage.device(host).await;
    stage.send(push(&to, ConversationId::new(), 1)).await;
    until(async || !stage.outcomes(&to).is_empty()).await;
    (stage.sent(&to), stage.outcomes(&to))
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_hang_leave_those_that_are_well_three_quarters_of_a_provider() {
    let stage = Stage::set();
    let crowd = async |host: &str, size: usize| {
        for _ in 0..size {
            stage.send(push(&stage.device(host).await, ConversationId::new(), 1)).await;
        }
    };
    crowd("well", 8).await;
    stage.all_written().await;
    for host in 0..32 {
        crowd(&format!("slow{host}"), 8).await;
    }
    until(async || stage.sent.lock().unwrap().len() == 8 + 256).await;
    assert_eq!(one_more(&stage, "well").await, (vec![1], vec![Outcome::Sent]));
    assert_eq!(one_more(&stage, "new").await, (vec![], vec![Outcome::Later]));
    assert_eq!(one_more(&stage, "slow0").await, (vec![], vec![Outcome::Later]), "it is trusted with no more");
    stage.answer.send_replace(Some(Verdict::Sent));
    stage.all_written().await;

    // Those that were well, and hang, may have all.
    for _ in 0..32 {
        for host in 0..4 {
            crowd(&format!("slow{host}"), 8).await;
        }
        stage.all_written().await;
    }
    stage.answer.send_replace(None);
    let before = stage.sent.lock().unwrap().len();
    for host in 0..4 {
        crowd(&format!("slow{host}"), 256).await;
    }
    until(async || stage.sent.lock().unwrap().len() == before + 1024).await;
    assert_eq!(one_more(&stage, "well").await, (vec![], vec![Outcome::Later]), "nobody waits for a place for long");
}

#[tokio::test(flavor = "multi_thread")]
async fn to_find_no_place_is_no_try() {
    let stage = Stage::set();
    for _ in 0..8 {
        stage.send(push(&stage.device("slow").await, ConversationId::new(), 1)).await;
    }
    until(async || stage.sent.lock().unwrap().len() == 8).await;
    let to = stage.device("slow").await;
    stage.send(push(&to, ConversationId::new(), 1)).await;
    until(async || stage.kept(&to).await == [1]).await;
    let all = stage.store.due(SHARD, i64::MAX, usize::MAX, Vec::new()).await.unwrap();
    let kept = Kept::push(&all[0], Arc::new(to), Instant::now()).unwrap();
    assert_eq!(kept.tries, 0, "the next one is not put off for longer");
}

#[tokio::test]
async fn of_what_a_device_does_not_show_nothing_is_kept() {
    let alone = Alone::with(Providers::default());
    let shows = alone.device("https://well/".into()).await;
    let hides = Subscription { preview: false, ..shows.clone() };
    for (to, expected) in [(shows, ["yard", "ann", "text"]), (hides, ["", "", "New message"])] {
        let (group, name, shown) = ("yard".into(), "ann".into(), Shown::Text("text".into()));
        let push = Push { group, name, shown, ..alone::push(&to, ConversationId::new(), 1) };
        let late = Kept::late(&push, 0);
        let kept = Kept::push(&late, Arc::new(to.clone()), Instant::now()).unwrap();
        assert_eq!([&kept.group, &kept.name, kept.shown.say(Language::English)], expected);
        let is_in = |word: &str| late.push.windows(word.len()).any(|bytes| bytes == word.as_bytes());
        assert_eq!(["yard", "ann", "text"].map(is_in), [to.preview; 3]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_to_be_told_less_is_told_nothing_meanwhile() {
    let stage = Stage::set();
    let (to, other) = (stage.device("crowded").await, stage.device("crowded").await);
    for seq in 1..=3 {
        stage.send(push(&to, ConversationId::new(), seq)).await;
        stage.all_written().await;
    }
    assert_eq!((stage.sent(&to), stage.outcomes(&to)), (vec![1], vec![Outcome::Later; 3]));
    let all = stage.store.due(SHARD, i64::MAX, usize::MAX, Vec::new()).await.unwrap();
    let soonest = all.iter().map(|late| late.due_at).min().unwrap();
    assert!(all.len() == 3 && soonest > now_ms() + 1_500_000, "what came after it is kept for as long");
    stage.send(push(&other, ConversationId::new(), 1)).await;
    stage.all_written().await;
    assert_eq!(stage.sent(&other), [1], "another device is none of that");
    let anew = Subscription { id: Uuid::new_v4(), ..to.clone() };
    stage.send(push(&anew, ConversationId::new(), 4)).await;
    stage.all_written().await;
    assert_eq!(stage.sent(&to), [1, 4], "nor is another registration");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_taken_back_takes_none_before_it_along() {
    let stage = Stage::set();
    let (to, here) = (stage.device("slow").await, ConversationId::new());
    let keep = async |late: Late| {
        stage.store.settle(Settled { late: [(late.whom, late)].into(), ..Settled::default() }, 1).await.unwrap();
    };
    keep(Kept::late(&push(&to, here, 5), i64::MAX)).await;
    stage.sender.amended.note(here, 6, None);
    stage.send(push(&to, here, 6)).await;
    stage.all_written().await;
    assert_eq!((stage.outcomes(&to), stage.kept(&to).await), (vec![Outcome::Moot], vec![5]));

    // Nor does one that another process was sending wipe what is newer.
    stage.send(push(&to, here, 7)).await;
    until(async || stage.sent(&to) == [7]).await;
    keep(Kept::late(&push(&to, here, 8), i64::MAX)).await;
    stage.answer.send_replace(Some(Verdict::Sent));
    stage.all_written().await;
    assert_eq!(stage.kept(&to).await, [8]);
    stage.send(push(&to, here, 9)).await;
    stage.all_written().await;
    assert_eq!(stage.kept(&to).await, [0; 0]);
    let showing = stage.store.showing(vec![(to.user, here, 8), (to.user, here, 9)]).await.unwrap();
    assert_eq!(showing, [((to.user, to.device, here), 9)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_while_its_push_was_on_its_way_is_cleared() {
    let stage = Stage::set();
    let (to, here, there) = (stage.device("slow").await, ConversationId::new(), ConversationId::new());
    stage.send(push(&to, here, 5)).await;
    stage.send(push(&to, there, 5)).await;
    until(async || stage.sent(&to) == [5]).await;
    stage.sender.marks.note(to.user, here, 6);
    stage.sender.marks.note(to.user, there, 4);
    stage.answer.send_replace(Some(Verdict::Sent));
    stage.all_written().await;
    assert_eq!(stage.kept(&to).await, [6], "of what was read");
    let kept = stage.store.due(SHARD, now_ms(), 10, Vec::new()).await.unwrap();
    let read = Kept::push(&kept[0], Arc::new(to.clone()), Instant::now()).unwrap();
    assert_eq!((read.kind, read.seq, read.conversation), (PushType::Read, 6, here));
}

/// On one thread, where whoever writes results has begun with the first before the next one is looked at.
#[tokio::test]
async fn what_was_read_is_not_cleared_where_the_device_shows_something_newer() {
    let stage = Stage::set();
    let (to, here, there) = (stage.device("well").await, ConversationId::new(), ConversationId::new());
    for conversation in [here, there] {
        stage.sender.marks.note(to.user, conversation, 5);
    }
    // Nothing can be written: what is sent meanwhile is written together.
    let database = rusqlite::Connection::open(stage.folder.path().join("push.db")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    for (conversation, seq) in [(ConversationId::new(), 1), (here, 5), (there, 5), (here, 6)] {
        let before = stage.sent(&to).len();
        stage.send(push(&to, conversation, seq)).await;
        until(async || stage.outcomes(&to).len() == before + 1).await;
    }
    database.execute_batch("ROLLBACK").unwrap();
    stage.all_written().await;
    let kept = stage.store.due(SHARD, now_ms(), 10, Vec::new()).await.unwrap();
    let kept: Vec<_> = kept.iter().map(|late| (late.whom.2, late.seq)).collect();
    assert_eq!(kept, [(there, 5)], "6 has taken the place of 5, and nobody has read it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_is_not_sent_behind_what_is_not_written_yet() {
    let stage = Stage::set();
    let (to, here) = (stage.device("well").await, ConversationId::new());
    let late = Kept::late(&push(&to, here, 5), i64::MAX);
    stage.store.settle(Settled { late: [(late.whom, late.clone())].into(), ..Settled::default() }, 1).await.unwrap();
    // Nothing can be written.
    let database = rusqlite::Connection::open(stage.folder.path().join("push.db")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    stage.send(push(&to, here, 6)).await;
    until(async || stage.outcomes(&to) == [Outcome::Sent]).await;
    let taken = TakenUp::default().take(&late).unwrap();
    assert!(stage.sender.send(push(&to, here, 5), Origin::Kept(taken)).await);
    let read = Push { kind: PushType::Read, messages: 0, ..push(&to, here, 6) };
    stage.send(read).await;
    until(async || stage.sent(&to) == [6, 6]).await;
    database.execute_batch("ROLLBACK").unwrap();
    stage.all_written().await;
    assert_eq!((stage.outcomes(&to), stage.kept(&to).await), (vec![Outcome::Sent; 2], vec![]));
    // What is written is known no more.
    stage.send(push(&to, here, 5)).await;
    stage.all_written().await;
    assert_eq!(stage.sent(&to), [6, 6, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_message_took_the_place_of_is_told_of_if_that_one_is_taken_back() {
    let stage = Stage::set();
    let (to, here) = (stage.device("slow").await, ConversationId::new());
    stage.send(push(&to, ConversationId::new(), 1)).await;
    for seq in [5, 6] {
        stage.send(push(&to, here, seq)).await;
    }
    let there = ConversationId::new();
    stage.send(push(&to, there, 7)).await;
    for (conversation, seq) in [(here, 6), (there, 7)] {
        stage.sender.amended.note(conversation, seq, None);
    }
    stage.answer.send_replace(Some(Verdict::Sent));
    stage.all_written().await;
    assert_eq!(stage.sent(&to), [1, 6], "there is 5, and before 7 nothing");
}

/// Before it, or behind it; and where it is kept first.
#[tokio::test(flavor = "multi_thread")]
async fn that_something_was_read_is_told_if_the_message_that_took_its_place_is_taken_back() {
    let stage = Stage::set();
    let to = stage.device("slow").await;
    let [before, behind, unread] = [(); 3].map(|()| ConversationId::new());
    let read = |conversation| Push { kind: PushType::Read, messages: 0, ..push(&to, conversation, 5) };
    stage.send(push(&to, ConversationId::new(), 1)).await;
    until(async || stage.sent(&to) == [1]).await;
    for push in [read(before), push(&to, before, 6), push(&to, behind, 6), read(behind), push(&to, unread, 6)] {
        let (conversation, seq) = (push.conversation, push.seq);
        stage.send(push).await;
        if seq == 6 {
            stage.sender.amended.note(conversation, seq, None);
        }
    }
    stage.answer.send_replace(Some(Verdict::Sent));
    stage.all_written().await;
    assert_eq!(stage.sent(&to), [1], "all others were taken back");
    let kept = stage.store.due(SHARD, now_ms(), 10, Vec::new()).await.unwrap();
    let kept = kept.iter().filter_map(|late| Kept::push(late, Arc::new(to.clone()), Instant::now()));
    let told: HashSet<_> = kept.map(|push| (push.kind, push.seq, push.conversation)).collect();
    assert_eq!(told, [before, behind].map(|conversation| (PushType::Read, 5, conversation)).into());
    // What is kept knows of it.
    let in_its_place = Push { read: 5, ..push(&to, before, 7) };
    let late = Kept::late(&in_its_place, now_ms());
    assert_eq!(Kept::push(&late, Arc::new(to.clone()), Instant::now()).unwrap().read, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_behind_a_newer_one_is_told_of_if_that_one_is_taken_back() {
    let stage = Stage::set();
    let (to, here) = (stage.device("slow").await, ConversationId::new());
    stage.send(push(&to, ConversationId::new(), 1)).await;
    for seq in [6, 6, 5] {
        stage.send(push(&to, here, seq)).await;
    }
    let there = ConversationId::new();
    for seq in [7, 7] {
        stage.send(push(&to, there, seq)).await;
    }
    for (conversation, seq) in [(here, 6), (there, 7)] {
        stage.sender.amended.note(conversation, seq, None);
    }
    stage.answer.send_replace(Some(Verdict::Sent));
    stage.all_written().await;
    assert_eq!(stage.sent(&to), [1, 6], "there is 5, and besides 7 nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_behind_one_that_is_kept_is_kept_with_it_or_goes_by_itself() {
    let stage = Stage::set();
    let (to, here, there) = (stage.device("slow").await, ConversationId::new(), ConversationId::new());
    stage.send(push(&to, here, 6)).await;
    until(async || stage.sent(&to) == [6]).await;
    stage.send(push(&to, here, 5)).await;
    let database = rusqlite::Connection::open(stage.folder.path().join("push.db")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    stage.answer.send_replace(Some(Verdict::Later(None)));
    until(async || stage.outcomes(&to).last() == Some(&Outcome::Later)).await;
    // It is not written yet, and says nothing of this one any more.
    stage.answer.send_replace(Some(Verdict::Sent));
    for (conversation, seq) in [(here, 4), (there, 1)] {
        stage.send(push(&to, conversation, seq)).await;
    }
    until(async || stage.sent(&to) == [6, 4, 1]).await;
    database.execute_batch("ROLLBACK").unwrap();
    stage.all_written().await;
    let kept = stage.store.due(SHARD, i64::MAX, usize::MAX, Vec::new()).await.unwrap();
    assert_eq!(kept.iter().map(|late| (late.seq, late.messages)).collect::<Vec<_>>(), [(6, 2)]);
}

/// After a crash all that nobody was told of is read again, also what something newer has taken the place of.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_message_has_taken_the_place_of_is_done_when_that_one_is() {
    let stage = Stage::set();
    let (to, here, there, busy) =
        (stage.device("slow").await, ConversationId::new(), ConversationId::new(), ConversationId::new());
    let taken = TakenUp::default().take(&Kept::late(&push(&to, busy, 1), i64::MAX)).unwrap();
    assert!(stage.sender.send(push(&to, busy, 1), Origin::Kept(taken)).await);
    until(async || stage.sent(&to) == [1]).await;
    for (conversation, seq) in [(here, 5), (there, 7), (here, 6)] {
        stage.send(push(&to, conversation, seq)).await;
    }
    assert_eq!(stage.outcomes(&to), [Outcome::Moot]);
    assert_eq!(stage.log.done(), 0, "5 is told by 6");

    // The shard went elsewhere, and has come back.
    let (anew, once_more) = (Progress::from(0), Progress::from(0));
    for (position, seq) in [(1, 5), (2, 6)] {
        assert!(stage.sender.send(push(&to, here, seq), Origin::Log(anew.take(position))).await);
    }
    assert!(stage.sender.send(push(&to, busy, 1), Origin::Log(once_more.take(1))).await);
    assert_eq!((anew.done(), once_more.done()), (0, 0), "it waits, or is on its way");
    stage.answer.send_replace(Some(Verdict::Sent));
    stage.all_written().await;
    assert_eq!(stage.sent(&to), [1, 6, 7], "6 comes when 5 would have come");
    until(async || (anew.done(), once_more.done()) == (2, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_less_is_told_once_more_with_nothing_to_show() {
    let stage = Stage::set();
    let to = stage.device("small").await;
    stage.send(push(&to, ConversationId::new(), 1)).await;
    stage.all_written().await;
    assert_eq!((stage.sent(&to), stage.outcomes(&to)), (vec![1, 1], vec![Outcome::Sent]));
}
