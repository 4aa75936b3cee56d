//! Changes of messages that a home has in memory, and of those that it must ask the store for.

use super::{super::*, stage::*};
use crate::room::{Amendment, How};
use madang_proto::id::{ClientId, UserId};
use std::sync::atomic::Ordering::SeqCst;

fn change(seq: u64, client_id: ClientId, hash: u64, how: How) -> What {
    What::Request(Request::Amend(Amendment { seq, client_id, hash, how }), client_id.at_ms().unwrap())
}

fn react(emoji: &str) -> How {
    How::React { emoji: emoji.into(), removed: false }
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_any_change_is_answered_alike_and_another_request_with_its_id_is_refused() {
    let stage = Stage::new();
    let home = stage.home(None).await;
    let (ann, bob) = (UserId::new(), UserId::new());
    let room = ConversationId::direct(ann, bob);
    home.send(ann, bob, ClientId::now()).await.unwrap();
    let id = ClientId::now();
    let ask = async |hash, how| home.ask(room, bob, change(1, id, hash, how)).await.unwrap();
    // Two at once: the second waits for the first.
    let (one, two) = tokio::join!(ask(5, react("a")), ask(5, react("a")));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.seq, one.revision, one.duplicate), (1, 3, false));
    assert_eq!((two.seq, two.revision, two.at, two.duplicate), (1, 3, one.at, true));
    assert_eq!(ask(6, react("b")).await.unwrap_err().reason, Reason::ClientIdReused);
    let other = home.ask(room, bob, change(1, ClientId::now(), 7, react("a"))).await.unwrap().unwrap();
    assert_eq!((other.seq, other.revision, other.duplicate), (1, 3, true), "it is there already");
    let records = stage.log.records();
    let what: Vec<_> = records.iter().map(|record| (record.events.len(), record.unchanged.len())).collect();
    assert_eq!(what, [(0, 0), (2, 0), (1, 0), (0, 1)], "a message with its room, one reaction, and one that was there");
    assert_eq!(stage.databases.messages_asked.load(SeqCst), 0, "a new message is in memory");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_not_in_memory_comes_from_the_store_as_it_is_by_then() {
    let stage = Stage { memory: 0, ..Stage::new() };
    let home = stage.home(None).await;
    let (ann, bob) = (UserId::new(), UserId::new());
    let room = ConversationId::direct(ann, bob);
    home.send(ann, bob, ClientId::now()).await.unwrap();
    home.send(ann, bob, ClientId::now()).await.unwrap();
    let ask = |seq, how| home.ask(room, bob, change(seq, ClientId::now(), 7, how));
    ask(1, react("a")).await.unwrap().unwrap();
    let written = stage.log.entries().len() as u64;
    stage.write(written).await;
    tokio::time::sleep(12 * TICK).await;
    // All at once: the message is asked for once, and each finds what the one before it left.
    let asked: Vec<_> = ["a", "b", "b"].into_iter().map(|emoji| ask(1, react(emoji))).collect();
    let mut answers = Vec::new();
    for each in asked {
        answers.push(each.await.unwrap().unwrap());
    }
    let of: Vec<_> = answers.iter().map(|ack| (ack.seq, ack.revision, ack.duplicate)).collect();
    assert_eq!(of, [(1, 4, true), (1, 5, false), (1, 5, true)]);
    assert_eq!(stage.databases.messages_asked.load(SeqCst), 1);
    // The store is away: the message is not known, but what is said goes on.
    stage.databases.down.store(true, SeqCst);
    let (refused, said) = tokio::join!(ask(2, react("a")), home.send(bob, ann, ClientId::now()));
    assert!(refused.unwrap().unwrap_err().reason.retryable());
    assert_eq!(said.unwrap().seq, 3);
    stage.databases.down.store(false, SeqCst);
    assert_eq!(ask(9, react("a")).await.unwrap().unwrap_err().reason, Reason::MessageNotFound);
}

#[tokio::test(start_paused = true)]
async fn the_next_home_knows_by_its_log_or_by_what_was_handed_over() {
    for hand_over in [false, true] {
        let stage = Stage::new();
        let home = stage.home(None).await;
        let (ann, bob, id) = (UserId::new(), UserId::new(), ClientId::now());
        let room = ConversationId::direct(ann, bob);
        home.send(ann, bob, ClientId::now()).await.unwrap();
        let delete = || change(1, id, 4, How::Delete);
        home.ask(room, ann, delete()).await.unwrap().unwrap();
        if hand_over {
            // Its facts are not: the store has them.
            let written = stage.log.entries().len() as u64;
            stage.write(written).await;
        }
        let left = home.stop().await.filter(|_| hand_over);
        let home = stage.home(left.map(handed)).await;
        let again = home.ask(room, ann, delete()).await.unwrap().unwrap();
        assert_eq!((again.seq, again.revision, again.duplicate), (1, 3, true));
        let late = home.ask(room, bob, change(1, ClientId::now(), 5, react("a"))).await.unwrap();
        assert_eq!(late.unwrap_err().reason, Reason::MessageDeleted);
    }
}

/// What changed nothing the first time would change something the second, if it were not known.
#[tokio::test(start_paused = true)]
async fn a_retry_of_what_changed_nothing_changes_nothing_later() {
    enum Then {
        Stays,
        Forgets,
        HandedOver,
        /// How far the databases have come.
        Dies(u64),
    }
    for then in [Then::Stays, Then::Forgets, Then::HandedOver, Then::Dies(0), Then::Dies(1), Then::Dies(5)] {
        let mut stage = Stage::new();
        if matches!(then, Then::Forgets) {
            stage.memory = 0;
        }
        let mut home = stage.home(None).await;
        let (ann, bob) = (UserId::new(), UserId::new());
        let (room, id) = (ConversationId::direct(ann, bob), ClientId::now());
        home.send(ann, bob, ClientId::now()).await.unwrap();
        home.ask(room, bob, change(1, ClientId::now(), 5, react("a"))).await.unwrap().unwrap();
        let first = home.ask(room, bob, change(1, id, 5, react("a"))).await.unwrap().unwrap();
        assert_eq!((first.revision, first.duplicate), (3, true), "it is there already");
        let removed = How::React { emoji: "a".into(), removed: true };
        home.ask(room, bob, change(1, ClientId::now(), 6, removed)).await.unwrap().unwrap();
        match then {
            Then::Stays => {}
            Then::Forgets => {
                let (all, asked) = (stage.log.entries().len() as u64, stage.databases.rooms_asked.load(SeqCst));
                stage.write(all).await;
                tokio::time::sleep(12 * TICK).await;
                home.ask(room, ann, What::Read(1, None)).await.unwrap().unwrap();
                assert!(stage.databases.rooms_asked.load(SeqCst) > asked, "it was forgotten");
            }
            Then::HandedOver => {
                let left = home.stop().await;
                home = stage.home(left.map(handed)).await;
            }
            Then::Dies(written) => {
                home.task.abort();
                stage.write(written).await;
                home = stage.home(None).await;
            }
        }
        let again = home.ask(room, bob, change(1, id, 5, react("a"))).await.unwrap().unwrap();
        assert_eq!(again, first);
        assert_eq!(
            home.ask(room, bob, change(1, id, 7, react("b"))).await.unwrap().unwrap_err().reason,
            Reason::ClientIdReused
        );
        let sent = home.send(bob, ann, id).await.unwrap_err();
        assert_eq!(sent.reason, Reason::ClientIdReused);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_just_before_may_be_read() {
    let stage = Stage::new();
    let home = stage.home(None).await;
    let (ann, bob) = (UserId::new(), UserId::new());
    let room = ConversationId::direct(ann, bob);
    for seq in [1, 2] {
        let (sent, read) =
            (home.ask(room, ann, what(bob, ClientId::now())), home.ask(room, bob, What::Read(seq, None)));
        let (sent, read) = (sent.await.unwrap().unwrap(), read.await.unwrap().unwrap());
        assert_eq!((sent.seq, read.seq, read.duplicate), (seq, seq, false));
    }
}

/// The same for one that is sent again before anything is answered: with something else between the two, and with nothing.
#[tokio::test(start_paused = true)]
async fn so_it_is_for_a_retry_that_comes_at_once() {
    let stage = Stage::new();
    let home = stage.home(None).await;
    let (ann, bob) = (UserId::new(), UserId::new());
    let (room, id) = (ConversationId::direct(ann, bob), ClientId::now());
    home.send(ann, bob, ClientId::now()).await.unwrap();
    home.ask(room, bob, change(1, ClientId::now(), 5, react("a"))).await.unwrap().unwrap();
    let again = || home.ask(room, bob, change(1, id, 5, react("a")));
    let removed = How::React { emoji: "a".into(), removed: true };
    let all = [again(), home.ask(room, bob, change(1, ClientId::now(), 6, removed)), again()];
    let [first, _, second] = futures_util::future::join_all(all).await.try_into().unwrap();
    let first = first.unwrap().unwrap();
    assert_eq!((first.revision, first.duplicate), (3, true), "it is there already");
    assert_eq!(second.unwrap().unwrap(), first);
    assert_eq!(stage.log.records().iter().map(|record| record.events.len()).sum::<usize>(), 4);
    let other = ClientId::now();
    let none = || home.ask(room, bob, change(1, other, 9, How::React { emoji: "b".into(), removed: true }));
    for one in futures_util::future::join_all([none(), none()]).await {
        assert!(one.unwrap().unwrap().duplicate);
    }
}

#[tokio::test(start_paused = true)]
async fn what_takes_a_text_back_is_in_a_later_record_than_the_text() {
    let stage = Stage::new();
    let home = stage.home(None).await;
    let (ann, bob) = (UserId::new(), UserId::new());
    let room = ConversationId::direct(ann, bob);
    home.send(ann, bob, ClientId::now()).await.unwrap();
    // All at once, by a client that guesses its message's number.
    let said = home.ask(room, ann, what(bob, ClientId::now()));
    let reacted = home.ask(room, bob, change(2, ClientId::now(), 4, react("a")));
    let deleted = home.ask(room, ann, change(2, ClientId::now(), 5, How::Delete));
    let (said, reacted, deleted) = tokio::join!(said, reacted, deleted);
    assert_eq!(
        (said.unwrap().unwrap().seq, reacted.unwrap().unwrap().revision, deleted.unwrap().unwrap().revision),
        (2, 4, 5)
    );
    let bodies =
        |record: &madang_proto::log::v1::Record| record.events.iter().map(|event| event.revision).collect::<Vec<_>>();
    let records: Vec<_> = stage.log.records().iter().map(bodies).collect();
    assert_eq!(records, [vec![], vec![1, 2], vec![3, 4], vec![5]], "a reaction need not wait");
}
