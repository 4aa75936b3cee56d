//! No call waits for ever: it has what is left of its caller's deadline, and one of its own.

use super::caused_by;
use crate::calls::{self, Method};
use futures_util::future::BoxFuture;
use http::{Request, Response};
use madang_proto::reason::{Reason, Refusal};
use std::{
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;
use tonic::body::Body;
use tower::{BoxError, Service};

/// How long a call of one request and one response may take that was given no deadline. Every answer that users wait
/// for is there in a fraction of it; nobody waits longer.
const UNARY: Duration = Duration::from_secs(10);

/// The layer.
#[derive(Clone)]
pub struct Deadline<S> {
    inner: S,
}

impl<S> Deadline<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

fn exceeded() -> BoxError {
    crate::status::to_status(&Refusal::new(Reason::Timeout, "the answer did not come in time: try again")).into()
}

impl<S> Service<Request<Body>> for Deadline<S>
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

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let now = Instant::now();
        let own = calls::timeout(request.headers()).map(|wait| now + wait);
        let usual = Method::of(request.uri().path()).unary.then_some(now + UNARY);
        let Some(end) = [calls::deadline(), own.or(usual)].into_iter().flatten().min() else {
            return Box::pin(self.inner.call(request));
        };
        if end <= now {
            return Box::pin(async { Err(exceeded()) });
        }
        calls::set_timeout(request.headers_mut(), end - now);
        let answer = self.inner.call(request);
        Box::pin(async move {
            match tokio::time::timeout_at(end, answer).await {
                // tonic watches the header as well, and calls it cancelled.
                Ok(Err(error)) if caused_by::<tonic::TimeoutExpired>(&*error) => Err(exceeded()),
                Ok(answer) => answer,
                Err(_) => Err(exceeded()),
            }
        })
    }
}
