//! What is collected: a share of all traces, whole, decided where they begin; and of the others what was slow or failed,
//! as far as a process sees it.

use super::context::Context;
use crate::{metrics, rate::Bucket};
use opentelemetry_sdk::trace::{SpanData, SpanProcessor};
use prometheus::IntCounterVec;
use std::{
    sync::{LazyLock, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

/// How many spans of traces that are not sampled are kept a second, because they were slow or failed; and at once.
const KEPT: (u32, u32) = (100, 500);
/// How many traces a second are sampled because their clients ask for it; and at once.
const ASKED: (u32, u32) = (10, 50);

static TRACER: OnceLock<Tracer> = OnceLock::new();

static SPANS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Spans that were given to the exporter, by why: of a sampled trace, or kept as slow or failed; passed_over: \
                kept they would have been too many.";
    metrics::counters("madang_trace_spans_total", help, &["why"])
});

/// What is collected.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Which share of the traces, 0 to 1.
    pub ratio: f64,
    /// Spans that took so long are kept in any case.
    pub slow: Duration,
}

/// Collects spans.
#[derive(Debug)]
pub struct Tracer {
    processor: Box<dyn SpanProcessor>,
    /// Trace ids whose last 56 bits are below are sampled.
    threshold: u64,
    pub(super) slow: Duration,
    kept: Mutex<Bucket>,
    asked: Mutex<Bucket>,
}

pub(super) fn get() -> Option<&'static Tracer> {
    TRACER.get()
}

pub(super) fn new_id<const N: usize>() -> [u8; N]
where
    rand::distr::StandardUniform: rand::distr::Distribution<[u8; N]>,
{
    loop {
        let id = rand::random();
        if id != [0; N] {
            return id;
        }
    }
}

fn bucket((rate, burst): (u32, u32)) -> Mutex<Bucket> {
    Mutex::new(Bucket::new(rate, burst, Instant::now()))
}

fn take(bucket: &Mutex<Bucket>) -> bool {
    bucket.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()).is_ok()
}

/// The bits of a trace id that decide.
fn luck(trace: [u8; 16]) -> u64 {
    let [.., a, b, c, d, e, f, g] = trace;
    u64::from_be_bytes([0, a, b, c, d, e, f, g])
}

impl Tracer {
    /// Gives spans to this.
    #[must_use]
    pub fn new(processor: Box<dyn SpanProcessor>, config: Config) -> Self {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 2^56
        let threshold = (config.ratio.clamp(0.0, 1.0) * (1u64 << 56) as f64) as u64;
        Self { processor, threshold, slow: config.slow, kept: bucket(KEPT), asked: bucket(ASKED) }
    }

    /// From now on the process's spans go here, for as long as it lives; false: they go elsewhere already.
    pub fn install(self) -> bool {
        TRACER.set(self).is_ok()
    }

    /// The context of what begins a trace.
    pub(super) fn begin(&self, asked: Option<Context>) -> Context {
        let trace = asked.map_or_else(new_id, |asked| asked.trace);
        let sampled = luck(trace) < self.threshold || asked.is_some_and(|asked| asked.sampled) && take(&self.asked);
        Context { trace, span: new_id(), sampled }
    }

    /// Whether one more that is not sampled may be kept.
    pub(super) fn keep(&self) -> bool {
        let may = take(&self.kept);
        if !may {
            SPANS.with_label_values(&["passed_over"]).inc();
        }
        may
    }

    pub(super) fn export(&self, span: SpanData) {
        let kept = span.attributes.iter().rfind(|each| each.key.as_str() == "madang.kept");
        let why = kept.map_or(std::borrow::Cow::Borrowed("sampled"), |kept| kept.value.as_str());
        SPANS.with_label_values(&[&*why]).inc();
        self.processor.on_end(span);
    }
}

/// Whether what took so long is collected: in a sampled trace, or as slow; short of those that were too many.
pub(crate) fn collected(context: Context, took: Duration) -> bool {
    context.sampled || TRACER.get().is_some_and(|tracer| took >= tracer.slow)
}

/// Gives what waits to the collector, and ends; waits for it as long as that may take.
pub(crate) fn flush(patience: Duration) {
    if let Some(tracer) = TRACER.get() {
        // A collector that is not there is no error of ours.
        let _ = tracer.processor.shutdown_with_timeout(patience);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Kind, Span};
    use opentelemetry::trace::Status;
    use opentelemetry_sdk::error::OTelSdkResult;
    use std::sync::Arc;

    #[derive(Debug, Default, Clone)]
    struct Taken(Arc<Mutex<Vec<SpanData>>>);

    impl SpanProcessor for Taken {
        fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &opentelemetry::Context) {}

        fn on_end(&self, span: SpanData) {
            self.0.lock().unwrap().push(span);
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    fn tracer(ratio: f64) -> Tracer {
        Tracer::new(Box::new(Taken::default()), Config { ratio, slow: Duration::from_secs(3600) })
    }

    #[test]
    fn a_share_of_traces_is_sampled_and_some_because_they_are_asked_for() {
        let share = |ratio| {
            let tracer = tracer(ratio);
            (0..10_000).filter(|_| tracer.begin(None).sampled).count()
        };
        assert_eq!((share(0.0), share(1.0)), (0, 10_000));
        assert!((50..200).contains(&share(0.01)), "{}", share(0.01));
        let none = tracer(0.0);
        let asked = Context { trace: [7; 16], span: [7; 8], sampled: true };
        let begun: Vec<_> = (0..1000).map(|_| none.begin(Some(asked))).collect();
        assert!(begun.iter().all(|context| context.trace == [7; 16] && context.span != [7; 8]));
        let sampled = begun.iter().filter(|context| context.sampled).count();
        assert!((50..100).contains(&sampled), "within the budget: {sampled}");
    }

    /// The one test of this process that installs a tracer.
    #[test]
    fn of_what_is_not_sampled_what_failed_is_kept() {
        assert!(Span::root("test", "before", Kind::Server, None).context().is_none(), "nobody collects");
        let taken = Taken::default();
        assert!(Tracer::new(Box::new(taken.clone()), Config { ratio: 0.0, slow: Duration::from_secs(60) }).install());
        let mut root = Span::root("test", "root", Kind::Server, None);
        let context = root.context().unwrap();
        assert!(!context.sampled && root.record().is_empty());
        drop(Span::within(Some(context), "test", "well", Kind::Client));
        let long_ago = Instant::now() - Duration::from_secs(61);
        drop(Span::within(Some(context), "test", "slow", Kind::Client).since(long_ago));
        root.number("n", 7u64);
        root.fail("broken");
        drop(root);
        let sampled = Context { sampled: true, ..context };
        let mut span = Span::of(&sampled.bytes(), "test", "sampled", Kind::Consumer);
        span.link(Some(context));
        drop(span);
        // Calls of other tests have spans as well by now.
        let own = |span: &&SpanData| span.span_context.trace_id().to_bytes() == context.trace;
        let taken: Vec<_> = taken.0.lock().unwrap().iter().filter(own).cloned().collect();
        let names: Vec<_> = taken.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["slow", "root", "sampled"]);
        let [slow, root, last] = &taken[..] else { unreachable!() };
        assert_eq!(slow.parent_span_id, root.span_context.span_id());
        assert!(root.span_context.is_sampled(), "else it is not exported");
        assert_eq!(root.status, Status::error("broken"));
        let kept = |span: &SpanData| span.attributes.iter().any(|each| each.key.as_str() == "madang.kept");
        assert!(kept(slow) && kept(root) && !kept(last));
        assert!(slow.end_time.duration_since(slow.start_time).unwrap() >= Duration::from_secs(61));
        assert_eq!((last.links.links.len(), last.parent_span_id), (1, root.span_context.span_id()));
    }
}
