//! Connections to push services, bounded: in how long they may take to be made, TLS included, in how long they may say
//! nothing, and in how many there are. A connection that was begun for a request may be finished behind its back, when
//! the request has found another; and one that a request has given up may hang on a peer that reads nothing. Each of them
//! ends by itself, whatever its peer does.

use super::{Failed, Reach};
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::ClientConfig;
use socket2::{SockRef, TcpKeepalive};
use std::{
    error::Error,
    future::Future,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep, timeout},
};
use tower::Service;

/// How often the system asks whether a peer that says nothing is still there.
const PROBE: Duration = Duration::from_secs(10);

/// How connections are bounded.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How long it may take to make one: a place, the name, TCP and TLS.
    pub connect: Duration,
    /// How long one may say nothing. Longer than an answer is waited for, and than one is kept for the next request.
    pub silent: Duration,
    /// How many there are at once, of all hosts together, the ones that are being made among them.
    pub most: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connect: Duration::from_secs(4), silent: Duration::from_secs(30), most: 1024 }
    }
}

/// The addresses of a host at a port.
pub type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;
/// Resolves names.
pub type Lookup = Arc<dyn Fn(String, u16) -> Found + Send + Sync>;

/// As the system does.
pub(super) fn system(host: String, port: u16) -> Found {
    Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
}

/// Makes TCP connections to where may be called.
#[derive(Clone)]
struct Connector {
    reach: Reach,
    lookup: Lookup,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failed>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(&uri).await })
    }
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(PROBE).with_interval(PROBE))?;
    Ok(stream)
}

impl Connector {
    async fn connect(&self, uri: &Uri) -> Result<TokioIo<TcpStream>, Failed> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let found = (self.lookup)(host.to_owned(), uri.port_u16().unwrap_or(443)).await;
        let mut failed = Failed::Name;
        for address in found.map_err(|_| Failed::Name)? {
            if !self.reach.allows(&address) {
                failed = Failed::Address;
                continue;
            }
            match open(address).await {
                Ok(stream) => return Ok(TokioIo::new(stream)),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => failed = Failed::Refused,
                Err(_) => failed = Failed::Unreached,
            }
        }
        Err(failed)
    }
}

/// Makes connections with TLS, within bounds.
#[derive(Clone)]
pub(super) struct Bounded {
    https: HttpsConnector<Connector>,
    places: Arc<Semaphore>,
    bounds: Bounds,
}

impl Bounded {
    pub fn new(lookup: Lookup, trust: ClientConfig, reach: Reach, bounds: Bounds) -> Self {
        let https = HttpsConnectorBuilder::new().with_tls_config(trust).https_only().enable_all_versions();
        let https = https.wrap_connector(Connector { reach, lookup });
        Self { https, places: Arc::new(Semaphore::new(bounds.most)), bounds }
    }
}

type AnyError = Box<dyn Error + Send + Sync>;

impl Service<Uri> for Bounded {
    type Response = Held;
    type Error = AnyError;
    type Future = Pin<Box<dyn Future<Output = Result<Held, AnyError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AnyError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { mut https, places, bounds } = self.clone();
        let made = async move {
            let place = places.acquire_owned().await?;
            let stream = https.call(uri).await?;
            let (heard, over) = (Instant::now(), Box::pin(sleep(bounds.silent)));
            Ok(Held { stream, _place: place, silent: bounds.silent, heard, over })
        };
        Box::pin(async move { timeout(bounds.connect, made).await.unwrap_or_else(|_| Err(Failed::Late.into())) })
    }
}

/// A connection: it holds a place until it is closed, and fails once nothing has come for too long.
pub(super) struct Held {
    stream: MaybeHttpsStream<TokioIo<TcpStream>>,
    _place: OwnedSemaphorePermit,
    silent: Duration,
    /// When something came last.
    heard: Instant,
    over: Pin<Box<Sleep>>,
}

impl Held {
    /// What is waited for, unless it is waited for too long.
    fn unless_over<T>(&mut self, polled: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        while polled.is_pending() {
            ready!(self.over.as_mut().poll(context));
            let until = self.heard + self.silent;
            if until <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.over.as_mut().reset(until);
        }
        polled
    }
}

impl Connection for Held {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

impl Read for Held {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(context, buf);
        if polled.is_ready() {
            self.heard = Instant::now();
        }
        self.unless_over(polled, context)
    }
}

impl Write for Held {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, buf);
        self.unless_over(polled, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.unless_over(polled, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.unless_over(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, bufs);
        self.unless_over(polled, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_looks_whether_a_silent_peer_is_still_there() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = open(listener.local_addr().unwrap()).await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), PROBE);
    }
}
