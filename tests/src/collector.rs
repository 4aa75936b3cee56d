//! An OpenTelemetry collector of the tests' own, and this process's telemetry, which goes to it: all traces.

use crate::PATIENCE;
use madang_mesh::{serve::bind, telemetry};
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::{
            ExportLogsServiceRequest, ExportLogsServiceResponse,
            logs_service_server::{LogsService, LogsServiceServer},
        },
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    metrics::v1::{NumberDataPoint, metric::Data, number_data_point::Value},
    trace::v1::span::SpanKind,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock, Mutex, MutexGuard},
    time::Duration,
};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

/// A span that came.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The service, and what it did.
    pub name: String,
    /// Its id.
    pub id: Vec<u8>,
    /// The span that it is done for.
    pub parent: Vec<u8>,
    /// Its kind.
    pub kind: SpanKind,
    /// When it began and ended, ns since 1970.
    pub time: (u64, u64),
}

/// A metric, as it came last.
#[derive(Debug, Clone, Default)]
pub struct Metric {
    /// What it says.
    pub help: String,
    /// All its counters together.
    pub sum: f64,
    /// Traces that its histograms named, so far.
    pub exemplars: BTreeSet<Vec<u8>>,
}

#[derive(Default)]
struct Store {
    traces: BTreeMap<Vec<u8>, Vec<Taken>>,
    /// What came, as text: what must not be in it is looked for here.
    text: String,
    metrics: BTreeMap<String, Metric>,
    lines: usize,
}

/// A collector.
#[derive(Clone, Default)]
pub struct Collector {
    store: Arc<Mutex<Store>>,
    /// Who does not show this is told nothing but that.
    authorization: Option<&'static str>,
}

static COLLECTOR: LazyLock<Collector> = LazyLock::new(|| {
    let collector = Collector::default();
    let serving = collector.clone();
    let (ready, started) = std::sync::mpsc::channel();
    // It outlives the runtimes of single tests.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let otlp = Some(format!("http://{}", listener.local_addr().unwrap()));
            let args = telemetry::Args { otlp, trace_ratio: 1.0, ..telemetry::Args::default() };
            let telemetry = telemetry::start("tests", &args).unwrap();
            ready.send(()).unwrap();
            serving.serve(listener, None).await;
            telemetry.stop().await;
        });
    });
    started.recv().unwrap();
    collector
});

impl Collector {
    /// The one of this process.
    #[must_use]
    pub fn get() -> Self {
        COLLECTOR.clone()
    }

    /// One for other processes; gives its port. `certificate`: the files of a certificate of localhost and of its key, if
    /// it is to speak TLS. `authorization`: what everything has to come with.
    pub fn start(certificate: Option<&(String, String)>, authorization: Option<&'static str>) -> (Self, u16) {
        let collector = Self { authorization, ..Self::default() };
        let tls = certificate.map(|(cert, key)| {
            let identity = Identity::from_pem(std::fs::read(cert).unwrap(), std::fs::read(key).unwrap());
            ServerTlsConfig::new().identity(identity)
        });
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = collector.clone();
        tokio::spawn(async move { serving.serve(listener, tls).await });
        (collector, port)
    }

    async fn serve(self, listener: TcpListener, tls: Option<ServerTlsConfig>) {
        let mut server = Server::builder();
        if let Some(tls) = tls {
            server = server.tls_config(tls).unwrap();
        }
        let server = server
            .add_service(TraceServiceServer::new(self.clone()))
            .add_service(MetricsServiceServer::new(self.clone()))
            .add_service(LogsServiceServer::new(self));
        server.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap();
    }

    fn admit<T: std::fmt::Debug>(&self, request: &Request<T>) -> Result<MutexGuard<'_, Store>, Status> {
        let shown = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        if self.authorization.is_some() && shown != self.authorization {
            return Err(Status::unauthenticated("who are you"));
        }
        let mut store = self.lock();
        store.text += &format!("{:?}\n", request.get_ref());
        Ok(store)
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    async fn until<T>(&self, what: &str, look: impl Fn(&Store) -> Option<T>) -> T {
        let found = async {
            loop {
                let found = look(&self.lock());
                match found {
                    Some(found) => return found,
                    None => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("{what} did not reach the collector"))
    }

    /// A trace's spans, once it has all of these.
    pub async fn trace(&self, id: u128, names: &[&str]) -> Vec<Taken> {
        let id = id.to_be_bytes();
        let there = |store: &Store| {
            let spans = store.traces.get(&id[..])?;
            let all = names.iter().all(|name| spans.iter().any(|span| span.name == *name));
            all.then(|| spans.clone())
        };
        let waited = tokio::time::timeout(PATIENCE, self.until("a trace", there));
        waited.await.unwrap_or_else(|_| panic!("not all of {names:?}: {:?}", self.lock().traces.get(&id[..])))
    }

    /// A metric, once it has come.
    pub async fn metric(&self, name: &str) -> Metric {
        self.until(name, |store| store.metrics.get(name).cloned()).await
    }

    /// Waits until a metric names a trace that is here.
    pub async fn exemplar(&self, name: &str) {
        let there = |store: &Store| {
            let mut named = store.metrics.get(name)?.exemplars.iter();
            named.any(|trace| store.traces.contains_key(trace)).then_some(())
        };
        self.until("a trace in a metric", there).await;
    }

    /// Waits for log lines.
    pub async fn lines(&self) {
        self.until("a log line", |store| (store.lines > 0).then_some(())).await;
    }

    /// All that came, as text.
    #[must_use]
    pub fn text(&self) -> String {
        self.lock().text.clone()
    }
}

fn value(point: &NumberDataPoint) -> f64 {
    match point.value {
        Some(Value::AsDouble(value)) => value,
        _ => 0.0,
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut store = self.admit(&request)?;
        let scopes = request.into_inner().resource_spans.into_iter().flat_map(|of| of.scope_spans);
        for of in scopes {
            let scope = of.scope.unwrap_or_default().name;
            for span in of.spans {
                let taken = Taken {
                    name: format!("{scope} {}", span.name),
                    kind: span.kind(),
                    id: span.span_id,
                    parent: span.parent_span_id,
                    time: (span.start_time_unix_nano, span.end_time_unix_nano),
                };
                store.traces.entry(span.trace_id).or_default().push(taken);
            }
        }
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let mut store = self.admit(&request)?;
        let scopes = request.into_inner().resource_metrics.into_iter().flat_map(|of| of.scope_metrics);
        for metric in scopes.flat_map(|of| of.metrics) {
            let known = store.metrics.entry(metric.name).or_default();
            known.help = metric.description;
            match metric.data {
                Some(Data::Sum(sum)) => known.sum = sum.data_points.iter().map(value).sum(),
                Some(Data::Histogram(histogram)) => {
                    let exemplars = histogram.data_points.into_iter().flat_map(|point| point.exemplars);
                    known.exemplars.extend(exemplars.map(|each| each.trace_id));
                }
                _ => {}
            }
        }
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let mut store = self.admit(&request)?;
        let scopes = request.into_inner().resource_logs.into_iter().flat_map(|of| of.scope_logs);
        store.lines += scopes.map(|of| of.log_records.len()).sum::<usize>();
        Ok(Response::new(Default::default()))
    }
}
