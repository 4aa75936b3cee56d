//! Who may ask how often: log-ins by address, messages and all that may change something by user; and from which pages.

use crate::problem::Problem;
use axum::{
    Extension,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, Method, header};
use madang_mesh::{
    door::{Address, Visitor},
    rate::Rate,
    refused::Refused,
};
use madang_proto::{
    id::UserId,
    reason::{Reason, Refusal},
};
use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

static LOGIN_RATE: LazyLock<Refused> = LazyLock::new(|| {
    Refused::new(
        "login_rate",
        "log-ins, sign-ups and refreshes of addresses beyond login-rate: somebody guesses passwords, or many people are behind one address",
    )
});
static SEND_RATE: LazyLock<Refused> =
    LazyLock::new(|| Refused::new("http_send_rate", "messages and other requests of users over HTTP beyond send-rate"));
static ORIGIN: LazyLock<Refused> =
    LazyLock::new(|| Refused::new("http_origin", "requests of pages of an origin that allowed-origins does not name"));

/// The limits of an api.
pub(crate) struct Limits {
    /// Messages of a user.
    pub send: Rate<UserId>,
    /// Requests of a user under an `Idempotency-Key`.
    pub keyed: Rate<UserId>,
    /// Requests of a user that may change something.
    pub writes: Rate<UserId>,
    /// Log-ins, sign-ups and refreshes of an address.
    pub login: Rate<Address>,
    /// The pages that may call; none: all.
    pub origins: Vec<String>,
}

fn too_many(what: &str, ms: u64) -> Refusal {
    Refusal::new(Reason::RateLimited, format!("too many {what}: try again after retryAfterMs")).after(ms)
}

/// Takes one of a user's, unless there are too many.
fn taken(rate: &Rate<UserId>, user: UserId, what: &str) -> Result<(), Refusal> {
    rate.take(user, Instant::now()).map_err(|ms| {
        SEND_RATE.count();
        too_many(what, ms)
    })
}

impl Limits {
    /// Whether a user may send one more message.
    pub fn send(&self, user: UserId) -> Result<(), Refusal> {
        taken(&self.send, user, "messages")
    }

    /// Whether a user may ask for one more thing that may change something.
    pub fn write(&self, user: UserId) -> Result<(), Refusal> {
        taken(&self.writes, user, "requests")
    }

    /// Whether a user may ask for one more thing under a key: each is remembered for a day.
    pub fn keyed(&self, user: UserId) -> Result<(), Refusal> {
        taken(&self.keyed, user, "requests under an Idempotency-Key")
    }
}

/// Before every log-in, sign-up and refresh.
pub(crate) async fn entrance(
    State(limits): State<Arc<Limits>>,
    visitor: Option<Extension<Visitor>>,
    request: Request,
    next: Next,
) -> Response {
    if let Some(address) = visitor.and_then(|Extension(visitor)| visitor.address)
        && let Err(ms) = limits.login.take(address, Instant::now())
    {
        LOGIN_RATE.count();
        return Problem::from(too_many("log-ins from this address", ms)).into_response();
    }
    next.run(request).await
}

/// How long a browser may keep what it was told of pages' rights: as long as Chromium does at most.
const REMEMBERED: Duration = Duration::from_secs(7200);

/// Tells browsers which pages may call, and read answers: those of these origins; none: all. Tokens are headers, never
/// cookies, so a page gets nothing by its visitor's being logged in elsewhere.
pub(crate) fn cors(origins: &[String]) -> CorsLayer {
    let named = origins.iter().filter_map(|origin| HeaderValue::from_str(&origin.to_ascii_lowercase()).ok());
    let origins = if origins.is_empty() { AllowOrigin::from(Any) } else { AllowOrigin::list(named) };
    let [key, trace] = ["idempotency-key", "traceparent"].map(HeaderName::from_static);
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, key, trace])
        .expose_headers([header::RETRY_AFTER])
        .max_age(REMEMBERED)
}

/// Before everything: who names an origin must be one of the pages that may call.
pub(crate) async fn origin(State(limits): State<Arc<Limits>>, request: Request, next: Next) -> Response {
    let allowed = |origin: &[u8]| limits.origins.iter().any(|each| each.as_bytes().eq_ignore_ascii_case(origin));
    if !limits.origins.is_empty() && !request.headers().get_all("origin").iter().all(|each| allowed(each.as_bytes())) {
        ORIGIN.count();
        let refusal = Refusal::new(Reason::NotAllowed, "pages of this origin may not call this server");
        return Problem::from(refusal).into_response();
    }
    next.run(request).await
}
