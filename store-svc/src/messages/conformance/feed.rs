//! What every store must do with the log's records that it keeps: all of them, in order, for as long as they are young.

#![allow(clippy::expect_used)] // checks for tests: a panic is how they tell

use crate::messages::{Entry, Messages, feed::Kept};
use madang_mesh::{log::Position, shard::Shard};

const SHARD: Shard = 3;
const LONG_AGO: i64 = 1_600_000_000_000_000;
const NOW: i64 = 1_700_000_000_000_000;

fn record(position: Position) -> Kept {
    let at_micros = if position <= 2500 { LONG_AGO } else { NOW } + i64::try_from(position).unwrap_or_default();
    Kept { position, at_micros, events: format!("record {position}").into_bytes() }
}

/// Checks a store; panics where it does not do what it should.
///
/// # Panics
/// That is how it tells.
pub async fn check(store: &dyn Messages) {
    let failed = "the store does what it is asked";
    assert_eq!(store.oldest(SHARD).await.expect(failed), 1, "nothing is kept, and the first is next");
    assert!(!store.forget(SHARD, NOW).await.expect(failed));
    // The first that this store sees is not the log's first.
    let (first, last) = (40, 3000);
    let all: Vec<_> = (first..=last).map(record).collect();
    for some in all.chunks(300) {
        let position = some.last().map_or(0, |kept| kept.position);
        let entries = some.iter().cloned().map(Entry::Record).collect();
        store.apply(SHARD, entries, position).await.expect(failed);
    }
    let cursors = store.cursors(SHARD + 2).await.expect(failed);
    assert_eq!((cursors.len(), cursors[SHARD as usize], cursors[SHARD as usize + 1]), (5, last, 0));
    assert_eq!(store.oldest(SHARD).await.expect(failed), first);

    let read = async |after: Position, upto: Position| {
        let mut found = Vec::new();
        loop {
            let after = found.last().map_or(after, |kept: &Kept| kept.position);
            let some = store.records(SHARD, after, upto, 64).await.expect(failed);
            if some.is_empty() {
                return found;
            }
            assert!(some.len() <= 64);
            found.extend(some);
        }
    };
    assert_eq!(read(0, last).await, all);
    assert_eq!(read(1500, 1700).await, all[1501 - 40..=1700 - 40]);
    assert!(read(last, last).await.is_empty());
    assert!(store.records(SHARD + 1, 0, last, 10).await.expect(failed).is_empty(), "shards have their own");

    // What is old may go, what is young stays.
    while store.forget(SHARD, NOW).await.expect(failed) {}
    let oldest = store.oldest(SHARD).await.expect(failed);
    assert!((1501..=2501).contains(&oldest), "{oldest}");
    let rest: Vec<_> = (oldest..=last).map(record).collect();
    assert_eq!(read(oldest - 1, last).await, rest);
    // The log comes again.
    store.apply(SHARD, all[2600..].iter().cloned().map(Entry::Record).collect(), last).await.expect(failed);
    assert_eq!(store.oldest(SHARD).await.expect(failed), oldest);
    assert_eq!(read(oldest - 1, last).await, rest);
    store.forget(SHARD, i64::MAX).await.expect(failed);
    assert!(store.oldest(SHARD).await.expect(failed) <= last + 1);
}
