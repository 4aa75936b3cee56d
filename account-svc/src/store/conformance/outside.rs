//! Log-ins at the outside identity provider, as every store must keep them.

use super::{FAILED, account};
use crate::store::{
    AccountStore,
    outside::{Admission, LogIn},
};
use madang_proto::{
    client::v1::{Device, DeviceKind},
    id::{SessionId, UserId},
};

/// Far more than any time here.
const FOR_GOOD: i64 = 1 << 50;

fn device(id: &str) -> Option<Device> {
    Some(Device { id: id.into(), kind: DeviceKind::Mobile.into(), name: "폰".into(), app: "app".into() })
}

fn log_in(user: UserId, key: u8, has_session: bool, device: Option<Device>) -> LogIn {
    LogIn { user, key: [key; 32], has_session, at: 0, device, until: FOR_GOOD }
}

struct Someone<'a> {
    store: &'a dyn AccountStore,
    user: UserId,
}

impl<'a> Someone<'a> {
    async fn new(store: &'a dyn AccountStore, handle: &str) -> Self {
        let user = UserId::new();
        store.create(account(user, handle, "")).await.expect(FAILED);
        Self { store, user }
    }

    async fn admit(&self, key: u8, has_session: bool, on: &str, now: i64) -> Admission {
        let device = if on.is_empty() { None } else { device(on) };
        self.store.admit(log_in(self.user, key, has_session, device), 3, now).await.expect(FAILED)
    }

    async fn enter(&self, key: u8, has_session: bool, on: &str, now: i64) -> SessionId {
        match self.admit(key, has_session, on, now).await {
            Admission::Yes(session, _) => session,
            other => panic!("{other:?}"),
        }
    }

    async fn devices(&self) -> Vec<(SessionId, String)> {
        let sessions = self.store.sessions(self.user).await.expect(FAILED);
        sessions.into_iter().map(|session| (session.id, session.device.id)).collect()
    }

    async fn ended(&self, session: SessionId) -> bool {
        self.store.ended(0, 10_000).await.expect(FAILED).iter().any(|(id, _)| *id == session)
    }
}

pub(super) async fn check(store: &dyn AccountStore) {
    with_sid(store).await;
    without_sid(store).await;
    gone(store).await;
    at_once(store).await;
}

/// Tokens that say of which log-in they are.
async fn with_sid(store: &dyn AccountStore) {
    const NOW: i64 = 30_000_000;
    let ann = Someone::new(store, "outside_ann").await;
    let first = ann.enter(1, true, "", NOW).await;
    assert_eq!(ann.devices().await, [(first, first.to_string())], "without a device as yet");
    assert_eq!(ann.enter(1, true, "phone", NOW + 1).await, first);
    assert_eq!(ann.devices().await, [(first, "phone".into())], "hello gives it its device");
    assert_eq!(ann.admit(1, true, "phone", NOW + 2).await, Admission::Yes(first, false));
    let used = async || ann.store.sessions(ann.user).await.expect(FAILED)[0].used_at;
    assert_eq!(used().await, NOW + 1, "not written again for every token");
    ann.enter(1, true, "", NOW + 400_000).await;
    assert_eq!(used().await, NOW + 400_000, "but now and then");

    // A new log-in on the same device ends the one before, for good.
    let second = ann.enter(2, true, "phone", NOW + 500_000).await;
    assert!(second != first && ann.ended(first).await);
    assert_eq!(ann.devices().await, [(second, "phone".into())]);
    assert_eq!(ann.admit(1, true, "phone", NOW + 500_001).await, Admission::Ended(first));
    assert_eq!(ann.admit(1, true, "", NOW + 500_001).await, Admission::Ended(first));
    let anew = |at| LogIn { at, ..log_in(ann.user, 1, true, device("tablet")) };
    assert_eq!(store.admit(anew(NOW + 400_000), 3, NOW + 500_002).await.expect(FAILED), Admission::Ended(first));
    let third = store.admit(anew(NOW + 600_000), 3, NOW + 600_000).await.expect(FAILED);
    let Admission::Yes(third, true) = third else { panic!("who has logged in since is let in: {third:?}") };
    assert!(third != first && !ann.ended(third).await && !ann.ended(second).await);

    // The fourth of three devices.
    let fourth = ann.enter(4, true, "desk", NOW + 600_001).await;
    let fifth = ann.enter(5, true, "web", NOW + 600_002).await;
    assert!(ann.ended(second).await, "the one unused longest");
    let there: Vec<_> = ann.devices().await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(there, [fifth, fourth, third]);
    // A session that takes a device over ends the one that had it.
    assert_eq!(ann.enter(5, true, "desk", NOW + 600_003).await, fifth);
    assert!(ann.ended(fourth).await);
}

/// Tokens that say nothing of a log-in: their device is.
async fn without_sid(store: &dyn AccountStore) {
    const NOW: i64 = 40_000_000;
    let bob = Someone::new(store, "outside_bob").await;
    let loose = bob.enter(1, false, "", NOW).await;
    assert_eq!(bob.enter(2, false, "", NOW + 1).await, loose, "all that say no hello are one");
    let phone = bob.enter(3, false, "phone", NOW + 2).await;
    assert_ne!(phone, loose);
    assert_eq!(bob.enter(3, false, "", NOW + 3).await, phone, "a token is of the device that said hello with it");
    assert_eq!(bob.enter(4, false, "phone", NOW + 4).await, phone, "and the next one of that device, too");
    assert_eq!(bob.enter(2, false, "phone", NOW + 5).await, phone, "though it was used before it said hello");
    assert!(!bob.ended(loose).await);
    let desk = bob.enter(5, false, "desk", NOW + 6).await;
    assert_eq!(bob.enter(1, false, "", NOW + 7).await, loose);

    bob.store.end(Some(bob.user), phone, NOW + 10).await.expect(FAILED);
    for key in [2, 3, 4] {
        assert_eq!(bob.admit(key, false, "", NOW + 11).await, Admission::Ended(phone), "{key}");
        assert_eq!(bob.admit(key, false, "desk", NOW + 11).await, Admission::Ended(phone), "{key}");
    }
    assert_eq!(bob.enter(5, false, "", NOW + 12).await, desk);
    let again = bob.enter(6, false, "phone", NOW + 13).await;
    assert!(again != phone && again != desk, "a token that nobody has shown before is a log-in");
}

/// Accounts that are none, were one, or may not be one now; and what is forgotten.
async fn gone(store: &dyn AccountStore) {
    const NOW: i64 = 50_000_000;
    let nobody = Someone { store, user: UserId::new() };
    assert_eq!(nobody.admit(1, true, "phone", NOW).await, Admission::Unknown);
    let eve = Someone::new(store, "outside_eve").await;
    let session = eve.enter(1, true, "phone", NOW).await;
    assert!(store.suspend(eve.user, true, NOW + 1).await.expect(FAILED));
    assert_eq!(eve.admit(1, true, "phone", NOW + 2).await, Admission::Suspended);
    assert_eq!(eve.admit(2, true, "phone", NOW + 2).await, Admission::Suspended);
    assert!(store.suspend(eve.user, false, NOW + 3).await.expect(FAILED));
    assert_eq!(eve.admit(1, true, "phone", NOW + 4).await, Admission::Ended(session));

    let short = LogIn { until: NOW + 100, ..log_in(eve.user, 3, false, None) };
    let loose = store.admit(short.clone(), 3, NOW + 5).await.expect(FAILED);
    let Admission::Yes(loose, _) = loose else { panic!("{loose:?}") };
    store.end(None, loose, NOW + 6).await.expect(FAILED);
    store.forget_log_ins(NOW + 100).await.expect(FAILED);
    assert_eq!(store.admit(short.clone(), 3, NOW + 7).await.expect(FAILED), Admission::Ended(loose));
    store.forget_log_ins(NOW + 101).await.expect(FAILED);
    assert!(matches!(store.admit(short, 3, NOW + 8).await.expect(FAILED), Admission::Yes(..)));
    assert_eq!(eve.admit(1, true, "phone", NOW + 9).await, Admission::Ended(session), "what may come is not forgotten");

    assert!(store.delete(eve.user, String::new(), false, NOW + 10).await.expect(FAILED));
    for key in [1, 9] {
        assert_eq!(eve.admit(key, true, "phone", NOW + 11).await, Admission::Deleted);
    }
    let job = store.take_deletion(NOW + 10, FOR_GOOD).await.expect(FAILED).expect("it is due");
    store.finish_deletion(job.user).await.expect(FAILED);
}

async fn at_once(store: &dyn AccountStore) {
    let dan = Someone::new(store, "outside_dan").await;
    let all = [1, 1, 1, 1].map(|key| dan.enter(key, true, "phone", 60_000_000));
    let [a, b, c, d] = all;
    let (a, b, c, d) = tokio::join!(a, b, c, d);
    assert!(a == b && b == c && c == d, "one log-in is one session");
    assert_eq!(dan.devices().await.len(), 1);
}
