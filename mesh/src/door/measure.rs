//! How often each route of a public door is asked for, with what outcome, and how long it takes until the answer begins.
//! A request begins a trace, or goes on with its client's.

use crate::{
    metrics,
    trace::{self, Kind, Span},
};
use axum::{
    extract::{MatchedPath, Request},
    http::Method,
    middleware::Next,
    response::Response,
};
use prometheus::{HistogramVec, IntCounterVec};
use std::{sync::LazyLock, time::Instant};

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "How many HTTP requests of clients were answered, by route, method and status.";
    metrics::counters("madang_http_requests_total", help, &["route", "method", "status"])
});
static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let help = "How long HTTP requests of clients took until their answers began.";
    metrics::histograms("madang_http_seconds", help, &["route", "method"], metrics::SECONDS)
});

/// A method as a label: clients may invent others.
fn word(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    KNOWN.into_iter().find(|known| method == known).unwrap_or("other")
}

/// The layer of a router: `axum::middleware::from_fn(measure)`.
pub async fn measure(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = word(request.method());
    // As the router has it, with nothing of what was asked for.
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let asked = trace::of_headers(request.headers());
    let mut span = Span::root("http", format!("{method} {route}"), Kind::Server, asked);
    let answer = trace::within(span.context(), next.run(request)).await;
    let status = answer.status();
    span.number("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.fail("the answer is an error of the server");
    }
    REQUESTS.with_label_values(&[route.as_str(), method, status.as_str()]).inc();
    let (labels, seconds) = ([route.as_str(), method], begun.elapsed().as_secs_f64());
    SECONDS.with_label_values(&labels).observe(seconds);
    metrics::exemplar(&SECONDS, &labels, seconds, span.context());
    answer
}
