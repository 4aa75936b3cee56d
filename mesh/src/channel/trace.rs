//! A call that is made for a request is a span of the request's trace, and tells it to who is called. Outside the rest:
//! it sees what the caller sees.

use crate::{
    calls::Method,
    trace::{self, Kind, Span},
};
use futures_util::future::{BoxFuture, Either};
use http::{Request, Response};
use std::task::{Context, Poll};
use tonic::{Status, body::Body};
use tower::{BoxError, Service};

/// The layer.
#[derive(Clone)]
pub struct Trace<S> {
    inner: S,
}

impl<S> Trace<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S> Service<Request<Body>> for Trace<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response<Body>, BoxError>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let method = Method::of(request.uri().path());
        let caller = trace::current().filter(|_| method.unary);
        let name = method.path.trim_start_matches('/');
        let mut span = Span::within(caller, "rpc", name, Kind::Client);
        let Some(context) = span.context() else { return Either::Left(self.inner.call(request)) };
        trace::into_headers(context, request.headers_mut());
        let answer = self.inner.call(request);
        Either::Right(Box::pin(async move {
            let answer = answer.await;
            match &answer {
                // One that went well has its code behind what it answers, which its callee's span knows.
                Ok(answer) => match answer.headers().get(Status::GRPC_STATUS).and_then(|code| code.to_str().ok()) {
                    Some(code) => trace::answered(&mut span, code),
                    None => span.word("rpc.system.name", "grpc"),
                },
                Err(_) => span.fail("no answer"),
            }
            answer
        }))
    }
}
