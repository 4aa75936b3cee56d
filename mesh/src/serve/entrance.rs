//! How connections come to a service's gRPC: each with who is at its other end. A handshake has 5 s; who waits in one never
//! keeps out others.

use super::authorize::{Authorize, CheckToken};
use crate::{
    door::{Arrivals, accept},
    grants::Grants,
    identity::Caller,
    refused::Refused,
    tls::Tls,
};
use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::Sleep,
};
use tokio_rustls::server::TlsStream;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tokio_util::{either::Either, sync::CancellationToken};
use tonic::transport::server::Connected;

/// How many bytes HTTP/2 begins with: until they have come, a connection has shown nothing.
const PREFACE: usize = 24;
/// How long a handshake may take, and after it those.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many handshakes are under way at once; the one that has taken longest goes for a further one.
const HANDSHAKES: usize = 1024;
/// How many connections wait to be served.
const WAITING: usize = 64;

static REFUSED: LazyLock<Refused> = LazyLock::new(|| {
    let advice = "connections to gRPC without a certificate that is good here were closed: see the errors at debug, and --tls-ca of both sides";
    Refused::new("handshakes", advice)
});

static SILENT: LazyLock<Refused> = LazyLock::new(|| {
    Refused::new(
        "silent_callers",
        "connections to gRPC that did not begin HTTP/2 within 5 s were closed: slow networks, or a flood",
    )
});

/// A way in over the network.
pub struct Entrance {
    listener: TcpListener,
    tls: Option<Tls>,
    authorize: Authorize,
}

impl Entrance {
    /// For everybody who can reach it.
    #[must_use]
    pub fn open(listener: TcpListener) -> Self {
        Self { listener, tls: None, authorize: Authorize::default() }
    }

    /// For services with a certificate, if there are any; of others than Madang's own, for what is granted.
    #[must_use]
    pub fn secured(listener: TcpListener, tls: Option<Tls>, grants: Grants) -> Self {
        Self { listener, tls, authorize: Authorize { tokens: None, grants: grants.into() } }
    }

    /// For services with a token, for what is granted.
    #[must_use]
    pub fn with_tokens(listener: TcpListener, check: CheckToken, grants: Grants) -> Self {
        Self { listener, tls: None, authorize: Authorize { tokens: Some(check), grants: grants.into() } }
    }

    pub(super) fn authorize(&self) -> Authorize {
        self.authorize.clone()
    }

    /// The connections that come, until `drain`.
    pub(super) fn connections(self, drain: CancellationToken) -> impl Stream<Item = io::Result<Known<Network>>> {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(self.accept(sender, drain));
        ReceiverStream::new(receiver)
    }

    async fn accept(self, sender: mpsc::Sender<io::Result<Known<Network>>>, drain: CancellationToken) {
        let arrivals = Arrivals::new(HANDSHAKES, 0);
        loop {
            let (stream, _) = tokio::select! {
                accepted = accept(&self.listener) => accepted,
                () = drain.cancelled() => return,
                () = sender.closed() => return,
            };
            let Some(tls) = self.tls.clone() else {
                let known = Known::stranger(Either::Left(stream), Caller::Anybody);
                if sender.send(Ok(known)).await.is_err() {
                    return;
                }
                continue;
            };
            // Of no address there may be too many here.
            let Some((arrival, _)) = arrivals.come(None) else { continue };
            let sender = sender.clone();
            tokio::spawn(async move {
                let given_up = arrival.token();
                let shaken = tokio::select! {
                    shaken = tokio::time::timeout(PATIENCE, tls.accept(stream)) => shaken.unwrap_or_else(|late| Err(late.into())),
                    () = given_up.cancelled() => Err(io::Error::other("too many others came")),
                };
                drop(arrival);
                match shaken {
                    // One that can't be handed on comes to a process that ends.
                    Ok((stream, caller)) => drop(sender.send(Ok(Known::stranger(Either::Right(stream), caller))).await),
                    Err(error) => {
                        REFUSED.count();
                        tracing::debug!(%error, "a connection to gRPC was refused");
                    }
                }
            });
        }
    }
}

/// A connection over the network: plain, or in TLS.
pub(super) type Network = Either<TcpStream, TlsStream<TcpStream>>;

/// A connection of somebody.
pub struct Known<T> {
    io: T,
    caller: Caller,
    /// Until when it must have begun, and how many bytes are missing; none: it has.
    beginning: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<T> Known<T> {
    pub(crate) fn new(io: T, caller: Caller) -> Self {
        Self { io, caller, beginning: None }
    }

    /// One of which it is not known whether it will ever say anything.
    fn stranger(io: T, caller: Caller) -> Self {
        Self { beginning: Some((Box::pin(tokio::time::sleep(PATIENCE)), PREFACE)), ..Self::new(io, caller) }
    }
}

impl<T> Connected for Known<T> {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Known<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        let Some((end, missing)) = &mut self.beginning else { return read };
        *missing = missing.saturating_sub(buffer.filled().len() - before);
        if *missing == 0 {
            self.beginning = None;
        } else if read.is_pending() && end.as_mut().poll(context).is_ready() {
            SILENT.count();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Known<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
