//! What every store of accounts must do; each adapter passes it.
#![allow(clippy::expect_used, clippy::panic)] // checks for tests: a panic is how they tell

mod blocks;
mod deletions;
mod gone;
mod keys;
mod outside;
mod requests;

use super::{AccountStore, Change, KEEP_MS, KEPT_TOKENS, NewAccount, Renewed, Session};
use madang_proto::{
    client::v1::{Device, DeviceKind, UserKind},
    id::{SessionId, UserId},
};

const FAILED: &str = "the store does what it is asked";

fn session(user: UserId, device: &str, at: i64) -> Session {
    let device = Device { id: device.into(), kind: DeviceKind::Mobile.into(), name: "폰".into(), app: "app".into() };
    Session { id: SessionId::new(), user, device, created_at: at, used_at: at }
}

/// A person's account, called as its handle is.
fn account(id: UserId, handle: &str, password: &str) -> NewAccount {
    let (handle, password) = (handle.to_owned(), password.to_owned());
    NewAccount { id, name: handle.clone(), handle, password, kind: UserKind::Person, at: 1 }
}

/// Checks a store; panics where it does not do what it should.
///
/// # Panics
/// That is how it tells.
pub async fn check(store: &dyn AccountStore) {
    keys::check(store).await;
    profiles(store).await;
    kinds(store).await;
    sessions(store).await;
    tokens(store).await;
    many_tokens(store).await;
    overtaken(store).await;
    passwords(store).await;
    blocks::check(store).await;
    deletions::check(store).await;
    outside::check(store).await;
    requests::check(store).await;
    gone::check(store).await;
}

async fn profiles(store: &dyn AccountStore) {
    let (ann, bob) = (UserId::new(), UserId::new());
    let create = |id, handle: &str, name: &str| {
        let account = account(id, handle, &format!("hash of {handle}"));
        store.create(NewAccount { name: name.into(), ..account })
    };
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
    let (changed, _) = changed.expect("ann is there");
    assert_eq!(
        (changed.handle.as_str(), changed.name.as_str(), changed.status_message.as_str()),
        ("ann", "앤 2", "hi")
    );
    let handle = |handle: &str| Change { handle: Some(handle.into()), ..Change::default() };
    assert!(store.update(ann, handle("bob")).await.expect(FAILED).is_none(), "taken");
    assert!(store.update(UserId::new(), handle("x")).await.expect(FAILED).is_none());
    let renamed = store.update(ann, handle("ann_2")).await.expect(FAILED);
    assert_eq!(renamed.expect("ann is there").0.handle, "ann_2");
    assert!(store.by_handle("ann".into()).await.expect(FAILED).is_none());
    let (same, _) = store.update(ann, Change::default()).await.expect(FAILED).expect("ann is there");
    assert_eq!((same.handle.as_str(), same.picture.as_str()), ("ann_2", ""));
    let picture = |picture: &str| Change { picture: Some(picture.into()), ..Change::default() };
    let show = async |shown: &str| store.update(ann, picture(shown)).await.expect(FAILED).expect("ann is there");
    let (shown, before) = show("p").await;
    assert_eq!((shown.picture.as_str(), shown.name.as_str(), before.as_str()), ("p", "앤 2", ""));
    assert_eq!(store.by_ids(vec![ann]).await.expect(FAILED)[0].picture, "p");
    assert_eq!((show("p").await.1, show("q").await.1, show("").await), (String::new(), "p".into(), (same, "q".into())));
    // Of those that are set at once each is replaced once, but the one that is shown.
    let all = futures_util::future::join_all(["a", "b", "c", "d"].map(show)).await;
    let mut all: Vec<String> = all.into_iter().map(|(_, before)| before).collect();
    all.push(show("").await.1);
    all.sort_unstable();
    assert_eq!(all, ["", "a", "b", "c", "d"]);
}

async fn kinds(store: &dyn AccountStore) {
    for kind in [UserKind::Person, UserKind::Bot] {
        let (id, handle) = (UserId::new(), format!("kind_{}", i32::from(kind)));
        store.create(NewAccount { kind, ..account(id, &handle, "") }).await.expect(FAILED);
        let token = rand::random();
        store.begin(session(id, "device", 1), token, 3, None).await.expect(FAILED);
        let renewed = store.renew(token, rand::random(), 0, 2).await.expect(FAILED);
        let Renewed::Next(_, refreshed) = renewed else { panic!("{renewed:?}") };
        let (found, _) = store.by_handle(handle).await.expect(FAILED).expect("it is there");
        let listed = store.by_ids(vec![id]).await.expect(FAILED).pop().expect("it is there");
        let change = Change { name: Some("another".into()), ..Change::default() };
        let (changed, _) = store.update(id, change).await.expect(FAILED).expect("it is there");
        assert_eq!([refreshed, found, listed, changed].map(|user| user.kind()), [kind; 4]);
    }
}

async fn sessions(store: &dyn AccountStore) {
    let user = UserId::new();
    store.create(account(user, "many", "")).await.expect(FAILED);
    let all: Vec<_> = (1..=4).map(|n| session(user, &format!("device {n}"), n)).collect();
    for (n, one) in (0..).zip(&all) {
        store.begin(one.clone(), [n; 32], 3, None).await.expect(FAILED);
    }
    let listed = store.sessions(user).await.expect(FAILED);
    assert_eq!(listed, [all[3].clone(), all[2].clone(), all[1].clone()], "the one unused longest has gone");
    let ended = async |since| {
        let all = store.ended(since, 1000).await.expect(FAILED);
        all.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert!(ended(0).await.contains(&all[0].id) && !ended(0).await.contains(&all[1].id));
    assert!(!known(store, [0; 32]).await, "its tokens have gone with it");

    let again = session(user, "device 4", 9);
    store.begin(again.clone(), [9; 32], 3, None).await.expect(FAILED);
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
    assert!(!known(store, [9; 32]).await);
}

/// Who logs in gives way to nobody, also where others who began later were quicker.
async fn overtaken(store: &dyn AccountStore) {
    let user = UserId::new();
    store.create(account(user, "overtaken", "")).await.expect(FAILED);
    let all: Vec<_> = (0..4).map(|n| session(user, &format!("device {n}"), 10 - n)).collect();
    for (n, one) in (230..).zip(&all) {
        assert!(matches!(store.begin(one.clone(), [n; 32], 3, None).await.expect(FAILED), super::Begun::Yes(_)));
        assert!(store.sessions(user).await.expect(FAILED).contains(one));
    }
    assert_eq!(store.sessions(user).await.expect(FAILED), [all[0].clone(), all[1].clone(), all[3].clone()]);
}

async fn passwords(store: &dyn AccountStore) {
    let user = UserId::new();
    store.create(account(user, "changes", "old")).await.expect(FAILED);
    assert_eq!(store.password(user).await.expect(FAILED).as_deref(), Some("old"));
    assert_eq!(store.password(UserId::new()).await.expect(FAILED), None);
    let all: Vec<_> = (1..=3).map(|n| session(user, &format!("device {n}"), n)).collect();
    for (n, one) in (150..).zip(&all) {
        store.begin(one.clone(), [n; 32], 16, None).await.expect(FAILED);
    }
    let (old, another) = (Some("old".to_owned()), Some("another".to_owned()));
    assert!(!store.set_password(user, "new".into(), another, None, 5000).await.expect(FAILED), "it was another");
    assert_eq!(store.sessions(user).await.expect(FAILED).len(), 3, "nothing has changed");
    assert!(store.set_password(user, "new".into(), old.clone(), Some(all[1].id), 5000).await.expect(FAILED));
    assert_eq!(store.password(user).await.expect(FAILED).as_deref(), Some("new"));
    let late = session(user, "late", 4);
    assert_eq!(store.begin(late, [153; 32], 16, old).await.expect(FAILED), super::Begun::NoAccount, "checked before");
    assert_eq!(store.sessions(user).await.expect(FAILED), [all[1].clone()], "the other sessions have ended");
    let ended: Vec<_> = store.ended(5000, 1000).await.expect(FAILED).into_iter().map(|(id, _)| id).collect();
    assert!(ended.contains(&all[0].id) && ended.contains(&all[2].id) && !ended.contains(&all[1].id));
    assert!(!known(store, [150; 32]).await && known(store, [151; 32]).await);
}

/// Whether a refresh token is known; it is used for that.
async fn known(store: &dyn AccountStore, refresh: [u8; 32]) -> bool {
    store.renew(refresh, rand::random(), 0, 0).await.expect(FAILED) != Renewed::Unknown
}

async fn tokens(store: &dyn AccountStore) {
    const GRACE: i64 = 1000;
    let user = UserId::new();
    store.create(NewAccount { name: "토큰".into(), ..account(user, "tokens", "") }).await.expect(FAILED);
    let one = session(user, "device", 1);
    store.begin(one.clone(), [100; 32], 16, None).await.expect(FAILED);
    let renew = async |used: u8, next: u8, now| store.renew([used; 32], [next; 32], GRACE, now).await.expect(FAILED);
    let next = |renewed: Renewed, now| match renewed {
        Renewed::Next(session, whose) => {
            assert_eq!(session, Session { used_at: now, ..one.clone() });
            assert_eq!((whose.user, whose.handle.as_str(), whose.name.as_str()), (user.to_string(), "tokens", "토큰"));
        }
        other => panic!("{other:?}"),
    };
    next(renew(100, 101, 50).await, 50);
    // Used again before the new pair was, however long that takes: both new ones are good.
    next(renew(100, 102, 5000).await, 5000);
    // The new pair is used: the old one is done with, and good for a time.
    next(renew(102, 103, 5001).await, 5001);
    assert_eq!(store.sessions(user).await.expect(FAILED)[0].used_at, 5001);
    next(renew(103, 104, 5002).await, 5002);
    next(renew(102, 105, 5001 + GRACE).await, 5001 + GRACE);
    let late = |renewed: Renewed| matches!(renewed, Renewed::Late(session) if session.id == one.id);
    assert!(late(renew(100, 106, 5002 + GRACE).await), "too late");
    assert!(late(renew(101, 106, 5002 + GRACE).await), "the one beside it, too");
    next(renew(105, 107, 6500).await, 6500);
    next(renew(107, 108, 6501).await, 6501);
    assert_eq!(renew(200, 201, 0).await, Renewed::Unknown);
    assert_eq!(renew(106, 201, 0).await, Renewed::Unknown, "what was refused has made none");
    let at_once = [renew(108, 110, 7000), renew(108, 111, 7000), renew(108, 112, 7000)];
    let [a, b, c] = at_once;
    let (a, b, c) = tokio::join!(a, b, c);
    for renewed in [a, b, c] {
        next(renewed, 7000);
    }
    next(renew(111, 113, 7001).await, 7001);
}

/// However often a session is refreshed, few of its tokens are kept, and the use of one that somebody took still shows.
async fn many_tokens(store: &dyn AccountStore) {
    const GRACE: i64 = 10;
    let user = UserId::new();
    store.create(account(user, "many_tokens", "")).await.expect(FAILED);
    let token = |n: i64| {
        let mut token = [if n % 16 == 0 { 0 } else { 255 }; 32];
        token[8..16].copy_from_slice(&n.to_be_bytes());
        token
    };
    let one = session(user, "device", 1);
    store.begin(one.clone(), token(0), 16, None).await.expect(FAILED);
    let last = KEPT_TOKENS + 64;
    for n in 0..last {
        let renewed = store.renew(token(n), token(n + 1), GRACE, 100 + n).await.expect(FAILED);
        assert!(matches!(renewed, Renewed::Next(..)), "{n}: {renewed:?}");
    }
    let renew = async |n| store.renew(token(n), rand::random(), GRACE, 100 + last).await.expect(FAILED);
    for n in [0, 1, last - KEPT_TOKENS - 2 * GRACE - 16] {
        assert_eq!(renew(n).await, Renewed::Unknown, "{n} is forgotten");
    }
    for n in [last - KEPT_TOKENS - GRACE + 1, last - KEPT_TOKENS, last - GRACE - 2] {
        let renewed = renew(n).await;
        assert!(matches!(&renewed, Renewed::Late(session) if session.id == one.id), "{n} is known: {renewed:?}");
    }
    for n in [last - GRACE + 1, last] {
        assert!(matches!(renew(n).await, Renewed::Next(..)), "{n} is good");
    }
}
