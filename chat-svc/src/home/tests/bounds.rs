//! How large batches are, of what goes to many: whoever carries it on names each recipient, and each who has read. And how
//! much one member may fill of a room.

use super::{super::*, stage::*};
use crate::{
    ask::Claim,
    retry::{self, Seen, Use},
};
use madang_proto::{
    chat::v1::ChangeSettings,
    client::v1::{ConversationKind, Role},
    id::{ClientId, UserId},
    log::v1::{Created, JoinedUser, LoggedEvent, logged_event::Body},
};
use prost::Message as _;

/// How many are in a group.
const MEMBERS: usize = 200;
/// What a batch may come to: what NATS takes at once is twice that.
const MOST: usize = 520 << 10;

/// A home, and the members of its groups.
async fn home(stage: &mut Stage) -> (Running, Vec<UserId>) {
    stage.memory = 256 << 20;
    let home = stage.home(None).await;
    stage.write(1).await;
    (home, (0..stage.members).map(|_| UserId::new()).collect())
}

/// How large each record after some is, and where it is sent on: with a recipient's id for each member and event.
fn sizes(stage: &Stage, after: usize) -> Vec<usize> {
    // Settings go to who has set them alone.
    let recipients = |event: &LoggedEvent| if event.revision == 0 { 16 } else { 16 * stage.members };
    let sent = |event: &LoggedEvent| crate::event::encode(event).len() + recipients(event);
    let size = |record: &madang_proto::log::v1::Record| {
        let in_log = record.encoded_len() + record.events.iter().map(recipients).sum::<usize>();
        in_log.max(record.events.iter().map(sent).sum())
    };
    stage.log.records().iter().skip(after).map(size).collect()
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_bounded_by_the_recipients_of_its_events() {
    let mut stage = Stage::new();
    let (home, people) = home(&mut stage).await;
    let group = home.group(&people).await;
    let before = stage.log.records().len();
    // All of them wait when the home looks.
    let said: Vec<_> = (0..400).map(|_| home.ask(group, people[0], saying(None, ClientId::now()))).collect();
    for each in said {
        each.await.unwrap().unwrap();
    }
    let sizes = sizes(&stage, before);
    assert!((3..=6).contains(&sizes.len()), "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= MOST), "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_bounded_by_the_read_marks_of_its_events() {
    let mut stage = Stage::new();
    let (home, people) = home(&mut stage).await;
    let mut groups = Vec::new();
    for _ in 0..120 {
        let group = home.group(&people).await;
        home.ask(group, people[0], saying(None, ClientId::now())).await.unwrap().unwrap();
        groups.push(group);
    }
    let before = stage.log.records().len();
    for group in groups {
        let reads: Vec<_> = people.iter().map(|user| home.ask(group, *user, What::Read(1, None))).collect();
        for each in reads {
            each.await.unwrap().unwrap();
        }
    }
    assert_eq!(stage.log.records().len(), before, "they are gathered");
    home.stop().await;
    let sizes = sizes(&stage, before);
    let marks = 120 * (MEMBERS - 1);
    let all = sizes.iter().sum::<usize>();
    assert!(all > 20 * marks, "all are there: {sizes:?}");
    assert!(sizes.iter().all(|size| *size <= MOST), "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_bounded_by_what_its_events_say_however_little_was_asked() {
    let mut stage = Stage::new();
    let (home, people) = home(&mut stage).await;
    let mut groups = Vec::new();
    for _ in 0..300 {
        groups.push(home.group(&people).await);
    }
    let before = stage.log.records().len();
    // Each says who was in it.
    let ends: Vec<_> =
        groups.iter().skip(1).map(|group| home.ask(*group, people[0], What::Request(Request::End, 0))).collect();
    for end in ends {
        end.await.unwrap().unwrap();
    }
    let ended = sizes(&stage, before);
    assert!(ended.len() > 3 && ended.iter().all(|size| *size <= MOST), "{ended:?}");
    let set = |user: UserId, muted_until, data: &[(&str, &str)]| {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let change = ChangeSettings { muted_until: Some(muted_until), data, ..ChangeSettings::default() };
        home.ask(groups[0], user, What::Request(Request::Settings(change), 0))
    };
    let large = "x".repeat(3000);
    for user in &people {
        set(*user, 0, &[("of", &large)]).await.unwrap().unwrap();
    }
    let before = stage.log.records().len();
    // Each says all that is set.
    let sets: Vec<_> = people.iter().map(|user| set(*user, 4_000_000_000_000, &[])).collect();
    for each in sets {
        each.await.unwrap().unwrap();
    }
    let said = sizes(&stage, before);
    assert!(said.len() > 1 && said.iter().all(|size| *size <= MOST), "{said:?}");
}

/// As many as may be in a group, and as many messages as may be erased with one request.
#[tokio::test(start_paused = true)]
async fn an_erase_is_bounded_by_the_recipients_of_its_events() {
    for members in [1, 200, 1000] {
        let mut stage = Stage::new();
        stage.members = members;
        let (home, people) = home(&mut stage).await;
        let group = home.group(&people).await;
        for _ in 0..200 {
            home.ask(group, people[0], saying(None, ClientId::now())).await.unwrap().unwrap();
        }
        let before = stage.log.records().len();
        let erase = |seqs: std::ops::RangeInclusive<u64>| {
            home.ask(group, people[0], What::Request(Request::Erase(seqs.collect()), 0))
        };
        // The home has all of these when it looks, and what is behind them.
        let erased = (erase(1..=200), erase(150..=200));
        let said = home.ask(group, people[0], saying(None, ClientId::now()));
        let erased = (erased.0.await.unwrap().unwrap(), erased.1.await.unwrap().unwrap()).0;
        said.await.unwrap().unwrap();
        let sizes = sizes(&stage, before);
        assert!(sizes.iter().all(|size| *size <= MOST + (128 << 10)), "{members}: {sizes:?}");
        let records = stage.log.records();
        let events: Vec<_> = records.iter().skip(before).flat_map(|record| &record.events).collect();
        let gone = |event: &&&LoggedEvent| matches!(event.body, Some(Body::Deleted(_)));
        let erasures = events.iter().filter(gone);
        let mut seqs: Vec<_> = erasures.filter_map(|event| crate::room::facts::message_of(event)).collect();
        seqs.sort_unstable();
        assert_eq!(seqs, (1..=200).collect::<Vec<_>>(), "each is erased once");
        let last = events.iter().filter(gone).map(|event| event.revision).max().unwrap();
        assert!(erased.revision >= last, "who asks is answered behind all of it");
        assert!(events.windows(2).all(|two| two[1].revision == two[0].revision + 1));
    }
}

/// What a home answers at once; none: it is in the batch.
fn considered(home: &mut Home, batch: &mut Batch, group: ConversationId, actor: UserId, what: What) -> Option<Refusal> {
    let (answer, mut answered) = tokio::sync::oneshot::channel();
    let answer = Box::new(move |result| drop(answer.send(result)));
    home.consider(
        Ask { conversation: group, actor: Some(actor), what, claim: Claim::of(10), trace: None, answer },
        batch,
    );
    answered.try_recv().ok().map(Result::unwrap_err)
}

#[tokio::test]
async fn who_fills_a_room_is_told_to_wait_and_the_others_are_not() {
    let stage = Stage::new();
    let mut home = Home::new(0, stage.world(), 0, Pressure::new(0, []), 1);
    let (group, [hog, other, stranger]) = (ConversationId::new(), [UserId::new(), UserId::new(), UserId::new()]);
    home.absent.insert(group, Absent { both_known: Some(true), ..Absent::default() });
    let joined = |user: UserId| JoinedUser { user: user.bytes().to_vec().into(), role: Role::Member.into() };
    let members = vec![joined(hog), joined(other)];
    let created = Created { kind: ConversationKind::Group.into(), members, ..Created::default() };
    let mut batch = Batch::new(now_micros());
    let what = What::Request(Request::Create(created), 0);
    assert!(considered(&mut home, &mut batch, group, hog, what).is_none());
    home.finish(batch, Instant::now(), Appended::At(1)).unwrap();
    let used = Use { hash: 1, seq: 1, revision: 1, at_micros: now_micros() };
    let uses = (0..retry::MOST / 2).map(|_| (now_micros() / 1000, (hog, ClientId::now()), used)).collect();
    home.rooms.get_mut(&group).unwrap().seen = Seen::of(0, uses);
    let mut batch = Batch::new(now_micros());
    let mut say = |user| considered(&mut home, &mut batch, group, user, saying(None, ClientId::now()));
    let refusal = say(hog).unwrap();
    assert_eq!((refusal.reason, refusal.retry_after_ms > 0), (Reason::Overloaded, true), "{refusal:?}");
    assert_eq!(say(stranger).unwrap().reason, Reason::ConversationNotFound, "who is not in it learns nothing");
    assert!(say(other).is_none());
}
