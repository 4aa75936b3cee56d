//! What every store of subscriptions must do; each adapter passes it.
#![allow(clippy::expect_used)] // checks for tests: a panic is how they tell

use super::{Late, SEVERAL, SHOWN_MS, Settled, Subscription, Subscriptions, Target, Where};
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
    // There may be others in the store, after these.
    assert_eq!(rest[..all.len() - 1], all[1..]);
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
    let of = |n: u8| {
        let (seq, due_at, push) = (n.into(), 100 + i64::from(n), vec![n]);
        Late { whom, seq, shard: 3, due_at, messages: 1, mentioned: 0, push }
    };
    let of_several = |n: u8| Late { messages: SEVERAL, ..of(n) };
    let other = Late { whom: (UserId::new(), whom.1, whom.2), ..of(9) };
    let keep = async |late: Vec<Late>| {
        let late = late.into_iter().map(|late| (late.whom, late)).collect();
        store.settle(Settled { late, ..Settled::default() }, 1).await.expect(FAILED);
    };
    let done = async |whom: Where, seq| {
        store.settle(Settled { done: [(whom, seq)].into(), ..Settled::default() }, 1).await.expect(FAILED);
    };
    let leave = async |whom: Where, seq| {
        store.settle(Settled { dropped: [(whom, seq)].into(), ..Settled::default() }, 1).await.expect(FAILED);
    };
    keep(vec![of(1), other.clone()]).await;
    keep(vec![of(2)]).await;
    let due = async |until, limit| store.due(3, until, limit, Vec::new()).await.expect(FAILED);
    assert_eq!(due(101, 10).await, [], "the newest of a conversation alone is kept");
    assert_eq!(due(102, 10).await, [of_several(2)], "it stands for those before it");
    assert_eq!(due(1000, 10).await, [of_several(2), other.clone()]);
    assert_eq!(due(1000, 1).await, [of_several(2)]);
    assert_eq!(store.due(4, 1000, 10, Vec::new()).await.expect(FAILED), [], "of another shard");
    let but = |except| store.due(3, 1000, 1, except);
    assert_eq!(but(vec![(whom.0, whom.1), (UserId::new(), whom.1)]).await.expect(FAILED), slice::from_ref(&other));
    assert_eq!(but(vec![(other.whom.0, whom.1), (whom.0, DeviceId::new())]).await.expect(FAILED), [of_several(2)]);
    done(other.whom, 9).await;
    done((whom.0, whom.1, ConversationId::new()), 9).await;
    keep(vec![of(2)]).await;
    assert_eq!(due(1000, 10).await, [of_several(2)], "the same once more");
    let of_room = async |shard| store.late_of(shard, vec![whom.2, ConversationId::new()]).await.expect(FAILED);
    assert_eq!((of_room(3).await, of_room(4).await), (vec![of_several(2)], vec![]));
    let change = async |was: Late, now: Option<Vec<u8>>| store.change(vec![(was, now)]).await.expect(FAILED);
    change(of(1), None).await;
    change(of(1), Some(vec![7])).await;
    assert_eq!(due(1000, 10).await, [of_several(2)], "something newer is kept meanwhile");
    change(of(2), Some(vec![7])).await;
    let changed = Late { push: vec![7], ..of_several(2) };
    assert_eq!(due(1000, 10).await, slice::from_ref(&changed));
    change(changed, None).await;
    assert_eq!(due(1000, 10).await, []);
    keep(vec![of(5)]).await;
    keep(vec![of(4)]).await;
    done(whom, 4).await;
    for another in [4, 6] {
        leave(whom, another).await;
    }
    assert_eq!(due(1000, 10).await, [of(5)], "what became of another message touches nothing");
    let again = Late { due_at: 900, push: vec![6], ..of(5) };
    keep(vec![again.clone()]).await;
    assert_eq!(due(1000, 10).await, slice::from_ref(&again), "the same again, later");
    leave(whom, 5).await;
    assert_eq!(due(1000, 10).await, []);
    keep(vec![of(4)]).await;
    let read = Late { messages: 0, ..of(5) };
    keep(vec![read.clone()]).await;
    assert_eq!(due(1000, 10).await, [read], "those before it were read");
    keep(vec![of(6)]).await;
    assert_eq!(due(1000, 10).await, [of(6)]);
    done(whom, 6).await;
    assert_eq!(due(1000, 10).await, []);
    let naming = |n: u8, mentioned| Late { mentioned, ..of(n) };
    keep(vec![naming(7, 7)]).await;
    keep(vec![of(8)]).await;
    keep(vec![of(8)]).await;
    let several = Late { messages: SEVERAL, ..naming(8, 7) };
    assert_eq!(due(1000, 10).await, slice::from_ref(&several), "one of them names who is told");
    keep(vec![naming(9, 9)]).await;
    assert_eq!(due(1000, 10).await, [Late { messages: SEVERAL, ..naming(9, 9) }], "the newest that does");
    keep(vec![Late { messages: 0, ..of(10) }]).await;
    assert_eq!(due(1000, 10).await, [Late { messages: 0, ..of(10) }], "it was read");
    done(whom, 10).await;
    let together = Settled { done: [(whom, 7)].into(), late: [(whom, of(7))].into(), ..Settled::default() };
    store.settle(together, 1).await.expect(FAILED);
    assert_eq!(due(1000, 10).await, [of(7)], "what is kept comes last");
    done(whom, 7).await;
}

async fn shown(store: &dyn Subscriptions) {
    let (user, phone, laptop) = (UserId::new(), DeviceId::new(), DeviceId::new());
    let (here, there) = (ConversationId::new(), ConversationId::new());
    let show = async |shown: Vec<(Where, u64)>, now| {
        store.settle(Settled { shown: shown.into_iter().collect(), ..Settled::default() }, now).await.expect(FAILED);
    };
    let clear = async |device, conversation, seq| {
        let cleared = [((user, device, conversation), seq)].into();
        store.settle(Settled { cleared, ..Settled::default() }, 1000).await.expect(FAILED);
    };
    show(vec![((user, phone, here), 4), ((user, laptop, here), 5), ((user, phone, there), 1)], 1000).await;
    show(vec![((user, laptop, here), 6)], 1000).await;
    show(vec![((user, laptop, here), 5)], 1000).await;
    let showing = async |conversation, seq| {
        let mut found = store.showing(vec![(user, conversation, seq), (UserId::new(), here, 9)]).await.expect(FAILED);
        found.sort();
        assert!(found.iter().all(|(whom, up_to)| (whom.0, whom.2, *up_to) == (user, conversation, seq)));
        found.into_iter().map(|((_, device, _), _)| device).collect::<Vec<_>>()
    };
    assert_eq!(showing(here, 3).await, []);
    assert_eq!(showing(here, 5).await, [phone]);
    assert_eq!(showing(here, 6).await, [phone.min(laptop), phone.max(laptop)]);
    clear(laptop, here, 5).await;
    assert_eq!(showing(here, 6).await.len(), 2, "it shows a newer one");
    clear(laptop, here, 6).await;
    assert_eq!((showing(here, 6).await, showing(there, 1).await), (vec![phone], vec![phone]));
    show(vec![((user, laptop, here), 7)], 1001 + SHOWN_MS).await;
    assert_eq!(showing(there, 9).await, [], "what is long past is forgotten");
    assert_eq!(showing(here, 9).await, [laptop]);
    assert!(store.showing(Vec::new()).await.expect(FAILED).is_empty());
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
