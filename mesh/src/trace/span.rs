//! A span: what one process did for a request, how long it took, and whether it went well.

use super::{
    context::Context,
    tracer::{self, Tracer},
};
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{Link, SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanLinks};
use std::{
    borrow::Cow,
    time::{Duration, Instant, SystemTime},
};

/// How what is done stands to who wanted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Somebody waits for the answer.
    Server,
    /// It asks somebody else, and waits.
    Client,
    /// It puts something where others take it from.
    Producer,
    /// It has taken something from there.
    Consumer,
}

impl From<Kind> for SpanKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Server => Self::Server,
            Kind::Client => Self::Client,
            Kind::Producer => Self::Producer,
            Kind::Consumer => Self::Consumer,
        }
    }
}

/// What is done; it ends when this is dropped.
#[derive(Debug, Default)]
pub struct Span(Option<Recorded>);

#[derive(Debug)]
struct Recorded {
    context: Context,
    parent: [u8; 8],
    scope: &'static str,
    name: Cow<'static, str>,
    kind: Kind,
    begun: Instant,
    attributes: Vec<KeyValue>,
    links: Vec<Context>,
    failed: Option<&'static str>,
}

impl Span {
    /// Nothing is recorded.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// A trace begins here: at a door. `asked`: what its client says of a trace of its own, of which this is a part then;
    /// that it be sampled is granted within a budget. `scope`: the service; `name`: what is done, with nothing of whom it
    /// is done for.
    #[must_use]
    pub fn root(scope: &'static str, name: impl Into<Cow<'static, str>>, kind: Kind, asked: Option<Context>) -> Self {
        let Some(tracer) = tracer::get() else { return Self(None) };
        let parent = asked.map_or([0; 8], |asked| asked.span);
        Self::begin(tracer.begin(asked), parent, scope, name.into(), kind)
    }

    /// Is done for what another did; none: nothing is recorded.
    #[must_use]
    pub fn within(
        parent: Option<Context>,
        scope: &'static str,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
    ) -> Self {
        match parent {
            Some(parent) if tracer::get().is_some() => {
                let context = Context { span: tracer::new_id(), ..parent };
                Self::begin(context, parent.span, scope, name.into(), kind)
            }
            _ => Self(None),
        }
    }

    /// The same, for the context in a record.
    #[must_use]
    pub fn of(record: &[u8], scope: &'static str, name: &'static str, kind: Kind) -> Self {
        if record.is_empty() { Self(None) } else { Self::within(Context::from_bytes(record), scope, name, kind) }
    }

    fn begin(context: Context, parent: [u8; 8], scope: &'static str, name: Cow<'static, str>, kind: Kind) -> Self {
        let (begun, attributes, links) = (Instant::now(), Vec::new(), Vec::new());
        Self(Some(Recorded { context, parent, scope, name, kind, begun, attributes, links, failed: None }))
    }

    /// It had begun before.
    #[must_use]
    pub fn since(mut self, begun: Instant) -> Self {
        self.0.iter_mut().for_each(|recorded| recorded.begun = begun);
        self
    }

    /// What is done for it is done for this.
    #[must_use]
    pub fn context(&self) -> Option<Context> {
        self.0.as_ref().map(|recorded| recorded.context)
    }

    /// The context for a record, which has it only if the trace is sampled; else empty.
    #[must_use]
    pub fn record(&self) -> bytes::Bytes {
        let sampled = self.context().filter(Context::sampled);
        sampled.map_or_else(bytes::Bytes::new, |context| context.bytes())
    }

    /// A number that tells something of it. Never an id of somebody.
    pub fn number(&mut self, key: &'static str, value: impl TryInto<i64>) {
        if let Some(recorded) = &mut self.0 {
            recorded.attributes.push(KeyValue::new(key, value.try_into().unwrap_or(i64::MAX)));
        }
    }

    /// A fixed word that tells something of it.
    pub fn word(&mut self, key: &'static str, value: &'static str) {
        if let Some(recorded) = &mut self.0 {
            recorded.attributes.push(KeyValue::new(key, value));
        }
    }

    /// It did not go well, for a reason that is the server's: a fixed word.
    pub fn fail(&mut self, why: &'static str) {
        self.0.iter_mut().for_each(|recorded| recorded.failed = Some(why));
    }

    /// Another span, also of another trace, with which it has to do.
    pub fn link(&mut self, other: Option<Context>) {
        if let (Some(recorded), Some(other)) = (&mut self.0, other) {
            recorded.links.push(other);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let (Some(recorded), Some(tracer)) = (self.0.take(), tracer::get()) {
            recorded.end(tracer);
        }
    }
}

impl Recorded {
    fn end(mut self, tracer: &Tracer) {
        let took = self.begun.elapsed();
        if !self.context.sampled {
            let why = match self.failed {
                Some(_) => "failed",
                None if took >= tracer.slow => "slow",
                None => return,
            };
            if !tracer.keep() {
                return;
            }
            self.attributes.push(KeyValue::new("madang.kept", why));
        }
        tracer.export(self.data(took));
    }

    fn data(self, took: Duration) -> SpanData {
        let end_time = SystemTime::now();
        let status = self.failed.map_or(Status::Unset, Status::error);
        let mut links = SpanLinks::default();
        links.links = self.links.iter().map(|other| Link::new(public(other), Vec::new(), 0)).collect();
        SpanData {
            span_context: public(&Context { sampled: true, ..self.context }),
            parent_span_id: SpanId::from_bytes(self.parent),
            parent_span_is_remote: false,
            span_kind: self.kind.into(),
            name: self.name,
            start_time: end_time.checked_sub(took).unwrap_or(end_time),
            end_time,
            attributes: self.attributes,
            dropped_attributes_count: 0,
            events: Default::default(),
            links,
            status,
            instrumentation_scope: InstrumentationScope::builder(self.scope).build(),
        }
    }
}

fn public(context: &Context) -> SpanContext {
    let flags = if context.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let (trace, span) = (TraceId::from_bytes(context.trace), SpanId::from_bytes(context.span));
    SpanContext::new(trace, span, flags, false, TraceState::NONE)
}
