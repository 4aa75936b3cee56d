//! Errors as RFC 9457 problems, and bodies whose faults are named.

use axum::{
    extract::{FromRequest, FromRequestParts, Query, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use madang_mesh::status::from_status;
use madang_proto::reason::{Reason, Refusal, code_name, http_status};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{str::FromStr, time::Duration};

/// The largest body, in bytes.
const MAX_BODY: usize = 256 << 10;

/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a request was not done.
#[derive(Debug)]
pub struct Problem {
    status: u16,
    refusal: Refusal,
}

impl Problem {
    /// The path is there, not for this method.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Self { status: 405, refusal: Refusal::new(Reason::Unimplemented, "this path does not take this method") }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { status: http_status(refusal.reason.code()), refusal }
    }
}

impl From<tonic::Status> for Problem {
    fn from(status: tonic::Status) -> Self {
        from_status(&status).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, refusal } = self;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = json!({
            "type": "about:blank", "title": status.canonical_reason().unwrap_or_default(), "status": status.as_u16(),
            "detail": refusal.message, "code": code_name(refusal.reason.code()), "reason": refusal.reason.word(),
            "retryable": refusal.reason.retryable(), "retryAfterMs": refusal.retry_after_ms.to_string(),
        });
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response();
        if matches!(status.as_u16(), 429 | 503) {
            let seconds = refusal.retry_after_ms.div_ceil(1000).max(1);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// A request that names what is wrong with it.
pub(crate) fn invalid(message: impl Into<String>) -> Problem {
    Refusal::new(Reason::InvalidField, message).into()
}

/// Tells null from absent.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// A number in either of its forms, as one or as text; none: null.
pub(crate) fn number<'de, D: Deserializer<'de>, T: FromStr>(from: D, wrong: &str) -> Result<Option<T>, D::Error> {
    let text = match Value::deserialize(from)? {
        Value::Null => return Ok(None),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text,
        _ => String::new(),
    };
    text.parse().map(Some).map_err(|_| serde::de::Error::custom(wrong))
}

/// The `Idempotency-Key` of a request, or nothing.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<String, Problem> {
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if key.len() > 255 {
        return Err(invalid("Idempotency-Key takes at most 255 bytes"));
    }
    Ok(key.to_owned())
}

/// The parameters behind the path.
pub struct Params<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Query(params) = Query::try_from_uri(&parts.uri).map_err(|error| invalid(error.body_text()))?;
        Ok(Self(params))
    }
}

/// A JSON body.
pub struct Body<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let too_large = |_| Problem::from(Refusal::new(Reason::TooLarge, "a body takes at most 256 KiB"));
        let body = tokio::time::timeout(PATIENCE, axum::body::to_bytes(request.into_body(), MAX_BODY)).await;
        let late = |_| Problem::from(Refusal::new(Reason::Timeout, "the body did not come within 30 s"));
        let bytes = body.map_err(late)?.map_err(too_large)?;
        let value: Value =
            serde_json::from_slice(&bytes).map_err(|error| invalid(format!("the body is not JSON: {error}")))?;
        if !value.is_object() {
            return Err(invalid("the body must be a JSON object"));
        }
        serde_json::from_value(value).map(Self).map_err(|error| invalid(format!("the body: {error}")))
    }
}
