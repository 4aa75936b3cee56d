//! Inboxes that lose, repeat, end and begin again: nothing is missed, nothing comes twice or out of order, and where
//! that can't be had, connections are told once it helps.

use super::{faulty::Faulty, *};
use madang_proto::log::v1::{Delivery, FanOutPosition, InboxBatch};

pub(super) struct Broken {
    pub rig: Rig,
    pub inbox: Faulty,
    pub user: UserId,
}

pub(super) fn broken() -> Broken {
    let inbox = Faulty::new();
    Broken { rig: rig_on(Arc::new(inbox.clone()), 64 << 20), inbox, user: somebody() }
}

impl Broken {
    pub async fn commit(&self, positions: impl IntoIterator<Item = u64>) {
        for position in positions {
            commit(&self.rig, position, &[self.user]).await;
            // Each goes in a publish of its own.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The source's home is another process now, which has kept nothing.
    fn another_home(&self, sent: u64) {
        let reached = FanOutPosition { shard: 0, position: sent, sent };
        self.another_home_after(&[reached], sent + 1);
    }

    /// The same, with what the log says of what was sent.
    fn another_home_after(&self, reached: &[FanOutPosition], marker: u64) {
        let fan_out = FanOut::spawn(self.rig.inbox.clone(), 2, "other".into(), CancellationToken::new());
        fan_out.resume(0, reached, marker);
        fan_out.resume(1, &[], 1);
        *self.rig.homes.fan_out.lock().unwrap() = fan_out;
    }

    /// Something happens to the user's account, which is of no conversation.
    async fn own(&self) {
        let event = Event::default().encode_to_vec().into();
        let users = Bytes::copy_from_slice(self.user.bytes());
        let batch = InboxBatch { own: vec![Delivery { event, users, trace: Bytes::new() }], ..InboxBatch::default() };
        self.rig.inbox.publish(0, None, batch.encode_to_vec().into()).await.unwrap();
    }

    /// Another process is home of the users, and knows nothing.
    fn another_process(&mut self) {
        self.rig.held.send_replace(BTreeSet::new());
        self.rig.held = watch::Sender::new(BTreeSet::from([0]));
        self.rig.connections = serve(&self.rig.inbox, &self.rig.homes, &self.rig.held, 64 << 20);
    }
}

#[derive(Debug, PartialEq)]
pub(super) enum Said {
    Event(u64),
    Live,
    Resync,
}

pub(super) async fn said(items: &mut Items) -> (Said, String) {
    let item = items.next().await.unwrap();
    let Some(Item::Frame(frame)) = item.item else { panic!("no frame: {item:?}") };
    match ServerFrame::decode(frame).unwrap().body.unwrap() {
        server_frame::Body::Event(event) => (Said::Event(event.revision), event.cursor),
        server_frame::Body::Live(live) => (Said::Live, live.cursor),
        server_frame::Body::Resync(resync) => (Said::Resync, resync.cursor),
        other => panic!("{other:?}"),
    }
}

/// These events come, and nothing else before them; the cursor of the last.
pub(super) async fn come(items: &mut Items, events: impl IntoIterator<Item = u64>) -> String {
    let mut cursor = String::new();
    for event in events {
        let (what, at) = said(items).await;
        assert_eq!(what, Said::Event(event));
        cursor = at;
    }
    cursor
}

/// Opens a connection that has missed these.
pub(super) async fn resumes(
    broken: &Broken,
    cursor: &str,
    events: impl IntoIterator<Item = u64>,
) -> (TrunkHandle, Items) {
    let (trunk, mut items) = open(&broken.rig, broken.user, "a", cursor).await;
    assert_eq!(opened(&mut items).await.0, Resume::Resumed);
    come(&mut items, events).await;
    assert_eq!(said(&mut items).await.0, Said::Live);
    (trunk, items)
}

pub(super) async fn live(broken: &Broken) -> (TrunkHandle, Items) {
    let (trunk, mut items) = open(&broken.rig, broken.user, "a", "").await;
    assert_eq!(opened(&mut items).await.0, Resume::New);
    assert_eq!(said(&mut items).await.0, Said::Live);
    (trunk, items)
}

#[tokio::test(start_paused = true)]
async fn a_lost_inbox_is_not_noticed_by_clients() {
    let broken = broken();
    let (trunk, mut items) = live(&broken).await;
    broken.commit(2..=5).await;
    let before = come(&mut items, 2..=5).await;
    broken.inbox.lose_next(2);
    broken.commit(6..=7).await;
    broken.inbox.lose_all();
    come(&mut items, 6..=7).await;
    broken.commit(8..=9).await;
    let after = come(&mut items, 8..=9).await;
    trunk.end().await;
    // The tail outlives the inbox: both its cursors are good, each for what came after it.
    let (trunk, _) = resumes(&broken, &before, 6..=9).await;
    trunk.end().await;
    let (_trunk, mut items) = resumes(&broken, &after, []).await;
    broken.commit([10]).await;
    come(&mut items, [10]).await;
}

#[tokio::test(start_paused = true)]
async fn an_inbox_that_is_lost_again_and_again_confuses_no_cursors() {
    let broken = broken();
    let (trunk, mut items) = live(&broken).await;
    let mut cursors = Vec::new();
    for position in 2..=21 {
        broken.commit([position]).await;
        cursors.push((position, come(&mut items, [position]).await));
        if position % 3 == 0 {
            broken.inbox.lose_all();
        }
    }
    trunk.end().await;
    for (position, cursor) in cursors {
        // Some may be those of the last whole place before a loss: then more comes than is missed.
        let (trunk, mut items) = open(&broken.rig, broken.user, "a", &cursor).await;
        assert_eq!(opened(&mut items).await.0, Resume::Resumed, "{position}");
        let mut next = None;
        while let (Said::Event(event), _) = said(&mut items).await {
            assert!(next.is_none_or(|next| event == next), "{position}: {event} after {next:?}");
            assert!(next.is_some() || event <= position + 1, "{position}: begins at {event}");
            next = Some(event + 1);
        }
        assert_eq!(next.unwrap_or(22), 22, "{position}");
        trunk.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_again_into_inboxes_that_are_lost_at_once_is_not_given_up() {
    let broken = broken();
    let (_trunk, mut items) = live(&broken).await;
    broken.commit([2]).await;
    come(&mut items, [2]).await;
    broken.inbox.lose_next(1);
    broken.commit(3..=4).await;
    broken.inbox.lose_next(usize::MAX);
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        broken.inbox.lose_all();
    }
    broken.inbox.lose_next(0);
    come(&mut items, 3..=4).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_of_no_conversation_leaves_nothing_out_when_the_inbox_is_read_again() {
    let broken = broken();
    let (trunk, mut items) = live(&broken).await;
    broken.commit([2]).await;
    come(&mut items, [2]).await;
    broken.own().await;
    let cursor = come(&mut items, [0]).await;
    broken.commit(3..=5).await;
    come(&mut items, 3..=5).await;
    trunk.end().await;
    broken.inbox.reread();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (_trunk, _items) = resumes(&broken, &cursor, 3..=5).await;
}

#[tokio::test(start_paused = true)]
async fn a_cursor_from_behind_a_gap_is_good_for_no_other_process() {
    let mut broken = broken();
    let (trunk, mut items) = live(&broken).await;
    broken.commit([2]).await;
    come(&mut items, [2]).await;
    broken.inbox.lose_next(1);
    broken.commit([3]).await;
    broken.inbox.purge();
    broken.commit([4]).await;
    commit_of(&broken.rig, 1, 100, &[broken.user]).await;
    let cursor = come(&mut items, [100]).await;
    trunk.end().await;
    broken.another_process();
    let (_trunk, mut items) = open(&broken.rig, broken.user, "a", &cursor).await;
    // 3 is not in what the other one reads, which begins with 4.
    assert_eq!(opened(&mut items).await.0, Resume::Snapshot);
}

#[tokio::test(start_paused = true)]
async fn a_home_that_knows_of_less_than_was_sent_leaves_no_cursor_frozen() {
    let broken = broken();
    let (_trunk, mut items) = live(&broken).await;
    broken.commit(2..=9).await;
    come(&mut items, 2..=9).await;
    broken.another_home_after(&[], 11);
    broken.inbox.lose_all();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut cursors = Vec::new();
    for position in [100, 101] {
        commit_of(&broken.rig, 1, position, &[broken.user]).await;
        cursors.push(come(&mut items, [position]).await);
    }
    assert_ne!(cursors[0], cursors[1]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_tail_shows_by_a_beacon() {
    let broken = broken();
    let (_trunk, mut items) = live(&broken).await;
    broken.commit([2]).await;
    come(&mut items, [2]).await;
    broken.inbox.lose_next(1);
    broken.commit([3]).await;
    let lost_at = Instant::now();
    come(&mut items, [3]).await;
    assert!(lost_at.elapsed() < Duration::from_secs(5), "{:?}", lost_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_in_the_middle_comes_in_order_and_others_do_not_wait() {
    let broken = broken();
    let (_trunk, mut items) = live(&broken).await;
    broken.commit([2]).await;
    come(&mut items, [2]).await;
    broken.inbox.lose_next(1);
    broken.commit([3]).await;
    // Of the other source.
    commit_of(&broken.rig, 1, 100, &[broken.user]).await;
    come(&mut items, [100]).await;
    broken.commit(4..=6).await;
    come(&mut items, 3..=6).await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_twice_is_delivered_once() {
    let broken = broken();
    let (_trunk, mut items) = live(&broken).await;
    for position in 2..=5 {
        broken.commit([position]).await;
        broken.inbox.repeat();
    }
    come(&mut items, 2..=5).await;
    // A home that takes over repeats what the one before did not say that it had sent.
    broken.another_home(3);
    broken.commit(4..=6).await;
    come(&mut items, [6]).await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_keeps_is_told_once_the_databases_have_it() {
    let broken = broken();
    let (trunk, mut items) = live(&broken).await;
    broken.commit(2..=3).await;
    let before = come(&mut items, 2..=3).await;
    broken.inbox.lose_next(1);
    broken.commit([4]).await;
    broken.another_home(4);
    broken.commit([5]).await;
    // Neither `resync` nor what comes after the gap, while lists may not have it.
    broken.rig.homes.stored.store(3, SeqCst);
    assert!(tokio::time::timeout(Duration::from_secs(15), items.next()).await.is_err());
    commit_of(&broken.rig, 1, 100, &[broken.user]).await;
    let untold = come(&mut items, [100]).await;
    broken.rig.homes.stored.store(5, SeqCst);
    let (what, cursor) = said(&mut items).await;
    assert_eq!(what, Said::Resync);
    assert_ne!(cursor, untold);
    broken.commit([6]).await;
    come(&mut items, [6]).await;
    trunk.end().await;
    let (trunk, _) = resumes(&broken, &cursor, [6]).await;
    trunk.end().await;
    for cursor in [before, untold] {
        let (_trunk, mut items) = open(&broken.rig, broken.user, "a", &cursor).await;
        assert_eq!(opened(&mut items).await.0, Resume::Snapshot, "it was not told");
    }
}

#[tokio::test(start_paused = true)]
async fn without_databases_it_is_told_when_lists_are_fresh_or_refused() {
    let broken = broken();
    let (_trunk, mut items) = live(&broken).await;
    broken.commit([2]).await;
    come(&mut items, [2]).await;
    broken.inbox.lose_next(1);
    broken.commit([3]).await;
    broken.another_home(3);
    let lost_at = Instant::now();
    assert_eq!(said(&mut items).await.0, Said::Resync);
    assert!(lost_at.elapsed() >= Duration::from_secs(15), "{:?}", lost_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_new_home_of_an_inbox_resumes_what_the_one_before_gave() {
    let mut broken = broken();
    let (_trunk, mut items) = live(&broken).await;
    let mut cursors = vec![];
    for position in 2..=9 {
        broken.commit([position]).await;
        cursors.push((position, come(&mut items, [position]).await));
    }
    broken.inbox.lose_next(1);
    broken.commit([10]).await;
    broken.another_process();
    // What the inbox had lost comes as well.
    for (position, cursor) in cursors {
        let (trunk, mut items) = open(&broken.rig, broken.user, "a", &cursor).await;
        assert_eq!(opened(&mut items).await.0, Resume::Resumed);
        come(&mut items, position + 1..=9).await;
        let mut said = vec![said(&mut items).await.0, said(&mut items).await.0];
        said.sort_by_key(|said| *said == Said::Live);
        assert_eq!(said, [Said::Event(10), Said::Live]);
        trunk.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_home_of_a_lost_inbox_begins_when_lists_have_what_it_has_not() {
    let mut broken = broken();
    let (_trunk, mut items) = live(&broken).await;
    broken.commit(2..=5).await;
    let before = come(&mut items, 2..=5).await;
    broken.inbox.lose_all();
    broken.another_process();
    broken.rig.homes.stored.store(4, SeqCst);
    for _ in 0..50 {
        for resume in ["", &before] {
            let (_, _, first) = ask(&broken.rig, broken.user, "a", resume).await;
            assert_eq!(closed(&first), Some(ClosedReason::Unavailable));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    broken.rig.homes.stored.store(5, SeqCst);
    let (_trunk, mut items) = open(&broken.rig, broken.user, "a", &before).await;
    assert_eq!(opened(&mut items).await.0, Resume::Snapshot);
    assert_eq!(said(&mut items).await.0, Said::Live);
    broken.commit([6]).await;
    come(&mut items, [6]).await;
}

#[tokio::test(start_paused = true)]
async fn a_home_that_ends_before_it_has_filled_a_gap_leaves_no_cursor_past_it() {
    let mut broken = broken();
    let (_trunk, mut items) = live(&broken).await;
    broken.commit([2]).await;
    come(&mut items, [2]).await;
    broken.inbox.lose_next(1);
    broken.commit([3]).await;
    broken.inbox.lose_all();
    // In the next inbox, the first of which shows the gap to who knows what was before.
    let fan_out = broken.rig.homes.fan_out.lock().unwrap().clone();
    fan_out.ended(0);
    broken.commit([4]).await;
    commit_of(&broken.rig, 1, 100, &[broken.user]).await;
    let cursor = come(&mut items, [100]).await;
    broken.another_process();
    fan_out.resume(0, &[], 5);
    broken.rig.homes.stored.store(4, SeqCst);
    let (_trunk, mut items) = open(&broken.rig, broken.user, "a", &cursor).await;
    assert_eq!(opened(&mut items).await.0, Resume::Snapshot, "3 and 4 are missing");
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_comes_back_goes_on_with_what_it_knew() {
    let broken = broken();
    let (_trunk, mut items) = live(&broken).await;
    broken.commit(2..=4).await;
    let cursor = come(&mut items, 2..=4).await;
    // Nobody could renew a lease, and the inbox was lost meanwhile.
    broken.rig.held.send_replace(BTreeSet::new());
    while broken.rig.connections.shard(&broken.user).is_some() {
        tokio::task::yield_now().await;
    }
    broken.commit([5]).await;
    broken.inbox.lose_all();
    broken.rig.held.send_replace(BTreeSet::from([0]));
    let (_trunk, mut items) = open(&broken.rig, broken.user, "a", &cursor).await;
    assert_eq!(opened(&mut items).await.0, Resume::Resumed);
    let mut said = vec![said(&mut items).await.0, said(&mut items).await.0];
    said.sort_by_key(|said| *said == Said::Live);
    assert_eq!(said, [Said::Event(5), Said::Live]);
}

#[tokio::test(start_paused = true)]
async fn a_tail_has_its_bound_and_what_left_it_is_not_resumed() {
    let inbox = Faulty::new();
    let broken = Broken { rig: rig_on(Arc::new(inbox.clone()), 64 << 10), inbox, user: somebody() };
    let (trunk, mut items) = live(&broken).await;
    let mut cursors = Vec::new();
    for position in 2..=2000 {
        broken.commit([position]).await;
        cursors.push(come(&mut items, [position]).await);
    }
    trunk.end().await;
    let (trunk, _) = resumes(&broken, &cursors[1900], 1903..=2000).await;
    trunk.end().await;
    // What left the tail a moment ago must be in the lists first.
    let (_, _, first) = ask(&broken.rig, broken.user, "a", &cursors[0]).await;
    assert_eq!(closed(&first), Some(ClosedReason::Unavailable));
    broken.rig.homes.stored.store(2000, SeqCst);
    let (_trunk, mut items) = open(&broken.rig, broken.user, "a", &cursors[0]).await;
    assert_eq!(opened(&mut items).await.0, Resume::Snapshot);
    let (Said::Event(first), _) = said(&mut items).await else { panic!("no event") };
    assert!(first > 1000, "{first}");
    come(&mut items, first + 1..=2000).await;
}

#[tokio::test(start_paused = true)]
async fn much_that_was_missed_comes_in_parts() {
    let broken = broken();
    let (trunk, mut items) = live(&broken).await;
    broken.commit([2]).await;
    let mut cursor = come(&mut items, [2]).await;
    trunk.end().await;
    for position in 3..=3000 {
        commit(&broken.rig, position, &[broken.user]).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut had = 2;
    let mut parts = 0;
    'whole: loop {
        let (_trunk, mut items) = open(&broken.rig, broken.user, "a", &cursor).await;
        assert_eq!(opened(&mut items).await.0, Resume::Resumed);
        parts += 1;
        loop {
            let item = items.next().await.unwrap();
            if closed(&item) == Some(ClosedReason::Behind) {
                break;
            }
            let Some(Item::Frame(frame)) = item.item else { panic!("no frame") };
            match ServerFrame::decode(frame).unwrap().body.unwrap() {
                server_frame::Body::Event(event) => {
                    assert_eq!(event.revision, had + 1);
                    (had, cursor) = (event.revision, event.cursor);
                }
                server_frame::Body::Live(_) => break 'whole,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((had, parts), (3000, 3));
}

#[tokio::test(start_paused = true)]
async fn anothers_cursor_shows_nothing_of_theirs() {
    let broken = broken();
    let (_trunk, mut items) = live(&broken).await;
    broken.commit(2..=5).await;
    let theirs = come(&mut items, [2, 3]).await;
    come(&mut items, [4, 5]).await;
    let other = somebody();
    commit(&broken.rig, 6, &[other]).await;
    come_to(&broken, other, &theirs, 6).await;
}

/// Who comes with this cursor is sent that event alone.
async fn come_to(broken: &Broken, user: UserId, cursor: &str, event: u64) {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (_trunk, mut items) = open(&broken.rig, user, "b", cursor).await;
    opened(&mut items).await;
    come(&mut items, [event]).await;
    assert_eq!(said(&mut items).await.0, Said::Live);
}
