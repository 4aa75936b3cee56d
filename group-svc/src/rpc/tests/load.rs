//! Rooms, as homes and notifications load them.

use super::*;

#[tokio::test]
async fn what_would_make_an_answer_too_large_is_left_for_the_next() {
    let stage = Stage::new().await;
    let request =
        CreateGroupRequest { user: stage.cho.to_string(), name: "개".into(), ..CreateGroupRequest::default() };
    *stage.others.room.lock().unwrap() = Room::default();
    let made = stage.groups.create_group(Request::new(request)).await.unwrap().into_inner();
    let other = made.conversation.unwrap().conversation;
    let load = async |enough_bytes| {
        let conversations = vec![stage.id.to_string(), ConversationId::new().to_string(), other.clone()];
        let request = LoadRoomsRequest { conversations, enough_bytes, ..LoadRoomsRequest::default() };
        let loaded = stage.groups.load_rooms(Request::new(request)).await.unwrap().into_inner();
        (loaded.rooms, loaded.not_yet)
    };
    let (rooms, not_yet) = load(0).await;
    assert_eq!((rooms.len(), not_yet.len()), (2, 0), "all, where no bound is named");
    let (some, not_yet) = load(1).await;
    assert_eq!((&some[..], not_yet.len(), not_yet.last()), (&rooms[..1], 2, Some(&other)));
    let (all, not_yet) = load(rooms[0].encoded_len() as u64 + 1).await;
    assert_eq!((&all, not_yet.len()), (&rooms, 0), "the last may be larger");
}

#[test]
fn in_short_it_says_who_is_to_hear_of_something_and_no_more() {
    let set = |left_revision| {
        let settings = MemberSettings {
            muted_until_ms: 7,
            data: [("k".to_owned(), "v".to_owned())].into(),
            ..MemberSettings::default()
        };
        RoomMember { left_revision, settings: Some(settings), ..RoomMember::default() }
    };
    let data = [("topic".to_owned(), "dogs".to_owned())].into();
    let mut room = RoomState { members: vec![set(0), set(9)], data, ..RoomState::default() };
    crate::rpc::load::shorten(&mut room);
    let settings = room.members[0].settings.as_ref().unwrap();
    assert!(room.data.is_empty());
    assert_eq!(
        (room.members.len(), settings.muted_until_ms, settings.data.len()),
        (1, 7, 0),
        "who has left is not told"
    );
}
