//! TLS between services: each shows a certificate whose SPIFFE id says which service it is, and asks the other for one.
//! New certificates are used for new connections from the moment that they are there; connections that are open go on.

pub mod door;
pub(crate) mod files;
pub mod trust;
mod verify;

use crate::identity::{self, Caller, Ids};
use files::Reloaded;
use madang_proto::access::Service;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    version::TLS13,
};
use std::{io, path::PathBuf, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use verify::Only;

/// The protocol that all speak.
const ALPN: &[u8] = b"h2";

/// Where a service's certificates are.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub struct Args {
    /// This service's certificate and what leads from it to the authority, PEM. With it, its key and --tls-ca, calls between
    /// services are TLS on both sides; their addresses are https://. Read again when it changes.
    #[arg(long, env = "MADANG_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's key, PEM.
    #[arg(long, env = "MADANG_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// The authorities of all services' certificates, PEM.
    #[arg(long, env = "MADANG_TLS_CA")]
    pub tls_ca: Option<PathBuf>,
    /// How the SPIFFE ids of Madang's services are made: spiffe://DOMAIN/…/{service}. By default spiffe://DOMAIN/madang/{service},
    /// the domain being that of this service's certificate.
    #[arg(long, env = "MADANG_TLS_IDS")]
    pub tls_ids: Option<String>,
}

/// Certificates that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("can't use the certificates ({flags}): {why}")]
pub struct Error {
    flags: &'static str,
    why: String,
}

/// What a service shows, and whom it believes.
#[derive(Clone)]
pub struct Tls(Reloaded<Loaded>);

struct Loaded {
    ids: Ids,
    server: Arc<ServerConfig>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
}

impl Tls {
    /// As the settings say; none: no TLS.
    pub async fn open(args: &Args, service: Service) -> Result<Option<Self>, Error> {
        let wrong = |why| Error { flags: "--tls-cert, --tls-key, --tls-ca", why };
        let (cert, key, ca) = match (&args.tls_cert, &args.tls_key, &args.tls_ca) {
            (Some(cert), Some(key), Some(ca)) => (cert, key, ca),
            (None, None, None) => return Ok(None),
            _ => return Err(wrong("all three are needed, or none".into())),
        };
        let pattern = args.tls_ids.clone();
        let build = move |texts: &[Vec<u8>]| Loaded::new(texts, pattern.as_deref(), service);
        let paths = vec![cert.clone(), key.clone(), ca.clone()];
        Ok(Some(Self(Reloaded::open(paths, build).await.map_err(wrong)?)))
    }

    /// Takes a connection of somebody whose certificate says who they are.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<(server::TlsStream<TcpStream>, Caller)> {
        let loaded = self.0.get();
        let stream = TlsAcceptor::from(loaded.server.clone()).accept(stream).await?;
        let id = stream.get_ref().1.peer_certificates().and_then(|chain| identity::id(chain.first()?));
        let caller = id.as_deref().and_then(|id| loaded.ids.caller(id));
        let nobody = || format!("{} has no business here", id.as_deref().unwrap_or("a certificate without SPIFFE id"));
        let caller = caller.ok_or_else(|| io::Error::new(io::ErrorKind::PermissionDenied, nobody()))?;
        Ok((stream, caller))
    }

    /// Connects to a service, and to no other.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        host: &str,
        service: Service,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let config = self.0.get().client(service).map_err(io::Error::other)?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A certificate, what leads from it to its authority, and its key.
pub(crate) fn pair(cert: &[u8], key: &[u8]) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(cert)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate is no PEM: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("the key is no PEM: {error}"))?;
    Ok((chain, key))
}

impl Loaded {
    fn new(texts: &[Vec<u8>], pattern: Option<&str>, service: Service) -> Result<Self, String> {
        let [cert, key, ca] = texts else { return Err("three files are needed".into()) };
        let (chain, key) = pair(cert, key)?;
        let first = chain.first().ok_or("there is no certificate in its file")?;
        let own = identity::id(first).ok_or("the certificate has no SPIFFE id: one URI, spiffe://DOMAIN/PATH")?;
        let ids = Ids::new(pattern, service, &own)?;
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(ca) {
            let authority = authority.map_err(|error| format!("the authorities are no PEM: {error}"))?;
            roots.add(authority).map_err(|error| format!("an authority can't be used: {error}"))?;
        }
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider()).build();
        let verifier = verifier.map_err(|error| format!("the authorities can't be used: {error}"))?;
        let unusable = |error: rustls::Error| error.to_string();
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(unusable)?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        // Whoever comes back is looked at anew: their certificate may have ended meanwhile.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Self { ids, server: Arc::new(server), chain, key, roots })
    }

    fn client(&self, service: Service) -> Result<ClientConfig, rustls::Error> {
        let only = Only { id: self.ids.of(service), roots: self.roots.clone(), provider: provider() };
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(only))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}
