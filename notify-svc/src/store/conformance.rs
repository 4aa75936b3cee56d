//! What every store of subscriptions must do; each adapter passes it.
#![allow(clippy::expect_used)] // checks for tests: a panic is how they tell

use super::{Late, SHOWN_MS, Subscription, Subscriptions, Target};
use madang_proto::{
    client::v1::DeviceKind,
    id::{ConversationId, DeviceId, SessionId, UserId},
    notify::v1::Provider,
};
use std::slice;
use uuid::Uuid;

const FAILED: &str = "the store does what it is asked";

fn one(user: UserId, address: &str) -> Subscription {
    let target = Target { provider: Provider::WebPush, address: address.into(), secret: vec![4; 81] };
    Subscription {
        id: Uuid::new_v4(),
        user,
        device: DeviceId::new(),
        session: SessionId::new(),
        kind: DeviceKind::Web,
        target,
        locale: "ko".into(),
        preview: true,
        created_at: 7,
    }
}

/// Checks a store; panics where it does not do what it should.
///
/// # Panics
/// That is how it tells.
pub async fn check(store: &dyn Subscriptions) {
    let (first, second) = tokio::join!(store.key(vec![1; 40]), store.key(vec![2; 40]));
    let first = first.expect(FAILED);
    assert_eq!(first, second.expect(FAILED), "all sign with the same key");
    assert_eq!(store.key(vec![3]).await.expect(FAILED), first);
    subscriptions(store).await;
    late(store).await;
    shown(store).await;
    places(store).await;
}

async fn subscriptions(store: &dyn Subscriptions) {
    let (ann, bob) = (UserId::new(), UserId::new());
    let of = async |user| store.of_users(vec![user]).await.expect(FAILED);
    let (phone, laptop) = (one(ann, "https://push/1"), one(ann, "https://push/2"));
    for each in [&phone, &laptop] {
        store.put(each.clone()).await.expect(FAILED);
    }
    let mut both = of(ann).await;
    both.sort_by(|one, other| one.target.address.cmp(&other.target.address));
    assert_eq!(both, [phone.clone(), laptop.clone()]);

    let taken = Subscription { target: laptop.target.clone(), ..one(bob, "") };
    store.put(taken.clone()).await.expect(FAILED);
    assert_eq!(of(ann).await, slice::from_ref(&phone), "a place belongs to the last who registers it");
    assert_eq!(of(bob).await, slice::from_ref(&taken));
    let moved = Subscription { id: Uuid::new_v4(), target: one(ann, "https://push/3").target, ..phone.clone() };
    store.put(moved.clone()).await.expect(FAILED);
    assert_eq!(of(ann).await, slice::from_ref(&moved), "a device has one place");
    store.put(Subscription { id: Uuid::new_v4(), ..moved.clone() }).await.expect(FAILED);
    let again = of(ann).await;
    assert!(again.len() == 1 && again[0].id != moved.id, "the same again");
    store.drop_one(moved.id).await.expect(FAILED);
    assert_eq!(of(ann).await, again, "a registration that was made anew stays");

    let all = store.sessions((Uuid::nil(), Uuid::nil()), 1000).await.expect(FAILED);
    assert!(all.contains(&(ann, phone.device, phone.session)) && all.contains(&(bob, taken.device, taken.session)));
    assert!(all.is_sorted());
    let (user, device, _) = all[0];
    let rest = store.sessions((user.uuid(), device.uuid()), 1000).await.expect(FAILED);
    assert_eq!(rest, all[1..]);
    assert_eq!(store.sessions((Uuid::nil(), Uuid::nil()), 1).await.expect(FAILED), all[..1]);

    store.end(vec![SessionId::new(), taken.session]).await.expect(FAILED);
    assert_eq!(of(bob).await, [], "what a session had ends with it");
    store.drop_one(again[0].id).await.expect(FAILED);
    assert_eq!(of(ann).await, []);
    store.put(phone.clone()).await.expect(FAILED);
    store.remove(ann, laptop.device).await.expect(FAILED);
    assert_eq!(store.of_users(vec![bob, ann]).await.expect(FAILED), slice::from_ref(&phone));
    store.remove(ann, phone.device).await.expect(FAILED);
    assert_eq!(of(ann).await, []);
}

async fn late(store: &dyn Subscriptions) {
    let whom = (UserId::new(), DeviceId::new(), ConversationId::new());
    let of = |n: u8| Late { whom, shard: 3, due_at: 100 + i64::from(n), push: vec![n] };
    let other = Late { whom: (UserId::new(), whom.1, whom.2), ..of(9) };
    store.keep(vec![of(1), other.clone(), of(2)]).await.expect(FAILED);
    let due = async |until, limit| store.due(3, until, limit).await.expect(FAILED);
    assert_eq!(due(101, 10).await, [], "the newest of a conversation alone is kept");
    assert_eq!(due(102, 10).await, [of(2)]);
    assert_eq!(due(1000, 10).await, [of(2), other.clone()]);
    assert_eq!(due(1000, 1).await, [of(2)]);
    assert_eq!(store.due(4, 1000, 10).await.expect(FAILED), [], "of another shard");
    store.done(vec![of(1), other]).await.expect(FAILED);
    assert_eq!(due(1000, 10).await, [of(2)], "what has replaced another stays");
    store.done(vec![of(2)]).await.expect(FAILED);
    assert_eq!(due(1000, 10).await, []);
}

async fn shown(store: &dyn Subscriptions) {
    let (user, phone, laptop) = (UserId::new(), DeviceId::new(), DeviceId::new());
    let (here, there) = (ConversationId::new(), ConversationId::new());
    let show = vec![((user, phone, here), 4), ((user, laptop, here), 6), ((user, phone, there), 1)];
    store.shown(show, 1000).await.expect(FAILED);
    let clear = async |conversation, seq| store.clear(user, conversation, seq).await.expect(FAILED);
    assert_eq!(clear(here, 3).await, []);
    assert_eq!(clear(here, 5).await, [phone]);
    assert_eq!(clear(here, 5).await, [], "once");
    assert_eq!(clear(here, 6).await, [laptop]);
    store.shown(vec![((user, laptop, here), 7)], 1001 + SHOWN_MS).await.expect(FAILED);
    assert_eq!(clear(there, 9).await, [], "what is long past is forgotten");
    assert_eq!(clear(here, 9).await, [laptop]);
}

async fn places(store: &dyn Subscriptions) {
    assert_eq!(store.cursor(5).await.expect(FAILED), 0);
    for position in [7, 9, 8] {
        store.save_cursor(5, position).await.expect(FAILED);
    }
    assert_eq!((store.cursor(5).await.expect(FAILED), store.cursor(6).await.expect(FAILED)), (9, 0), "never back");
    assert_eq!(store.ended_until().await.expect(FAILED), 0);
    for until in [70, 60] {
        store.set_ended_until(until).await.expect(FAILED);
    }
    assert_eq!(store.ended_until().await.expect(FAILED), 70);
}
