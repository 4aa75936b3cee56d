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
    frame::{Envelope, Version},
    frame_encoding::{FrameEncodingFactory, ProtocolFrameEncodingFactory},
    future::BoxFuture,
    transport::{CdrsTransport, TransportTcp},
};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpStream, sync::mpsc::Sender, time::timeout};

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

/// Makes guarded connections.
pub(super) struct Manager {
    authenticator: Arc<dyn SaslAuthenticatorProvider + Send + Sync>,
    keyspace: Arc<KeyspaceHolder>,
    safe: Arc<Safe>,
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
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (compression, version) = (Compression::Lz4, Version::V5);
            let encoding = ProtocolFrameEncodingFactory;
            let transport = TransportTcp::with_stream(
                stream,
                address,
                self.keyspace.clone(),
                events,
                errors.clone(),
                compression,
                encoding.create_encoder(version, compression),
                encoding.create_decoder(version, compression),
                BUFFER,
            )?;
            let (transport, window) = (Arc::new(transport), Arc::default());
            let heard = Arc::new(OnceLock::new());
            let guarded = Guarded { transport, window, dead: Arc::default(), errors, heard: heard.clone() };
            startup(&guarded, &*self.authenticator, &self.keyspace, compression, version).await?;
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
    /// Who is told which nodes are connected.
    pub safe: Arc<Safe>,
}

impl GenericClusterConfig<Guarded, Manager> for Cluster {
    fn create_manager(&self, keyspace: Arc<KeyspaceHolder>) -> BoxFuture<'_, Result<Manager>> {
        let (authenticator, safe) = (self.authenticator.clone(), self.safe.clone());
        Box::pin(async move { Ok(Manager { authenticator, keyspace, safe }) })
    }

    fn event_channel_capacity(&self) -> usize {
        32
    }

    fn version(&self) -> Version {
        Version::V5
    }

    fn connection_pool_config(&self) -> ConnectionPoolConfig {
        ConnectionPoolConfigBuilder::new().with_local_size(CONNECTIONS).with_connect_timeout(Some(CONNECT)).build()
    }
}
