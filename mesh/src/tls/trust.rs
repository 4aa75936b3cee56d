//! TLS to servers that are not ours, as a database or a collector: a certificate of an authority that is named, or of one
//! of this machine's, says who they are. It and the name in it are always checked.

use super::{pair, provider};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{fs, io, path::Path, sync::Arc};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Whom we believe, and what we show them.
#[derive(Clone)]
pub struct Trust(TlsConnector);

/// Files that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {why}")]
pub struct Unusable {
    file: String,
    why: String,
}

fn unusable(file: &Path, why: impl ToString) -> Unusable {
    Unusable { file: file.display().to_string(), why: why.to_string() }
}

impl Trust {
    /// Reads the files, all PEM: authorities (none: this machine's), and a certificate to show, with its key. `protocols`:
    /// what is offered by ALPN.
    pub fn open(ca: Option<&Path>, shown: Option<(&Path, &Path)>, protocols: &[&[u8]]) -> Result<Self, Unusable> {
        let mut roots = RootCertStore::empty();
        match ca {
            Some(file) => {
                for root in CertificateDer::pem_file_iter(file).map_err(|error| unusable(file, error))? {
                    let root = root.map_err(|error| unusable(file, error))?;
                    roots.add(root).map_err(|error| unusable(file, error))?;
                }
                if roots.is_empty() {
                    return Err(unusable(file, "there is no certificate in it"));
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let blame = shown.map_or(Path::new("TLS"), |(cert, _)| cert);
        let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let config = config.map_err(|error| unusable(blame, error))?.with_root_certificates(roots);
        let mut config = match shown {
            Some((cert, key)) => {
                let read = |file: &Path| fs::read(file).map_err(|error| unusable(file, error));
                let (chain, key) = pair(&read(cert)?, &read(key)?).map_err(|why| unusable(cert, why))?;
                config.with_client_auth_cert(chain, key).map_err(|error| unusable(cert, error))?
            }
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Makes TLS of a connection to a server of this name, or address.
    pub async fn connect<S>(&self, stream: S, host: &str) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        self.0.connect(name, stream).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_say_nothing_are_refused_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("authority.crt");
        for write in [None, Some(""), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")] {
            if let Some(text) = write {
                fs::write(&file, text).unwrap();
            }
            let error = Trust::open(Some(&file), None, &[]).err().unwrap().to_string();
            assert!(error.contains("authority.crt"), "{error}");
        }
        assert!(Trust::open(None, None, &[]).is_ok(), "this machine's");
    }
}
