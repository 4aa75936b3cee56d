//! Somebody is brought in by whom they block at that moment.

use super::*;

#[tokio::test]
async fn who_blocks_somebody_while_they_are_brought_in_by_them_is_not_in() {
    let stage = Stage::new().await;
    let dan = UserId::new();
    // Bob is in the group already, and blocks Ann as well.
    stage.others.room.lock().unwrap().blocks = [vec![], vec![stage.bob, stage.cho]].into();
    let added = stage.add(stage.ann, &[stage.bob, stage.cho, dan]).await.unwrap();
    let blocked = madang_proto::group::v1::Refusal { user: stage.cho.to_string(), reason: "BLOCKED".into() };
    assert_eq!(added.refused, [blocked]);
    let (revision, inside) = stage.now();
    assert!(added.revision == revision && !inside.contains(&stage.cho), "{added:?}");
    assert!(inside.contains(&stage.bob) && inside.contains(&dan), "those were in it before, or are not blocked");
    let room = stage.groups.room(stage.id, revision).await.unwrap();
    assert!(present(&room, stage.cho).is_none() && present(&room, dan).is_some(), "as who asked is answered");

    // Nor into a group that is made.
    let request = CreateGroupRequest {
        user: stage.cho.to_string(),
        name: "x".into(),
        members: vec![stage.bob.to_string(), dan.to_string()],
        ..CreateGroupRequest::default()
    };
    *stage.others.room.lock().unwrap() = Room { blocks: [vec![], vec![stage.bob]].into(), ..Room::default() };
    let made = stage.groups.create_group(Request::new(request)).await.unwrap().into_inner();
    assert_eq!((made.conversation.unwrap().member_count, made.refused.len()), (2, 1));
}
