//! Everybody is away: groups are written to at once, and a push service of this process's own notes when each member is
//! told. What it is sent is encrypted for browsers that nobody has, so it counts, and looks at whom it is for.

use super::{Common, process::Usage, report};
use crate::{Error, people, replay::check::histogram};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use madang_proto::{client::v1::History, id::ClientId};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    path::{Path, PathBuf},
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

/// A browser's keys, those of RFC 8291's example.
const KEY: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";
/// How many calls that prepare are made at once.
const AT_ONCE: usize = 32;

/// How to have people told.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How many groups are written to at once.
    #[arg(long, default_value_t = 100)]
    groups: usize,
    /// How many members of each are away.
    #[arg(long, default_value_t = 50)]
    members: usize,
    /// How often.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Where the push service is; the server must be let there (`--push-loopback`), and trust it (`--push-ca`).
    #[arg(long, default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Its certificate, PEM.
    #[arg(long)]
    certificate: PathBuf,
    /// Its key, PEM.
    #[arg(long)]
    key: PathBuf,
    /// How long to wait for what has not come yet, in seconds.
    #[arg(long, default_value_t = 60)]
    settle: u64,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    pushes: u64,
    pushes_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    missing: u64,
    /// To a device for the second time.
    doubled: u64,
    /// To where nobody was to be told.
    stray: u64,
    server_micros_per_push: f64,
    server_cores: f64,
}

/// A push that came: to which number, and when.
type Push = (Option<usize>, Instant);

/// What came.
#[derive(Clone, Default)]
struct Came(Arc<Mutex<Vec<Push>>>);

impl Came {
    fn lock(&self) -> MutexGuard<'_, Vec<Push>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The push service, for as long as it is let.
async fn serve(listener: TcpListener, tls: TlsAcceptor, came: Came) {
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
                    came.lock().push((number, Instant::now()));
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

/// Has people told; true: everybody was, once, and nobody else.
pub async fn run(args: &Args) -> Result<bool, Error> {
    let common = &args.common;
    let came = Came::default();
    let failed = |error: std::io::Error| Error::Usage(format!("--listen {}: {error}", args.listen));
    let listener = TcpListener::bind(args.listen).await.map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?;
    tokio::spawn(serve(listener, tls(&args.certificate, &args.key)?, came.clone()));
    let http = &common.http()?[0];
    let people = common.people(http, args.groups * (args.members + 1)).await?;
    let (owners, away) = people.split_at(args.groups);
    let progress = common.bar("subscribing");
    progress.set_length(away.len() as u64);
    let subscribe = |(number, person): (usize, &people::Person)| {
        let keys = json!({"p256dh": KEY, "auth": AUTH});
        let body = json!({"webPush": {"endpoint": format!("https://{at}/{number}"), "keys": keys}, "preview": true});
        let (path, token) = (format!("/v1/devices/{}/push", person.device.id), person.tokens.access_token.clone());
        let progress = progress.clone();
        async move {
            let put = || http.call::<Value>("PUT", &path, Some(&token), Some(body.clone()), None);
            people::persist(put).await?;
            progress.inc(1);
            Ok::<_, Error>(())
        }
    };
    stream::iter(away.iter().enumerate()).map(subscribe).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
    progress.finish_and_clear();
    let make = |(owner, members): (&people::Person, &[people::Person])| {
        let users: Vec<String> = members.iter().map(|person| person.tokens.user.clone()).collect();
        let (token, key) = (owner.tokens.access_token.clone(), uuid::Uuid::new_v4().to_string());
        async move {
            let group = || http.create_group(&token, "bench", &users, History::All, &key);
            Ok::<_, Error>(people::persist(group).await?.conversation.conversation)
        }
    };
    let groups = owners.iter().zip(away.chunks(args.members));
    let groups: Vec<String> = stream::iter(groups).map(make).buffered(AT_ONCE).try_collect().await?;
    let mut all = Tally::new()?;
    let progress = common.bar("telling");
    progress.set_length(args.rounds as u64);
    let before = Usage::of(&common.pid);
    for _ in 0..args.rounds {
        all.round(args, http, (owners, &groups), &came).await?;
        progress.inc(1);
    }
    let used = Usage::of(&common.pid).cpu.saturating_sub(before.cpu);
    progress.finish_and_clear();
    let report = all.report(used);
    if common.json {
        report::print_json(&report)?;
    } else {
        report::print_text(&format!(
            "{} pushes, {:.0} a second; from ack p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms; {} missing, {} doubled, {} stray; \
             {:.1} µs of the servers a push",
            report.pushes,
            report.pushes_per_second,
            report.p50_ms,
            report.p99_ms,
            report.max_ms,
            report.missing,
            report.doubled,
            report.stray,
            report.server_micros_per_push
        ))?;
    }
    Ok(report.missing == 0 && report.doubled == 0 && report.stray == 0)
}

/// What came in all rounds.
struct Tally {
    times: hdrhistogram::Histogram<u64>,
    /// From the first push of each round to its last.
    busy: Duration,
    missing: u64,
    doubled: u64,
    stray: u64,
}

impl Tally {
    fn new() -> Result<Self, Error> {
        Ok(Self { times: histogram()?, busy: Duration::ZERO, missing: 0, doubled: 0, stray: 0 })
    }

    async fn round(
        &mut self,
        args: &Args,
        http: &madang_client::Http,
        (owners, groups): (&[people::Person], &[String]),
        came: &Came,
    ) -> Result<(), Error> {
        came.lock().clear();
        let write = |(owner, group): (&people::Person, &String)| {
            let id = ClientId::now().to_string();
            let body = json!({"conversation": group, "clientId": id, "text": "Is anybody there?"});
            let token = owner.tokens.access_token.clone();
            async move {
                let send = || http.call::<Value>("POST", "/v1/messages", Some(&token), Some(body.clone()), None);
                people::persist(send).await?;
                Ok::<_, Error>(Instant::now())
            }
        };
        let all = owners.iter().zip(groups);
        let acked: Vec<Instant> = stream::iter(all).map(write).buffered(args.groups).try_collect().await?;
        let expected = args.groups * args.members;
        let deadline = Instant::now() + Duration::from_secs(args.settle);
        while came.lock().len() < expected && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // What should not come may take a moment longer than what should.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let all = came.lock().clone();
        let mut seen: HashMap<usize, Instant> = HashMap::new();
        for (number, at) in all {
            match number {
                Some(number) if number < expected => {
                    if seen.insert(number, at).is_some() {
                        self.doubled += 1;
                        continue;
                    }
                    let after = at.saturating_duration_since(acked[number / args.members]);
                    self.times.saturating_record(u64::try_from(after.as_micros()).unwrap_or(u64::MAX));
                }
                _ => self.stray += 1,
            }
        }
        self.missing += (expected - seen.len()) as u64;
        if let (Some(first), Some(last)) = (seen.values().min(), seen.values().max()) {
            self.busy += *last - *first;
        }
        Ok(())
    }

    fn report(&self, used: Duration) -> Report {
        let at = |quantile| self.times.value_at_quantile(quantile) as f64 / 1000.0;
        let (pushes, busy) = (self.times.len(), self.busy.as_secs_f64().max(1e-6));
        Report {
            pushes,
            pushes_per_second: pushes as f64 / busy,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            max_ms: self.times.max() as f64 / 1000.0,
            missing: self.missing,
            doubled: self.doubled,
            stray: self.stray,
            server_micros_per_push: used.as_secs_f64() * 1e6 / (pushes as f64).max(1.0),
            server_cores: used.as_secs_f64() / busy,
        }
    }
}
