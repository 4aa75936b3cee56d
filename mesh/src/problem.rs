//! A refusal at an HTTP door, as an RFC 9457 problem: api and gateway are one door to a client.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use madang_proto::reason::{Refusal, code_name};
use serde_json::json;

/// Says a refusal with a status; with 429 and 503 also when to come again.
#[must_use]
pub fn problem(status: StatusCode, refusal: &Refusal) -> Response {
    let body = json!({
        "type": "about:blank", "title": status.canonical_reason().unwrap_or_default(), "status": status.as_u16(),
        "detail": refusal.message, "code": code_name(refusal.reason.code()), "reason": refusal.reason.word(),
        "retryable": refusal.reason.retryable(), "retryAfterMs": refusal.retry_after_ms.to_string(),
        "field": refusal.field,
    });
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    let mut response = (status, kind, body.to_string()).into_response();
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        let seconds = refusal.retry_after_ms.div_ceil(1000).max(1);
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}
