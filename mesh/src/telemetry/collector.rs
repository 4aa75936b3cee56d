//! The way to an OpenTelemetry collector: one connection for traces, metrics and logs.

use super::{
    Error, metrics,
    waiting::{Counted, Waiting},
};
use crate::{
    tls::trust::Trust,
    trace::{self, Tracer},
};
use hyper_util::rt::TokioIo;
use opentelemetry::KeyValue;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{self as otlp, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    logs::{self, BatchLogProcessor, LogExporter, SdkLogger, SdkLoggerProvider},
    trace::{BatchConfigBuilder, BatchSpanProcessor, SpanExporter, SpanProcessor as _},
};
use std::{io, path::Path, time::Duration};
use tokio::{net::TcpStream, sync::oneshot, task::JoinHandle};
use tonic::transport::{Channel, Endpoint, Uri};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

/// How many spans and how many log lines wait for the collector at most; more are dropped.
pub(super) const QUEUE: usize = 8192;
/// How many go at once.
const BATCH: usize = 512;
/// How long they wait for others.
const LINGER: Duration = Duration::from_secs(1);
/// How long the collector may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// What would report its own reports.
const OWN: [&str; 6] = ["h2", "hyper", "hyper_util", "tonic", "tower", "opentelemetry"];

/// A collector.
pub(super) struct Collector {
    logs: SdkLoggerProvider,
    end: oneshot::Sender<()>,
    metrics: JoinHandle<()>,
}

/// The way there: plain, or in TLS with a server of that name, whose authority is in the file `ca`, or this machine's.
fn channel(address: &str, ca: Option<&Path>) -> Result<Channel, Error> {
    let wrong = |why: String| Error { address: address.to_owned(), why };
    let secure = address.starts_with("https://");
    if !secure && !address.starts_with("http://") {
        return Err(wrong("it must begin with http:// or https://".into()));
    }
    let named = Uri::try_from(address).map_err(|error| wrong(error.to_string()))?;
    if named.host().unwrap_or_default().is_empty() {
        return Err(wrong("it names no host".into()));
    }
    // tonic would make TLS of https:// by itself, which it can't do here; it is made below.
    let endpoint = Endpoint::from_shared(address.replacen("https://", "http://", 1));
    let endpoint = endpoint.map_err(|error| wrong(error.to_string()))?.origin(named);
    let endpoint = endpoint.connect_timeout(PATIENCE).timeout(PATIENCE);
    if !secure {
        if ca.is_some() {
            return Err(wrong("an authority (--otlp-ca) is of use only with https://".into()));
        }
        return Ok(endpoint.connect_lazy());
    }
    let trust = Trust::open(ca, None, &[b"h2"]).map_err(|error| wrong(format!("--otlp-ca {error}")))?;
    Ok(endpoint.connect_with_connector_lazy(tower::service_fn(move |at: Uri| {
        let trust = trust.clone();
        async move {
            let host = at.host().unwrap_or_default().trim_matches(['[', ']']);
            let stream = TcpStream::connect((host, at.port_u16().unwrap_or(443))).await?;
            Ok::<_, io::Error>(TokioIo::new(trust.connect(stream, host).await?))
        }
    })))
}

/// What the collector is told of the process.
fn resource(service: &str) -> Resource {
    let resource = Resource::builder().with_attributes([
        KeyValue::new("service.namespace", "madang"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
    ]);
    match std::env::var_os("OTEL_SERVICE_NAME") {
        Some(_) => resource.build(),
        None => resource.with_service_name(format!("madang-{service}")).build(),
    }
}

/// What gives spans to an exporter, in batches.
pub(super) fn span_processor<E: SpanExporter + 'static>(exporter: E, waiting: &Waiting) -> Counted<BatchSpanProcessor> {
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(LINGER);
    Counted::new(BatchSpanProcessor::new(Counted::new(exporter, waiting), batches.build()), waiting)
}

/// What gives log lines to an exporter, in batches.
pub(super) fn line_processor<E: LogExporter + 'static>(exporter: E, waiting: &Waiting) -> Counted<BatchLogProcessor> {
    let batches = logs::BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(LINGER);
    let processor = BatchLogProcessor::builder(Counted::new(exporter, waiting)).with_batch_config(batches.build());
    Counted::new(processor.build(), waiting)
}

impl Collector {
    /// Begins to send there.
    pub fn start(service: &str, address: &str, ca: Option<&Path>, config: trace::Config) -> Result<Self, Error> {
        let channel = channel(address, ca)?;
        let wrong =
            |error: opentelemetry_otlp::ExporterBuildError| Error { address: address.into(), why: error.to_string() };
        let resource = resource(service);
        let spans = otlp::SpanExporter::builder().with_tonic().with_channel(channel.clone()).build().map_err(wrong)?;
        let mut processor = span_processor(spans, &Waiting::new("spans"));
        processor.set_resource(&resource);
        if !Tracer::new(Box::new(processor), config).install() {
            tracing::warn!("this process's traces go to a collector already");
        }
        let lines = otlp::LogExporter::builder().with_tonic().with_channel(channel.clone()).build().map_err(wrong)?;
        let lines = line_processor(lines, &Waiting::new("lines"));
        let logs = SdkLoggerProvider::builder().with_log_processor(lines).with_resource(resource.clone()).build();
        let (end, ended) = oneshot::channel();
        let metrics = tokio::spawn(metrics::report(channel, resource, ended));
        Ok(Self { logs, end, metrics })
    }

    /// What gives log lines to it.
    pub fn logs<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        let bridge = OpenTelemetryTracingBridge::<SdkLoggerProvider, SdkLogger>::new(&self.logs);
        bridge.with_filter(filter_fn(|metadata| {
            let root = metadata.target().split("::").next().unwrap_or_default();
            !OWN.contains(&root)
        }))
    }

    /// Gives it what waits: all of it at once, so that what hangs takes nobody else's time.
    pub async fn stop(self, patience: Duration) {
        // A task that has ended has nothing more to give.
        let _ = self.end.send(());
        let logs = self.logs;
        // A collector that is not there is no error of ours.
        let spans = tokio::task::spawn_blocking(move || trace::flush(patience));
        let lines = tokio::task::spawn_blocking(move || drop(logs.shutdown_with_timeout(patience)));
        let _ = tokio::join!(self.metrics, spans, lines);
    }
}
