//! A push service of the run's own: it takes everything, and notes to which number it was sent and when. What it is sent is
//! encrypted for browsers that nobody has, so it does not read it.

use crate::Error;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use std::{
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

/// A push that came: to which number, and when.
pub(super) type Push = (Option<usize>, Instant);

/// A push service at work.
pub(super) struct PushService {
    /// Where it is.
    pub at: SocketAddr,
    came: Arc<Mutex<Vec<Push>>>,
}

impl PushService {
    /// Starts one with a certificate and its key, PEM.
    pub async fn start(listen: SocketAddr, certificate: &Path, key: &Path) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::Usage(format!("--listen {listen}: {error}"));
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let (at, came) = (listener.local_addr().map_err(failed)?, Arc::default());
        tokio::spawn(serve(listener, tls(certificate, key)?, Arc::clone(&came)));
        Ok(Self { at, came })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Push>> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so many have come, or so long.
    pub async fn wait(&self, wanted: usize, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.lock().len() < wanted && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What has come.
    pub fn came(&self) -> Vec<Push> {
        self.lock().clone()
    }
}

fn tls(certificate: &Path, key: &Path) -> Result<TlsAcceptor, Error> {
    let wrong = |path: &Path, error: String| Error::Usage(format!("{}: {error}", path.display()));
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| wrong(certificate, error.to_string()))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(|error| Error::Usage(error.to_string()))?;
    let config = config.with_no_client_auth().with_single_cert(chain, private);
    let mut config = config.map_err(|error| wrong(certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, came: Arc<Mutex<Vec<Push>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, came) = (tls.clone(), came.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let take = service_fn(move |request: Request<Incoming>| {
                let came = came.clone();
                async move {
                    let number = request.uri().path().trim_start_matches('/').parse().ok();
                    // Nothing of it is used.
                    let _ = request.into_body().collect().await;
                    came.lock().unwrap_or_else(PoisonError::into_inner).push((number, Instant::now()));
                    let mut answer = Response::new(Empty::<Bytes>::new());
                    *answer.status_mut() = hyper::StatusCode::CREATED;
                    Ok::<_, Infallible>(answer)
                }
            });
            // How it ends is the server's business.
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), take).await;
        });
    }
}
