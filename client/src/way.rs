//! The way to a server: what its base URL says, and a connection to it, over TLS where that is `https://`. The certificate
//! and the name in it are always checked, against the authorities of this machine: those of its store, or the files that
//! `SSL_CERT_FILE` and `SSL_CERT_DIR` name, as OpenSSL has them.

use crate::http::Error;
use futures_util::future::select_all;
use std::{
    io,
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{self, ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};
use tokio_util::either::Either;

/// How long connecting may take: where a node is gone, nothing answers.
const CONNECT: Duration = Duration::from_secs(2);
/// How long the server may take to show its certificate and to prove it, as at the server's own door.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How many tries to connect there are at once at most: each is a load for a server that has too much of it.
const TRIES: u32 = 3;
/// How long a try is waited for before another begins (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// How long the server's machine may leave what was sent to it unconfirmed, where the system can tell: its node is gone.
/// That a server is slow does not count, its machine confirms.
const UNCONFIRMED: Duration = Duration::from_secs(4);

/// A connection to a server, plain or TLS.
pub type Connection = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// What a base URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `https://`.
    pub tls: bool,
    /// The host, with its port if that was said.
    pub authority: String,
    /// The host alone; an IPv6 address without its brackets.
    host: String,
    port: u16,
}

impl Address {
    /// Of `http://HOST:PORT` or `https://HOST:PORT`; without a port, that of the scheme. Nothing else may be in it.
    #[must_use]
    pub fn parse(base: &str) -> Option<Self> {
        let uri: hyper::Uri = base.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?;
        let bare = !authority.as_str().contains('@') && matches!(uri.path(), "" | "/") && uri.query().is_none();
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str().ends_with(authority.host()) => [80, 443][usize::from(tls)],
            // What stands there is none.
            None => return None,
        };
        (bare && !host.is_empty()).then(|| Self { tls, authority: authority.to_string(), host, port })
    }

    /// Connects, from a given local address if one is given: one address has only so many ports.
    pub async fn connect(&self, source: Option<IpAddr>) -> Result<Connection, Error> {
        let connected = tokio::time::timeout(CONNECT, beside(|| self.reach(source))).await;
        let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNCONFIRMED))?;
        if !self.tls {
            return Ok(Either::Left(stream));
        }
        let name = ServerName::try_from(self.host.clone()).map_err(|_| Error::Url(self.authority.clone()))?;
        let trust = trust().map_err(Error::Tls)?;
        match tokio::time::timeout(HANDSHAKE, trust.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(Either::Right(Box::new(stream))),
            // What rustls itself says is wrong stays wrong; a connection may break at any time.
            Ok(Err(error)) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
                Err(Error::Tls(error))
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }

    async fn reach(&self, source: Option<IpAddr>) -> Result<TcpStream, Error> {
        let at = (self.host.as_str(), self.port);
        let Some(source) = source else { return Ok(TcpStream::connect(at).await?) };
        let wanted = |address: &std::net::SocketAddr| address.is_ipv4() == source.is_ipv4();
        let found = tokio::net::lookup_host(at).await?.find(wanted);
        let address = found.ok_or_else(|| Error::Url(self.authority.clone()))?;
        let socket = if source.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind((source, 0).into())?;
        Ok(socket.connect(address).await?)
    }
}

/// Whom this machine believes, read once: a client has thousands of connections.
fn trust() -> io::Result<&'static TlsConnector> {
    static TRUST: OnceLock<TlsConnector> = OnceLock::new();
    if let Some(trust) = TRUST.get() {
        return Ok(trust);
    }
    let (mut roots, found) = (RootCertStore::empty(), rustls_native_certs::load_native_certs());
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.iter().fold(String::new(), |said, error| format!("{said}: {error}"));
        return Err(io::Error::other(format!(
            "this machine has no authorities; SSL_CERT_FILE names a file of some{why}"
        )));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TRUST.get_or_init(|| TlsConnector::from(Arc::new(config))))
}

/// What the first try to be answered gives; where one hangs, another begins beside it. Behind the one address of a load
/// balancer may be several nodes, of which one is gone.
async fn beside<F: Future>(attempt: impl Fn() -> F) -> F::Output {
    let attempt = &attempt;
    let tries = (0..TRIES).map(|number| async move {
        tokio::time::sleep(STAGGER * number).await;
        attempt().await
    });
    select_all(tries.map(Box::pin)).await.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_a_scheme_a_host_and_perhaps_a_port() {
        let parse = |base| Address::parse(base).map(|at| (at.tls, at.authority, at.host, at.port));
        let is = |tls, authority: &str, host: &str, port| Some((tls, authority.to_owned(), host.to_owned(), port));
        assert_eq!(parse("http://127.0.0.1:8080"), is(false, "127.0.0.1:8080", "127.0.0.1", 8080));
        assert_eq!(parse("http://chat.local/"), is(false, "chat.local", "chat.local", 80));
        assert_eq!(parse("https://chat.example.com"), is(true, "chat.example.com", "chat.example.com", 443));
        assert_eq!(parse("https://[::1]:8443"), is(true, "[::1]:8443", "::1", 8443));
        for wrong in [
            "ws://chat.local",
            "chat.local:80",
            "https://",
            "http://chat.local/v1",
            "http://chat.local?a=b",
            "https://user:secret@chat.local",
            "http://chat.local:port",
            "http://chat.local:",
            "http://chat.local:99999",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_gone_keeps_nobody_waiting() {
        let (began, tries) = (tokio::time::Instant::now(), std::sync::atomic::AtomicU32::new(0));
        let attempt = || async {
            let number = tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if number < 2 {
                std::future::pending::<()>().await;
            }
            number
        };
        assert_eq!((beside(attempt).await, began.elapsed()), (2, 2 * STAGGER));
        let refused = beside(|| async { Err::<(), _>("refused") }).await;
        assert_eq!((refused, began.elapsed()), (Err("refused"), 2 * STAGGER), "a refusal is an answer");
    }
}
