//! A process that is asked for more than it can do refuses at once what is waited for least, so that the rest is in
//! time: presence first, then lists, then history; what changes something, last.

use crate::{
    calls::{Method, Priority},
    refused::Refused,
    status::to_status,
};
use futures_util::future::BoxFuture;
use http::{Request, Response};
use madang_proto::reason::{Reason, Refusal};
use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};
use tonic::body::Body;
use tower::{Layer, Service};

/// How many calls a process has under way at most. One that waits takes some 10 KiB, so this is what 40 MiB hold; a
/// service that answers in 5 ms comes to 4,096 at 800,000 calls a second.
const MOST: usize = 4096;
/// How soon one that was refused may come again.
const AGAIN_MS: u64 = 500;

static SHED: LazyLock<Refused> = LazyLock::new(|| {
    let advice = "a process has too many calls at once (4,096): run more of this service, or find what is slow";
    Refused::new("calls", advice)
});

/// The layer: all that it makes count together.
#[derive(Clone)]
pub(super) struct Shed {
    most: usize,
    now: Arc<AtomicUsize>,
}

impl Default for Shed {
    fn default() -> Self {
        Self::new(MOST)
    }
}

impl Shed {
    /// Takes so many calls of one request and one response at once.
    fn new(most: usize) -> Self {
        Self { most, now: Arc::default() }
    }
}

impl<S> Layer<S> for Shed {
    type Service = Shedding<S>;

    fn layer(&self, inner: S) -> Shedding<S> {
        Shedding { inner, shed: self.clone() }
    }
}

/// A service that sheds.
#[derive(Clone)]
pub(super) struct Shedding<S> {
    inner: S,
    shed: Shed,
}

/// A call that is being done.
struct Taken(Arc<AtomicUsize>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shed {
    /// How many may be under way for another of this priority to be taken, in percent of all: as many as leave
    /// room for those above it.
    fn take(&self, priority: Priority) -> Option<Taken> {
        let percent = match priority {
            Priority::Presence => 60,
            Priority::Read => 75,
            Priority::History => 90,
            Priority::Change => 98,
            Priority::Mesh => 100,
        };
        let taken = Taken(self.now.clone());
        let before = self.now.fetch_add(1, Ordering::Relaxed);
        (before * 100 < self.most * percent).then_some(taken)
    }
}

impl<S> Service<Request<Body>> for Shedding<S>
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
        let method = Method::of(request.uri().path());
        if !method.unary {
            return Box::pin(self.inner.call(request));
        }
        let Some(taken) = self.shed.take(method.priority) else {
            SHED.count();
            let refusal =
                Refusal::new(Reason::Overloaded, "there is too much to do just now: try again").after(AGAIN_MS);
            return Box::pin(async move { Ok(to_status(&refusal).into_http()) });
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(taken);
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_least_goes_first() {
        let shed = Shed::new(100);
        let all = [Priority::Presence, Priority::Read, Priority::History, Priority::Change, Priority::Mesh];
        let mut taken = Vec::new();
        for (priority, most) in all.into_iter().zip([60, 75, 90, 98, 100]) {
            while let Some(one) = shed.take(priority) {
                taken.push(one);
            }
            assert_eq!(taken.len(), most, "{priority:?}");
        }
        drop(taken);
        assert!(shed.take(Priority::Presence).is_some(), "and what has ended makes room");
    }
}
