//! Channels to services: `http://HOST:PORT` over the network, `https://HOST:PORT` where services have certificates (several,
//! separated by commas, share the calls, as do the addresses of one name), `inproc://NAME` within the process. The last
//! goes through the same codecs and layers, over a pipe, so that one process is no second code path.
//!
//! What a call goes through, from the outside in: its trace, its deadline, a second try, the choice of a process, tonic's channel.

mod balance;
mod deadline;
mod retry;
mod trace;

use crate::{
    identity::Caller,
    serve::{Known, Peers},
    tls::Tls,
};
use balance::{Balance, End};
use deadline::Deadline;
use futures_util::StreamExt;
use hyper_util::rt::TokioIo;
use madang_proto::access::Service;
use retry::Retry;
use std::{
    collections::HashMap,
    error::Error,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{io::DuplexStream, net::TcpStream, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{self, Endpoint, Uri};
use trace::Trace;

/// The window of one HTTP/2 stream: what an unread stream may hold up.
pub const STREAM_WINDOW: u32 = 4 << 20;
/// The window of one HTTP/2 connection. h2 closes the *whole* connection when unread small frames exceed a budget of
/// half of it, so it is wide, and no reader of a trunk ever stops reading.
pub const CONNECTION_WINDOW: u32 = 16 << 20;
/// How often it is looked whether the other side still answers, and half of how long it may take to: a process that
/// hangs is left about when its leases run out.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// How long connecting to a process may take, with its certificate. It can be tried elsewhere, so it is not waited for long.
const CONNECT: Duration = Duration::from_secs(1);
/// How long its machine may take to answer at all, which it does without the process: at the address of a pod that is gone nobody
/// answers, and DNS may name it for some seconds more. Longer than a round trip between zones, or regions.
const REACH: Duration = Duration::from_millis(300);
/// How many bytes wait in an in-process pipe.
const PIPE: usize = 256 << 10;

/// The way to a service.
pub type Channel = Trace<Deadline<Retry<Balance>>>;

/// Opens channels, and remembers them by address.
#[derive(Clone, Default)]
pub struct Channels {
    inner: Arc<Mutex<Inner>>,
    /// As whom it calls within the process.
    caller: Option<Service>,
    secured: Option<Arc<Secured>>,
}

/// With what it calls over the network, and who is where.
struct Secured {
    tls: Tls,
    peers: Peers,
}

#[derive(Default)]
struct Inner {
    open: HashMap<(Option<&'static str>, String), Channel>,
    listeners: HashMap<String, mpsc::Sender<Known<DuplexStream>>>,
}

/// No channel can be opened to such an address.
#[derive(Debug, Clone, thiserror::Error)]
#[error("'{address}' is no address of a service: {why}")]
pub struct InvalidAddress {
    /// What was given.
    pub address: String,
    /// What is wrong with it.
    pub why: String,
}

/// Connections from within the process.
pub type Incoming = futures_util::stream::BoxStream<'static, io::Result<Known<DuplexStream>>>;

impl Channels {
    /// None open yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// None open yet; calls over the network are TLS, if there are certificates.
    #[must_use]
    pub fn secured(tls: Option<Tls>, peers: &Peers) -> Self {
        let secured = tls.map(|tls| Arc::new(Secured { tls, peers: peers.clone() }));
        Self { secured, ..Self::default() }
    }

    /// The same, of one of several services in this process.
    #[must_use]
    pub fn of(&self, caller: Service) -> Self {
        Self { caller: Some(caller), ..self.clone() }
    }

    /// Takes connections to `inproc://NAME`.
    #[must_use]
    pub fn listen(&self, name: &str) -> Incoming {
        let (sender, receiver) = mpsc::channel(64);
        self.lock().listeners.insert(name.to_owned(), sender);
        ReceiverStream::new(receiver).map(Ok).boxed()
    }

    /// The channel to an address; connects when first used, and again when the connection is lost.
    pub fn get(&self, address: &str) -> Result<Channel, InvalidAddress> {
        let mut inner = self.lock();
        let key = (self.caller.map(Service::name), address.to_owned());
        if let Some(channel) = inner.open.get(&key) {
            return Ok(channel.clone());
        }
        let channel = match address.strip_prefix("inproc://") {
            Some(name) => layered(Balance::new(vec![End::new(address.to_owned(), self.in_process(name.to_owned()))])),
            None => over_network(address, self.secured.as_ref().map(|secured| secured.to(address)))?,
        };
        inner.open.insert(key, channel.clone());
        Ok(channel)
    }

    /// Forgets the channel to a process that is gone.
    pub fn forget(&self, address: &str) {
        self.lock().open.retain(|(_, of), _| of != address);
    }

    fn in_process(&self, name: String) -> transport::Channel {
        let channels = self.clone();
        let caller = self.caller.map_or(Caller::Anybody, Caller::Own);
        let connect = tower::service_fn(move |_: Uri| {
            let caller = caller.clone();
            let (channels, name) = (channels.clone(), name.clone());
            async move {
                let listener = channels.lock().listeners.get(&name).cloned();
                let gone =
                    || io::Error::new(io::ErrorKind::ConnectionRefused, "the service does not run in this process");
                let (near, far) = tokio::io::duplex(PIPE);
                let far = Known::new(far, caller);
                listener.ok_or_else(gone)?.send(far).await.map_err(|_| gone())?;
                Ok::<_, io::Error>(TokioIo::new(near))
            }
        });
        tuned(Endpoint::from_static("http://in.process")).connect_with_connector_lazy(connect)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn layered(balance: Balance) -> Channel {
    Trace::new(Deadline::new(Retry::new(balance)))
}

/// The processes at some addresses, and at all that their names stand for.
fn over_network(addresses: &str, secure: Option<Secure>) -> Result<Channel, InvalidAddress> {
    let scheme = if secure.is_some() { "https://" } else { "http://" };
    let mut ends = Vec::new();
    let mut names = Vec::new();
    for address in addresses.split(',') {
        let invalid = |why: String| InvalidAddress { address: address.to_owned(), why };
        if !address.starts_with(scheme) {
            return Err(invalid(format!("it must begin with {scheme} (https:// with --tls-cert, http:// without)")));
        }
        let name = Uri::try_from(address).map_err(|error| invalid(error.to_string()))?;
        ends.push(End::new(address.to_owned(), connect(address, &name, secure.as_ref())?));
        names.push(name);
    }
    let balance = Balance::new(ends);
    let stands_for_others = |name: &Uri| host(name) != "localhost" && host(name).parse::<IpAddr>().is_err();
    if names.iter().any(stands_for_others) {
        balance.follow(names, move |address, name| connect(address, name, secure.as_ref()).ok());
    }
    Ok(layered(balance))
}

/// The channel to an address, which the other side knows by a name.
fn connect(address: &str, name: &Uri, secure: Option<&Secure>) -> Result<transport::Channel, InvalidAddress> {
    let invalid = |why: String| InvalidAddress { address: address.to_owned(), why };
    // tonic would make TLS of https:// by itself, with the names of hosts; it is made below.
    let plain = address.replacen("https://", "http://", 1);
    let endpoint = Endpoint::from_shared(plain).map_err(|error| invalid(error.to_string()))?;
    let endpoint = tuned(endpoint.origin(name.clone()));
    Ok(match secure {
        Some(secure) => endpoint.connect_with_connector_lazy(secure.connector()),
        None => endpoint.connect_with_connector_lazy(tower::service_fn(async |at: Uri| {
            reach(&at, port(&at)).await.map(TokioIo::new)
        })),
    })
}

impl Secured {
    /// Who is meant by an address: a service's is known by the settings, and those of homes come from leases.
    fn to(&self, address: &str) -> Secure {
        let peers = &self.peers;
        let known = [
            (&peers.store, Service::Store),
            (&peers.group, Service::Group),
            (&peers.account, Service::Account),
            (&peers.notify, Service::Notify),
        ];
        let service = known.into_iter().find(|(at, _)| *at == address).map_or(Service::Chat, |(_, service)| service);
        Secure { tls: self.tls.clone(), service }
    }
}

/// With what it is connected to a service.
struct Secure {
    tls: Tls,
    service: Service,
}

impl Secure {
    fn connector(
        &self,
    ) -> impl tower::Service<
        Uri,
        Response = TokioIo<tokio_rustls::client::TlsStream<TcpStream>>,
        Error = io::Error,
        Future: Send,
    > + Send
    + 'static {
        let (tls, service) = (self.tls.clone(), self.service);
        tower::service_fn(move |at: Uri| {
            let tls = tls.clone();
            async move {
                let stream = reach(&at, at.port_u16().unwrap_or(443)).await?;
                Ok(TokioIo::new(tls.connect(stream, host(&at), service).await?))
            }
        })
    }
}

/// A name, or an address; of IPv6 without its brackets.
fn host(of: &Uri) -> &str {
    of.host().unwrap_or_default().trim_matches(['[', ']'])
}

/// Its port, or its scheme's.
fn port(of: &Uri) -> u16 {
    of.port_u16().unwrap_or(if of.scheme_str() == Some("https") { 443 } else { 80 })
}

/// A connection to the first of a name's addresses at which somebody answers.
async fn reach(at: &Uri, port: u16) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host((host(at), port)).await? {
        match tokio::time::timeout(REACH, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed)
}

/// Whether an error is of that kind, or comes of one.
fn caused_by<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<E>() {
            return true;
        }
        next = error.source();
    }
    false
}

fn tuned(endpoint: Endpoint) -> Endpoint {
    endpoint
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(2 * KEEP_ALIVE)
        .keep_alive_while_idle(true)
}

#[cfg(test)]
mod tests;
