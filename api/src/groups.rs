//! Groups: who is in one, as what, and what it shows of itself. Every answer comes once the change is in force.

use crate::{
    Shared,
    auth::Caller,
    bodies::Held,
    conversations::{id, with_last_messages, with_profiles},
    pictures,
    problem::{Body, Patch, Path, Problem, idempotency_key, invalid, known, present},
    whole::whole,
};
use axum::{
    Extension, Json, body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use madang_mesh::status::from_status;
use madang_proto::{
    client::v1::{Conversation, Role},
    group::v1::*,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;

/// A new group.
#[derive(Deserialize)]
pub struct NewGroup {
    name: String,
    #[serde(default)]
    members: Vec<String>,
    #[serde(default, deserialize_with = "known")]
    history: madang_proto::client::v1::History,
    #[serde(default)]
    data: HashMap<String, String>,
}

fn refused(refused: Vec<madang_proto::group::v1::Refusal>) -> Value {
    refused.into_iter().map(|each| json!({ "user": each.user, "reason": each.reason })).collect()
}

pub(crate) async fn create_group(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    headers: HeaderMap,
    Body(group): Body<NewGroup>,
) -> Result<Response, Problem> {
    let NewGroup { name, members, history, data } = group;
    let (user, idempotency_key) = (me.user.to_string(), idempotency_key(&headers)?);
    let request =
        CreateGroupRequest { user: user.clone(), name, members, history: history.into(), data, idempotency_key };
    let answer = shared.group.create_group(request).await?.into_inner();
    let mut conversation = answer.conversation.unwrap_or_default();
    with_profiles(&mut shared, std::slice::from_mut(&mut conversation)).await?;
    // Asked for again, it may have some.
    with_last_messages(&mut shared, &user, std::slice::from_mut(&mut conversation)).await?;
    let mut body = serde_json::to_value(conversation).map_err(|error| invalid(error.to_string()))?;
    body["refused"] = refused(answer.refused);
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// New members.
#[derive(Deserialize)]
pub struct NewMembers {
    users: Vec<String>,
}

pub(crate) async fn add_members(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Path(c): Path<String>,
    headers: HeaderMap,
    Body(NewMembers { users }): Body<NewMembers>,
) -> Result<Json<Value>, Problem> {
    let (user, conversation, idempotency_key) = (me.user.to_string(), id(&c)?, idempotency_key(&headers)?);
    let request = AddMembersRequest { user, conversation, users, idempotency_key };
    let answer = shared.group.add_members(request).await?.into_inner();
    Ok(Json(json!({ "revision": answer.revision.to_string(), "refused": refused(answer.refused) })))
}

pub(crate) async fn remove_member(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Path((c, member)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let request = RemoveMemberRequest { user: me.user.to_string(), conversation: id(&c)?, member };
    let revision = whole(async move {
        let left = shared.group.remove_member(request).await?.into_inner();
        // As where a group ends.
        let _ = pictures::forget(&mut shared, left.picture_before).await;
        Ok(left.revision.to_string())
    })
    .await?;
    Ok(Json(json!({ "revision": revision, "refused": [] })))
}

/// A change of a group, as a JSON merge patch (RFC 7396): what is left out stays, a key of `data` that is null goes.
#[derive(Deserialize)]
pub struct ChangedGroup {
    #[serde(default, deserialize_with = "present")]
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    data: Option<Option<HashMap<String, Option<String>>>>,
}

/// The group as it is after a change, and the picture that it showed before.
async fn changed(
    shared: &mut Shared,
    user: String,
    request: UpdateGroupRequest,
) -> Result<(Conversation, String), Problem> {
    let answer = shared.group.update_group(UpdateGroupRequest { user: user.clone(), ..request }).await?.into_inner();
    let mut conversation = answer.conversation.unwrap_or_default();
    with_profiles(shared, std::slice::from_mut(&mut conversation)).await?;
    with_last_messages(shared, &user, std::slice::from_mut(&mut conversation)).await?;
    Ok((conversation, answer.picture_before))
}

pub(crate) async fn update(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Path(c): Path<String>,
    Patch(ChangedGroup { name, data }): Patch<ChangedGroup>,
) -> Result<Json<Conversation>, Problem> {
    let clear_data = data == Some(None);
    let (put, drop_data): (Vec<_>, Vec<_>) =
        data.flatten().unwrap_or_default().into_iter().partition(|(_, value)| value.is_some());
    let data = put.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let drop_data = drop_data.into_iter().map(|(key, _)| key).collect();
    let conversation = id(&c)?;
    let request =
        UpdateGroupRequest { conversation, name, clear_data, data, drop_data, ..UpdateGroupRequest::default() };
    Ok(Json(changed(&mut shared, me.user.to_string(), request).await?.0))
}

pub(crate) async fn end(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Path(c): Path<String>,
) -> Result<StatusCode, Problem> {
    let request = EndGroupRequest { user: me.user.to_string(), conversation: id(&c)? };
    whole(async move {
        let ended = shared.group.end_group(request).await?.into_inner();
        // The group has ended all the same where that fails: it stays, unknown to everybody.
        let _ = pictures::forget(&mut shared, ended.picture_before).await;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// A member's rank.
#[derive(Deserialize)]
pub struct Rank {
    #[serde(deserialize_with = "known")]
    role: Role,
}

pub(crate) async fn set_role(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Path((c, member)): Path<(String, String)>,
    Body(Rank { role }): Body<Rank>,
) -> Result<Json<Value>, Problem> {
    let (user, conversation) = (me.user.to_string(), id(&c)?);
    let request = SetRoleRequest { user, conversation, member, role: role.into() };
    let answer = shared.group.set_role(request).await?.into_inner();
    Ok(Json(json!({ "revision": answer.revision.to_string(), "refused": [] })))
}

/// Shows another picture, or none; the one before is forgotten. A picture that may not be shown is not kept.
async fn show(shared: &mut Shared, user: String, conversation: String, picture: String) -> Result<(), Problem> {
    let request = UpdateGroupRequest { conversation, picture: Some(picture.clone()), ..UpdateGroupRequest::default() };
    let shown = shared.group.update_group(UpdateGroupRequest { user, ..request }).await;
    let gone = match &shown {
        Ok(answer) => answer.get_ref().picture_before.clone(),
        // Whether it is shown is not known.
        Err(status) if from_status(status).reason.retryable() => String::new(),
        Err(_) => picture,
    };
    pictures::forget(shared, gone).await?;
    shown?;
    Ok(())
}

pub(crate) async fn put_picture(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Path(c): Path<String>,
    Extension(held): Extension<Held>,
    body: body::Body,
) -> Result<Json<Value>, Problem> {
    let conversation = id(&c)?;
    whole(async move {
        let picture = pictures::keep(&mut shared, body, &held).await?;
        show(&mut shared, me.user.to_string(), conversation, picture.clone()).await?;
        Ok(Json(json!({ "picture": picture })))
    })
    .await
}

pub(crate) async fn delete_picture(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Path(c): Path<String>,
) -> Result<StatusCode, Problem> {
    let conversation = id(&c)?;
    whole(async move { show(&mut shared, me.user.to_string(), conversation, String::new()).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
