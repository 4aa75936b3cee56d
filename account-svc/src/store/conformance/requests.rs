//! What was asked for under an `Idempotency-Key`, as every store must keep it.

use super::FAILED;
use crate::store::{
    AccountStore,
    requests::{Claim, DAY_MS, Request},
};
use madang_proto::id::UserId;

pub(super) async fn check(store: &dyn AccountStore) {
    const NOW: i64 = 70_000_000;
    let request = |asked| Request { user: UserId::from(uuid::Uuid::nil()), key: "k".into(), asked: [asked; 32] };
    let claim = async |asked: Request, now| store.claim_request(asked, now, now + 10).await.expect(FAILED);
    assert_eq!(claim(request(1), NOW).await, Claim::New);
    assert_eq!(claim(request(1), NOW + 9).await, Claim::Busy);
    assert_eq!(claim(request(2), NOW + 9).await, Claim::Other);
    assert_eq!(claim(Request { key: "l".into(), ..request(2) }, NOW).await, Claim::New);
    assert_eq!(claim(Request { user: UserId::new(), ..request(2) }, NOW).await, Claim::New, "another's key");
    assert_eq!(claim(request(1), NOW + 10).await, Claim::Unknown, "who was at it may have done it");
    assert_eq!(claim(request(1), NOW + 10).await, Claim::Unknown, "and nobody else is");
    store.settle_request(request(2), Some(vec![9])).await.expect(FAILED);
    assert_eq!(claim(request(1), NOW + 11).await, Claim::Unknown, "that was another request");
    store.settle_request(request(1), Some(vec![7])).await.expect(FAILED);
    assert_eq!(claim(request(1), NOW + 12).await, Claim::Done(vec![7]));
    assert_eq!(claim(request(2), NOW + 12).await, Claim::Other);
    store.settle_request(request(1), None).await.expect(FAILED);
    assert_eq!(claim(request(1), NOW + 13).await, Claim::Done(vec![7]), "what was done stays so");
    store.forget_requests(NOW - 1).await.expect(FAILED);
    assert_eq!(claim(request(1), NOW + 14).await, Claim::Done(vec![7]));
    assert_eq!(claim(request(2), NOW + 10 + DAY_MS).await, Claim::New, "another day");
    store.settle_request(request(2), None).await.expect(FAILED);
    assert_eq!(claim(request(1), NOW + 11 + DAY_MS).await, Claim::New, "given up");
    store.forget_requests(NOW + 12 + DAY_MS).await.expect(FAILED);
    assert_eq!(claim(request(2), NOW + 11 + DAY_MS).await, Claim::New, "forgotten");

    let fresh = || Request { key: "at once".into(), ..request(1) };
    let (one, two, three) = tokio::join!(claim(fresh(), NOW), claim(fresh(), NOW), claim(fresh(), NOW));
    let claims = [one, two, three];
    assert_eq!(claims.iter().filter(|claim| **claim == Claim::New).count(), 1, "{claims:?}");
}
