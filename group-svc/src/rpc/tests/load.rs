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

#[tokio::test]
async fn who_has_left_is_shown_to_who_reads_the_log_from_before_that_and_to_homes_of_the_version_before() {
    let stage = Stage::new().await;
    let request = RemoveMemberRequest {
        user: stage.ann.to_string(),
        conversation: stage.id.to_string(),
        member: stage.bob.to_string(),
    };
    let left = stage.groups.remove_member(Request::new(request)).await.unwrap().into_inner().revision;
    let members = async |brief, left_from| {
        let conversations = vec![stage.id.to_string()];
        let request = LoadRoomsRequest { conversations, brief, left_from, ..LoadRoomsRequest::default() };
        stage.groups.load_rooms(Request::new(request)).await.unwrap().into_inner().rooms[0].members.len()
    };
    // An event of this log is a record of it.
    assert_eq!((members(false, 0).await, members(false, left).await, members(false, left + 1).await), (2, 2, 1));
    assert_eq!(members(true, 0).await, 1, "who is told of something is in it");
}

#[test]
fn in_short_it_says_who_is_to_hear_of_something_and_no_more() {
    let data = [("k".to_owned(), "v".to_owned())].into();
    let settings = MemberSettings { muted_until_ms: 7, data, ..MemberSettings::default() };
    let member = RoomMember { settings: Some(settings), ..RoomMember::default() };
    let data = [("topic".to_owned(), "dogs".to_owned())].into();
    let mut room = RoomState { members: vec![member], data, ..RoomState::default() };
    crate::rpc::load::shorten(&mut room);
    let settings = room.members[0].settings.as_ref().unwrap();
    assert!(room.data.is_empty());
    assert_eq!((settings.muted_until_ms, settings.data.len()), (7, 0));
}
