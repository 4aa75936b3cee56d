//! TLS to Postgres, as libpq's addresses ask for it: `?sslmode=verify-full&sslrootcert=FILE`. The server's certificate is always
//! checked, its name as well: `require` and `verify-ca`, which would take another's, are read as `verify-full`.

use super::{Unavailable, wrong};
use crate::tls::trust::Trust;
use std::{
    convert::Infallible,
    future::Future,
    io,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::client;

/// An address as the driver takes it, and with what it is connected to.
pub(super) struct Target {
    pub url: String,
    pub tls: Option<Connector>,
}

impl Target {
    pub fn parse(url: &str) -> Result<Self, Unavailable> {
        let Some((server, query)) = url.split_once('?') else { return Ok(Self { url: url.into(), tls: None }) };
        let (mut wanted, mut roots, mut rest) = (false, None, Vec::new());
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("sslmode", "require" | "verify-ca" | "verify-full")) => wanted = true,
                Some(("sslrootcert", file)) => roots = Some(file),
                _ => rest.push(pair),
            }
        }
        if !wanted {
            if roots.is_some() {
                return Err(wrong("sslrootcert is of use only with sslmode=verify-full"));
            }
            return Ok(Self { url: url.into(), tls: None });
        }
        rest.push("sslmode=require");
        Ok(Self { url: format!("{server}?{}", rest.join("&")), tls: Some(Connector::new(roots)?) })
    }
}

/// Makes TLS of connections.
#[derive(Clone)]
pub(super) struct Connector(Trust);

impl Connector {
    /// With the authorities of a file, or those of this machine.
    fn new(roots: Option<&str>) -> Result<Self, Unavailable> {
        let roots = roots.filter(|file| *file != "system").map(Path::new);
        let trust = Trust::open(roots, None, &[]).map_err(|error| wrong(format!("sslrootcert={error}")))?;
        Ok(Self(trust))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Connector {
    type Stream = Secured<S>;
    type TlsConnect = Handshake;
    type Error = Infallible;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, Infallible> {
        Ok(Handshake { trust: self.0.clone(), host: host.to_owned() })
    }
}

/// A handshake with a server of this name.
pub(super) struct Handshake {
    trust: Trust,
    host: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Handshake {
    type Stream = Secured<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Secured<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move { Ok(Secured(Box::new(self.trust.connect(stream, &self.host).await?))) })
    }
}

/// A connection in TLS.
pub(super) struct Secured<S>(Box<client::TlsStream<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Secured<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secured<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secured<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_whether_it_is_tls() {
        let plain = ["postgres://u@h/d", "postgres://u@h/d?sslmode=prefer", "postgres://u@h/d?connect_timeout=3"];
        for url in plain {
            let target = Target::parse(url).unwrap();
            assert!(target.tls.is_none() && target.url == url);
        }
        for mode in ["require", "verify-ca", "verify-full"] {
            let url = format!("postgres://u@h/d?sslmode={mode}&connect_timeout=3&sslrootcert=system");
            let target = Target::parse(&url).unwrap();
            assert_eq!(target.url, "postgres://u@h/d?connect_timeout=3&sslmode=require");
            assert!(target.tls.is_some());
        }
        for wrong in ["?sslrootcert=/nowhere", "?sslmode=verify-full&sslrootcert=/nowhere"] {
            assert!(Target::parse(&format!("postgres://u:secret@h/d{wrong}")).is_err(), "{wrong}");
        }
    }
}
