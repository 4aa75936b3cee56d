//! What every store of messages must do; each adapter passes it.

#![allow(clippy::expect_used)] // checks for tests: a panic is how they tell

use super::{Entry, Messages};
use madang_proto::{
    client::v1::{Event, Message},
    id::ConversationId,
    store::v1::ClientIdUse,
};
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
    assert_eq!(store.revision(one).await.expect(failed), 0);
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
    assert_eq!(store.revision(one).await.expect(failed), border + 200);
    assert_eq!(store.revision(other).await.expect(failed), 2);

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

    // The log comes again: nothing changes, and nothing goes back.
    store.apply(0, entries[..1000].to_vec(), 1).await.expect(failed);
    assert_eq!(store.cursor(0).await.expect(failed), last);
    assert_eq!(store.revision(one).await.expect(failed), border + 200);
    assert_eq!(store.page(one, 1, u64::MAX, 200, true).await.expect(failed), newest);
}
