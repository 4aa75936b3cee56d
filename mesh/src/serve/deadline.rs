//! What is asked of others for a call ends when its caller stops waiting; and so does the call, with the code that says
//! why (tonic by itself says `CANCELLED`).

use crate::{calls, status::to_status};
use futures_util::future::BoxFuture;
use http::{Request, Response};
use madang_proto::reason::{Reason, Refusal};
use std::{
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;
use tonic::body::Body;
use tower::{Layer, Service};

/// How much sooner than the caller gives up it is told, so that it hears why: the way back, and tonic's own clock.
const SOONER: Duration = Duration::from_millis(5);

/// The layer.
#[derive(Clone, Copy)]
pub(super) struct Deadline;

impl<S> Layer<S> for Deadline {
    type Service = Timely<S>;

    fn layer(&self, inner: S) -> Timely<S> {
        Timely { inner }
    }
}

/// A service whose calls end in time.
#[derive(Clone)]
pub(super) struct Timely<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for Timely<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(wait) = calls::timeout(request.headers()) else { return Box::pin(self.inner.call(request)) };
        let end = Instant::now() + wait - SOONER.min(wait / 10);
        let answer = calls::by(Some(end), self.inner.call(request));
        Box::pin(async move {
            tokio::time::timeout_at(end, answer).await.unwrap_or_else(|_| {
                let message = "the time that the caller gave was not enough: it may or may not have been done";
                Ok(to_status(&Refusal::new(Reason::Timeout, message)).into_http())
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower::ServiceExt as _;

    #[tokio::test(start_paused = true)]
    async fn it_ends_before_the_caller_gives_up_and_says_why() {
        let never = tower::service_fn(|_: Request<Body>| async {
            assert!(calls::deadline().is_some(), "what it asks of others has the same end");
            std::future::pending::<Result<Response<Body>, std::io::Error>>().await
        });
        let (begun, wait) = (Instant::now(), Duration::from_millis(500));
        let request = Request::post("/").header("grpc-timeout", "500m").body(Body::empty()).unwrap();
        let answer = Deadline.layer(never).oneshot(request).await.unwrap();
        assert_eq!(answer.headers().get("grpc-status").unwrap(), "4");
        assert!(begun.elapsed() < wait && begun.elapsed() > wait / 2, "{:?}", begun.elapsed());
    }
}
