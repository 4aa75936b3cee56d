//! What every store must do with invites.

use super::{FAILED, Room, bytes, created, joined};
use crate::store::{
    GroupStore,
    invites::{INVITES, Invited, Kept, TAKEN_MS, Taken, hash, new_code},
};
use madang_proto::{
    client::v1::Role,
    id::{ConversationId, UserId},
    log::v1::{MembersJoined, MembersLeft, logged_event::Body},
};

const NOW: i64 = 1_700_000_000_000;

fn kept(conversation: ConversationId, by: UserId, max_uses: u32, expires_at: i64) -> Kept {
    Kept { code: new_code(), conversation, by, expires_at, max_uses, uses: 0 }
}

/// Whether there is room for one.
async fn keep(store: &dyn GroupStore, invite: Kept, now_ms: i64) -> bool {
    let invited = store.invite(invite, None, now_ms).await.expect(FAILED);
    assert_ne!(invited, Invited::Before, "it has no key");
    invited == Invited::Made
}

async fn uses(store: &dyn GroupStore, invite: &Kept) -> u32 {
    store.find_invite(hash(&invite.code)).await.expect(FAILED).expect("it is there").uses
}

/// Checks invites; panics where the store does not do what it should.
///
/// # Panics
/// That is how it tells.
pub async fn check_invites(store: &dyn GroupStore) {
    let [ann, bob, cho] = [UserId::new(), UserId::new(), UserId::new()];
    let (mut room, other) = (Room::new(1_000_000), ConversationId::new());
    let first = vec![room.event(ann, created(&[(ann, Role::Owner)]))];
    store.apply(0, first, 1).await.expect(FAILED);
    let invite = kept(room.id, ann, 2, NOW + 1000);
    assert!(keep(store, invite.clone(), NOW).await);
    let code = hash(&invite.code);
    assert_eq!(store.find_invite(code).await.expect(FAILED), Some(invite.clone()));
    assert_eq!(store.invites(room.id).await.expect(FAILED), vec![invite.clone()]);
    assert_eq!(store.invites(other).await.expect(FAILED), vec![]);
    assert_eq!(store.find_invite(hash("x")).await.expect(FAILED), None);
    assert_eq!(store.take_place(hash("x"), bob, NOW, 1).await.expect(FAILED), Taken::Gone);

    // A place is taken once, however often one asks, and given back.
    let take = async |who, now| store.take_place(code, who, now, 1).await.expect(FAILED);
    assert_eq!(
        (take(bob, NOW).await, take(bob, NOW).await, uses(store, &invite).await),
        (Taken::Place, Taken::Place, 1)
    );
    store.settle(code, bob, None).await.expect(FAILED);
    store.settle(code, bob, None).await.expect(FAILED);
    assert_eq!(uses(store, &invite).await, 0);
    // At once, exactly as many as may.
    let people: Vec<_> = (0..12).map(|_| UserId::new()).collect();
    let mut taken = 0;
    for chunk in people.chunks(4) {
        let [a, b, c, d] = chunk else { continue };
        let four = tokio::join!(take(*a, NOW), take(*b, NOW), take(*c, NOW), take(*d, NOW));
        taken += [four.0, four.1, four.2, four.3].iter().filter(|taken| **taken == Taken::Place).count();
    }
    assert_eq!((taken, uses(store, &invite).await), (2, 2));
    assert_eq!(take(bob, NOW).await, Taken::UsedUp);

    // After a while the places of those who never came are free; of those who came, not.
    let holders: Vec<UserId> = {
        let mut holders = Vec::new();
        for each in &people {
            if take(*each, NOW).await == Taken::Place {
                holders.push(*each);
            }
        }
        holders
    };
    assert_eq!(holders.len(), 2, "who has a place finds it");
    let came = Body::Joined(MembersJoined { members: joined(&[(holders[0], Role::Member)]) });
    store.apply(0, vec![room.event(holders[0], came)], 2).await.expect(FAILED);
    assert_eq!(take(bob, NOW + TAKEN_MS).await, Taken::Expired);
    let later = kept(room.id, ann, 1, 0);
    assert!(keep(store, later.clone(), NOW).await);
    let (code, looked_at) = (hash(&later.code), room.revision);
    let take = async |who, now| store.take_place(code, who, now, looked_at).await.expect(FAILED);
    assert_eq!(take(holders[0], NOW).await, Taken::Place);
    assert_eq!(take(bob, NOW + TAKEN_MS + 1).await, Taken::UsedUp, "they are a member");
    let gone = Body::Left(MembersLeft { users: vec![bytes(holders[0]).into()], ended: false });
    store.apply(0, vec![room.event(holders[0], gone)], 3).await.expect(FAILED);
    assert_eq!(take(bob, NOW + 3 * TAKEN_MS).await, Taken::UsedUp, "and have come by it");
    // Who came by one is known to have, also if nobody was there any more to say so: put out, they are not back by it.
    let cut_off = kept(room.id, ann, 1, NOW + 1000);
    assert!(keep(store, cut_off.clone(), NOW).await);
    let code = hash(&cut_off.code);
    assert_eq!(store.take_place(code, cho, NOW, room.revision).await.expect(FAILED), Taken::Place);
    let came = Body::Joined(MembersJoined { members: joined(&[(cho, Role::Member)]) });
    let put_out = Body::Left(MembersLeft { users: vec![bytes(cho).into()], ended: false });
    store.apply(0, vec![room.event(cho, came), room.event(ann, put_out)], 4).await.expect(FAILED);
    assert_eq!(store.take_place(code, cho, NOW, room.revision).await.expect(FAILED), Taken::UsedUp);
    assert_eq!(store.take_place(code, cho, NOW + 1001, room.revision).await.expect(FAILED), Taken::Expired);
    assert!(store.take_back(room.id, code).await.expect(FAILED));
    let third = kept(room.id, ann, 1, 0);
    assert!(keep(store, third.clone(), NOW).await);
    let (code, looked_at) = (hash(&third.code), room.revision);
    let take = async |who, now| store.take_place(code, who, now, looked_at).await.expect(FAILED);
    assert_eq!(take(cho, NOW).await, Taken::Place);
    assert_eq!(take(bob, NOW + TAKEN_MS).await, Taken::UsedUp);
    assert_eq!(take(bob, NOW + TAKEN_MS + 1).await, Taken::Place, "who took it never came");
    assert_eq!(take(cho, NOW + TAKEN_MS + 1).await, Taken::UsedUp);
    store.settle(code, bob, Some(room.revision + 1)).await.expect(FAILED);
    store.settle(code, bob, None).await.expect(FAILED);
    assert_eq!(uses(store, &third).await, 1, "who has come has come");

    check_twice(store, room.id, ann, room.revision).await;

    // A group has so many; those of no use give way.
    assert!(!store.take_back(other, code).await.expect(FAILED), "another group's");
    assert!(store.take_back(room.id, code).await.expect(FAILED));
    assert!(!store.take_back(room.id, code).await.expect(FAILED));
    for _ in store.invites(room.id).await.expect(FAILED).len()..INVITES {
        assert!(keep(store, kept(room.id, ann, 0, 0), NOW).await);
    }
    assert!(keep(store, kept(room.id, ann, 0, 0), NOW).await, "one was used up");
    assert!(keep(store, kept(room.id, ann, 0, 0), NOW + 1000).await, "one has expired");
    assert!(!keep(store, kept(room.id, ann, 0, 0), NOW + 1000).await);
    assert!(keep(store, kept(other, ann, 0, 0), NOW).await);
    // With its group they end.
    let ended = Body::Left(MembersLeft { users: vec![bytes(ann).into()], ended: true });
    store.apply(0, vec![room.event(ann, ended)], 5).await.expect(FAILED);
    assert_eq!(store.invites(room.id).await.expect(FAILED), vec![]);
    assert_eq!(store.invites(other).await.expect(FAILED).len(), 1);

    // A key makes one, also where that is gone, and where several ask at once.
    let under = async |key: &str, asked| {
        let invite = kept(other, ann, 0, 0);
        (hash(&invite.code), store.invite(invite, Some((key.into(), [asked; 32])), NOW).await.expect(FAILED))
    };
    assert_eq!(under("k", 1).await.1, Invited::Before, "a key that nobody knows any more");
    for key in ["k", "l"] {
        store.made(ann, key.into(), other, NOW).await.expect(FAILED);
    }
    let (code, first) = under("k", 1).await;
    assert_eq!(first, Invited::Made);
    assert!(store.take_back(other, code).await.expect(FAILED));
    assert_eq!(under("k", 1).await.1, Invited::Before);
    assert_eq!(store.made(ann, "k".into(), room.id, NOW).await.expect(FAILED).asked, Some([1; 32].into()));
    let (one, two, three) = tokio::join!(under("l", 1), under("l", 2), under("l", 3));
    let made = [one, two, three].iter().filter(|(_, invited)| *invited == Invited::Made).count();
    assert_eq!((made, store.invites(other).await.expect(FAILED).len()), (1, 2));

    // In how many conversations people are.
    let counts = store.counts(vec![ann, holders[1], bob]).await.expect(FAILED);
    assert_eq!(counts.values().sum::<usize>(), 0, "it has ended");
    let again = vec![Room::new(2_000_000).event(ann, created(&[(ann, Role::Owner), (bob, Role::Member)]))];
    store.apply(0, again, 6).await.expect(FAILED);
    let counts = store.counts(vec![ann, cho, bob]).await.expect(FAILED);
    assert_eq!((counts.get(&ann), counts.get(&bob), counts.get(&cho)), (Some(&1), Some(&1), None));
}

/// Who asks twice at once takes one place, whichever of the two is through first; who comes again later takes another.
async fn check_twice(store: &dyn GroupStore, group: ConversationId, by: UserId, looked_at: u64) {
    let (invite, [cho, dan]) = (kept(group, by, 2, 0), [UserId::new(), UserId::new()]);
    assert!(keep(store, invite.clone(), NOW).await);
    let code = hash(&invite.code);
    let take = async |who, looked_at| store.take_place(code, who, NOW, looked_at).await.expect(FAILED);
    let settle = async |who, joined| store.settle(code, who, joined).await.expect(FAILED);
    assert_eq!(take(cho, looked_at).await, Taken::Place);
    settle(cho, Some(looked_at + 1)).await;
    assert_eq!((take(cho, looked_at).await, uses(store, &invite).await), (Taken::Place, 1), "they came in meanwhile");
    settle(cho, Some(looked_at + 1)).await;
    assert_eq!((take(cho, looked_at + 2).await, uses(store, &invite).await), (Taken::Place, 2), "they come again");
    settle(cho, Some(looked_at + 1)).await;
    settle(cho, None).await;
    assert_eq!(uses(store, &invite).await, 1, "what is answered late is of the first time");
    // Of two who ask for the same user one is refused.
    assert_eq!((take(dan, looked_at).await, take(dan, looked_at).await), (Taken::Place, Taken::Place));
    settle(dan, None).await;
    assert_eq!((uses(store, &invite).await, take(cho, looked_at + 2).await), (2, Taken::UsedUp));
    settle(dan, Some(looked_at + 1)).await;
    settle(dan, None).await;
    assert_eq!(uses(store, &invite).await, 2);
    assert!(store.take_back(group, code).await.expect(FAILED));
}
