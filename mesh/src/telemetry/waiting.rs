//! What waits for the collector, and what became of it. OpenTelemetry's queues are bounded and say nothing of what they
//! drop; here is a bound before them, no wider than theirs, and what it turns away is counted.

use super::collector::QUEUE;
use crate::metrics;
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::{LogBatch, LogExporter, LogProcessor, SdkLogRecord},
    trace::{Span, SpanData, SpanExporter, SpanProcessor},
};
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use std::{sync::LazyLock, time::Duration};

static WAITING: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "How many spans and log lines wait for the collector, or for its answer; 8,192 of each at most.";
    metrics::gauges("madang_otlp_waiting", help, &["kind"])
});
static ENDED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "What became of spans, log lines and reports of metrics: sent; lost: the collector refused them, or did not \
                answer; dropped: too many waited.";
    metrics::counters("madang_otlp_total", help, &["kind", "outcome"])
});

/// What of one kind waits.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    depth: IntGauge,
    sent: IntCounter,
    lost: IntCounter,
    dropped: IntCounter,
}

impl Waiting {
    /// Of spans, lines or metrics.
    pub fn new(kind: &str) -> Self {
        let [sent, lost, dropped] =
            ["sent", "lost", "dropped"].map(|outcome| ENDED.with_label_values(&[kind, outcome]));
        Self { depth: WAITING.with_label_values(&[kind]), sent, lost, dropped }
    }

    /// Whether there is room for one more, which has it then.
    fn enter(&self) -> bool {
        let room = usize::try_from(self.depth.get()).unwrap_or(0) < QUEUE;
        if room {
            self.depth.inc()
        } else {
            self.dropped.inc()
        }
        room
    }

    /// So many wait no more.
    fn leave(&self, count: usize, taken: bool) {
        self.depth.sub(i64::try_from(count).unwrap_or(i64::MAX));
        self.count(count, taken);
    }

    /// So many were taken by the collector, or were not.
    pub fn count(&self, count: usize, taken: bool) {
        let ended = if taken { &self.sent } else { &self.lost };
        ended.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

/// An exporter that says what became of what it was given, or a processor that takes no more than may wait.
#[derive(Debug)]
pub(super) struct Counted<T> {
    inner: T,
    waiting: Waiting,
}

impl<T> Counted<T> {
    pub fn new(inner: T, waiting: &Waiting) -> Self {
        Self { inner, waiting: waiting.clone() }
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let result = self.inner.export(batch).await;
        self.waiting.leave(count, result.is_ok());
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Counted<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let count = batch.iter().count();
        let result = self.inner.export(batch).await;
        self.waiting.leave(count, result.is_ok());
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<P: SpanProcessor> SpanProcessor for Counted<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.waiting.enter() {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<P: LogProcessor> LogProcessor for Counted<P> {
    fn emit(&self, line: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.waiting.enter() {
            self.inner.emit(line, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::collector::{line_processor, span_processor};
    use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status};
    use opentelemetry_sdk::{
        error::OTelSdkError,
        logs::SdkLoggerProvider,
        trace::{SpanEvents, SpanLinks},
    };
    use std::{
        sync::{Arc, Condvar, Mutex},
        time::SystemTime,
    };

    /// A collector that answers nobody before it is let go.
    #[derive(Debug, Default, Clone)]
    struct Stuck(Arc<(Mutex<Option<bool>>, Condvar)>);

    impl Stuck {
        fn let_go(&self, taken: bool) {
            *self.0.0.lock().unwrap() = Some(taken);
            self.0.1.notify_all();
        }

        fn answer(&self) -> OTelSdkResult {
            let let_go = self.0.1.wait_while(self.0.0.lock().unwrap(), |taken| taken.is_none()).unwrap();
            if *let_go == Some(true) { Ok(()) } else { Err(OTelSdkError::AlreadyShutdown) }
        }
    }

    impl SpanExporter for Stuck {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            self.answer()
        }
    }

    impl LogExporter for Stuck {
        async fn export(&self, _: LogBatch<'_>) -> OTelSdkResult {
            self.answer()
        }
    }

    fn span() -> SpanData {
        SpanData {
            span_context: SpanContext::empty_context(),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: "test".into(),
            start_time: SystemTime::now(),
            end_time: SystemTime::now(),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::default(),
        }
    }

    /// All that were given are accounted for: those that waited by what the collector said of them.
    fn check(waiting: &Waiting, taken: bool) {
        let (queue, ended) = (QUEUE as u64, if taken { &waiting.sent } else { &waiting.lost });
        assert_eq!((waiting.depth.get(), waiting.dropped.get(), ended.get()), (0, 1000, queue));
        assert_eq!(waiting.sent.get() + waiting.lost.get(), queue);
    }

    #[test]
    fn while_a_collector_hangs_spans_wait_up_to_a_bound_and_nobody_else_does() {
        let (stuck, waiting) = (Stuck::default(), Waiting::new("test_spans"));
        let spans = span_processor(stuck.clone(), &waiting);
        (0..QUEUE + 1000).for_each(|_| spans.on_end(span()));
        assert_eq!((waiting.depth.get(), waiting.dropped.get()), (8192, 1000));
        stuck.let_go(true);
        spans.shutdown_with_timeout(Duration::from_secs(60)).unwrap();
        check(&waiting, true);
    }

    #[test]
    fn so_do_log_lines_and_what_is_refused_is_lost() {
        use opentelemetry::logs::{Logger as _, LoggerProvider as _};
        let (stuck, waiting) = (Stuck::default(), Waiting::new("test_lines"));
        let provider = SdkLoggerProvider::builder().with_log_processor(line_processor(stuck.clone(), &waiting)).build();
        let logger = provider.logger("test");
        (0..QUEUE + 1000).for_each(|_| logger.emit(logger.create_log_record()));
        assert_eq!((waiting.depth.get(), waiting.dropped.get()), (8192, 1000));
        stuck.let_go(false);
        // Its batches were refused, which is its result.
        let _ = provider.shutdown_with_timeout(Duration::from_secs(60));
        check(&waiting, false);
    }
}
