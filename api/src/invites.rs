//! Invites to groups: what admins make, and whoever has a code looks at and joins by.

use crate::{
    Shared,
    auth::Caller,
    conversations::{Page, id, with_last_messages, with_profiles},
    pages::page,
    problem::{Body, Params, Path, Problem, idempotency_key, number},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use madang_proto::{client::v1::Conversation, group::v1::*};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// A new invite.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct NewInvite {
    #[serde(deserialize_with = "time")]
    expires_at: i64,
    #[serde(deserialize_with = "count")]
    max_uses: u32,
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    number(from, "expiresAt must be a time in ms since 1970")
}

fn count<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    number(from, "maxUses must be a number from 0 on; 0: any number")
}

fn shown(invite: Invite) -> Value {
    let Invite { code, expires_at, max_uses, uses, by } = invite;
    json!({ "code": code, "expiresAt": expires_at.to_string(), "maxUses": max_uses, "uses": uses, "by": by })
}

pub(crate) async fn list(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Path(c): Path<String>,
    Params(asked): Params<Page>,
) -> Result<Json<Value>, Problem> {
    let request = ListInvitesRequest { user: me.user.to_string(), conversation: id(&c)? };
    let invites = shared.group.list_invites(request).await?.into_inner().invites;
    let (invites, next) = page(invites, &asked.page_token, asked.limit)?;
    let invites: Vec<_> = invites.into_iter().map(shown).collect();
    Ok(Json(json!({ "invites": invites, "nextPageToken": next })))
}

pub(crate) async fn create(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Path(c): Path<String>,
    headers: HeaderMap,
    Body(NewInvite { expires_at, max_uses }): Body<NewInvite>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (user, conversation) = (me.user.to_string(), id(&c)?);
    let idempotency_key = idempotency_key(&headers)?;
    let request = CreateInviteRequest { user, conversation, expires_at, max_uses, idempotency_key };
    let invite = shared.group.create_invite(request).await?.into_inner().invite.unwrap_or_default();
    Ok((StatusCode::CREATED, Json(shown(invite))))
}

pub(crate) async fn delete(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Path((c, code)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let request = DeleteInviteRequest { user: me.user.to_string(), conversation: id(&c)?, code };
    shared.group.delete_invite(request).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn look(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Path(code): Path<String>,
) -> Result<Json<Value>, Problem> {
    let request = GetInviteRequest { user: me.user.to_string(), code };
    let GetInviteResponse { name, picture, member_count, expires_at, conversation } =
        shared.group.get_invite(request).await?.into_inner();
    Ok(Json(json!({
        "name": name, "picture": picture, "memberCount": member_count, "expiresAt": expires_at.to_string(),
        "conversation": conversation,
    })))
}

pub(crate) async fn join(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Path(code): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Conversation>, Problem> {
    let (user, idempotency_key) = (me.user.to_string(), idempotency_key(&headers)?);
    let request = AcceptInviteRequest { user: user.clone(), code, idempotency_key };
    let mut conversation = shared.group.accept_invite(request).await?.into_inner().conversation.unwrap_or_default();
    with_profiles(&mut shared, std::slice::from_mut(&mut conversation)).await?;
    with_last_messages(&mut shared, &user, std::slice::from_mut(&mut conversation)).await?;
    Ok(Json(conversation))
}
