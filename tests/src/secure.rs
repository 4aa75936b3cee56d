//! TLS as clients speak it: strangers at a door, and holders of a service's certificate.

use madang_mesh::tls::Args;
use madang_solo::certs;
use std::{io, path::Path, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, SignatureScheme,
        client::{
            WantsClientCert,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    },
};
use tonic::transport;

/// The flags of a service whose certificate is in a folder of `madang certs`.
#[must_use]
pub fn files(folder: &Path, name: &str) -> Args {
    let file = |name: String| Some(folder.join(name));
    Args {
        tls_cert: file(format!("{name}.crt")),
        tls_key: file(format!("{name}.key")),
        tls_ca: file(certs::CA.into()),
        tls_ids: None,
    }
}

/// Makes a certificate of a public door, or another one in its place; gives where it and its key are.
#[must_use]
pub fn door(folder: &Path) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let write = |name: &str, text: String| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name).to_string_lossy().into_owned()
    };
    (write("door.crt", made.cert.pem()), write("door.key", made.signing_key.serialize_pem()))
}

/// A client that believes every server.
#[derive(Debug)]
pub struct Gullible(Arc<CryptoProvider>);

impl Default for Gullible {
    fn default() -> Self {
        Self(Arc::new(ring::default_provider()))
    }
}

fn builder() -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let verifier = Gullible::default();
    let config = ClientConfig::builder_with_provider(verifier.0.clone()).with_safe_default_protocol_versions().unwrap();
    config.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
}

/// Somebody without a certificate, who speaks these protocols.
#[must_use]
pub fn anybody(protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let mut config = builder().with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

/// Who holds a service's certificate.
#[must_use]
pub fn holder(folder: &Path, name: &str) -> Arc<ClientConfig> {
    let cert = CertificateDer::from_pem_file(folder.join(format!("{name}.crt"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap();
    let mut config = builder().with_client_auth_cert(vec![cert], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// A channel of another service than Madang's own, which believes every server.
#[must_use]
pub fn outsider(folder: &Path, name: &str, address: &str) -> transport::Channel {
    let read = |kind: &str| std::fs::read(folder.join(format!("{name}.{kind}"))).unwrap();
    let identity = transport::Identity::from_pem(read("crt"), read("key"));
    let config = transport::ClientTlsConfig::new().identity(identity);
    let endpoint = transport::Endpoint::from_shared(address.to_owned()).unwrap();
    endpoint.tls_config_with_verifier(config, Arc::new(Gullible::default())).unwrap().connect_lazy()
}

/// Connects as one of these.
pub async fn connect(config: &Arc<ClientConfig>, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    TlsConnector::from(config.clone()).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
