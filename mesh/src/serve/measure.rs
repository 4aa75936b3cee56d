//! How often each method is called, with what outcome, and how long it takes to the end of its answer; how many streams
//! are open. Calls of one request and one response are spans of their callers' traces, or begin one; what a stream carries
//! has traces of its own.

use crate::{
    calls::Method,
    metrics,
    trace::{self, Kind, Span},
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Frame;
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};
use std::{
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
    time::Instant,
};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let help = "How long calls of one request and one response took, to the end of the answer.";
    metrics::histograms("madang_rpc_server_seconds", help, &["method"], metrics::SECONDS)
});
static CALLS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "How many calls ended, and how: a number of google.rpc.Code; given_up: the caller did not wait.";
    metrics::counters("madang_rpc_server_calls_total", help, &["method", "code"])
});
static STREAMS: LazyLock<IntGaugeVec> =
    LazyLock::new(|| metrics::gauges("madang_rpc_server_streams", "How many streams are open.", &["method"]));

/// The layer.
#[derive(Clone, Copy)]
pub(super) struct Measure;

impl<S> Layer<S> for Measure {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        Measured { inner }
    }
}

/// A service whose calls are measured.
#[derive(Clone)]
pub(super) struct Measured<S> {
    inner: S,
}

/// A call; one that is dropped without an end was given up.
struct Call {
    method: Method,
    begun: Instant,
    span: Span,
    ended: bool,
}

impl Call {
    fn new(method: Method, caller: Option<trace::Context>) -> Self {
        let span = if method.unary {
            let name = method.path.trim_start_matches('/');
            match caller {
                Some(_) => Span::within(caller, "rpc", name, Kind::Server),
                None => Span::root("rpc", name, Kind::Server, None),
            }
        } else {
            STREAMS.with_label_values(&[method.path]).inc();
            Span::none()
        };
        Self { method, begun: Instant::now(), span, ended: false }
    }

    fn end(&mut self, code: &str) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        trace::answered(&mut self.span, code);
        let context = std::mem::take(&mut self.span).context();
        CALLS.with_label_values(&[self.method.path, code]).inc();
        if self.method.unary {
            let seconds = self.begun.elapsed().as_secs_f64();
            SECONDS.with_label_values(&[self.method.path]).observe(seconds);
            metrics::exemplar(&SECONDS, &[self.method.path], seconds, context);
        } else {
            STREAMS.with_label_values(&[self.method.path]).dec();
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end("given_up");
    }
}

fn code(headers: &http::HeaderMap) -> Option<&str> {
    headers.get(Status::GRPC_STATUS)?.to_str().ok()
}

/// An answer that tells how it ends.
struct Answer {
    inner: Body,
    call: Call,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(code) = frame.trailers_ref().and_then(code) {
                    self.call.end(code);
                }
            }
            Poll::Ready(Some(Err(error))) => self.call.end(&i32::from(error.code()).to_string()),
            Poll::Ready(None) => self.call.end("0"),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.inner.size_hint()
    }
}

impl<S> Service<Request<Body>> for Measured<S>
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
        let caller = trace::of_headers(request.headers());
        let mut call = Call::new(Method::of(request.uri().path()), caller);
        let answer = trace::within(call.span.context(), self.inner.call(request));
        Box::pin(async move {
            let answer = answer.await?;
            if let Some(code) = code(answer.headers()) {
                call.end(code);
            }
            Ok(answer.map(|inner| Body::new(Answer { inner, call })))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    async fn call(method: &str, trailers: Option<&'static str>, read: bool) {
        let inner = tower::service_fn(move |_: Request<Body>| async move {
            let frames = trailers.map(|code| {
                let mut trailers = http::HeaderMap::new();
                trailers.insert(Status::GRPC_STATUS, http::HeaderValue::from_static(code));
                Ok::<_, Status>(Frame::trailers(trailers))
            });
            let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
            Ok::<_, Status>(Response::new(Body::new(body)))
        });
        let request = Request::builder().uri(format!("/madang.group.v1.GroupService/{method}"));
        let answer = Measure.layer(inner).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        if read {
            answer.into_body().collect().await.unwrap();
        }
    }

    #[tokio::test]
    async fn each_outcome_is_counted() {
        call("EndGroup", Some("0"), true).await;
        call("EndGroup", Some("7"), true).await;
        call("EndGroup", Some("0"), false).await;
        let text = String::from_utf8(metrics::text()).unwrap();
        for code in ["0", "7", "given_up"] {
            let line = format!("code=\"{code}\",method=\"/madang.group.v1.GroupService/EndGroup\"}} 1");
            assert!(text.contains(&line), "{line} is not in {text}");
        }
        assert!(text.contains("madang_rpc_server_seconds_count{method=\"/madang.group.v1.GroupService/EndGroup\"} 3"));
    }
}
