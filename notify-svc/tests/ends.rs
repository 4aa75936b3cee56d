//! Whoever has logged out is told nothing, also where account-svc could not be asked for so long that it has forgotten who did.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

#[path = "shared/alone.rs"]
mod alone;

use alone::{Alone, until};
use axum::{
    Router,
    response::{IntoResponse, Response as Shown},
    routing::post,
};
use madang_mesh::{channel::Channels, clock::now_ms, serve};
use madang_notify::{ends::Ends, provider::Providers};
use madang_proto::account::v1::{
    ListEndedSessionsRequest, ListEndedSessionsResponse, ListSessionsRequest, ListSessionsResponse, Session,
    account_service_client::AccountServiceClient,
};
use std::{
    future::ready,
    sync::{Arc, Mutex},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, server::Grpc};
use tonic_prost::ProstCodec;

type Asked = axum::http::Request<axum::body::Body>;

/// account-svc, which has heard of no end of a session.
#[derive(Clone, Default)]
struct Account(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// What there is of sessions.
    live: Vec<String>,
    /// Up to when it says that these were all; none: it does not answer.
    until: Option<i64>,
    /// How often it was asked, and answered or not.
    asked: (usize, usize),
}

impl Account {
    fn set(&self, until: Option<i64>) {
        self.0.lock().unwrap().until = until;
    }

    fn asked(&self) -> (usize, usize) {
        self.0.lock().unwrap().asked
    }

    fn ended(&self) -> Result<Response<ListEndedSessionsResponse>, Status> {
        let mut known = self.0.lock().unwrap();
        let Some(until) = known.until else {
            known.asked.1 += 1;
            return Err(Status::internal("cut off"));
        };
        known.asked.0 += 1;
        Ok(Response::new(ListEndedSessionsResponse { until, ..ListEndedSessionsResponse::default() }))
    }

    fn sessions(&self) -> Result<Response<ListSessionsResponse>, Status> {
        let known = self.0.lock().unwrap();
        known.until.ok_or_else(|| Status::internal("cut off"))?;
        let session = |session: &String| Session { session: session.clone(), ..Session::default() };
        Ok(Response::new(ListSessionsResponse { sessions: known.live.iter().map(session).collect() }))
    }

    async fn answer(self, request: Asked) -> Shown {
        let path = request.uri().path().to_owned();
        match path.rsplit_once('/').unwrap().1 {
            "ListEndedSessions" => {
                let service = tower::service_fn(move |_: Request<ListEndedSessionsRequest>| ready(self.ended()));
                Grpc::new(ProstCodec::default()).unary(service, request).await.into_response()
            }
            _ => {
                let service = tower::service_fn(move |_: Request<ListSessionsRequest>| ready(self.sessions()));
                Grpc::new(ProstCodec::default()).unary(service, request).await.into_response()
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logged_out_while_account_svc_was_out_of_reach_for_long_is_told_nothing() {
    let (account, channels, drain) = (Account::default(), Channels::new(), CancellationToken::new());
    let answers = account.clone();
    let router = Router::new().fallback(post(move |request: Asked| answers.clone().answer(request)));
    let incoming = channels.listen("account");
    tokio::spawn(serve::grpc(tonic::service::Routes::from(router), None, Some(incoming), drain.clone()));
    let alone = Alone::with(Providers::default());
    let (stays, goes) = (alone.device("https://one/".into()).await, alone.device("https://other/".into()).await);
    account.0.lock().unwrap().live = [&stays, &goes].map(|each| each.session.to_string()).to_vec();

    // It was heard of last an hour ago.
    account.set(Some(now_ms() - 60 * 60_000));
    let client = AccountServiceClient::new(channels.get("inproc://account").unwrap());
    let running = tokio::spawn(Ends { store: alone.store.clone(), account: client }.run(drain.clone()));
    until(async || alone.store.ended_until().await.unwrap() > 0).await;
    account.set(None);
    until(async || account.asked().1 > 0).await;
    // One has ended since, which is known no more; then all is well again.
    account.0.lock().unwrap().live = vec![stays.session.to_string()];
    account.set(Some(now_ms()));
    let before = account.asked().0;
    until(async || account.asked().0 > before).await;
    let left = alone.store.of_users(vec![stays.user, goes.user]).await.unwrap();
    assert_eq!(left, [stays]);
    drain.cancel();
    running.await.unwrap();
}
