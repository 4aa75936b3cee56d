//! The public door: HTTP/1.1 for strangers; with a certificate, over TLS and also HTTP/2. A connection that has not
//! finished its first request's head in 5 s is closed; of one address there are at most so many; what a head takes is
//! bounded. Behind it, each request carries a [`Visitor`].

mod accept;
mod address;
mod crowd;
mod measure;

pub(crate) use accept::accept;
pub use address::{Address, Network, origin};
pub(crate) use crowd::Arrivals;
pub use crowd::{Arrival, Place};
pub use measure::measure;

use crate::{
    refused::Refused,
    settings::Settings,
    tls::door::{Certificate, speaks_http2},
};
use axum::{Router, body::Body, extract::Request};
use crowd::Crowd;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_util::{either::Either, sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

/// How long somebody may take to show what they want: the first request's head, a hello.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection may take for a further request, in which it may also be idle.
const IDLE: Duration = Duration::from_secs(60);
/// The largest head of a request, in bytes.
const HEAD: u32 = 16 << 10;
/// How many requests of an HTTP/2 connection are answered at once.
const STREAMS: u32 = 100;
/// After what time an HTTP/2 connection is told to come anew: nothing else ends one on which nothing happens.
const AGE: Duration = Duration::from_secs(600);
/// How often it is looked whether an HTTP/2 client still answers, and how long it may take to.
const KEEP_ALIVE: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(10)];
/// How many may wait for the door at once.
const ARRIVALS: usize = 10_000;

static CROWDED: LazyLock<Refused> = LazyLock::new(|| {
    let advice = "connections of an address that has sockets-per-address of them; many people may be behind one address: raise it, or name your proxies in trusted-proxies";
    Refused::new("sockets_of_address", advice)
});
static WAITING: LazyLock<Refused> = LazyLock::new(|| {
    let advice = "connections of an address that has arrivals-per-address of them which have shown nothing yet";
    Refused::new("arrivals_of_address", advice)
});
static PUSHED_OUT: LazyLock<Refused> = LazyLock::new(|| {
    let advice = "of too many connections that have shown nothing yet, those that waited longest were closed: somebody floods this door";
    Refused::new("arrivals", advice)
});
static SILENT: LazyLock<Refused> = LazyLock::new(|| {
    Refused::new("silent", "connections that sent no whole request within 5 s were closed: slow networks, or a flood")
});

/// What a connection is: plain, or in TLS.
type Speech = Either<TcpStream, TlsStream<TcpStream>>;

/// The limits of a door, and its certificate.
#[derive(Clone)]
pub struct Door {
    crowd: Crowd,
    arrivals: Arrivals,
    trusted: Arc<[Network]>,
    certificate: Option<Certificate>,
}

/// Who sends a request.
#[derive(Clone)]
pub struct Visitor {
    /// Where from, as it is counted; none: from this machine.
    pub address: Option<Address>,
    place: Option<Arc<Place>>,
    door: Door,
}

impl Door {
    /// With the limits of the settings.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            crowd: Crowd::new(settings.sockets_per_address),
            arrivals: Arrivals::new(ARRIVALS, settings.arrivals_per_address),
            trusted: settings.trusted_proxies.clone().into(),
            certificate: None,
        }
    }

    /// The same, counting together, over TLS if there is a certificate.
    #[must_use]
    pub fn secured(&self, certificate: Option<Certificate>) -> Self {
        Self { certificate, ..self.clone() }
    }

    /// What is spoken on a connection, and whether that is HTTP/2; none: it was closed.
    async fn speak(&self, stream: TcpStream, given_up: CancellationToken) -> Option<(Speech, bool)> {
        let Some(certificate) = &self.certificate else { return Some((Either::Left(stream), false)) };
        tokio::select! {
            shaken = tokio::time::timeout(PATIENCE, certificate.accept(stream)) => match shaken {
                Ok(Ok(stream)) => {
                    let http2 = speaks_http2(&stream);
                    Some((Either::Right(stream), http2))
                }
                // Plain HTTP, a port scan, an old client: theirs to notice.
                Ok(Err(_)) => None,
                Err(_) => {
                    SILENT.count();
                    None
                }
            },
            () = given_up.cancelled() => None,
        }
    }

    fn trusts(&self, peer: SocketAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(peer.ip()))
    }

    /// What a new connection gets; none: it is refused.
    fn enter(&self, peer: SocketAddr) -> Option<(Option<Arc<Place>>, Arrival)> {
        // A proxy's connections are many people's: they are counted by what it says of them.
        let address = if self.trusts(peer) { None } else { Address::of(peer.ip()) };
        let place = match address {
            Some(address) => {
                let place = self.crowd.enter(address);
                if place.is_none() {
                    CROWDED.count();
                }
                Some(Arc::new(place?))
            }
            None => None,
        };
        Some((place, self.arrive(address)?))
    }

    fn arrive(&self, address: Option<Address>) -> Option<Arrival> {
        let arrival = self.arrivals.come(address);
        match arrival {
            Some((arrival, full)) => {
                if full {
                    PUSHED_OUT.count();
                }
                Some(arrival)
            }
            None => {
                WAITING.count();
                None
            }
        }
    }
}

impl Visitor {
    /// A place for a connection that outlives its request; none: this address has as many as it may have. The outer
    /// none is for whom nothing is counted.
    #[must_use]
    pub fn stay(&self) -> Option<Option<Arc<Place>>> {
        match (&self.place, self.address) {
            (Some(place), _) => Some(Some(place.clone())),
            (None, Some(address)) => {
                let place = self.door.crowd.enter(address);
                if place.is_none() {
                    CROWDED.count();
                }
                Some(Some(Arc::new(place?)))
            }
            (None, None) => Some(None),
        }
    }

    /// One more who has not yet said who they are; none: too many of this address have not.
    #[must_use]
    pub fn arrive(&self) -> Option<Arrival> {
        self.door.arrive(self.address)
    }
}

/// Serves strangers until `drain`; then closes each connection after the request that it is at.
pub async fn serve(listener: TcpListener, router: Router, door: Door, drain: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = drain.cancelled() => break,
        };
        if let Some((place, arrival)) = door.enter(peer) {
            connections.spawn(connection(stream, peer, place, arrival, router.clone(), door.clone(), drain.clone()));
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    place: Option<Arc<Place>>,
    arrival: Arrival,
    router: Router,
    door: Door,
    drain: CancellationToken,
) {
    let Some((stream, http2)) = door.speak(stream, arrival.token()).await else { return };
    let (asked, arrival) = (CancellationToken::new(), Arc::new(Mutex::new(Some(arrival))));
    let service = hyper::service::service_fn({
        let (asked, arrival) = (asked.clone(), arrival.clone());
        move |request: Request<hyper::body::Incoming>| {
            if !asked.is_cancelled() {
                asked.cancel();
                drop(arrival.lock().unwrap_or_else(PoisonError::into_inner).take());
            }
            let hops = request.headers().get_all("x-forwarded-for").into_iter().filter_map(|value| value.to_str().ok());
            let address = Address::of(origin(peer.ip(), &door.trusted, hops.collect::<Vec<_>>().into_iter()));
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Visitor { address, place: place.clone(), door: door.clone() });
            router.clone().oneshot(request)
        }
    });
    let builder = protocol(http2);
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(serving);
    // The one place where somebody else may end the wait; taken by the first request.
    let waiting = arrival.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Arrival::token);
    let given_up = async {
        match waiting {
            Some(token) => token.cancelled_owned().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // Who broke off has gone; what a handler did is answered or not, as the protocol has it.
        _ = &mut serving => return,
        () = asked.cancelled() => {}
        () = tokio::time::sleep(PATIENCE) => return SILENT.count(),
        () = given_up => return,
        () = drain.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    let old = async {
        if http2 {
            tokio::time::sleep(AGE).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = &mut serving => return,
        () = drain.cancelled() => {}
        () = old => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = serving.await;
}

/// What is spoken, within limits: on a plain connection HTTP/1.1 alone, which has no frames to flood with.
fn protocol(http2: bool) -> auto::Builder<TokioExecutor> {
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(HEAD as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD)
        .keep_alive_interval(KEEP_ALIVE[0])
        .keep_alive_timeout(KEEP_ALIVE[1]);
    builder
}
