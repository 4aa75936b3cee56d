//! Errors as RFC 9457 problems, and bodies whose faults are named.

use crate::bodies::{self, Held, Most};
use axum::{
    body::Bytes,
    extract::{
        FromRequest, FromRequestParts, Query, Request,
        path::ErrorKind,
        rejection::{PathRejection, QueryRejection},
    },
    http::{Extensions, HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use madang_mesh::{
    json::{drop_nulls, make_whole},
    problem::problem,
    status::from_status,
};
use madang_proto::reason::{Reason, Refusal, http_status};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use std::{error::Error, iter::successors, str::FromStr, time::Duration};

/// Why a request was not done.
#[derive(Debug)]
pub struct Problem {
    status: u16,
    refusal: Refusal,
    /// Some of the body has not been read: what comes next on the connection is no request.
    unread: bool,
}

impl Problem {
    /// One that is told before the body was read to its end.
    pub(crate) fn unread(refusal: Refusal) -> Self {
        Self { unread: true, ..refusal.into() }
    }

    /// The path is there, not for this method.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        let refusal = Refusal::new(Reason::Unimplemented, "this path does not take this method");
        Self { status: 405, ..refusal.into() }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { status: http_status(refusal.reason.code()), refusal, unread: false }
    }
}

impl From<tonic::Status> for Problem {
    fn from(status: tonic::Status) -> Self {
        from_status(&status).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, refusal, unread } = self;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = problem(status, &refusal);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if unread {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// A request that names what is wrong with it.
pub(crate) fn invalid(message: impl Into<String>) -> Problem {
    Refusal::new(Reason::InvalidField, message).into()
}

/// A request with a field that is wrong.
pub(crate) fn wrong(field: &str, message: impl Into<String>) -> Problem {
    Refusal::new(Reason::InvalidField, message).of(field).into()
}

/// What serde says of a place, with the field that it is about: for one that is missing, or there twice, serde knows the
/// place around it.
fn misread<E: std::fmt::Display>(of: &str, error: &serde_path_to_error::Error<E>) -> Problem {
    let (around, said) = (error.path().to_string(), error.inner().to_string());
    let inside = ["missing field `", "duplicate field `"]
        .into_iter()
        .find_map(|start| said.strip_prefix(start)?.split_once('`').map(|(name, _)| name.to_owned()));
    let around = Some(around).filter(|path| path != ".");
    let field = around.into_iter().chain(inside).collect::<Vec<_>>().join(".");
    wrong(&field, format!("{of}: {said}"))
}

/// Tells null from absent.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// A number in either of its forms, as one or as text, or null; else what is wrong.
pub(crate) fn number_or_null<'de, D: Deserializer<'de>, T: FromStr>(
    from: D,
    wrong: &str,
) -> Result<Option<T>, D::Error> {
    let text = match Value::deserialize(from)? {
        Value::Null => return Ok(None),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text,
        _ => String::new(),
    };
    text.parse().map(Some).map_err(|_| serde::de::Error::custom(wrong))
}

/// A number in either of its forms, as one or as text; else what is wrong.
pub(crate) fn number<'de, D: Deserializer<'de>, T: FromStr>(from: D, wrong: &str) -> Result<T, D::Error> {
    number_or_null(from, wrong)?.ok_or_else(|| serde::de::Error::custom(wrong))
}

/// How much is asked for; more than there is a number for counts as much.
pub(crate) fn limit<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let text = String::deserialize(from)?;
    let digits = !text.is_empty() && text.bytes().all(|each| each.is_ascii_digit());
    let wrong = || serde::de::Error::custom("limit must be a number from 0 on");
    if digits { Ok(text.parse().unwrap_or(u32::MAX)) } else { Err(wrong()) }
}

/// A message's number, which is 1 at least.
pub(crate) fn place<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let wrong = "a message's number is 1 or more: leave it out for none";
    let seq = String::deserialize(from)?.parse().ok().filter(|seq| *seq > 0);
    seq.ok_or_else(|| serde::de::Error::custom(wrong))
}

/// A value of an enumeration that clients may know more of than this server: one that is unknown here counts as none.
pub(crate) fn known<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(from: D) -> Result<T, D::Error> {
    match Value::deserialize(from)? {
        value @ (Value::String(_) | Value::Number(_)) if !value.is_f64() => {
            Ok(serde_json::from_value(value).unwrap_or_default())
        }
        _ => Err(serde::de::Error::custom("a value must be named by its word, or by its number")),
    }
}

/// The `Idempotency-Key` of a request, or nothing.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<String, Problem> {
    let key = headers.get("idempotency-key").map_or(Ok(""), |value| value.to_str());
    match key {
        Ok(key) if key.len() <= 255 => Ok(key.to_owned()),
        _ => Err(invalid("Idempotency-Key takes at most 255 characters of ASCII")),
    }
}

/// The parameters behind the path.
pub struct Params<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Query(params) = Query::try_from_uri(&parts.uri).map_err(|error| wrong_query(&error))?;
        Ok(Self(params))
    }
}

fn wrong_query(rejection: &QueryRejection) -> Problem {
    let found = successors(rejection.source(), |error| Error::source(*error))
        .find_map(|error| error.downcast_ref::<serde_path_to_error::Error<serde::de::value::Error>>());
    found.map_or_else(|| invalid(rejection.body_text()), |error| misread("the query", error))
}

/// The parts of the path that have names.
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(named)| Self(named)).map_err(wrong_path)
    }
}

fn wrong_path(rejection: PathRejection) -> Problem {
    match rejection {
        PathRejection::FailedToDeserializePathParams(failed) => match failed.into_kind() {
            ErrorKind::InvalidUtf8InPathParam { key } => wrong(&key, "this part of the path is no text in UTF-8"),
            other => invalid(format!("the path: {other}")),
        },
        other => invalid(other.body_text()),
    }
}

/// What is read of a JSON body: the largest content has room, each byte of it escaped as JSON does with control characters.
const MOST: Most = Most {
    bytes: 512 << 10,
    too_large: "a body takes at most 512 KiB",
    time: Duration::from_secs(30),
    late: "the body did not come within 30 s",
};

/// All of a body, within its limits.
pub(crate) async fn read(body: axum::body::Body, held: &Held) -> Result<Bytes, Problem> {
    bodies::read(body, held, MOST).await
}

/// What the body of a request takes.
pub(crate) fn held(extensions: &Extensions) -> Result<Held, Problem> {
    let nothing = || Refusal::new(Reason::Internal, "what bodies take is not counted here");
    extensions.get::<Held>().cloned().ok_or_else(|| nothing().into())
}

/// What a body holds.
async fn object(request: Request) -> Result<Value, Problem> {
    let held = held(request.extensions())?;
    let bytes = read(request.into_body(), &held).await?;
    let mut body = serde_json::from_slice(&bytes).map_err(|error| invalid(format!("the body is not JSON: {error}")))?;
    make_whole(&mut body);
    if body.is_object() { Ok(body) } else { Err(invalid("the body must be a JSON object")) }
}

fn understood<T: DeserializeOwned>(object: Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(object).map_err(|error| misread("the body", &error))
}

/// A JSON body, in which null is as if it were left out, wherever it stands: the canonical proto3 mapping.
pub struct Body<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let mut object = object(request).await?;
        drop_nulls(&mut object);
        understood(object).map(Self)
    }
}

/// A JSON body that says what changes (RFC 7396): null is not as if it were left out.
pub struct Patch<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Patch<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        understood(object(request).await?).map(Self)
    }
}
