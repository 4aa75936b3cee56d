//! Why no socket is opened.

use axum::{
    http::{StatusCode, header},
    response::Response,
};
use madang_mesh::problem::problem;
use madang_proto::reason::{Reason, Refusal};

/// Sockets are opened with GET alone.
pub(crate) async fn method_not_allowed() -> Response {
    let refusal = Refusal::new(Reason::Unimplemented, "this path does not take this method");
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, &refusal);
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET"));
    response
}

/// A request that opens no WebSocket, and why.
pub(crate) fn no_upgrade(why: &str) -> Response {
    let message = format!("{why}: open this path as a WebSocket (RFC 6455, version 13) over HTTP/1.1");
    let mut response = problem(StatusCode::BAD_REQUEST, &Refusal::new(Reason::InvalidField, message));
    response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, header::HeaderValue::from_static("13"));
    response
}
