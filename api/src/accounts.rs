//! Accounts, sessions, profiles.

use crate::{
    Shared,
    auth::Caller,
    conversations::Page,
    pages::page,
    problem::{Body, Params, Patch, Path, Problem, invalid, present, wrong},
};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use madang_mesh::{status::from_status, token::Claims};
use madang_proto::{
    account::v1::*,
    client::v1::{Device, User},
    id::UserId,
    reason::{Reason, Refusal},
};
use serde::Deserialize;
use serde_json::{Value, json};

/// A sign-up or log-in.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    handle: String,
    password: String,
    #[serde(default)]
    name: String,
    device: Device,
}

fn tokens(tokens: Option<TokenSet>) -> Value {
    let tokens = tokens.unwrap_or_default();
    json!({
        "user": tokens.user.unwrap_or_default().user, "session": tokens.session, "accessToken": tokens.access_token,
        "refreshToken": tokens.refresh_token, "expiresIn": tokens.expires_in,
    })
}

pub(crate) async fn sign_up(
    State(mut shared): State<Shared>,
    Body(body): Body<Credentials>,
) -> Result<Response, Problem> {
    let Credentials { handle, password, name, device } = body;
    let request = SignUpRequest { handle, password, name, device: Some(device), ..SignUpRequest::default() };
    let answer = shared.account.sign_up(request).await?.into_inner();
    Ok((StatusCode::CREATED, Json(tokens(answer.tokens))).into_response())
}

pub(crate) async fn log_in(
    State(mut shared): State<Shared>,
    Body(body): Body<Credentials>,
) -> Result<Response, Problem> {
    let Credentials { handle, password, device, .. } = body;
    let answer = shared.account.log_in(LogInRequest { handle, password, device: Some(device) }).await?.into_inner();
    Ok((StatusCode::CREATED, Json(tokens(answer.tokens))).into_response())
}

/// A refresh.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refresh {
    refresh_token: String,
}

pub(crate) async fn refresh(
    State(mut shared): State<Shared>,
    Body(body): Body<Refresh>,
) -> Result<Json<Value>, Problem> {
    let answer = shared.account.refresh(RefreshRequest { refresh_token: body.refresh_token }).await?.into_inner();
    Ok(Json(tokens(answer.tokens)))
}

/// All sessions of somebody, the one used last first.
async fn all_sessions(shared: &mut Shared, me: &Claims) -> Result<Vec<Session>, Problem> {
    let answer = shared.account.list_sessions(ListSessionsRequest { user: me.user.to_string() }).await?;
    Ok(answer.into_inner().sessions)
}

/// Sessions, as clients see them.
fn shown(sessions: Vec<Session>, me: &Claims) -> Value {
    let current = me.session.to_string();
    let sessions = sessions.into_iter().map(|each| {
        json!({
            "session": each.session, "device": each.device, "createdAt": each.created_at.to_string(),
            "usedAt": each.used_at.to_string(), "current": each.session == current,
        })
    });
    sessions.collect()
}

/// Somebody's sessions, as clients see them.
pub(crate) async fn sessions_of(shared: &mut Shared, me: Claims) -> Result<Value, Problem> {
    Ok(shown(all_sessions(shared, &me).await?, &me))
}

pub(crate) async fn sessions(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Params(asked): Params<Page>,
) -> Result<Json<Value>, Problem> {
    let mut sessions = all_sessions(&mut shared, &me).await?;
    if asked.limit > 0 || !asked.page_token.is_empty() {
        // One that is used meanwhile must not move to a page that has been given.
        sessions.sort_by(|one, other| (other.created_at, &other.session).cmp(&(one.created_at, &one.session)));
    }
    let (sessions, next) = page(sessions, &asked.page_token, asked.limit)?;
    Ok(Json(json!({ "sessions": shown(sessions, &me), "nextPageToken": next })))
}

pub(crate) async fn log_out(
    State(mut shared): State<Shared>,
    Caller(caller): Caller,
    Path(session): Path<String>,
) -> Result<StatusCode, Problem> {
    let session = if session == "current" { caller.session.to_string() } else { session };
    let own = session == caller.session.to_string();
    shared.account.end_session(EndSessionRequest { user: caller.user.to_string(), session }).await?;
    if own {
        shared.verifier.note_end(caller.session);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The account's end.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deletion {
    #[serde(default)]
    password: String,
    #[serde(default)]
    erase_messages: bool,
}

pub(crate) async fn delete_me(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Body(Deletion { password, erase_messages }): Body<Deletion>,
) -> Result<StatusCode, Problem> {
    let request = DeleteAccountRequest { user: me.user.to_string(), password, erase_messages };
    shared.account.delete_account(request).await?;
    shared.verifier.note_end(me.session);
    Ok(StatusCode::NO_CONTENT)
}

/// Users by id.
pub(crate) async fn find(shared: &mut Shared, users: Vec<String>) -> Result<Vec<User>, Problem> {
    Ok(shared.account.get_users(GetUsersRequest { users, handle: String::new() }).await?.into_inner().users)
}

pub(crate) fn nobody() -> Problem {
    Refusal::new(Reason::UserNotFound, "no such user: check the id or the handle").into()
}

pub(crate) async fn me(State(mut shared): State<Shared>, Caller(caller): Caller) -> Result<Json<User>, Problem> {
    find(&mut shared, vec![caller.user.to_string()]).await?.pop().map(Json).ok_or_else(nobody)
}

/// A change of one's profile, as a JSON merge patch (RFC 7396): what is left out stays. Null clears what says something of
/// one; a handle and a name there must be.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    #[serde(default, deserialize_with = "present")]
    handle: Option<String>,
    #[serde(default, deserialize_with = "present")]
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    status_message: Option<Option<String>>,
}

pub(crate) async fn update_me(
    State(mut shared): State<Shared>,
    Caller(caller): Caller,
    Patch(profile): Patch<Profile>,
) -> Result<Json<User>, Problem> {
    let Profile { handle, name, status_message } = profile;
    let (user, status_message) = (caller.user.to_string(), status_message.map(Option::unwrap_or_default));
    let request = UpdateProfileRequest { user, handle, name, status_message, picture: None };
    shared.account.update_profile(request).await?.into_inner().user.map(Json).ok_or_else(nobody)
}

/// A new password.
#[derive(Deserialize)]
pub struct Password {
    old: String,
    new: String,
}

pub(crate) async fn change_password(
    State(mut shared): State<Shared>,
    Caller(caller): Caller,
    Body(Password { old, new }): Body<Password>,
) -> Result<StatusCode, Problem> {
    let (user, session) = (caller.user.to_string(), caller.session.to_string());
    let request = ChangePasswordRequest { user, session, old_password: old, new_password: new };
    shared.account.change_password(request).await.map_err(|status| {
        let refusal = from_status(&status);
        // As it is called here.
        if refusal.field == "newPassword" { refusal.of("new") } else { refusal }
    })?;
    Ok(StatusCode::NO_CONTENT)
}

/// A user's id, as it is written.
pub(crate) fn id(text: &str, field: &'static str) -> Result<String, Problem> {
    let message = "a user is named by their id: a UUID in lower-case canonical text";
    Ok(text.parse::<UserId>().map_err(|_| wrong(field, message))?.to_string())
}

pub(crate) async fn user(
    State(mut shared): State<Shared>,
    _: Caller,
    Path(user): Path<String>,
) -> Result<Json<User>, Problem> {
    find(&mut shared, vec![id(&user, "user")?]).await?.pop().map(Json).ok_or_else(nobody)
}

/// Whom one looks for.
#[derive(Deserialize)]
pub struct Wanted {
    ids: Option<String>,
    handle: Option<String>,
}

pub(crate) async fn users(
    State(mut shared): State<Shared>,
    _: Caller,
    Params(wanted): Params<Wanted>,
) -> Result<Json<Value>, Problem> {
    let request = match wanted {
        Wanted { ids: Some(ids), handle: None } => {
            let ids = ids.split(',').filter(|id| !id.is_empty());
            let users = ids.map(|each| id(each, "ids")).collect::<Result<Vec<_>, _>>()?;
            if users.len() > 100 {
                return Err(Refusal::new(Reason::TooLarge, "ids takes at most 100 ids: ask in parts").into());
            }
            GetUsersRequest { users, handle: String::new() }
        }
        Wanted { ids: None, handle: Some(handle) } if !handle.is_empty() => {
            GetUsersRequest { users: Vec::new(), handle }
        }
        _ => return Err(invalid("give either ids, separated by commas, or a handle")),
    };
    let users = shared.account.get_users(request).await?.into_inner().users;
    Ok(Json(json!({ "users": users })))
}

pub(crate) async fn keys(State(mut shared): State<Shared>) -> Result<Response, Problem> {
    let jwks = shared.account.get_keys(GetKeysRequest::default()).await?.into_inner().jwks;
    Ok(([("content-type", "application/json")], jwks).into_response())
}
