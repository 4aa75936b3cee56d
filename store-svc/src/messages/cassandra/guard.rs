//! Connections to Cassandra that can't mix up answers. cdrs-tokio 9.0.2 numbers its requests with a counter that wraps
//! at 32,767 without looking whether a number is still in use, so that a slow request could be given another's answer;
//! and it waits for answers for ever. Every connection is therefore wrapped: a window of requests smaller than the
//! counter, and a deadline after which the connection counts as broken and is made anew.

#![allow(clippy::result_large_err)] // the error is the driver's, and its traits want it so

use super::safe::{Heard, Safe};
use cdrs_tokio::{
    authenticators::SaslAuthenticatorProvider,
    cluster::{
        ConnectionManager, GenericClusterConfig, KeyspaceHolder, connection_pool::ConnectionPoolConfig,
        connection_pool::ConnectionPoolConfigBuilder, startup,
    },
    compression::Compression,
    error::{Error, Result},
    frame::{Envelope, Version, message_error::ErrorType},
    frame_encoding::{FrameEncodingFactory, ProtocolFrameEncodingFactory},
    future::BoxFuture,
    transport::{CdrsTransport, TransportTcp},
};
use madang_mesh::tls::trust::Trust;
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{mpsc::Sender, watch},
    time::timeout,
};
use tokio_rustls::client::TlsStream;

/// After so long without an answer a connection counts as broken; longer than every time-out of the server.
const DEADLINE: Duration = Duration::from_secs(12);
/// How far requests may be ahead of the oldest unanswered one: below the 32,767 numbers of the protocol.
const WINDOW: u64 = 32_000;
/// How long connecting may take.
pub(super) const CONNECT: Duration = Duration::from_secs(5);
/// Connections to each node.
pub(super) const CONNECTIONS: usize = 2;
/// The read buffer of a connection, in bytes.
const BUFFER: usize = 16 << 10;
/// How frames are compressed.
const COMPRESSION: Compression = Compression::Lz4;
/// The protocol's version.
const VERSION: Version = Version::V5;

#[derive(Default)]
struct Window {
    next: u64,
    open: BTreeSet<u64>,
}

/// A guarded connection.
pub(super) struct Guarded {
    transport: Arc<TransportTcp>,
    window: Arc<Mutex<Window>>,
    dead: Arc<AtomicBool>,
    errors: Option<Sender<Error>>,
    heard: Arc<OnceLock<Heard>>,
}

impl Guarded {
    fn enter(&self) -> Result<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = window.open.first().copied().unwrap_or(window.next);
        if self.is_broken() || window.next - oldest >= WINDOW {
            return Err(Error::General("the connection is busy or broken".into()));
        }
        window.next += 1;
        let number = window.next;
        window.open.insert(number);
        Ok(number)
    }
}

impl CdrsTransport for Guarded {
    fn write_envelope<'a>(&'a self, envelope: &'a Envelope, handshake: bool) -> BoxFuture<'a, Result<Envelope>> {
        Box::pin(async move {
            let number = self.enter()?;
            let (transport, window, dead) = (self.transport.clone(), self.window.clone(), self.dead.clone());
            let (errors, envelope, heard) = (self.errors.clone(), envelope.clone(), self.heard.clone());
            // A task of its own: a caller who goes must not free the place before the answer is there.
            let answer = tokio::spawn(async move {
                let answer = timeout(DEADLINE, transport.write_envelope(&envelope, handshake)).await;
                window.lock().unwrap_or_else(PoisonError::into_inner).open.remove(&number);
                if let (Ok(Ok(_)), Some(heard)) = (&answer, heard.get()) {
                    heard.now();
                }
                answer.unwrap_or_else(|_| {
                    let overdue = || Error::Timeout("an answer is overdue: the connection is dropped".into());
                    dead.store(true, Ordering::Release);
                    if let Some(errors) = errors {
                        // Makes the pool connect anew; a full queue has told it already.
                        let _ = errors.try_send(overdue());
                    }
                    Err(overdue())
                })
            });
            answer.await.map_err(|error| Error::General(error.to_string()))?
        })
    }

    fn is_broken(&self) -> bool {
        self.dead.load(Ordering::Acquire) || self.transport.is_broken()
    }

    fn address(&self) -> SocketAddr {
        self.transport.address()
    }
}

/// TLS to the nodes. The driver's own stands on a verifier of 2021, and knows no certificates of addresses.
#[derive(Clone)]
pub(super) struct Secure {
    /// Whose certificates are believed.
    pub trust: Trust,
    /// Of whom they all are; none: each node's is of its address.
    pub name: Option<String>,
}

/// The way of the bytes.
enum Way {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

/// The driver's connection over a stream, and who is told of what it says unasked.
fn transport<T: AsyncRead + AsyncWrite + Send + Sync + 'static>(
    stream: T,
    address: SocketAddr,
    (keyspace, events, errors): (Arc<KeyspaceHolder>, Option<Sender<Envelope>>, Option<Sender<Error>>),
) -> Result<TransportTcp> {
    let encoding = ProtocolFrameEncodingFactory;
    let (encoder, decoder) =
        (encoding.create_encoder(VERSION, COMPRESSION), encoding.create_decoder(VERSION, COMPRESSION));
    let made =
        TransportTcp::with_stream(stream, address, keyspace, events, errors, COMPRESSION, encoder, decoder, BUFFER);
    Ok(made?)
}

/// Makes guarded connections.
pub(super) struct Manager {
    authenticator: Arc<dyn SaslAuthenticatorProvider + Send + Sync>,
    secure: Option<Secure>,
    keyspace: Arc<KeyspaceHolder>,
    safe: Arc<Safe>,
    denied: watch::Sender<Option<String>>,
}

impl Manager {
    /// Says who it is; notes where it is let in by nobody for that, which the driver tries again for ever.
    async fn greet(&self, node: &Guarded) -> Result<()> {
        let greeted = startup(node, &*self.authenticator, &self.keyspace, COMPRESSION, VERSION).await;
        let why = match &greeted {
            Err(Error::Server { body, .. }) if body.ty == ErrorType::Authentication => &body.message,
            // As who has no name is told.
            Err(Error::General(why)) if self.authenticator.name().is_none() => why,
            _ => return greeted,
        };
        self.denied.send_replace(Some(why.clone()));
        greeted
    }

    async fn reach(&self, address: SocketAddr) -> Result<Way> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let Some(Secure { trust, name }) = &self.secure else { return Ok(Way::Plain(stream)) };
        let host = name.clone().unwrap_or_else(|| address.ip().to_string());
        Ok(Way::Secure(Box::new(trust.connect(stream, &host).await?)))
    }
}

impl ConnectionManager<Guarded> for Manager {
    fn connection(
        &self,
        events: Option<Sender<Envelope>>,
        errors: Option<Sender<Error>>,
        address: SocketAddr,
    ) -> BoxFuture<'_, Result<Guarded>> {
        // The driver's own connection hears of events; those of a pool do not.
        let pooled = events.is_none();
        let connect = async move {
            let told = (self.keyspace.clone(), events, errors.clone());
            let transport = match self.reach(address).await? {
                Way::Plain(stream) => transport(stream, address, told),
                Way::Secure(stream) => transport(*stream, address, told),
            }?;
            let (transport, window) = (Arc::new(transport), Arc::default());
            let heard = Arc::new(OnceLock::new());
            let guarded = Guarded { transport, window, dead: Arc::default(), errors, heard: heard.clone() };
            self.greet(&guarded).await?;
            // Told once: it is new.
            let _ = heard.set(self.safe.connected(address, pooled));
            Ok(guarded)
        };
        Box::pin(async move {
            timeout(CONNECT, connect).await.map_err(|_| Error::Timeout(format!("{address} does not answer")))?
        })
    }
}

/// How to reach the cluster.
pub(super) struct Cluster {
    /// Who one is.
    pub authenticator: Arc<dyn SaslAuthenticatorProvider + Send + Sync>,
    /// TLS, if it is spoken.
    pub secure: Option<Secure>,
    /// Who is told which nodes are connected.
    pub safe: Arc<Safe>,
    /// Who is told why one is not let in.
    pub denied: watch::Sender<Option<String>>,
}

impl GenericClusterConfig<Guarded, Manager> for Cluster {
    fn create_manager(&self, keyspace: Arc<KeyspaceHolder>) -> BoxFuture<'_, Result<Manager>> {
        let (authenticator, secure) = (self.authenticator.clone(), self.secure.clone());
        let (safe, denied) = (self.safe.clone(), self.denied.clone());
        Box::pin(async move { Ok(Manager { authenticator, secure, keyspace, safe, denied }) })
    }

    fn event_channel_capacity(&self) -> usize {
        32
    }

    fn version(&self) -> Version {
        VERSION
    }

    fn connection_pool_config(&self) -> ConnectionPoolConfig {
        ConnectionPoolConfigBuilder::new().with_local_size(CONNECTIONS).with_connect_timeout(Some(CONNECT)).build()
    }
}
