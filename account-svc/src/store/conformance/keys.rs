//! Signing keys, as every store must rotate them.

use super::FAILED;
use crate::store::{
    AccountStore,
    keys::{Key, Rotation},
};

pub(super) async fn check(store: &dyn AccountStore) {
    let rotation = Rotation { period: 1000, lead: 100, keep: 300 };
    // What an earlier version left may be there; everything is later than that.
    let start = 4_000_000_000_000;
    let at = async |now: i64| store.keys(rotation, start + now).await.expect(FAILED);
    let ids = |keys: &[Key]| keys.iter().map(|key| (key.kid.clone(), key.signs_from - start)).collect::<Vec<_>>();
    let (one, other) = tokio::join!(at(0), at(0));
    assert_eq!(one, other, "all sign with the same keys");
    let first = one.last().expect("there is one").clone();
    let from = first.signs_from - start;
    assert_eq!(ids(&at(from + 899).await).last(), ids(std::slice::from_ref(&first)).last(), "not yet");
    // Many find at once that the next one is due.
    let many = futures_util::future::join_all((0..8).map(|_| at(from + 900))).await;
    let second = many[0].last().expect("there is one").clone();
    assert!(many.iter().all(|keys| keys.last() == Some(&second)), "it is made once");
    assert_ne!(first.kid, second.kid);
    assert_eq!(second.signs_from - start, from + 1000, "it is known before it signs");
    assert!(at(from + 1300).await.contains(&first), "its tokens may still be good");
    assert!(!at(from + 1301).await.contains(&first));
    // After a long time in which nobody asked.
    let late = at(from + 50_000).await;
    assert_eq!(late.last().expect("there is one").signs_from - start, from + 50_100);
    assert!(late.contains(&second), "what has signed until then is known");
}
