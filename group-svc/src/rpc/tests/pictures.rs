//! Pictures that are set at once: each that is replaced is told once, so that it is forgotten, and none that is shown.

use super::*;

async fn set(stage: &Stage, picture: &str) -> Result<String, Status> {
    let request = UpdateGroupRequest {
        user: stage.ann.to_string(),
        conversation: stage.id.to_string(),
        picture: Some(picture.into()),
        ..UpdateGroupRequest::default()
    };
    stage.groups.update_group(Request::new(request)).await.map(|answer| answer.into_inner().picture_before)
}

#[tokio::test]
async fn who_sets_a_picture_is_told_what_it_has_replaced() {
    let stage = Stage::new().await;
    assert_eq!(set(&stage, "first").await.unwrap(), "");
    let set_all = ["a", "b", "c", "d"].map(|picture| set(&stage, picture));
    let told = futures_util::future::join_all(set_all).await;
    let mut told: Vec<_> = told.into_iter().map(Result::unwrap).collect();
    let shown = stage.others.room.lock().unwrap().picture.clone();
    told.push(shown.clone());
    told.sort_unstable();
    assert_eq!(told, ["a", "b", "c", "d", "first"], "{shown} is shown");
    // Set by a try of which nobody heard.
    stage.turns(&[Turn::Unheard]);
    assert_eq!(set(&stage, "e").await.unwrap(), shown);
    assert_eq!(set(&stage, "e").await.unwrap(), "", "it is shown");
    stage.turns(&[Turn::Down, Turn::Unheard, Turn::Down]);
    assert_eq!((set(&stage, "").await.unwrap(), set(&stage, "").await.unwrap()), ("e".into(), String::new()));
}
