//! Read marks are gathered: however many read how often, others are told at most once a second, and of all.

use super::{super::*, stage::*};
use madang_proto::{
    id::{ClientId, UserId},
    log::v1::logged_event::Body,
};

/// A group of so many in which somebody says something ten times a second, for ten seconds, and everybody reads it at
/// once: how many read events there are, and how many marks in all of them.
async fn reading(members: usize) -> (usize, usize) {
    let stage = Stage::new();
    let home = stage.home(None).await;
    let people: Vec<UserId> = (0..members).map(|_| UserId::new()).collect();
    stage.write(1).await;
    let group = home.group(&people).await;
    let mut tenths = tokio::time::interval(Duration::from_millis(100));
    for said in 1..=100 {
        tenths.tick().await;
        let ack = home.ask(group, people[0], saying(None, ClientId::now())).await.unwrap().unwrap();
        assert_eq!(ack.seq, said);
        for user in &people {
            let ack = home.ask(group, *user, What::Read(said, None)).await.unwrap().unwrap();
            assert_eq!((ack.seq, ack.duplicate), (said, *user == people[0]), "whoever says it has read it");
        }
    }
    home.stop().await;
    let records = stage.log.records();
    let events = records.iter().flat_map(|record| &record.events);
    let marks: Vec<_> = events
        .filter_map(|event| match &event.body {
            Some(Body::Read(read)) => Some(&read.marks),
            _ => None,
        })
        .collect();
    let last = marks.last().unwrap();
    assert_eq!(last.len(), members - 1, "in one event, but for who said it all");
    assert!(last.iter().all(|mark| mark.seq == 100), "nothing is forgotten at a stop");
    assert!(marks.iter().flat_map(|marks| marks.iter()).all(|mark| mark.user[..] != people[0].bytes()[..]));
    (marks.len(), marks.iter().map(|marks| marks.len()).sum())
}

#[tokio::test(start_paused = true)]
async fn a_group_that_reads_everything_makes_one_read_event_a_second() {
    let (events, marks) = reading(40).await;
    assert!((9..=11).contains(&events), "{events} read events in ten seconds");
    assert!(marks <= 11 * 39, "each at most once in each");
}

#[tokio::test(start_paused = true)]
async fn a_large_group_makes_one_in_five_seconds() {
    let (events, _) = reading(200).await;
    assert!((2..=3).contains(&events), "{events} read events in ten seconds");
}

/// What others are told of marks that wait while the log holds up what one of two says, which comes after it: each told mark of
/// the one who had read.
async fn told_after_a_pause(says: usize) -> Vec<u64> {
    let stage = Stage::new();
    let home = stage.home(None).await;
    let people: Vec<UserId> = (0..2).map(|_| UserId::new()).collect();
    stage.write(1).await;
    let group = home.group(&people).await;
    home.ask(group, people[0], saying(None, ClientId::now())).await.unwrap().unwrap();
    home.ask(group, people[1], What::Read(1, None)).await.unwrap().unwrap();
    stage.log.mood(Mood::Silent);
    let said = home.ask(group, people[says], saying(None, ClientId::now()));
    // It is on its way to the log, which answers after three seconds, in which marks are gathered thrice.
    tokio::time::sleep(Duration::from_millis(100)).await;
    stage.log.mood(Mood::Well);
    assert_eq!(said.await.unwrap().unwrap().seq, 2);
    tokio::time::sleep(Duration::from_secs(10)).await;
    home.stop().await;
    let records = stage.log.records();
    let read = records.iter().flat_map(|record| &record.events).filter_map(|event| match &event.body {
        Some(Body::Read(read)) => Some(&read.marks),
        _ => None,
    });
    read.flatten().filter(|mark| mark.user[..] == people[1].bytes()[..]).map(|mark| mark.seq).collect()
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_waits_for_the_log_is_told_once_and_not_at_all_once_its_reader_has_said_more() {
    assert_eq!(told_after_a_pause(0).await, [1]);
    assert_eq!(told_after_a_pause(1).await, [0; 0], "what one says is read");
}
