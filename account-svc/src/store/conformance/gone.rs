//! Pictures that are to be deleted, as every store must keep them.

use super::FAILED;
use crate::store::AccountStore;

pub(super) async fn check(store: &dyn AccountStore) {
    for (picture, at) in [("b", 20), ("a", 10), ("b", 5)] {
        store.note_gone(picture.into(), at).await.expect(FAILED);
    }
    let gone = async |before, limit| store.gone(before, limit).await.expect(FAILED);
    assert_eq!(gone(10, 9).await, Vec::<String>::new());
    assert_eq!(gone(20, 9).await, ["a"], "since when it was noted first");
    assert_eq!((gone(21, 9).await, gone(21, 1).await), (vec!["a".into(), "b".into()], vec!["a".into()]));
    store.deleted("a".into()).await.expect(FAILED);
    store.deleted("a".into()).await.expect(FAILED);
    assert_eq!(gone(21, 9).await, ["b"]);
}
