//! gateway: turns client WebSockets into the few gRPC streams that carry them to the homes of their users.
//!
//! What comes in: sockets of client apps. What goes out: trunks to chat-svc. It checks the token, cuts and transcodes
//! frames, bounds what a client may send and have waiting; it decides nothing about chats.

pub mod connection;
pub mod frame;
pub mod outbox;
mod pace;
mod problem;
pub mod refusals;
pub mod trunk;

use axum::{
    Extension, Router,
    extract::{State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::get,
};
use frame::Encoding;
use madang_mesh::{
    channel::InvalidAddress, door::Visitor, problem::problem, process, rate::Rate, serve::Context, settings::Settings,
    token::Verifier,
};
use madang_proto::{
    id::UserId,
    reason::{Reason, Refusal},
};
use pace::Pace;
use problem::{method_not_allowed, no_upgrade};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use trunk::Trunks;

/// How long after the drain window sockets may take to close: answers in flight, and the client's own close.
const GOODBYE: Duration = Duration::from_secs(8);

/// What every connection shares.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) verifier: Verifier,
    pub(crate) trunks: Trunks,
    pub(crate) rate: Rate<UserId>,
    pace: Pace,
    pub(crate) drain: CancellationToken,
    pub(crate) connections: TaskTracker,
}

/// A gateway that is ready to run.
pub struct Service {
    shared: Arc<Shared>,
}

/// Builds a gateway.
pub async fn build(context: Context) -> Result<Service, InvalidAddress> {
    let settings = context.settings;
    let verifier = Verifier::new(&context.channels, &context.peers.account, settings.token_issuer.clone())?;
    let drain = CancellationToken::new();
    let trunks = Trunks::spawn(context.channels, &context.peers.chat, settings.queue_frames, settings.queue_bytes);
    let rate = Rate::new(settings.send_rate, settings.send_burst);
    let (connections, pace) = (TaskTracker::new(), Pace::new(settings.connect_rate));
    Ok(Service { shared: Arc::new(Shared { settings, verifier, trunks, rate, pace, drain, connections }) })
}

impl process::Service for Service {
    fn door(&self) -> Option<Router> {
        // A HEAD would be taken for a GET.
        let connect = get(connect).head(method_not_allowed).fallback(method_not_allowed);
        Some(Router::new().route("/v1/connect", connect).with_state(self.shared.clone()))
    }

    async fn run(self, drain: CancellationToken) {
        drain.cancelled().await;
        self.shared.drain.cancel();
        self.shared.connections.close();
        let patience = self.shared.settings.drain_window() + GOODBYE;
        if tokio::time::timeout(patience, self.shared.connections.wait()).await.is_err() {
            tracing::warn!("some connections did not go in time");
        }
    }
}

/// Whether a page may open a socket; who names no origin is no page.
fn welcome(settings: &Settings, headers: &HeaderMap) -> bool {
    let origins = &settings.allowed_origins;
    headers.get_all("origin").iter().all(|origin| {
        origins.is_empty() || origins.iter().any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
    })
}

async fn connect(
    State(shared): State<Arc<Shared>>,
    visitor: Option<Extension<Visitor>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if shared.drain.is_cancelled() {
        let refusal = Refusal::new(Reason::Unavailable, "this server is going away: connect again").after(1000);
        return problem(StatusCode::SERVICE_UNAVAILABLE, &refusal);
    }
    if !welcome(&shared.settings, &headers) {
        refusals::ORIGIN.count();
        let refusal = Refusal::new(Reason::NotAllowed, "pages of this origin may not connect here");
        return problem(StatusCode::FORBIDDEN, &refusal);
    }
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return no_upgrade(&rejection.body_text()),
    };
    let upgrade = upgrade
        .protocols([frame::PB, frame::JSON])
        .read_buffer_size(4096)
        .write_buffer_size(4096)
        .max_message_size(shared.settings.max_frame_bytes)
        .max_frame_size(shared.settings.max_frame_bytes);
    let encoding = match upgrade.selected_protocol().and_then(|protocol| protocol.to_str().ok()) {
        Some(frame::PB) => Encoding::Protobuf,
        Some(frame::JSON) => Encoding::Json,
        _ => {
            let message = "offer the WebSocket subprotocol madang.v1.pb or madang.v1.json";
            return problem(StatusCode::BAD_REQUEST, &Refusal::new(Reason::InvalidField, message));
        }
    };
    let counted = match visitor {
        Some(Extension(visitor)) => visitor.stay().and_then(|place| Some((place, Some(visitor.arrive()?)))),
        None => Some((None, None)),
    };
    let Some((place, arrival)) = counted else {
        let message = "too many connections from this address: close some, or come again later";
        return problem(StatusCode::TOO_MANY_REQUESTS, &Refusal::new(Reason::RateLimited, message).after(5000));
    };
    match shared.pace.turn(Instant::now()) {
        Some(Duration::ZERO) => {}
        Some(wait) => tokio::time::sleep(wait).await,
        None => {
            refusals::CROWD.count();
            let refusal = Refusal::new(Reason::Overloaded, "very many connect at once: come again later").after(5000);
            return problem(StatusCode::SERVICE_UNAVAILABLE, &refusal);
        }
    }
    upgrade.on_upgrade(move |socket| {
        let tracker = shared.connections.clone();
        tracker.track_future(async move {
            connection::serve(shared, socket, encoding, arrival).await;
            drop(place);
        })
    })
}
