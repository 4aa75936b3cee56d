//! Calls over the network, to processes that fail in many ways.

use super::*;
use crate::{
    calls,
    serve::{self, Entrance},
    status::to_status,
};
use axum::{Router, routing::post};
use http::{HeaderMap, Request, Response};
use madang_proto::reason::{Reason, Refusal};
use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, body::Body, service::Routes};
use tower::ServiceExt as _;

const READ: &str = "/madang.account.v1.AccountService/GetUsers";
const CHANGE: &str = "/madang.account.v1.AccountService/SignUp";

type Answer = Response<Body>;

/// A process that answers all calls so; it ends with the test's runtime.
fn process<F: Future<Output = Answer> + Send + 'static>(
    answer: impl Fn(HeaderMap) -> F + Clone + Send + Sync + 'static,
) -> String {
    let listener = serve::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(post(move |headers: HeaderMap| answer(headers)));
    tokio::spawn(serve::grpc(Routes::from(router), Some(Entrance::open(listener)), None, CancellationToken::new()));
    address
}

/// An address where nobody listens.
fn nowhere() -> String {
    format!("http://{}", serve::free().unwrap())
}

fn says(code: Code) -> Answer {
    Status::new(code, "as the test says").into_http()
}

async fn call(channel: &Channel, path: &str, timeout: Option<&str>) -> Code {
    let mut request = Request::post(path).header("content-type", "application/grpc");
    if let Some(timeout) = timeout {
        request = request.header("grpc-timeout", timeout);
    }
    match channel.clone().oneshot(request.body(Body::empty()).unwrap()).await {
        Ok(answer) => {
            let code = answer.headers().get("grpc-status").expect("these answers have no body");
            Code::from_bytes(code.as_bytes())
        }
        Err(error) => Status::from_error(error).code(),
    }
}

/// A listener whose machine answers nobody any more, as at the address of a pod that is gone: its queue is full.
async fn silent() -> (TcpListener, TcpStream, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = socket.listen(0).unwrap();
    let at = listener.local_addr().unwrap();
    (listener, TcpStream::connect(at).await.unwrap(), format!("http://{at}"))
}

#[tokio::test]
async fn a_machine_that_answers_nobody_is_given_up_before_a_second_has_gone() {
    // Where this machine is slow itself, once more.
    for _ in 0..20 {
        let (_listener, _waiting, gone) = silent().await;
        let channel = Channels::new().get(&gone).unwrap();
        match call(&channel, CHANGE, Some("900m")).await {
            // It could not be reached, twice.
            Code::Unavailable => return,
            code => assert_eq!(code, Code::DeadlineExceeded),
        }
    }
    panic!("the calls' own time ran out");
}

#[tokio::test]
async fn whoever_is_gone_is_not_noticed() {
    let alive = process(|_| async { says(Code::Ok) });
    let channel = Channels::new().get(&format!("{},{alive}", nowhere())).unwrap();
    for path in [READ, CHANGE].repeat(20) {
        // What could not be sent may be sent again, also where it changes something.
        assert_eq!(call(&channel, path, None).await, Code::Ok, "{path}");
    }
}

#[tokio::test]
async fn only_what_changes_nothing_is_sent_twice_and_no_more() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let address = process(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { says(Code::Unavailable) }
    });
    let channel = Channels::new().get(&address).unwrap();
    assert_eq!(call(&channel, CHANGE, None).await, Code::Unavailable);
    assert_eq!(count.swap(0, Ordering::SeqCst), 1);
    assert_eq!(call(&channel, READ, None).await, Code::Unavailable);
    assert_eq!(count.swap(0, Ordering::SeqCst), 2);
}

/// It has waited for that itself; what it can't reach another may.
#[tokio::test]
async fn who_lags_is_not_asked_again() {
    for (reason, times) in [(Reason::Lagging, 1), (Reason::Unavailable, 2), (Reason::Overloaded, 1)] {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let address = process(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move { to_status(&Refusal::new(reason, "as the test says").after(500)).into_http() }
        });
        let channel = Channels::new().get(&address).unwrap();
        assert_eq!(call(&channel, READ, None).await, reason.code());
        assert_eq!(count.load(Ordering::SeqCst), times, "{reason:?}");
    }
}

#[tokio::test]
async fn a_deadline_goes_through_to_whoever_is_asked_and_ends_what_waits() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    let last = process(move |headers| {
        hears.lock().unwrap().push(calls::timeout(&headers).unwrap());
        std::future::pending()
    });
    let channel = Channels::new().get(&last).unwrap();
    let first = process(move |_| {
        let channel = channel.clone();
        async move { says(call(&channel, READ, None).await) }
    });
    let channel = Channels::new().get(&first).unwrap();
    assert_eq!(call(&channel, READ, Some("2S")).await, Code::DeadlineExceeded);
    let heard = heard.lock().unwrap().clone();
    assert!(heard.len() == 1 && heard[0] <= Duration::from_secs(2), "{heard:?}");
    let nobody_waits = Some(tokio::time::Instant::now());
    assert_eq!(calls::by(nobody_waits, call(&channel, READ, None)).await, Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_call_through_a_pipe_is_like_any_other() {
    let channels = Channels::new();
    let router = Router::new().fallback(post(|headers: HeaderMap| async move {
        says(if calls::timeout(&headers).is_some() && calls::deadline().is_some() { Code::Ok } else { Code::Internal })
    }));
    let incoming = channels.listen("account");
    tokio::spawn(serve::grpc(Routes::from(router), None, Some(incoming), CancellationToken::new()));
    let channel = channels.get("inproc://account").unwrap();
    assert_eq!(call(&channel, READ, None).await, Code::Ok);
}

#[tokio::test]
async fn what_is_no_address_is_refused() {
    let channels = Channels::new();
    for wrong in ["", "127.0.0.1:1", "ftp://x", "http://", "http://a:1,", "http://a b"] {
        assert!(channels.get(wrong).is_err(), "{wrong}");
    }
}
