//! What a process tells of itself: logs, to standard error, filtered by `RUST_LOG` (default `info`); and traces, metrics
//! and logs to an OpenTelemetry collector, where one is named. Without one nothing of that runs.
//!
//! A collector that is slow or away costs what was meant for it, and nothing else: queues are bounded, what is too much
//! is dropped, and nobody waits.

mod collector;
mod metrics;
mod waiting;

use std::{io::IsTerminal as _, path::PathBuf, time::Duration};
use tracing_subscriber::{EnvFilter, Layer, Registry, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// What a process is told of its telemetry.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Args {
    /// An OpenTelemetry collector that takes OTLP over gRPC: http://HOST:4317, or https://. Without it
    /// OTEL_EXPORTER_OTLP_ENDPOINT counts; without that, nothing is sent.
    #[arg(long, env = "MADANG_OTLP")]
    pub otlp: Option<String>,
    /// The authorities of the collector's certificate, PEM, for https://. Without it OTEL_EXPORTER_OTLP_CERTIFICATE counts;
    /// without that, those of this machine. Read at start.
    #[arg(long, env = "MADANG_OTLP_CA")]
    pub otlp_ca: Option<PathBuf>,
    /// Which share of the traces is collected, whole: 0 to 1.
    #[arg(long, env = "MADANG_TRACE_RATIO", default_value_t = 0.01, value_parser = ratio)]
    pub trace_ratio: f64,
    /// What takes so many ms, or fails, is collected of the other traces as well, as far as each process sees it.
    #[arg(long, env = "MADANG_TRACE_SLOW_MS", default_value_t = 1000)]
    pub trace_slow_ms: u64,
    /// How log lines are written: text, or json: one object each.
    #[arg(long, env = "MADANG_LOGS", value_enum, default_value_t = Lines::Text)]
    pub logs: Lines,
}

impl Default for Args {
    fn default() -> Self {
        Self { otlp: None, otlp_ca: None, trace_ratio: 0.01, trace_slow_ms: 1000, logs: Lines::Text }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Lines {
    /// For people.
    Text,
    /// For programs.
    Json,
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "a share is a number from 0 to 1".into())
}

/// Why telemetry can't be started.
#[derive(Debug, thiserror::Error)]
#[error("'{address}' is no address of a collector (--otlp http://HOST:4317): {why}")]
pub struct Error {
    address: String,
    why: String,
}

/// How long what waits may take to reach the collector when the process ends.
const FLUSH: Duration = Duration::from_secs(3);

/// The telemetry of this process, for as long as it serves.
#[must_use = "what waits is given to the collector by `stop`"]
#[derive(Default)]
pub struct Telemetry(Option<collector::Collector>);

impl Telemetry {
    /// Gives what waits to the collector; waits for it no longer than a few seconds.
    pub async fn stop(self) {
        if let Some(collector) = self.0
            && tokio::time::timeout(FLUSH, collector.stop(FLUSH)).await.is_err()
        {
            tracing::warn!("the collector did not take the last of this process's telemetry in time");
        }
    }
}

/// What of all that is said is told, as `RUST_LOG` has it: by levels and by who says it. None: it can't be understood.
///
/// HTTP/2's library says at `debug` what a peer gave as its reason to hang up (GOAWAY): the words of strangers, for whom
/// an endpoint or a token may be among them. It does so where it is named alone.
#[must_use]
pub fn filter_of(text: &str) -> Option<EnvFilter> {
    let filter = EnvFilter::builder().parse(text).ok()?;
    let named = text.split(',').any(|each| each.starts_with("h2"));
    Some(if named { filter } else { filter.add_directive("h2=info".parse().ok()?) })
}

fn filter() -> EnvFilter {
    let wanted = std::env::var(EnvFilter::DEFAULT_ENV).ok().and_then(|text| filter_of(&text));
    wanted.or_else(|| filter_of("info")).unwrap_or_default()
}

fn lines(lines: Lines) -> Box<dyn Layer<Registry> + Send + Sync> {
    let written = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match lines {
        Lines::Text => written.with_ansi(std::io::stderr().is_terminal()).with_filter(filter()).boxed(),
        Lines::Json => written.json().flatten_event(true).with_filter(filter()).boxed(),
    }
}

/// Logs alone, of a command that serves nothing; a second call is ignored.
pub fn init() {
    // What is installed already (in tests) stays.
    let _ = tracing_subscriber::registry().with(lines(Lines::Text)).try_init();
}

/// Starts a service's telemetry. Within tokio's runtime, once for a process.
pub fn start(service: &str, args: &Args) -> Result<Telemetry, Error> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let named = args.otlp.clone().filter(|address| !address.is_empty());
    let address = named.or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT"));
    let Some(address) = address else {
        let _ = tracing_subscriber::registry().with(lines(args.logs)).try_init();
        return Ok(Telemetry::default());
    };
    let config = crate::trace::Config { ratio: args.trace_ratio, slow: Duration::from_millis(args.trace_slow_ms) };
    let usual =
        || variable("OTEL_EXPORTER_OTLP_CERTIFICATE").filter(|_| address.starts_with("https://")).map(PathBuf::from);
    let ca = args.otlp_ca.clone().filter(|file| !file.as_os_str().is_empty()).or_else(usual);
    let collector = collector::Collector::start(service, &address, ca.as_deref(), config)?;
    let to_collector = collector.logs().with_filter(filter());
    let _ = tracing_subscriber::registry().with(lines(args.logs)).with(to_collector).try_init();
    tracing::info!(ratio = args.trace_ratio, "traces, metrics and logs go to a collector");
    Ok(Telemetry(Some(collector)))
}

/// Ends when the process is asked to stop (SIGTERM or SIGINT).
pub async fn shutdown_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let of = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(error) => {
                tracing::error!(%error, "signals can't be taken");
                std::future::pending().await
            }
        }
    };
    tokio::select! {
        () = of(SignalKind::terminate()) => {}
        () = of(SignalKind::interrupt()) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn told(flags: &[&str]) -> Result<Args, clap::Error> {
        Cli::try_parse_from([""].iter().chain(flags)).map(|cli| cli.args)
    }

    #[test]
    fn settings_have_the_defaults_that_they_say() {
        let (args, default) = (told(&[]).unwrap(), Args::default());
        assert_eq!((args.trace_ratio, args.trace_slow_ms), (default.trace_ratio, default.trace_slow_ms));
        assert_eq!((args.otlp, args.otlp_ca, args.logs), (None, None, Lines::Text));
        let args = told(&["--otlp", "http://c:4317", "--trace-ratio", "1", "--logs", "json"]).unwrap();
        assert_eq!((args.otlp.as_deref(), args.trace_ratio, args.logs), (Some("http://c:4317"), 1.0, Lines::Json));
        assert!(["1.1", "-0.1", "NaN", "x"].iter().all(|ratio| told(&["--trace-ratio", ratio]).is_err()));
    }

    #[test]
    fn what_peers_say_is_told_where_it_is_asked_for_alone() {
        let told = |text: &str| {
            let lines = tracing_subscriber::registry().with(filter_of(text).unwrap());
            tracing::subscriber::with_default(lines, || {
                let peer = tracing::enabled!(target: "h2::codec::framed_read", tracing::Level::DEBUG);
                (peer, tracing::enabled!(target: "madang_notify::provider", tracing::Level::DEBUG))
            })
        };
        assert_eq!(told("debug"), (false, true));
        assert_eq!(told("madang_notify=trace"), (false, true));
        assert_eq!(told("debug,h2=debug"), (true, true));
        assert_eq!(told("info,h2::codec=debug"), (true, false));
        assert_eq!(told("info"), (false, false));
        assert!(filter_of("info, h2=debug").is_none(), "it takes no spaces");
    }

    #[tokio::test]
    async fn what_is_no_collector_is_refused() {
        for address in ["collector:4317", "ftp://collector", "http://"] {
            let args = Args { otlp: Some(address.into()), ..Args::default() };
            let error = start("test", &args).err().unwrap().to_string();
            assert!(error.contains(address) && error.contains("--otlp"), "{error}");
        }
        for (otlp, ca) in [("http://c:4317", "any.crt"), ("https://c:4317", "/nowhere/at-all.crt")] {
            let args = Args { otlp: Some(otlp.into()), otlp_ca: Some(ca.into()), ..Args::default() };
            let error = start("test", &args).err().unwrap().to_string();
            assert!(error.contains(otlp) && error.contains("--otlp-ca"), "{error}");
        }
    }
}
