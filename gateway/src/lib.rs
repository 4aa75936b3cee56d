//! gateway: turns client WebSockets into the few gRPC streams that carry them to the homes of their users.
//!
//! What comes in: sockets of client apps. What goes out: trunks to chat-svc. It checks the token, cuts and transcodes
//! frames, bounds what a client may send and have waiting; it decides nothing about chats.

pub mod connection;
pub mod frame;
pub mod limit;
pub mod outbox;
pub mod trunk;

use axum::{
    Router,
    extract::{State, WebSocketUpgrade},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use frame::Encoding;
use limit::SendRate;
use madang_mesh::{channel::InvalidAddress, process, serve::Context, settings::Settings, token::Verifier};
use std::{sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use trunk::Trunks;

/// What every connection shares.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) verifier: Verifier,
    pub(crate) trunks: Trunks,
    pub(crate) rate: SendRate,
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
    let rate = SendRate::new(settings.send_rate, settings.send_burst);
    let connections = TaskTracker::new();
    Ok(Service { shared: Arc::new(Shared { settings, verifier, trunks, rate, drain, connections }) })
}

impl process::Service for Service {
    fn door(&self) -> Option<Router> {
        Some(Router::new().route("/v1/connect", get(connect)).with_state(self.shared.clone()))
    }

    async fn run(self, drain: CancellationToken) {
        drain.cancelled().await;
        self.shared.drain.cancel();
        self.shared.connections.close();
        if tokio::time::timeout(Duration::from_secs(8), self.shared.connections.wait()).await.is_err() {
            tracing::warn!("some connections did not go in time");
        }
    }
}

async fn connect(State(shared): State<Arc<Shared>>, upgrade: WebSocketUpgrade) -> Response {
    if shared.drain.is_cancelled() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
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
            let problem = serde_json::json!({
                "type": "about:blank", "title": "Bad Request", "status": 400, "code": "INVALID_ARGUMENT",
                "reason": "INVALID_FIELD", "retryable": false,
                "detail": "offer the WebSocket subprotocol madang.v1.pb or madang.v1.json",
            });
            let kind = [("content-type", "application/problem+json")];
            return (StatusCode::BAD_REQUEST, kind, problem.to_string()).into_response();
        }
    };
    upgrade.on_upgrade(move |socket| {
        let tracker = shared.connections.clone();
        tracker.track_future(connection::serve(shared, socket, encoding))
    })
}
