//! Whom one blocks.

use crate::{
    Shared,
    accounts::id,
    auth::Caller,
    conversations::Page,
    problem::{Params, Path, Problem},
};
use axum::{Json, extract::State, http::StatusCode};
use madang_proto::{
    account::v1::{ListBlocksRequest, SetBlockRequest},
    id::UserId,
};
use serde_json::{Value, json};

pub(crate) async fn list(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Params(asked): Params<Page>,
) -> Result<Json<Value>, Problem> {
    let request = ListBlocksRequest { user: me.user.to_string(), page_size: asked.limit, page_token: asked.page_token };
    let answer = shared.account.list_blocks(request).await?.into_inner();
    Ok(Json(json!({ "users": answer.users, "nextPageToken": answer.next_page_token })))
}

async fn set(mut shared: Shared, me: UserId, other: &str, blocked: bool) -> Result<StatusCode, Problem> {
    let request = SetBlockRequest { user: me.to_string(), other: id(other, "user")?, blocked };
    shared.account.set_block(request).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn put(
    State(shared): State<Shared>,
    Caller(me): Caller,
    Path(user): Path<String>,
) -> Result<StatusCode, Problem> {
    set(shared, me.user, &user, true).await
}

pub(crate) async fn delete(
    State(shared): State<Shared>,
    Caller(me): Caller,
    Path(user): Path<String>,
) -> Result<StatusCode, Problem> {
    set(shared, me.user, &user, false).await
}
