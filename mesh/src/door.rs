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
/// How many connections an admin port has at once: probes and Prometheus need a handful.
const WITHIN: usize = 256;

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
    /// Whether connections count as arrivals to their end, not only until they have shown what they want.
    to_the_end: bool,
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
            to_the_end: false,
        }
    }

    /// Of an admin port. It counts nothing by address, and not with a public door: kubelets probe from their node's address, which
    /// is that of all clients where a network hides theirs, and a probe that is refused ends the process. There are at
    /// most so many connections in all, of which the oldest goes for a further one.
    #[must_use]
    pub fn within() -> Self {
        Self {
            crowd: Crowd::new(0),
            arrivals: Arrivals::new(WITHIN, 0),
            trusted: Arc::default(),
            certificate: None,
            to_the_end: true,
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
                if !door.to_the_end {
                    drop(arrival.lock().unwrap_or_else(PoisonError::into_inner).take());
                }
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
    // Where somebody else may end this; at a public door taken by the first request, and then nobody does.
    let waiting = arrival.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Arrival::token);
    let given_up = async {
        match waiting {
            Some(token) => token.cancelled_owned().await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(given_up);
    tokio::select! {
        // Who broke off has gone; what a handler did is answered or not, as the protocol has it.
        _ = &mut serving => return,
        () = asked.cancelled() => {}
        () = tokio::time::sleep(PATIENCE) => return SILENT.count(),
        () = &mut given_up => return,
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
        () = &mut given_up => return,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{doors, health};
    use clap::Parser as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        settings: Settings,
    }

    async fn ask(stream: &mut TcpStream) -> String {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 1024];
        let read = stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..read]).into_owned()
    }

    #[test]
    fn who_fills_the_public_door_leaves_the_admin_port_to_probes() {
        let settings = Cli::parse_from(["it", "--sockets-per-address", "2", "--arrivals-per-address", "2"]).settings;
        let [public, admin] = doors(&settings);
        let node: SocketAddr = "192.0.2.1:4000".parse().unwrap();
        let there: Vec<_> = (0..2).map(|_| public.enter(node).unwrap()).collect();
        assert!(public.enter(node).is_none(), "that address has as many as it may");
        let probes: Vec<_> = (0..9).map(|_| admin.enter(node)).collect();
        assert!(probes.iter().all(Option::is_some), "probes come from the same address, and are not refused");
        drop(there);
    }

    #[tokio::test]
    async fn an_admin_port_that_is_full_answers_the_next_and_closes_the_oldest() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, drain) = (listener.local_addr().unwrap(), CancellationToken::new());
        let serving = tokio::spawn(serve(listener, health(drain.clone()), Door::within(), drain.clone()));
        let mut all = Vec::new();
        for _ in 0..=WITHIN {
            let mut stream = TcpStream::connect(address).await.unwrap();
            assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200"));
            all.push(stream);
        }
        assert_eq!(all[0].read(&mut [0]).await.unwrap(), 0, "the oldest had to go, though it had asked");
        assert!(ask(&mut all[1]).await.starts_with("HTTP/1.1 200"), "and no other");
        drop(all);
        drain.cancel();
        serving.await.unwrap();
    }
}
