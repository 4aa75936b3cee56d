//! Who may call what: the caller by its certificate, its token or its place in this process, against the one table of all
//! RPCs (`madang_proto::access`). What is not allowed there is refused. And for whom: `madang-user` (see [`super::acting`]).

use super::acting;
use crate::{grants::Grants, identity::Caller, refused::Refused, status::to_status, token::bearer};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use madang_proto::{
    access::{Access, rule},
    reason::{Reason, Refusal},
};
use std::{
    sync::{Arc, LazyLock},
    task::{Context, Poll},
};
use tonic::body::Body;
use tower::{Layer, Service};

/// What probes and tools ask, who have neither a token nor a certificate of a service.
const OPEN: [&str; 2] = ["/grpc.health.v1.Health/", "/grpc.reflection."];

static REFUSED: LazyLock<Refused> = LazyLock::new(|| {
    let advice =
        "calls by somebody who may not make them were refused: see --grants, and who has which certificate or token";
    Refused::new("callers", advice)
});

/// Whose token it is, if anybody's.
pub type CheckToken = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The layer.
#[derive(Clone, Default)]
pub(super) struct Authorize {
    /// Callers are known by tokens.
    pub tokens: Option<CheckToken>,
    /// What others than Madang's own services may.
    pub grants: Arc<Grants>,
}

impl Authorize {
    fn caller(&self, connection: Option<&Caller>, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let Some(check) = &self.tokens else { return Ok(connection.cloned().unwrap_or(Caller::Anybody)) };
        let name = bearer(headers).and_then(|token| check(token)).ok_or_else(|| {
            let message =
                "no service token: make one with `madang token create --service NAME`, send it as a bearer token";
            Refusal::new(Reason::BadToken, message)
        })?;
        Ok(Caller::Outside(name.into()))
    }

    fn check(&self, path: &str, caller: &Caller) -> Result<(), Refusal> {
        let Some(rule) = rule(path) else {
            let message = format!("{path} is no RPC of the contract");
            return Err(Refusal::new(Reason::Unimplemented, message));
        };
        let message = match caller {
            Caller::Anybody => return Ok(()),
            Caller::Own(service) if rule.callers.contains(service) => return Ok(()),
            Caller::Own(service) => {
                format!("{} has no reason to call {path} (madang_proto::access)", service.name())
            }
            Caller::Outside(name) if rule.access == Access::Mesh => {
                format!("{path} is for Madang's own services: {name} may not call it")
            }
            Caller::Outside(name) if self.grants.allow(name, path) => return Ok(()),
            Caller::Outside(name) => format!("{name} may not call {path}: it has no grant (--grants)"),
        };
        Err(Refusal::new(Reason::NotAllowed, message))
    }
}

impl<S> Layer<S> for Authorize {
    type Service = Authorizing<S>;

    fn layer(&self, inner: S) -> Authorizing<S> {
        Authorizing { inner, authorize: self.clone() }
    }
}

/// A service that asks who calls.
#[derive(Clone)]
pub(super) struct Authorizing<S> {
    inner: S,
    authorize: Authorize,
}

impl<S> Service<Request<Body>> for Authorizing<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        if OPEN.iter().any(|open| path.starts_with(open)) {
            return Box::pin(self.inner.call(request));
        }
        let caller = self.authorize.caller(request.extensions().get(), request.headers());
        if let Err(refusal) = caller.and_then(|caller| self.authorize.check(path, &caller)) {
            REFUSED.count();
            return Box::pin(async move { Ok(to_status(&refusal).into_http()) });
        }
        if !acting::concerns(&request) {
            return Box::pin(self.inner.call(request));
        }
        // The one that is ready does it, and a clone takes its place.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            match acting::of_one_user(request).await {
                Ok(request) => inner.call(request).await,
                Err(refusal) => Ok(to_status(&refusal).into_http()),
            }
        })
    }
}
