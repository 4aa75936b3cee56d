//! Cursors that stand still while something may be missing: not for ever, and what follows them is bounded.

use super::{
    broken::{Broken, Said, broken, come, live, resumes, said},
    *,
};
use tokio::time::timeout;

/// The inbox is lost while the other source has no home, which nobody can ask what it had sent. It had sent 101.
async fn homeless(broken: &Broken, items: &mut Items) -> (FanOut, String) {
    broken.commit(2..=3).await;
    come(items, 2..=3).await;
    commit_of(&broken.rig, 1, 100, &[broken.user]).await;
    let before = come(items, [100]).await;
    broken.inbox.lose_next(1);
    commit_of(&broken.rig, 1, 101, &[broken.user]).await;
    let fan_out = broken.rig.homes.fan_out.lock().unwrap().clone();
    fan_out.ended(1);
    broken.inbox.lose_all();
    // The next inbox is read.
    tokio::time::sleep(Duration::from_secs(1)).await;
    (fan_out, before)
}

#[tokio::test(start_paused = true)]
async fn a_source_without_a_home_holds_cursors_up_until_lists_have_what_it_sent() {
    let broken = broken();
    let (trunk, mut items) = live(&broken).await;
    let (fan_out, before) = homeless(&broken, &mut items).await;
    broken.commit(4..=5).await;
    // Nobody knows of 101 yet: who has 5 may have missed it.
    assert_eq!(come(&mut items, 4..=5).await, before);
    assert!(timeout(Duration::from_secs(18), items.next()).await.is_err(), "lists may not have it");
    let (what, told) = timeout(Duration::from_secs(3), said(&mut items)).await.expect("lists have it, or are refused");
    assert_eq!(what, Said::Resync);
    let mut cursors = vec![told];
    for position in 6..=8 {
        broken.commit([position]).await;
        cursors.push(come(&mut items, [position]).await);
    }
    assert_eq!(cursors.iter().collect::<BTreeSet<_>>().len(), 4, "they move on: {cursors:?}");
    assert!(timeout(Duration::from_secs(100), items.next()).await.is_err(), "it is told once");
    trunk.end().await;
    for (cursor, missed) in cursors.iter().zip(6..) {
        let (trunk, _) = resumes(&broken, cursor, missed..=8).await;
        trunk.end().await;
    }
    let (trunk, mut items) = open(&broken.rig, broken.user, "a", &before).await;
    assert_eq!(opened(&mut items).await.0, Resume::Snapshot, "it was not told");
    trunk.end().await;
    // Its next home says what it has sent: what is missing shows as ever.
    let (_trunk, mut items) = resumes(&broken, &cursors[3], []).await;
    fan_out.resume(1, &[], 1);
    commit_of(&broken.rig, 1, 102, &[broken.user]).await;
    assert_eq!(said(&mut items).await.0, Said::Resync, "101 is not kept any more");
    commit_of(&broken.rig, 1, 103, &[broken.user]).await;
    come(&mut items, [103]).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_has_a_home_again_in_time_gives_what_it_had_sent() {
    let broken = broken();
    let (_trunk, mut items) = live(&broken).await;
    let (fan_out, before) = homeless(&broken, &mut items).await;
    broken.commit([4]).await;
    assert_eq!(come(&mut items, [4]).await, before);
    tokio::time::sleep(Duration::from_secs(10)).await;
    fan_out.resume(1, &[], 1);
    come(&mut items, [101]).await;
    broken.commit([5]).await;
    assert_ne!(come(&mut items, [5]).await, before);
}

#[tokio::test(start_paused = true)]
async fn much_that_follows_a_cursor_that_stands_still_is_not_sent_at_once() {
    let broken = broken();
    let (trunk, mut items) = live(&broken).await;
    let (fan_out, before) = homeless(&broken, &mut items).await;
    trunk.end().await;
    for position in 4..=1500 {
        commit(&broken.rig, position, &[broken.user]).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (_, _, first) = ask(&broken.rig, broken.user, "a", &before).await;
    assert_eq!(closed(&first), Some(ClosedReason::Unavailable), "it could not go on from where that ends");
    fan_out.resume(1, &[], 1);
    let (_trunk, mut items) = open(&broken.rig, broken.user, "a", &before).await;
    assert_eq!(opened(&mut items).await.0, Resume::Resumed);
    come(&mut items, 4..=1027).await;
    assert_eq!(closed(&items.next().await.unwrap()), Some(ClosedReason::Behind));
}
