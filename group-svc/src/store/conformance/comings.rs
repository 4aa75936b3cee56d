//! What every store must do with those who are about to come.

use super::{FAILED, Room, bytes, created, joined};
use crate::store::{GroupStore, comings::KEEP_MS};
use madang_proto::{
    client::v1::Role,
    id::{ConversationId, UserId},
    log::v1::{MembersJoined, MembersLeft, logged_event::Body},
};

const NOW: i64 = 1_700_000_000_000;

/// Checks who is announced; panics where the store does not do what it should.
///
/// # Panics
/// That is how it tells.
pub async fn check_comings(store: &dyn GroupStore) {
    let [ann, bob, cho] = [UserId::new(), UserId::new(), UserId::new()];
    let announce = async |room, users: &[UserId], most, now| {
        let full = store.announce(room, users.to_vec(), most, now).await.expect(FAILED);
        let mut full: Vec<UserId> = full.into_iter().collect();
        full.sort_unstable();
        full
    };
    let may = async |room, user, now| announce(room, &[user], 2, now).await.is_empty();
    // One that she is in, and one that she is about to be in.
    let (mut first, mut second, third) = (Room::new(1_000_000), Room::new(2_000_000), ConversationId::new());
    store.apply(0, vec![first.event(ann, created(&[(ann, Role::Owner)]))], 1).await.expect(FAILED);
    assert!(may(second.id, ann, NOW).await && may(second.id, ann, NOW).await, "twice is once");
    assert!(!may(third, ann, NOW).await, "two are as many as she may be in");
    assert_eq!(announce(third, &[bob, ann, cho], 2, NOW).await, [ann], "only her");
    assert!(may(first.id, ann, NOW).await, "she is in it");
    store.call_off(third, vec![bob, cho]).await.expect(FAILED);
    // She has come, goes, and comes to another.
    store
        .apply(0, vec![second.event(ann, created(&[(ann, Role::Owner), (bob, Role::Member)]))], 2)
        .await
        .expect(FAILED);
    assert!(!may(third, ann, NOW).await, "she counts once");
    let left = |users| Body::Left(MembersLeft { users, ended: false });
    store.apply(0, vec![second.event(ann, left(vec![bytes(ann).into()]))], 3).await.expect(FAILED);
    assert!(may(third, ann, NOW).await, "who has come and gone is not about to come");
    assert!(!may(second.id, ann, NOW).await);
    // What was asked for twice is called off twice.
    assert!(may(third, ann, NOW).await);
    store.call_off(third, vec![ann]).await.expect(FAILED);
    assert!(!may(second.id, ann, NOW).await, "somebody asks for her still");
    store.call_off(third, vec![ann]).await.expect(FAILED);
    store.call_off(third, vec![ann]).await.expect(FAILED);
    assert!(may(second.id, ann, NOW).await, "to where she was before");
    assert!(!may(third, ann, NOW).await);
    let again = Body::Joined(MembersJoined { members: joined(&[(ann, Role::Member)]) });
    store.apply(0, vec![second.event(bob, again)], 4).await.expect(FAILED);
    assert!(!may(third, ann, NOW).await && may(second.id, ann, NOW).await);
    // Of whom nothing is heard is forgotten.
    let (here, there) = (ConversationId::new(), ConversationId::new());
    assert!(may(here, cho, NOW).await && may(there, cho, NOW + 1).await && !may(third, cho, NOW + KEEP_MS).await);
    assert!(may(third, cho, NOW + KEEP_MS + 1).await && !may(here, cho, NOW + KEEP_MS + 1).await);

    // At once, as many as may, named in any order.
    let (dan, eve) = (UserId::new(), UserId::new());
    let rooms: Vec<_> = (0..16).map(|_| ConversationId::new()).collect();
    let all = rooms.iter().enumerate().map(|(n, room)| {
        let both = if n % 2 == 0 { [dan, eve] } else { [eve, dan] };
        async move { store.announce(*room, both.to_vec(), 5, NOW).await.expect(FAILED) }
    });
    let all = futures_util::future::join_all(all).await;
    for who in [dan, eve] {
        assert_eq!(all.iter().filter(|full| !full.contains(&who)).count(), 5);
    }
    assert!(announce(third, &[dan], 5 + 1001, NOW).await.is_empty(), "who may come into many more is not counted");
    assert_eq!(announce(third, &[dan], 5, NOW).await, [dan], "and no note is kept of them");
}
