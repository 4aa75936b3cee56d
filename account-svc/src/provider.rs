//! The outside identity provider's keys: fetched over TLS, kept while it does not answer, asked for anew now and then and
//! when a token names one that is not known; never more often than it can bear.

use madang_mesh::token::Keys;
use reqwest::{Certificate, Client, Url, redirect::Policy};
use std::{
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
    time::Duration,
};
use tokio::{sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;

/// How often the provider is asked at most, whoever names an unknown key.
const PAUSE: Duration = Duration::from_secs(5);
/// How often it is asked though no key is missing: so long a key that it takes back is good.
const RENEW: Duration = Duration::from_secs(300);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest set of keys, in bytes.
const LARGEST: usize = 256 << 10;

/// Which provider, as the operator says.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Config {
    /// An outside identity provider, whose tokens are good here as well: the `iss` of its tokens.
    #[arg(long, env = "MADANG_ISSUER", requires = "jwks")]
    pub issuer: Option<String>,
    /// Where its keys are, a JWK set: an https URL; http on this machine alone.
    #[arg(long, env = "MADANG_JWKS", requires = "issuer")]
    pub jwks: Option<String>,
    /// Certificates that it may have beside those that the system trusts: a file of PEM.
    #[arg(long, env = "MADANG_JWKS_CA")]
    pub jwks_ca: Option<PathBuf>,
}

/// The provider can't be used as it is configured.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

/// The keys could not be had.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Request(#[from] reqwest::Error),
    #[error("the answer's status is {0}")]
    Status(u16),
    #[error("the answer has over {LARGEST} bytes")]
    TooLarge,
    #[error("the answer has no key for RS256, ES256 or EdDSA with a kid")]
    NoKeys,
}

/// An outside identity provider.
pub struct Provider {
    /// The `iss` of its tokens.
    pub issuer: String,
    url: Url,
    client: Client,
    /// What it gave last, and that text.
    known: RwLock<(Keys, String)>,
    /// When it was last asked.
    asked: Mutex<Option<Instant>>,
}

impl Provider {
    /// As configured; none: there is none. `own`: the issuer of our own tokens.
    pub fn open(config: &Config, own: &str) -> Result<Option<Self>, Unusable> {
        let (issuer, url) = match (&config.issuer, &config.jwks) {
            (None, None) => return Ok(None),
            (Some(issuer), Some(url)) if !issuer.is_empty() => (issuer.clone(), url),
            _ => return Err(Unusable("an outside provider needs both --issuer and --jwks".into())),
        };
        if issuer == own {
            return Err(Unusable("--issuer is --token-issuer, the name of our own tokens: change that one".into()));
        }
        let url: Url = url.parse().map_err(|error| Unusable(format!("--jwks is no URL: {error}")))?;
        let client = client(&url, config.jwks_ca.as_deref())?;
        Ok(Some(Self { issuer, url, client, known: RwLock::default(), asked: Mutex::default() }))
    }

    /// Its JWK set, as it gave it last; empty: it has not given any yet.
    pub fn jwks(&self) -> String {
        self.known.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    fn knows(&self, kid: &str) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).0.has_id(kid)
    }

    /// Asks the provider for a key, if that is not known and it was not asked just now.
    pub async fn look_for(&self, kid: &str) {
        if self.knows(kid) {
            return;
        }
        // One asks; who comes meanwhile waits for what that brings.
        let mut asked = self.asked.lock().await;
        if !self.knows(kid) && asked.is_none_or(|at| at.elapsed() >= PAUSE) {
            *asked = Some(Instant::now());
            self.ask().await;
        }
    }

    /// Asks for its keys now and then.
    pub async fn follow(&self, drain: CancellationToken) {
        loop {
            {
                let mut asked = self.asked.lock().await;
                *asked = Some(Instant::now());
                self.ask().await;
            }
            let pause = if self.jwks().is_empty() { PAUSE } else { RENEW };
            tokio::select! {
                () = drain.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// What it answers is kept; if that is of no use, what was known stays.
    async fn ask(&self) {
        match self.fetch().await {
            Ok(new) => *self.known.write().unwrap_or_else(PoisonError::into_inner) = new,
            Err(error) => tracing::warn!(%error, "the outside provider's keys can't be had; those that are known stay"),
        }
    }

    async fn fetch(&self) -> Result<(Keys, String), Failed> {
        let mut answer = self.client.get(self.url.clone()).header("accept", "application/json").send().await?;
        if !answer.status().is_success() {
            return Err(Failed::Status(answer.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await? {
            body.extend_from_slice(&part);
            if body.len() > LARGEST {
                return Err(Failed::TooLarge);
            }
        }
        let text = String::from_utf8(body).map_err(|_| Failed::NoKeys)?;
        let keys = Keys::parse(&text);
        if keys.is_empty() { Err(Failed::NoKeys) } else { Ok((keys, text)) }
    }
}

/// Over verified TLS, or to this machine; to nowhere else than asked.
fn client(url: &Url, ca: Option<&Path>) -> Result<Client, Unusable> {
    let here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if url.scheme() != "https" && !(url.scheme() == "http" && here) {
        return Err(Unusable("--jwks must be an https URL; http is for this machine alone".into()));
    }
    let mut builder = Client::builder().redirect(Policy::none()).timeout(PATIENCE).https_only(url.scheme() == "https");
    if here {
        builder = builder.no_proxy();
    }
    if let Some(path) = ca {
        let wrong = |error: String| Unusable(format!("--jwks-ca {}: {error}", path.display()));
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        for certificate in Certificate::from_pem_bundle(&pem).map_err(|error| wrong(error.to_string()))? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(|error| Unusable(format!("the provider's keys can't be fetched: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(issuer: Option<&str>, jwks: Option<&str>) -> Config {
        Config { issuer: issuer.map(Into::into), jwks: jwks.map(Into::into), jwks_ca: None }
    }

    #[test]
    fn a_provider_is_reached_over_tls_or_here() {
        let open = |issuer, jwks| Provider::open(&config(issuer, jwks), "madang").map(|provider| provider.is_some());
        assert!(!open(None, None).unwrap());
        for good in ["https://id.example.com/keys", "http://127.0.0.1:8080/keys", "http://[::1]/", "http://localhost/"]
        {
            assert!(open(Some("https://id.example.com"), Some(good)).unwrap(), "{good}");
        }
        for bad in ["http://id.example.com/keys", "http://127.0.0.1.example.com/", "file:///keys", "keys", ""] {
            assert!(open(Some("https://id.example.com"), Some(bad)).is_err(), "{bad}");
        }
        let good = Some("https://id.example.com/keys");
        assert!(open(Some("madang"), good).is_err(), "our own tokens' issuer");
        assert!(open(None, good).is_err() && open(Some(""), good).is_err() && open(Some("x"), None).is_err());
    }
}
