//! Settings of a conversation that has just begun.

use super::*;

#[tokio::test]
async fn who_sets_something_where_they_came_in_just_now_is_not_told_that_they_are_not() {
    let stage = Stage::new().await;
    let request = UpdateSettingsRequest {
        user: stage.bob.to_string(),
        conversation: ConversationId::new().to_string(),
        ..UpdateSettingsRequest::default()
    };
    // Its home has it; the rows have not, for a moment.
    let id: ConversationId = request.conversation.parse().unwrap();
    let begun = Operation {
        conversation: id.to_string(),
        actor: stage.ann.to_string(),
        body: Some(Body::CreateGroup(chat::CreateGroup {
            members: vec![stage.bob.to_string()],
            ..chat::CreateGroup::default()
        })),
        ..Operation::default()
    };
    *stage.others.room.lock().unwrap() = Room::default();
    stage.others.operate(begun).unwrap();
    let set = stage.groups.update_settings(Request::new(request)).await.unwrap().into_inner();
    assert!(set.settings.is_some());
}
