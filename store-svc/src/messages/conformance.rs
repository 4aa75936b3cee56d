//! What every store of messages must do; each adapter passes it.

#![allow(clippy::expect_used)] // checks for tests: a panic is how they tell

pub mod amended;
pub mod feed;

use super::{Changes, Entry, Error, Head, Messages, Since};
use madang_proto::{
    client::v1::{Event, Message},
    id::ConversationId,
    store::v1::ClientIdUse,
};
use std::time::Duration;
use uuid::Uuid;

fn message(conversation: ConversationId, seq: u64, text: &str) -> Entry {
    let revision = seq + 1;
    let at_micros = 1_700_000_000_000_000 + i64::try_from(seq).unwrap_or_default();
    let message = Message { seq, revision, text: text.into(), ..Default::default() };
    let used = ClientIdUse { seq, revision, at_micros, client_id: seq.to_be_bytes().to_vec(), ..Default::default() };
    Entry::Message { conversation, message: Box::new(message), used }
}

fn notice(conversation: ConversationId, revision: u64, last_seq: u64) -> Entry {
    let event = Event { conversation: conversation.to_string(), revision, last_seq, ..Default::default() };
    Entry::Notice { conversation, event }
}

fn seqs(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(|message| message.seq).collect()
}

/// Checks a store; panics where it does not do what it should.
///
/// # Panics
/// That is how it tells.
pub async fn check(store: &dyn Messages) {
    let failed = "the store does what it is asked";
    let (one, other) = (ConversationId::from(Uuid::now_v7()), ConversationId::from(Uuid::now_v7()));
    assert_eq!(store.cursor(0).await.expect(failed), 0);
    assert_eq!(store.head(one).await.expect(failed), Head::default());
    assert!(store.page(one, 1, u64::MAX, 50, true).await.expect(failed).is_empty());

    // Two partitions' worth, across their border; texts come back as they were.
    let border = 1 << 14;
    let text = "한글 👋🏽 \u{2028}\u{feff}";
    let mut entries = vec![notice(one, 1, 0)];
    entries.extend((1..=border + 100).map(|seq| message(one, seq, text)));
    entries.push(notice(one, border + 200, border + 100));
    for (position, chunk) in (1..).zip(entries.chunks(1000)) {
        store.apply(0, chunk.to_vec(), position).await.expect(failed);
    }
    let last = 18;
    store.apply(0, vec![message(other, 1, "other")], last).await.expect(failed);
    assert_eq!(store.cursor(0).await.expect(failed), last);
    assert_eq!(store.cursor(1).await.expect(failed), 0, "shards have cursors of their own");
    assert!(store.again_from(0).await.expect(failed) <= last);
    assert_eq!(store.head(one).await.expect(failed), Head { revision: border + 200, last_seq: border + 100 });
    assert_eq!(store.head(other).await.expect(failed), Head { revision: 2, last_seq: 1 });
    // More than are read at once, most of them of nobody.
    let mut many: Vec<_> = (0..100).map(|_| ConversationId::from(Uuid::now_v7())).collect();
    (many[3], many[70]) = (one, other);
    let heads = store.heads(many.clone()).await.expect(failed);
    let there = heads.iter().zip(&many).filter(|(head, _)| **head != Head::default());
    let there: Vec<_> = there.map(|(head, id)| (*id, head.revision, head.last_seq)).collect();
    assert_eq!((heads.len(), there), (100, vec![(one, border + 200, border + 100), (other, 2, 1)]));
    assert!(store.heads(Vec::new()).await.expect(failed).is_empty());

    let newest = store.page(one, 1, u64::MAX, 200, true).await.expect(failed);
    assert_eq!(seqs(&newest), ((border - 99)..=(border + 100)).collect::<Vec<_>>());
    assert!(newest.iter().all(|message| message.text == text));
    let upwards = store.page(one, border - 1, u64::MAX, 3, false).await.expect(failed);
    assert_eq!(seqs(&upwards), [border - 1, border, border + 1]);
    assert_eq!(seqs(&store.page(one, 5, 6, 10, true).await.expect(failed)), [5, 6]);
    assert!(store.page(one, border + 101, u64::MAX, 10, false).await.expect(failed).is_empty());
    assert_eq!(seqs(&store.page(other, 1, u64::MAX, 10, true).await.expect(failed)), [1]);

    let all = store.notices(one, (0, border + 100), (1, u64::MAX >> 1)).await.expect(failed);
    assert_eq!(all.iter().map(|event| event.revision).collect::<Vec<_>>(), [1, border + 200]);
    let later = store.notices(one, (0, border + 100), (2, u64::MAX >> 1)).await.expect(failed);
    assert_eq!(later.len(), 1);
    assert!(store.notices(one, (1, border), (1, u64::MAX >> 1)).await.expect(failed).is_empty());

    let since = 1_700_000_000_000_000 + i64::try_from(border - 50).unwrap_or_default();
    let uses = store.uses(one, since, 100_000).await.expect(failed);
    assert_eq!(uses.len(), 151);
    assert_eq!(store.uses(one, since, 10).await.expect(failed).len(), 10);

    let wanted = vec![(other, 1), (one, border), (one, border + 101), (one, 1)];
    let found = store.messages(wanted).await.expect(failed);
    let found: Vec<_> = found.iter().map(|(conversation, message)| (*conversation, message.seq)).collect();
    assert_eq!(found, [(other, 1), (one, border), (one, 1)], "in the order asked for, without what is not there");

    // The log comes again: nothing changes, and nothing goes back.
    store.apply(0, entries[..1000].to_vec(), 1).await.expect(failed);
    assert_eq!(store.cursor(0).await.expect(failed), last);
    assert_eq!(store.head(one).await.expect(failed).revision, border + 200);
    assert_eq!(store.page(one, 1, u64::MAX, 200, true).await.expect(failed), newest);
}

/// Messages, reads and notices in turn, as a conversation has them: a message's revision is far above its number. The
/// first half of them was long ago.
fn mixed(conversation: ConversationId, events: u64, long_ago: i64, now: i64) -> Vec<Entry> {
    let mut seq = 0;
    let entry = |revision: u64| {
        let at_micros = if revision <= events / 2 { long_ago } else { now };
        match revision % 5 {
            0 | 1 => {
                seq += 1;
                let used = ClientIdUse { seq, revision, at_micros, ..Default::default() };
                let message = Box::new(Message { seq, revision, ..Default::default() });
                Entry::Message { conversation, message, used }
            }
            2 => {
                let event = Event { revision, last_seq: seq, at: at_micros / 1000, ..Default::default() };
                Entry::Notice { conversation, event }
            }
            _ => Entry::Other { conversation, revision, last_seq: seq, at_micros },
        }
    };
    (1..=events).map(entry).collect()
}

/// Checks what a store says about changes; panics where it does not do what it should.
///
/// # Panics
/// That is how it tells.
pub async fn check_changes(store: &dyn Messages) {
    let failed = "the store does what it is asked";
    let id = ConversationId::from(Uuid::now_v7());
    let (long_ago, now, events) = (1_600_000_000_000_000, 1_700_000_000_000_000, 2000);
    for (position, chunk) in (1..).zip(mixed(id, events, long_ago, now).chunks(300)) {
        store.apply(5, chunk.to_vec(), position).await.expect(failed);
    }
    let is_message = |revision: &u64| revision % 5 < 2;
    let since = |revision, until, limit| Since {
        revision,
        until,
        first_seq: 1,
        last_seq: u64::MAX >> 1,
        limit,
        oldest_micros: 0,
    };
    let revisions = |found: Option<Changes>| {
        found.map(|found| found.messages.into_iter().map(|message| message.revision).collect::<Vec<_>>())
    };
    // Around every border that an index could have, and anywhere between.
    for from in [0, 1, 2, 3, 4, 5, 62, 63, 64, 65, 66, 127, 128, 129, 999, 1000, 1001, 1983, 1984, 1985, 1998, 1999] {
        for (until, limit) in [(events, 7), (events, 500), (from + 3, 50)] {
            let found = revisions(store.changes(id, since(from, until, limit)).await.expect(failed));
            let wanted: Vec<u64> = (from + 1..=until.min(events)).filter(is_message).take(limit).collect();
            assert_eq!(found, Some(wanted), "after {from}, until {until}, {limit} of them");
        }
        let found = store.notices(id, (0, u64::MAX >> 1), (from + 1, events)).await.expect(failed);
        let wanted: Vec<u64> = (from + 1..=events).filter(|revision| revision % 5 == 2).collect();
        assert_eq!(found.iter().map(|event| event.revision).collect::<Vec<_>>(), wanted, "notices after {from}");
    }
    for from in [events, events + 1, u64::MAX >> 1] {
        assert_eq!(revisions(store.changes(id, since(from, events, 10)).await.expect(failed)), Some(vec![]));
    }
    let unknown = ConversationId::from(Uuid::now_v7());
    assert_eq!(revisions(store.changes(unknown, since(0, events, 10)).await.expect(failed)), Some(vec![]));
    let later = Since { first_seq: 790, ..since(0, events, 500) };
    let found = revisions(store.changes(id, later).await.expect(failed)).expect(failed);
    assert_eq!((found.len(), found.last()), (11, Some(&events)), "nothing from before one may see it");

    // What is too old is said to be.
    let too_old = |from| Since { oldest_micros: long_ago + 1, ..since(from, events, 10) };
    for from in [0, 10, 500, 900] {
        assert_eq!(store.changes(id, too_old(from)).await.expect(failed), None, "after {from}");
    }
    for from in [1064, 1500, events] {
        assert!(store.changes(id, too_old(from)).await.expect(failed).is_some(), "after {from}");
    }
}

/// Checks that a page with a hole is refused; panics where the store does not do what it should.
///
/// # Panics
/// That is how it tells.
pub async fn check_holes(store: &dyn Messages) {
    let failed = "the store does what it is asked";
    let id = ConversationId::from(Uuid::now_v7());
    let entries: Vec<_> = (1..=20).map(|seq| message(id, seq, "there")).collect();
    // As if a disk had lost one of them.
    let kept = entries.iter().enumerate().filter(|(n, _)| *n != 9).map(|(_, entry)| entry.clone()).collect();
    store.apply(6, kept, 1).await.expect(failed);
    let hole = |found: Result<Vec<Message>, Error>| matches!(found, Err(Error::Hole { seq: 10, .. }));
    assert!(hole(store.page(id, 1, u64::MAX, 20, true).await));
    assert!(hole(store.page(id, 5, u64::MAX, 10, false).await));
    assert_eq!(seqs(&store.page(id, 1, 9, 50, false).await.expect(failed)), (1..=9).collect::<Vec<_>>());
    assert_eq!(seqs(&store.page(id, 1, u64::MAX, 10, true).await.expect(failed)), (11..=20).collect::<Vec<_>>());
    // Written again, it is there.
    store.apply(6, entries, 1).await.expect(failed);
    assert_eq!(store.page(id, 1, u64::MAX, 50, true).await.expect(failed).len(), 20);
}

/// Checks two replicas on one database, of which one has lost the shard and does not know it yet, and a replica that is
/// cut off between any two steps; panics where they do not do what they should.
///
/// # Panics
/// That is how it tells.
pub async fn check_replicas(old: &dyn Messages, new: &dyn Messages) {
    let failed = "the store does what it is asked";
    let id = ConversationId::from(Uuid::now_v7());
    let all: Vec<_> = (1..=400).map(|seq| message(id, seq, "once")).collect();
    let whole = async |store: &dyn Messages, upto: u64| {
        let found = store.page(id, 1, upto, 400, false).await.expect(failed);
        assert_eq!(seqs(&found), (1..=upto).collect::<Vec<_>>());
        assert_eq!(store.head(id).await.expect(failed).revision, upto + 1);
    };
    old.apply(7, all[..100].to_vec(), 10).await.expect(failed);
    new.apply(7, all[50..200].to_vec(), 20).await.expect(failed);
    // The old one goes on with what it had in hand, at the same time and after.
    let (one, other) = tokio::join!(old.apply(7, all[100..150].to_vec(), 15), new.apply(7, all[200..250].to_vec(), 25));
    one.and(other).expect(failed);
    old.apply(7, all[..120].to_vec(), 12).await.expect(failed);
    for store in [old, new] {
        assert_eq!(store.cursor(7).await.expect(failed), 25, "a cursor never goes back");
        whole(store, 250).await;
    }
    // Cut off anywhere: what the cursor says is there, and the same again makes it whole.
    for (micros, position) in (0..).map(|n| n * 150).zip(26..56) {
        let upto = 250 + usize::try_from(position - 25).unwrap_or_default() * 5;
        let entries = all[200..upto].to_vec();
        let cut = Duration::from_micros(micros);
        let finished = tokio::time::timeout(cut, new.apply(7, entries.clone(), position)).await.is_ok();
        let cursor = new.cursor(7).await.expect(failed);
        assert!(cursor == position || (!finished && cursor == position - 1), "{cursor} after {position}");
        let said = 250 + (cursor - 25) * 5;
        let found = old.page(id, 1, said, 400, false).await.expect(failed);
        assert_eq!(seqs(&found), (1..=said).collect::<Vec<_>>(), "what the cursor says is there");
        new.apply(7, entries, position).await.expect(failed);
        whole(old, upto as u64).await;
    }
}
