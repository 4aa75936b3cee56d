//! What every service is given, and how it takes connections: bind, dependencies, ready, serve, drain.
//!
//! What a call goes through, from the outside in: it is counted, its caller must be one who may, it may be shed, gets its
//! deadline, and is served.

mod acting;
mod authorize;
mod deadline;
mod entrance;
mod measure;
mod shed;

pub use authorize::CheckToken;
pub use entrance::{Entrance, Known};

use crate::{
    channel::{CONNECTION_WINDOW, Channels, Incoming, STREAM_WINDOW},
    log::Log,
    registry::Registry,
    settings::Settings,
};
use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Server};
use tower::ServiceBuilder;

/// What every service is given: the outside, behind ports.
#[derive(Clone)]
pub struct Context {
    /// This process's name: new with every start, `[A-Za-z0-9_-]`.
    pub process: String,
    /// Where others reach this process's gRPC: `http://HOST:PORT`, `https://HOST:PORT` or `inproc://NAME`.
    pub address: String,
    /// What all services are told alike.
    pub settings: Settings,
    /// The durable log.
    pub log: Arc<dyn Log>,
    /// Leases and progress.
    pub registry: Arc<dyn Registry>,
    /// To other services.
    pub channels: Channels,
    /// Where the other services are.
    pub peers: Peers,
    /// Until when what a service stands on is tried to be reached while it begins.
    pub until: Instant,
}

/// Where the other services are, one address each (a name that the network balances, or `inproc://NAME`).
#[derive(Debug, Clone, Default)]
pub struct Peers {
    /// Any chat-svc: it knows the map of homes.
    pub chat: String,
    /// store-svc.
    pub store: String,
    /// group-svc.
    pub group: String,
    /// account-svc.
    pub account: String,
    /// notify-svc.
    pub notify: String,
}

/// Binds with a backlog of 4,096: tokio's 128 loses connection attempts in a storm of log-ins.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    let taken = |e: io::Error| io::Error::new(e.kind(), format!("can't listen on {address}: {e}; choose another port"));
    socket.bind(address).map_err(taken)?;
    socket.listen(4096).map_err(taken)
}

/// A loopback port that is free now, for what must be told where it listens before it does. None that the system hands
/// out to connections by itself: one of those could take it meanwhile. None twice: who was given it may not have bound it yet.
pub fn free() -> io::Result<SocketAddr> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    for _ in 0..1000 {
        let port = rand::random_range(10_000..30_000);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let free = std::net::TcpListener::bind(address).is_ok();
        if free && GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            return Ok(address);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "none of 1,000 ports between 10000 and 30000 was free"))
}

/// Serves gRPC until `drain` is cancelled, over the network, to connections from within the process, or both.
pub async fn grpc(
    routes: Routes,
    entrance: Option<Entrance>,
    in_process: Option<Incoming>,
    drain: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    // Both ways in count together.
    let shed = shed::Shed::default();
    let authorize = entrance.as_ref().map(Entrance::authorize).unwrap_or_default();
    let layers = ServiceBuilder::new()
        .layer(measure::Measure)
        .layer(authorize)
        .layer(shed)
        .layer(deadline::Deadline)
        .into_inner();
    let server = || {
        Server::builder()
            .layer(layers.clone())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(10_000)
            .http2_max_local_error_reset_streams(Some(1024))
            .http2_keepalive_interval(Some(Duration::from_secs(20)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
    };
    let over_network = async {
        match entrance {
            Some(entrance) => {
                server()
                    .add_routes(routes.clone())
                    .serve_with_incoming_shutdown(entrance.connections(drain.clone()), drain.clone().cancelled_owned())
                    .await
            }
            None => Ok(()),
        }
    };
    let inside = async {
        match in_process {
            Some(incoming) => {
                server()
                    .add_routes(routes.clone())
                    .serve_with_incoming_shutdown(incoming, drain.clone().cancelled_owned())
                    .await
            }
            None => Ok(()),
        }
    };
    tokio::try_join!(over_network, inside).map(|_| ())
}
