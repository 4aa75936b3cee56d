//! `Idempotency-Key`: what is asked for again under a key within a day is done once, and the key stands for nothing else.
//! account-svc remembers keys and answers. Where an answer was lost, by a fault or with who was at it, it is asked for once
//! more: what is asked is done once by other means (a message by its `clientId`; a group, an invite and who comes into a group
//! by group-svc, under the same key).

use crate::{
    Shared,
    auth::Caller,
    conversations,
    problem::{Problem, held, idempotency_key, read},
    whole::whole,
};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware::Next,
    response::{IntoResponse, Response},
};
use madang_proto::{
    account::v1::{ClaimKeyRequest, KeyState, SettleKeyRequest},
    reason::{Reason, Refusal},
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::time::Duration;
use tracing::Instrument as _;

/// The largest answer that is kept, in bytes.
const ANSWER: usize = 64 << 10;

/// After how long what could not be said is said again, doubled each time, and how often: for about two minutes.
const AGAIN: Duration = Duration::from_millis(100);
const TRIES: u32 = 10;

/// What of an answer is kept, to be given again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// It is made anew: done again, this changes nothing.
    Nothing,
    /// All of it.
    Answer,
    /// Which conversation it shows: texts are kept where they can be erased.
    Conversation,
}

/// What is kept of a path's answers; none: to ask twice is no matter.
fn keep(path: &str) -> Option<Keep> {
    match path {
        "/v1/changes" => None,
        "/v1/groups/{c}/members" => Some(Keep::Answer),
        "/v1/invites/{code}" => Some(Keep::Conversation),
        _ => Some(Keep::Nothing),
    }
}

/// Whether a key matters to a POST at a path.
pub(crate) fn heeds_key(path: &str) -> bool {
    keep(path).is_some()
}

/// Before every POST that gives no tokens.
pub(crate) async fn once(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let key = request.headers().get("idempotency-key").filter(|key| !key.is_empty());
    let named = key.is_some() && request.method() == "POST";
    let keep = request.extensions().get::<MatchedPath>().and_then(|path| keep(path.as_str()));
    match keep {
        Some(keep) if named => do_once(shared, keep, request, next).await.unwrap_or_else(IntoResponse::into_response),
        _ => next.run(request).await,
    }
}

async fn do_once(shared: Shared, keep: Keep, request: Request, next: Next) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let key = idempotency_key(&parts.headers)?;
    let Caller(me) = Caller::from_request_parts(&mut parts, &shared).await?;
    shared.limits.keyed(me.user)?;
    let body = read(body, &held(&parts.extensions)?).await?;
    let place = parts.uri.path_and_query().map(|place| place.as_str()).unwrap_or_default();
    let asked = Sha256::new().chain_update(place).chain_update(b"\n").chain_update(&body).finalize().to_vec();
    let claim = ClaimKeyRequest { user: me.user.to_string(), key, asked };
    let request = Request::from_parts(parts, Body::from(body));
    // Who breaks off meanwhile asks again under the key, and finds it done.
    whole(claimed(shared, keep, claim, request, next)).await
}

/// Does what a key is claimed for, or gives what it was answered with.
async fn claimed(
    mut shared: Shared,
    keep: Keep,
    claim: ClaimKeyRequest,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let claimed = shared.account.claim_key(claim.clone()).await?.into_inner();
    let ClaimKeyRequest { user, key, asked } = claim;
    match claimed.state() {
        KeyState::Other => {
            let message = "this Idempotency-Key stands for another request of yours: take a new one";
            return Err(Refusal::new(Reason::KeyReused, message).into());
        }
        KeyState::Done if keep == Keep::Answer => {
            return Ok(([(CONTENT_TYPE, "application/json")], claimed.answer).into_response());
        }
        KeyState::Done if keep == Keep::Conversation => {
            let conversation = String::from_utf8_lossy(&claimed.answer).into_owned();
            return Ok(Json(conversations::show(&mut shared, user, conversation, 0).await?).into_response());
        }
        KeyState::Busy if keep != Keep::Nothing => {
            let message = "this is being done at the moment, under the same Idempotency-Key: ask again";
            return Err(Refusal::new(Reason::Unavailable, message).after(1000).into());
        }
        _ => {}
    }
    let response = next.run(request).await;
    let (done, response, answer) = remembered(keep, response).await?;
    settle(shared, SettleKeyRequest { user, key, asked, done, answer: answer.into() }).await;
    Ok(response)
}

/// Says what came of a request. Who asks is answered so in any case: it is what came of it. Where that can't be said at
/// once it is said later, while nobody else takes the key up.
async fn settle(mut shared: Shared, settled: SettleKeyRequest) {
    if shared.account.settle_key(settled.clone()).await.is_ok() {
        return;
    }
    let later = async move {
        let mut pause = AGAIN;
        for _ in 0..TRIES {
            tokio::time::sleep(pause).await;
            pause *= 2;
            match shared.account.settle_key(settled.clone()).await {
                Ok(_) => return,
                Err(status) => tracing::debug!(%status, "an Idempotency-Key could not be settled; trying again"),
            }
        }
        tracing::warn!(
            "what came of a request could not be kept: who asks again under its Idempotency-Key is not told"
        );
    };
    tokio::spawn(later.in_current_span());
}

/// Whether it was done, and what is kept of the answer.
async fn remembered(keep: Keep, response: Response) -> Result<(bool, Response, Bytes), Problem> {
    if !response.status().is_success() || keep == Keep::Nothing {
        return Ok((response.status().is_success(), response, Bytes::new()));
    }
    let (parts, body) = response.into_parts();
    let lost = |_| Problem::from(Refusal::new(Reason::Internal, "the answer can't be kept: ask again"));
    let body = axum::body::to_bytes(body, ANSWER).await.map_err(lost)?;
    let answer = match keep {
        Keep::Conversation => {
            let shown: Value = serde_json::from_slice(&body).unwrap_or_default();
            Bytes::from(shown["conversation"].as_str().unwrap_or_default().to_owned())
        }
        _ => body.clone(),
    };
    Ok((parts.status == StatusCode::OK, Response::from_parts(parts, Body::from(body)), answer))
}
