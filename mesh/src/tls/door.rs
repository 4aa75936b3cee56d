//! TLS at a public door: for strangers, who show no certificate. Where a proxy or a balancer ends it before, there is none.

use super::{files::Reloaded, pair, provider};
use rustls::ServerConfig;
use std::{io, path::PathBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// What is spoken: HTTP/2 if the client knows it; WebSockets come by HTTP/1.1.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where the certificate of a public door is.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub struct Args {
    /// The certificate of the public door, for https:// and wss://, and what leads from it to its authority, PEM. Without it
    /// the door is plain: something before it ends TLS. Read again when it changes.
    #[arg(long, env = "MADANG_HTTP_CERT", requires = "http_key")]
    pub http_cert: Option<PathBuf>,
    /// The certificate's key, PEM.
    #[arg(long, env = "MADANG_HTTP_KEY", requires = "http_cert")]
    pub http_key: Option<PathBuf>,
}

/// The certificate of a public door, as it is now.
#[derive(Clone)]
pub struct Certificate(Reloaded<ServerConfig>);

impl Certificate {
    /// As the settings say; none: no TLS.
    pub async fn open(args: &Args) -> Result<Option<Self>, super::Error> {
        let (Some(cert), Some(key)) = (&args.http_cert, &args.http_key) else { return Ok(None) };
        let opened = Reloaded::open(vec![cert.clone(), key.clone()], build).await;
        opened.map(|config| Some(Self(config))).map_err(|why| super::Error { flags: "--http-cert, --http-key", why })
    }

    /// Takes a connection.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.0.get()).accept(stream).await
    }
}

/// Whether HTTP/2 was agreed upon.
pub(crate) fn speaks_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(ALPN[0])
}

fn build(texts: &[Vec<u8>]) -> Result<ServerConfig, String> {
    let [cert, key] = texts else { return Err("two files are needed".into()) };
    let (chain, key) = pair(cert, key)?;
    let unusable = |error: rustls::Error| error.to_string();
    let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config = config.map_err(unusable)?.with_no_client_auth();
    let mut config = config.with_single_cert(chain, key).map_err(unusable)?;
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
    Ok(config)
}
