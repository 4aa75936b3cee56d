//! The ends of accounts, as every store must keep them.

use super::{FAILED, account, known, session};
use crate::store::{AccountStore, Begun, Change, deletions::Job};
use madang_proto::id::{ConversationId, UserId};

pub(super) async fn check(store: &dyn AccountStore) {
    deleted(store).await;
    suspended(store).await;
}

async fn deleted(store: &dyn AccountStore) {
    let user = UserId::new();
    store.create(account(user, "leaves", "hash")).await.expect(FAILED);
    let change = Change { picture: Some("p".into()), status: Some("still here".into()), ..Change::default() };
    store.update(user, change).await.expect(FAILED);
    let one = session(user, "device", 1);
    assert_eq!(store.begin(one.clone(), [210; 32], 16, None).await.expect(FAILED), Begun::Yes(false));
    let delete = async |user, was: &str, erase, now| store.delete(user, was.into(), erase, now).await.expect(FAILED);
    assert!(!delete(UserId::new(), "hash", true, 7000).await);
    assert!(!delete(user, "another", true, 7000).await, "by a password that it has no more");
    assert!(delete(user, "hash", true, 7000).await);
    assert!(!delete(user, "hash", false, 7001).await && !delete(user, "", false, 7001).await, "once");

    let shown = store.by_ids(vec![user]).await.expect(FAILED).pop().expect("it is known that it was there");
    assert!(shown.deleted && shown.handle.is_empty() && shown.name.is_empty() && shown.status_message.is_empty());
    assert!(store.by_handle("leaves".into()).await.expect(FAILED).is_none());
    assert!(!store.create(account(UserId::new(), "leaves", "")).await.expect(FAILED));
    let name = Change { name: Some("back".into()), ..Change::default() };
    assert!(store.update(user, name).await.expect(FAILED).is_none());
    assert!(store.update(user, Change::default()).await.expect(FAILED).is_none());
    assert_eq!(store.password(user).await.expect(FAILED), None);
    assert!(!store.set_password(user, "new".into(), None, None, 7002).await.expect(FAILED));
    assert!(!store.suspend(user, true, 7002).await.expect(FAILED));
    assert!(store.sessions(user).await.expect(FAILED).is_empty());
    assert!(store.ended(7000, 1000).await.expect(FAILED).iter().any(|(id, _)| *id == one.id));
    assert_eq!(store.begin(session(user, "device", 2), [211; 32], 16, None).await.expect(FAILED), Begun::NoAccount);

    let job = Job { user, erase: true, picture: "p".into(), round: 0, place: None };
    assert_eq!(store.take_deletion(6999, 9000).await.expect(FAILED), None, "it is not due");
    let takers = [store.take_deletion(7000, 9000), store.take_deletion(7000, 9000)];
    let [one, other] = takers.map(|taker| async { taker.await.expect(FAILED) });
    let (one, other) = tokio::join!(one, other);
    assert_eq!(one.iter().chain(&other).collect::<Vec<_>>(), [&job], "one has it");
    let further = Job { round: 1, place: Some(ConversationId::new()), ..job };
    store.keep_deletion(further.clone(), 9500).await.expect(FAILED);
    assert_eq!(store.take_deletion(9499, 10_000).await.expect(FAILED), None);
    assert_eq!(store.take_deletion(9500, 10_000).await.expect(FAILED), Some(further.clone()));
    assert_eq!(store.take_deletion(10_000, 20_000).await.expect(FAILED), Some(further), "who had it has died");
    store.finish_deletion(user).await.expect(FAILED);
    assert_eq!(store.take_deletion(1_000_000, 1_000_001).await.expect(FAILED), None);
}

async fn suspended(store: &dyn AccountStore) {
    let user = UserId::new();
    store.create(account(user, "rests", "hash")).await.expect(FAILED);
    let one = session(user, "device", 1);
    store.begin(one.clone(), [220; 32], 16, None).await.expect(FAILED);
    assert!(!store.suspend(UserId::new(), true, 8000).await.expect(FAILED));
    assert!(store.suspend(user, true, 8000).await.expect(FAILED));
    assert!(!known(store, [220; 32]).await);
    assert!(store.ended(8000, 1000).await.expect(FAILED).iter().any(|(id, _)| *id == one.id));
    assert_eq!(store.begin(session(user, "device", 2), [221; 32], 16, None).await.expect(FAILED), Begun::Suspended);
    assert!(store.suspend(user, false, 8001).await.expect(FAILED));
    assert_eq!(store.begin(session(user, "device", 2), [222; 32], 16, None).await.expect(FAILED), Begun::Yes(false));
    assert_eq!(store.begin(session(user, "other", 3), [223; 32], 16, None).await.expect(FAILED), Begun::Yes(true));
    assert!(store.set_password(user, "new".into(), None, None, 8002).await.expect(FAILED));
    assert!(store.sessions(user).await.expect(FAILED).is_empty(), "all have ended");
}
