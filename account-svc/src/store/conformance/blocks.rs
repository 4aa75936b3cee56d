//! Who blocks whom, as every store must keep it.

use super::{FAILED, account};
use crate::store::{
    AccountStore,
    blocks::{Change, Untold},
};
use madang_proto::id::UserId;

pub(super) async fn check(store: &dyn AccountStore) {
    let mut all: Vec<UserId> = (0..4).map(|_| UserId::new()).collect();
    all.sort_unstable();
    let [ann, bob, cho, dan] = all[..] else { return };
    for (user, handle) in [(ann, "block_a"), (bob, "block_b")] {
        store.create(account(user, handle, "")).await.expect(FAILED);
    }
    let set = async |user, other, blocked, at| store.set_block(user, other, blocked, 2, at).await.expect(FAILED);
    let version = |change| match change {
        Change::Kept(version) => version,
        other => panic!("{other:?}"),
    };
    let pairs = async || {
        let pairs = vec![(ann, bob), (bob, ann), (ann, cho), (cho, dan), (ann, ann)];
        store.blocked(pairs).await.expect(FAILED)
    };
    assert_eq!(pairs().await, [false; 5]);
    assert!(store.blocked(Vec::new()).await.expect(FAILED).is_empty());
    assert_eq!(set(ann, bob, false, 10).await, Change::Nothing, "there was none");
    let first = version(set(ann, bob, true, 10).await);
    assert_eq!(pairs().await, [true, true, false, false, false], "it holds both ways");
    let again = version(set(ann, bob, true, 11).await);
    assert!(again > first, "what was not told is kept again");
    let one = |version| Untold { user: ann, other: bob, version };
    assert_eq!(store.untold(12, 10).await.expect(FAILED), [one(again)]);
    assert!(store.untold(11, 10).await.expect(FAILED).is_empty(), "it is not that old");
    store.told(one(first)).await.expect(FAILED);
    assert_eq!(store.untold(12, 10).await.expect(FAILED), [one(again)], "an older change was told");
    store.told(one(again)).await.expect(FAILED);
    assert!(store.untold(12, 10).await.expect(FAILED).is_empty());
    assert_eq!(set(ann, bob, true, 13).await, Change::Nothing);

    version(set(ann, dan, true, 20).await);
    assert_eq!(set(ann, cho, true, 21).await, Change::TooMany);
    assert_eq!(store.blocks(ann, None, 10).await.expect(FAILED), [bob, dan]);
    assert_eq!(store.blocks(ann, None, 1).await.expect(FAILED), [bob]);
    assert_eq!(store.blocks(ann, Some(bob), 10).await.expect(FAILED), [dan]);
    assert!(store.blocks(bob, None, 10).await.expect(FAILED).is_empty(), "one is not told who blocks one");

    let ended = version(set(ann, bob, false, 30).await);
    assert_eq!(pairs().await, [false; 5], "an end holds before it was told");
    assert_eq!(store.blocks(ann, None, 10).await.expect(FAILED), [dan]);
    assert_eq!(store.untold(31, 1).await.expect(FAILED).len(), 1);
    store.told(one(ended)).await.expect(FAILED);
    assert_eq!(set(ann, bob, false, 32).await, Change::Nothing);
    let anew = version(set(ann, bob, true, 33).await);
    store.told(one(ended)).await.expect(FAILED);
    assert!(pairs().await[0]);
    assert!(store.untold(34, 10).await.expect(FAILED).contains(&one(anew)), "of another block of the same two");

    // At the limit, many at once are not more than it.
    store.set_block(ann, dan, false, 2, 40).await.expect(FAILED);
    let many = (0..5).map(|_| store.set_block(ann, UserId::new(), true, 2, 41));
    let kept = futures_util::future::join_all(many).await;
    let kept = kept.into_iter().filter(|change| matches!(change.as_ref().expect(FAILED), Change::Kept(_)));
    assert_eq!(kept.count(), 1);
}
