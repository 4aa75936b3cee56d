//! What every store of accounts must do; each adapter passes it.
#![allow(clippy::expect_used, clippy::panic)] // checks for tests: a panic is how they tell

mod blocks;
mod deletions;
mod keys;

use super::{AccountStore, Change, KEEP_MS, Session};
use madang_proto::{
    client::v1::{Device, DeviceKind},
    id::{SessionId, UserId},
};

const FAILED: &str = "the store does what it is asked";

fn session(user: UserId, device: &str, at: i64) -> Session {
    let device = Device { id: device.into(), kind: DeviceKind::Mobile.into(), name: "폰".into(), app: "app".into() };
    Session { id: SessionId::new(), user, device, created_at: at, used_at: at }
}

/// Checks a store; panics where it does not do what it should.
///
/// # Panics
/// That is how it tells.
pub async fn check(store: &dyn AccountStore) {
    keys::check(store).await;
    profiles(store).await;
    sessions(store).await;
    tokens(store).await;
    passwords(store).await;
    blocks::check(store).await;
    deletions::check(store).await;
}

async fn profiles(store: &dyn AccountStore) {
    let (ann, bob) = (UserId::new(), UserId::new());
    let create =
        |id, handle: &str, name: &str| store.create(id, handle.into(), name.into(), format!("hash of {handle}"), 1);
    assert!(create(ann, "ann", "앤").await.expect(FAILED));
    assert!(!create(bob, "ann", "another").await.expect(FAILED), "a handle is one person's");
    assert!(create(bob, "bob", "밥").await.expect(FAILED));
    let (user, password) = store.by_handle("ann".into()).await.expect(FAILED).expect("ann is there");
    assert_eq!((user.user.as_str(), user.name.as_str(), password.as_str()), (&*ann.to_string(), "앤", "hash of ann"));
    assert!(store.by_handle("nobody".into()).await.expect(FAILED).is_none());
    let found = store.by_ids(vec![bob, UserId::new(), ann]).await.expect(FAILED);
    assert_eq!(found.iter().map(|user| user.handle.as_str()).collect::<Vec<_>>(), ["bob", "ann"]);
    let change = Change { name: Some("앤 2".into()), status: Some("hi".into()), ..Change::default() };
    let changed = store.update(ann, change).await.expect(FAILED);
    let changed = changed.expect("ann is there");
    assert_eq!(
        (changed.handle.as_str(), changed.name.as_str(), changed.status_message.as_str()),
        ("ann", "앤 2", "hi")
    );
    let handle = |handle: &str| Change { handle: Some(handle.into()), ..Change::default() };
    assert!(store.update(ann, handle("bob")).await.expect(FAILED).is_none(), "taken");
    assert!(store.update(UserId::new(), handle("x")).await.expect(FAILED).is_none());
    let renamed = store.update(ann, handle("ann_2")).await.expect(FAILED);
    assert_eq!(renamed.expect("ann is there").handle, "ann_2");
    assert!(store.by_handle("ann".into()).await.expect(FAILED).is_none());
    let same = store.update(ann, Change::default()).await.expect(FAILED).expect("ann is there");
    assert_eq!((same.handle.as_str(), same.picture.as_str()), ("ann_2", ""));
    let picture = |picture: &str| Change { picture: Some(picture.into()), ..Change::default() };
    let shown = store.update(ann, picture("p")).await.expect(FAILED).expect("ann is there");
    assert_eq!((shown.picture.as_str(), shown.name.as_str()), ("p", "앤 2"));
    assert_eq!(store.by_ids(vec![ann]).await.expect(FAILED)[0].picture, "p");
    assert_eq!(store.update(ann, picture("")).await.expect(FAILED).expect("ann is there").picture, "");
}

async fn sessions(store: &dyn AccountStore) {
    let user = UserId::new();
    store.create(user, "many".into(), "many".into(), String::new(), 1).await.expect(FAILED);
    let all: Vec<_> = (1..=4).map(|n| session(user, &format!("device {n}"), n)).collect();
    for (n, one) in (0..).zip(&all) {
        store.begin(one.clone(), [n; 32], 3).await.expect(FAILED);
    }
    let listed = store.sessions(user).await.expect(FAILED);
    assert_eq!(listed, [all[3].clone(), all[2].clone(), all[1].clone()], "the one unused longest has gone");
    let ended = async |since| {
        let all = store.ended(since, 1000).await.expect(FAILED);
        all.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert!(ended(0).await.contains(&all[0].id) && !ended(0).await.contains(&all[1].id));
    assert!(store.family([0; 32]).await.expect(FAILED).is_none(), "its tokens have gone with it");

    let again = session(user, "device 4", 9);
    store.begin(again.clone(), [9; 32], 3).await.expect(FAILED);
    let ids: Vec<_> = store.sessions(user).await.expect(FAILED).into_iter().map(|one| one.id).collect();
    assert_eq!(ids, [again.id, all[2].id, all[1].id], "a device has one session");

    assert!(ended(0).await.contains(&all[3].id), "the session that the device had has ended");
    store.end(Some(UserId::new()), again.id, 1000).await.expect(FAILED);
    assert!(!ended(0).await.contains(&again.id), "another's session is not ended");
    store.end(Some(user), again.id, 1000).await.expect(FAILED);
    store.end(None, all[2].id, 1001).await.expect(FAILED);
    assert_eq!(store.ended(1000, 1000).await.expect(FAILED), [(again.id, 1000), (all[2].id, 1001)]);
    assert_eq!(store.ended(1000, 1).await.expect(FAILED), [(again.id, 1000)]);
    assert_eq!(ended(1002).await, []);
    store.end(None, all[1].id, 1001 + KEEP_MS).await.expect(FAILED);
    assert_eq!(ended(0).await, [all[2].id, all[1].id], "what ended long ago is forgotten");
    assert!(store.family([9; 32]).await.expect(FAILED).is_none());
}

async fn passwords(store: &dyn AccountStore) {
    let user = UserId::new();
    store.create(user, "changes".into(), "changes".into(), "old".into(), 1).await.expect(FAILED);
    assert_eq!(store.password(user).await.expect(FAILED).as_deref(), Some("old"));
    assert_eq!(store.password(UserId::new()).await.expect(FAILED), None);
    let all: Vec<_> = (1..=3).map(|n| session(user, &format!("device {n}"), n)).collect();
    for (n, one) in (150..).zip(&all) {
        store.begin(one.clone(), [n; 32], 16).await.expect(FAILED);
    }
    assert!(store.set_password(user, "new".into(), Some(all[1].id), 5000).await.expect(FAILED));
    assert_eq!(store.password(user).await.expect(FAILED).as_deref(), Some("new"));
    assert_eq!(store.sessions(user).await.expect(FAILED), [all[1].clone()], "the other sessions have ended");
    let ended: Vec<_> = store.ended(5000, 1000).await.expect(FAILED).into_iter().map(|(id, _)| id).collect();
    assert!(ended.contains(&all[0].id) && ended.contains(&all[2].id) && !ended.contains(&all[1].id));
    assert!(
        store.family([150; 32]).await.expect(FAILED).is_none()
            && store.family([151; 32]).await.expect(FAILED).is_some()
    );
}

async fn tokens(store: &dyn AccountStore) {
    let user = UserId::new();
    store.create(user, "tokens".into(), "tokens".into(), String::new(), 1).await.expect(FAILED);
    let one = session(user, "device", 1);
    store.begin(one.clone(), [100; 32], 16).await.expect(FAILED);
    let place = async |hash: [u8; 32]| {
        let family = store.family(hash).await.expect(FAILED).expect("known");
        assert_eq!(family.session.id, one.id);
        (family.current, family.next_used_at)
    };
    assert_eq!(place([100; 32]).await, (true, 0));
    store.rotate(one.id, [100; 32], [101; 32], 50).await.expect(FAILED);
    assert_eq!((place([100; 32]).await, place([101; 32]).await), ((false, 0), (true, 0)));
    // Used again before the new pair was: both new ones are good.
    store.rotate(one.id, [100; 32], [102; 32], 60).await.expect(FAILED);
    assert_eq!(place([100; 32]).await, (false, 0));
    assert_eq!(place([102; 32]).await, (true, 0));
    // The new pair is used: the old one is done with.
    store.rotate(one.id, [102; 32], [103; 32], 70).await.expect(FAILED);
    assert_eq!((place([100; 32]).await, place([103; 32]).await), ((false, 70), (true, 0)));
    assert_eq!(store.sessions(user).await.expect(FAILED)[0].used_at, 70);
    assert!(store.family([200; 32]).await.expect(FAILED).is_none());
}
