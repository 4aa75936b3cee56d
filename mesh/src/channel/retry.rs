//! What may be sent again is, once: a call that never left this process, or one that changes nothing and found its
//! server gone, or unable to reach what it needs; not one that was waited for in vain where it came. Within a budget, so
//! that an overload is not made worse: a fifth of the calls, and ten a second.

use super::caused_by;
use crate::{calls::Method, metrics, status::from_status};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, request::Parts};
use http_body_util::{BodyExt as _, Full};
use madang_proto::reason::Reason;
use prometheus::IntCounter;
use std::{
    sync::{Arc, LazyLock, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};
use tower::{BoxError, Service};

/// How much of the budget a retry takes; a call gives one.
const PRICE: u32 = 5;
/// What the budget holds at most: what ten seconds bring by themselves.
const MOST: u32 = 100 * PRICE;
/// How many retries come by themselves each second. Both are what linkerd's budget is by default.
const BY_ITSELF: u32 = 10;
/// How long it waits before it tries again.
const PAUSE: Duration = Duration::from_millis(20);

static RETRIES: LazyLock<IntCounter> =
    LazyLock::new(|| metrics::counter("madang_mesh_retries_total", "How many calls were sent a second time."));

struct Budget {
    left: u32,
    at: Instant,
}

/// The layer.
#[derive(Clone)]
pub struct Retry<S> {
    inner: S,
    budget: Arc<Mutex<Budget>>,
}

impl<S> Retry<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, budget: Arc::new(Mutex::new(Budget { left: MOST, at: Instant::now() })) }
    }
}

impl Budget {
    fn called(&mut self) {
        self.left = (self.left + 1).min(MOST);
    }

    fn afford(&mut self) -> bool {
        let whole = u32::try_from(self.at.elapsed().as_secs()).unwrap_or(u32::MAX);
        self.at += Duration::from_secs(whole.into());
        self.left = whole.saturating_mul(BY_ITSELF * PRICE).saturating_add(self.left).min(MOST);
        let enough = self.left >= PRICE;
        self.left -= if enough { PRICE } else { 0 };
        enough
    }
}

/// Whether it says that it can't, and another process perhaps can: its database may be cut off from this one alone. Who lags
/// has waited, as long as anybody is to wait, for what all of them read from the same place; asked again it would wait as long
/// once more, and so would whoever it asks, so that two seconds became eight.
fn elsewhere(headers: &HeaderMap) -> bool {
    // An error without a message has its status among the headers.
    let status = Status::from_header_map(headers).filter(|status| status.code() == Code::Unavailable);
    status.is_some_and(|status| from_status(&status).reason != Reason::Lagging)
}

/// Whether it may be sent again.
fn again(method: Method, answer: &Result<Response<Body>, BoxError>) -> bool {
    match answer {
        Ok(response) => method.safe && elsewhere(response.headers()),
        Err(error) => {
            let late = caused_by::<tonic::TimeoutExpired>(&**error);
            !late && (method.safe || caused_by::<tonic::ConnectError>(&**error))
        }
    }
}

fn copy(parts: &Parts, body: &bytes::Bytes) -> Request<Body> {
    Request::from_parts(parts.clone(), Body::new(Full::new(body.clone())))
}

impl<S> Service<Request<Body>> for Retry<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = Method::of(request.uri().path());
        if !method.unary {
            return Box::pin(self.inner.call(request));
        }
        let (mut inner, budget) = (self.inner.clone(), self.budget.clone());
        Box::pin(async move {
            // One message, which is in memory already.
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let answer = inner.call(copy(&parts, &body)).await;
            budget.lock().unwrap_or_else(PoisonError::into_inner).called();
            if !again(method, &answer) || !budget.lock().unwrap_or_else(PoisonError::into_inner).afford() {
                return answer;
            }
            RETRIES.inc();
            tokio::time::sleep(PAUSE).await;
            inner.call(copy(&parts, &body)).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_budget_is_a_fifth_and_ten_a_second() {
        let mut budget = Budget { left: 0, at: Instant::now() };
        assert!(!budget.afford());
        (0..10).for_each(|_| budget.called());
        assert!(budget.afford() && budget.afford() && !budget.afford());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((0..20).filter(|_| budget.afford()).count(), 10);
        tokio::time::advance(Duration::from_secs(10_000)).await;
        assert_eq!((0..200).filter(|_| budget.afford()).count(), 100);
    }
}
