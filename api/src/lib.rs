//! api: what client apps ask for over HTTP. It keeps nothing: every answer comes from another service, typed.

pub mod accounts;
pub mod auth;
pub mod blocks;
pub(crate) mod bodies;
pub mod changes;
pub mod conversations;
pub mod export;
pub mod groups;
pub mod invites;
pub mod limit;
pub(crate) mod newness;
pub mod once;
pub mod openapi;
pub(crate) mod pages;
pub mod pictures;
pub mod problem;
pub mod push;
pub mod settings;
mod whole;

use axum::{
    Router, middleware,
    routing::{get, patch, post, put},
};
use bodies::Bodies;
use export::Exports;
use limit::Limits;
use madang_mesh::{
    channel::{Channel, Channels, InvalidAddress},
    door,
    homes::Homes,
    process,
    rate::Rate,
    serve::Context,
    token::Verifier,
};
use madang_proto::{
    account::v1::account_service_client::AccountServiceClient,
    chat::v1::chat_service_client::ChatServiceClient,
    group::v1::group_service_client::GroupServiceClient,
    id::UserId,
    notify::v1::notify_service_client::NotifyServiceClient,
    reason::{Reason, Refusal},
    store::v1::store_service_client::StoreServiceClient,
};
use newness::Waits;
use problem::Problem;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How long a home that moves is waited for: a stop hands over in less.
const MOVE: Duration = Duration::from_secs(1);

/// What every request shares.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) account: AccountServiceClient<Channel>,
    pub(crate) group: GroupServiceClient<Channel>,
    pub(crate) store: StoreServiceClient<Channel>,
    pub(crate) notify: NotifyServiceClient<Channel>,
    pub(crate) channels: Channels,
    pub(crate) homes: Homes,
    pub(crate) verifier: Verifier,
    pub(crate) limits: Arc<Limits>,
    /// For whom a revision is waited for.
    pub(crate) waits: Arc<Waits>,
    /// What bodies take that are being read.
    pub(crate) bodies: Arc<Bodies>,
    /// For whom exports are written.
    pub(crate) exports: Arc<Exports>,
}

impl Shared {
    /// The home of a user, for what is sent without a socket; waits for one that is about to come.
    pub(crate) async fn home(&self, user: UserId) -> Result<ChatServiceClient<Channel>, Refusal> {
        let home = tokio::time::timeout(MOVE, self.homes.wait_for(user.bytes())).await.ok();
        let channel = home.and_then(|home| self.channels.get(&home.address).ok());
        let none = "no home at the moment: send again with the same clientId";
        channel.map(ChatServiceClient::new).ok_or_else(|| Refusal::new(Reason::Unavailable, none).after(500))
    }
}

/// An api that is ready to run.
pub struct Service {
    shared: Shared,
}

/// Builds an api.
pub async fn build(context: Context) -> Result<Service, InvalidAddress> {
    let channel = |address: &str| context.channels.get(address);
    let settings = &context.settings;
    let limits = Limits {
        send: Rate::new(settings.send_rate, settings.send_burst),
        keyed: Rate::new(settings.send_rate, settings.send_burst),
        writes: Rate::of_frames(settings.send_rate, settings.send_burst),
        login: Rate::new(settings.login_rate, settings.login_burst),
        origins: settings.allowed_origins.clone(),
    };
    let shared = Shared {
        account: AccountServiceClient::new(channel(&context.peers.account)?),
        group: GroupServiceClient::new(channel(&context.peers.group)?),
        store: StoreServiceClient::new(channel(&context.peers.store)?).max_decoding_message_size(16 << 20),
        notify: NotifyServiceClient::new(channel(&context.peers.notify)?),
        homes: Homes::follow(context.channels.clone(), &context.peers.chat),
        channels: context.channels.clone(),
        verifier: Verifier::new(&context.channels, &context.peers.account, context.settings.token_issuer.clone())?,
        limits: Arc::new(limits),
        waits: Arc::default(),
        bodies: Arc::default(),
        exports: Arc::default(),
    };
    Ok(Service { shared })
}

impl process::Service for Service {
    fn door(&self) -> Option<Router> {
        let entrance = Router::new()
            .route("/v1/accounts", post(accounts::sign_up))
            .route("/v1/sessions", post(accounts::log_in))
            .route("/v1/sessions/refresh", post(accounts::refresh))
            .layer(middleware::from_fn_with_state(self.shared.limits.clone(), limit::entrance));
        let router = Router::new()
            .route("/v1/sessions/{session}", axum::routing::delete(accounts::log_out))
            .route("/v1/me", get(accounts::me).patch(accounts::update_me))
            .route("/v1/me/password", put(accounts::change_password))
            .route("/v1/me/deletion", post(accounts::delete_me))
            .route("/v1/me/export", get(export::export))
            .route("/v1/me/picture", put(pictures::put_mine).delete(pictures::delete_mine))
            .route("/v1/pictures/{picture}", get(pictures::get))
            .route("/v1/users", get(accounts::users))
            .route("/v1/users/{user}", get(accounts::user))
            .route("/v1/blocks", get(blocks::list))
            .route("/v1/blocks/{user}", put(blocks::put).delete(blocks::delete))
            .route("/v1/conversations", get(conversations::list))
            .route("/v1/conversations/{c}", get(conversations::one))
            .route("/v1/conversations/{c}/members", get(conversations::members))
            .route("/v1/conversations/{c}/settings", patch(settings::update))
            .route("/v1/conversations/{c}/messages", get(conversations::messages))
            .route("/v1/conversations/{c}/changes", get(changes::of_one))
            .route("/v1/changes", post(changes::of_many))
            .route("/v1/conversations/{c}/read", put(conversations::read))
            .route("/v1/messages", post(conversations::send))
            .route("/v1/groups", post(groups::create_group))
            .route("/v1/groups/{c}", patch(groups::update).delete(groups::end))
            .route("/v1/groups/{c}/picture", put(groups::put_picture).delete(groups::delete_picture))
            .route("/v1/groups/{c}/invites", get(invites::list).post(invites::create))
            .route("/v1/groups/{c}/invites/{code}", axum::routing::delete(invites::delete))
            .route("/v1/invites/{code}", get(invites::look).post(invites::join))
            .route("/v1/groups/{c}/members/{user}/role", put(groups::set_role))
            .route("/v1/groups/{c}/members", post(groups::add_members))
            .route("/v1/groups/{c}/members/{user}", axum::routing::delete(groups::remove_member))
            .route("/v1/push/key", get(push::key))
            .route("/v1/devices/{device}/push", put(push::put).delete(push::delete))
            .route("/.well-known/jwks.json", get(accounts::keys))
            .route(
                "/v1/openapi.json",
                get(|| async { ([("content-type", "application/json")], openapi::DOCUMENT.as_str()) }),
            )
            .route("/v1/client.proto", get(|| async { madang_proto::CLIENT_PROTO }))
            .route_layer(middleware::from_fn_with_state(self.shared.clone(), once::once))
            .route("/v1/sessions", get(accounts::sessions))
            .merge(entrance);
        let nothing = || async { Problem::from(Refusal::new(Reason::NotFound, "there is nothing at this path")) };
        let method = || async { Problem::method_not_allowed() };
        let foreign = middleware::from_fn_with_state(self.shared.limits.clone(), limit::origin);
        let router = router.fallback(nothing).method_not_allowed_fallback(method).layer(foreign);
        let router = router.layer(limit::cors(&self.shared.limits.origins));
        let router = router.layer(middleware::from_fn_with_state(self.shared.bodies.clone(), bodies::count));
        let router = router.layer(middleware::from_fn(door::measure));
        Some(router.with_state(self.shared.clone()))
    }

    async fn run(self, drain: CancellationToken) {
        drain.cancelled().await;
    }
}
