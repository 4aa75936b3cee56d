//! How push services are called: over TLS alone, never elsewhere than asked (no redirect is followed), within a time, and
//! with a bounded answer. Where users give the addresses, only the public Internet is called: the address is looked at
//! when it is connected to, and it is the one that is connected to.

mod connect;

pub use connect::{Bounds, Lookup};

use crate::address::is_public;
use bytes::Bytes;
use connect::{Bounded, system};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use madang_mesh::clock::now_ms;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, InvalidDnsNameError, pem::PemObject},
};
use serde_json::Value;
use std::{
    error::Error,
    future::Future,
    io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};
use tokio::time::timeout;

/// How much of an answer is read.
const ANSWER: usize = 64 << 10;
/// How often it is looked whether an HTTP/2 connection still lives, and how long that may take.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How many HTTP/1.1 connections to a host are kept though nothing is sent.
const IDLE: usize = 4;
/// For how long; less than a connection may be silent.
const IDLE_FOR: Duration = Duration::from_secs(20);
/// The longest time that a server may ask to be left alone for.
const LONGEST: Duration = Duration::from_secs(3600);

/// Where may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// What the operator has configured: anywhere.
    Anywhere,
    /// What users give: the public Internet.
    Public,
    /// The same, and this machine: for tests.
    PublicOrLoopback,
}

impl Reach {
    fn allows(self, address: &SocketAddr) -> bool {
        let ip = address.ip();
        match self {
            Self::Anywhere => true,
            Self::Public => is_public(ip),
            Self::PublicOrLoopback => is_public(ip) || ip.is_loopback(),
        }
    }
}

/// Why there was no answer: of what kind that was, in words of our own. What errors say may be a peer's words, and is in no
/// log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Failed {
    /// What is asked is no request.
    #[error("the request can't be made")]
    Request,
    /// The host's name resolves to nothing, or is none.
    #[error("the name has no address")]
    Name,
    /// What it resolves to may not be called.
    #[error("the address is not public")]
    Address,
    /// Nobody listens there.
    #[error("the connection was refused")]
    Refused,
    /// No connection could be made, for another reason.
    #[error("it can't be reached")]
    Unreached,
    /// It is not who it should be, or nobody vouches for it any more.
    #[error("its certificate is not trusted")]
    Certificate,
    /// Nothing safe could be agreed on.
    #[error("TLS failed")]
    Tls,
    /// The connection or the answer did not come in time; or as many connections as may be were open.
    #[error("no answer in time")]
    Late,
    /// It hung up before it answered.
    #[error("closed before an answer")]
    Closed,
    /// It speaks something else.
    #[error("the answer is not HTTP")]
    Protocol,
}

impl Failed {
    /// What kind of failure lies at the bottom of an error.
    fn of(error: &hyper_util::client::legacy::Error) -> Self {
        // All that fails before TLS is told by what connects.
        let unknown = if error.is_connect() { Self::Tls } else { Self::Closed };
        let found = error.source().and_then(kind).unwrap_or(unknown);
        if error.is_connect() && found == Self::Closed { Self::Tls } else { found }
    }
}

fn kind(error: &(dyn Error + 'static)) -> Option<Failed> {
    if let Some(failed) = error.downcast_ref::<Failed>() {
        return Some(*failed);
    }
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        let certificate = matches!(error, rustls::Error::InvalidCertificate(_));
        return Some(if certificate { Failed::Certificate } else { Failed::Tls });
    }
    if error.is::<InvalidDnsNameError>() {
        return Some(Failed::Name);
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>()
        && (error.is_parse() || error.is_timeout())
    {
        return Some(if error.is_parse() { Failed::Protocol } else { Failed::Late });
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        // Its `source` is that of what it holds, not what it holds.
        return error.get_ref().and_then(|inner| kind(inner));
    }
    error.source().and_then(kind)
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// How long the server wants to be left alone.
    pub retry_after: Option<Duration>,
    /// Its body; none if that was too long, or broke off.
    pub body: Option<Bytes>,
}

impl Answer {
    /// What it says in JSON; null if it is none. None: it was not taken, and why is in what did not come.
    #[must_use]
    pub fn said(&self) -> Option<Value> {
        match &self.body {
            Some(body) => Some(serde_json::from_slice(body).unwrap_or_default()),
            None => self.status.is_success().then_some(Value::Null),
        }
    }
}

/// The certificates can't be had.
#[derive(Debug, thiserror::Error)]
#[error("the certificates that are trusted: {0}")]
pub struct NoRoots(String);

/// What every connection trusts: the system's certificates, and those of a file (PEM).
pub fn trust(more: Option<&Path>) -> Result<ClientConfig, NoRoots> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if let Some(path) = more {
        let wrong = |error: String| NoRoots(format!("{}: {error}", path.display()));
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
    } else if added == 0 {
        tracing::warn!("the system has no certificates: no push service will be trusted");
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| NoRoots(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Calls push services.
#[derive(Clone)]
pub struct Http {
    client: Client<Bounded, Full<Bytes>>,
    patience: Duration,
}

impl Http {
    /// With what it trusts, where it may call, and how long an answer may take.
    #[must_use]
    pub fn new(trust: ClientConfig, reach: Reach, patience: Duration) -> Self {
        Self::bounded(Arc::new(system), trust, reach, patience, Bounds::default())
    }

    /// The same, with names resolved by something else than the system, and other bounds.
    #[must_use]
    pub fn bounded(lookup: Lookup, trust: ClientConfig, reach: Reach, patience: Duration, bounds: Bounds) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(IDLE)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE)
            .build(Bounded::new(lookup, trust, reach, bounds));
        Self { client, patience }
    }

    /// Several calls that together may take no longer than one.
    pub async fn within<T>(&self, calls: impl Future<Output = T>) -> Result<T, Failed> {
        timeout(self.patience, calls).await.map_err(|_| Failed::Late)
    }

    /// Sends a POST; its answer.
    pub async fn post(&self, uri: Uri, headers: HeaderMap, body: Vec<u8>) -> Result<Answer, Failed> {
        let mut request = Request::post(uri).body(Full::new(body.into())).map_err(|_| Failed::Request)?;
        *request.headers_mut() = headers;
        let asked = async {
            let answer = self.client.request(request).await.map_err(|error| Failed::of(&error))?;
            Ok(read(answer).await)
        };
        timeout(self.patience, asked).await.unwrap_or(Err(Failed::Late))
    }
}

async fn read(answer: Response<hyper::body::Incoming>) -> Answer {
    let (status, retry_after) = (answer.status(), retry_after(answer.headers()));
    let body = Limited::new(answer.into_body(), ANSWER).collect().await;
    Answer { status, retry_after, body: body.ok().map(Collected::to_bytes) }
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("retry-after")?.to_str().ok()?;
    let wait = match text.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
            at.saturating_sub(Duration::from_millis(now_ms().unsigned_abs()))
        }
    };
    Some(wait.min(LONGEST))
}
