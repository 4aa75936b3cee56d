//! Metrics for the collector: what `/metrics` shows, sent to it from time to time, under the same names.

use super::waiting::Waiting;
use crate::metrics::{Exemplar, Exemplars, take_exemplars};
use http::{HeaderName, HeaderValue};
use opentelemetry_proto::{
    tonic::{
        collector::metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
        common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
        metrics::v1::{
            AggregationTemporality, Exemplar as Sent, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
            ResourceMetrics, ScopeMetrics, Sum, exemplar, metric::Data, number_data_point::Value,
        },
        resource::v1::Resource,
    },
    transform::common::tonic::ResourceAttributesWithSchema,
};
use percent_encoding::percent_decode_str;
use prometheus::proto::{LabelPair, MetricFamily, MetricType};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::{sync::oneshot, time::MissedTickBehavior};
use tonic::{Request, metadata::MetadataMap, transport::Channel};

/// How often they are sent.
const EVERY: Duration = Duration::from_secs(15);

/// What goes along with each report, as OpenTelemetry's own exporters read it: `NAME=VALUE,NAME=VALUE`, values
/// percent-encoded. What is no header is left out, as there.
fn headers(text: &str) -> MetadataMap {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    let header = |(name, value): (&str, &str)| {
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        Some((HeaderName::from_bytes(name.trim().as_bytes()).ok()?, HeaderValue::from_str(&value).ok()?))
    };
    MetadataMap::from_headers(pairs.filter_map(header).collect())
}

/// Sends them until the end, and then once more.
pub(super) async fn report(channel: Channel, resource: opentelemetry_sdk::Resource, mut end: oneshot::Receiver<()>) {
    let set = ["OTEL_EXPORTER_OTLP_METRICS_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"].map(std::env::var);
    let (headers, waiting) =
        (headers(&set.into_iter().find_map(Result::ok).unwrap_or_default()), Waiting::new("metrics"));
    let mut client = MetricsServiceClient::new(channel);
    let resource =
        Resource { attributes: ResourceAttributesWithSchema::from(&resource).attributes.0, ..Resource::default() };
    let began = nanos(SystemTime::now());
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let ended = tokio::select! {
            _ = tick.tick() => false,
            _ = &mut end => true,
        };
        let (exemplars, families) = (take_exemplars(), crate::metrics::gather());
        let now = nanos(SystemTime::now());
        let metrics = families.iter().filter_map(|family| metric(family, &exemplars, began, now)).collect();
        let scope = InstrumentationScope { name: "madang".into(), ..InstrumentationScope::default() };
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, schema_url: String::new() }];
        let of = ResourceMetrics { resource: Some(resource.clone()), scope_metrics, schema_url: String::new() };
        let mut request = Request::new(ExportMetricsServiceRequest { resource_metrics: vec![of] });
        *request.metadata_mut() = headers.clone();
        let taken = client.export(request).await;
        waiting.count(1, taken.is_ok());
        if let Err(status) = taken {
            // Its own logs and traces are missing as well, which shows; here it is no more than a hint.
            tracing::debug!(code = ?status.code(), "the collector took no metrics");
        }
        if ended {
            return;
        }
    }
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn attributes(labels: &[LabelPair]) -> Vec<KeyValue> {
    let of = |label: &LabelPair| KeyValue {
        key: label.name().to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(label.value().to_owned())) }),
        ..KeyValue::default()
    };
    labels.iter().map(of).collect()
}

/// A metric as the collector knows it; none: of a kind that we have none of.
fn metric(family: &MetricFamily, exemplars: &Exemplars, began: u64, now: u64) -> Option<Metric> {
    let number = |labels: &[LabelPair], value: f64| NumberDataPoint {
        attributes: attributes(labels),
        start_time_unix_nano: began,
        time_unix_nano: now,
        value: Some(Value::AsDouble(value)),
        ..NumberDataPoint::default()
    };
    let metrics = family.get_metric().iter();
    let data = match family.get_field_type() {
        MetricType::COUNTER => Data::Sum(Sum {
            data_points: metrics.map(|each| number(each.get_label(), each.get_counter().get_value())).collect(),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        }),
        MetricType::GAUGE => Data::Gauge(Gauge {
            data_points: metrics.map(|each| number(each.get_label(), each.get_gauge().get_value())).collect(),
        }),
        MetricType::HISTOGRAM => Data::Histogram(Histogram {
            data_points: metrics
                .map(|each| HistogramDataPoint {
                    exemplars: exemplars.of(family.name(), each.get_label()).map(sent).collect(),
                    ..histogram(each, began, now)
                })
                .collect(),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
        }),
        _ => return None,
    };
    let (name, description) = (family.name().to_owned(), family.help().to_owned());
    Some(Metric { name, description, data: Some(data), ..Metric::default() })
}

fn sent(seen: Exemplar) -> Sent {
    let (trace, span) = seen.context.ids();
    Sent {
        time_unix_nano: nanos(seen.at),
        trace_id: trace.to_vec(),
        span_id: span.to_vec(),
        value: Some(exemplar::Value::AsDouble(seen.value)),
        ..Default::default()
    }
}

fn histogram(metric: &prometheus::proto::Metric, began: u64, now: u64) -> HistogramDataPoint {
    let histogram = metric.get_histogram();
    let count = histogram.get_sample_count();
    let (mut bounds, mut counts, mut below) = (Vec::new(), Vec::new(), 0);
    for bucket in histogram.get_bucket() {
        bounds.push(bucket.upper_bound());
        // Prometheus counts all below a bound, OTLP those between two.
        counts.push(bucket.cumulative_count().saturating_sub(below));
        below = bucket.cumulative_count();
    }
    counts.push(count.saturating_sub(below));
    HistogramDataPoint {
        attributes: attributes(metric.get_label()),
        start_time_unix_nano: began,
        time_unix_nano: now,
        count,
        sum: Some(histogram.get_sample_sum()),
        bucket_counts: counts,
        explicit_bounds: bounds,
        ..HistogramDataPoint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{HistogramOpts, Opts, Registry};

    #[test]
    fn headers_are_read_as_opentelemetry_writes_them() {
        let headers = headers("authorization=Bearer%20x%3D,, a = b ,no,c=%0a,d d=1").into_headers();
        let found: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(found, [("authorization", "Bearer x="), ("a", "b")]);
    }

    #[test]
    fn what_prometheus_sees_the_collector_sees() {
        let registry = Registry::new();
        let counters = prometheus::IntCounterVec::new(Opts::new("things_total", "Things."), &["what"]).unwrap();
        counters.with_label_values(&["a"]).inc_by(3);
        let seconds = HistogramOpts::new("seconds", "How long.").buckets(vec![1.0, 2.0]);
        let seconds = prometheus::Histogram::with_opts(seconds).unwrap();
        [0.5, 0.7, 1.5, 9.0].into_iter().for_each(|value| seconds.observe(value));
        registry.register(Box::new(counters)).unwrap();
        registry.register(Box::new(seconds)).unwrap();
        let none = Exemplars::default();
        let found: Vec<_> = registry.gather().iter().filter_map(|family| metric(family, &none, 1, 2)).collect();
        let [seconds, things] = &found[..] else { panic!("{found:?}") };
        assert_eq!((things.name.as_str(), things.description.as_str()), ("things_total", "Things."));
        let Some(Data::Sum(sum)) = &things.data else { panic!("{things:?}") };
        assert!(sum.is_monotonic && sum.data_points[0].value == Some(Value::AsDouble(3.0)));
        assert_eq!(sum.data_points[0].attributes[0].key, "what");
        let Some(Data::Histogram(histogram)) = &seconds.data else { panic!("{seconds:?}") };
        let point = &histogram.data_points[0];
        assert_eq!(
            (point.count, &point.bucket_counts[..], &point.explicit_bounds[..]),
            (4, &[2, 1, 1][..], &[1.0, 2.0][..])
        );
        assert!((point.sum.unwrap() - 11.7).abs() < 1e-9);
    }
    #[test]
    fn a_number_names_its_trace_once() {
        let seconds = HistogramOpts::new("exemplary_seconds", "How long.").buckets(crate::metrics::SECONDS.to_vec());
        let seconds = prometheus::HistogramVec::new(seconds, &["what", "how"]).unwrap();
        let sampled = |trace| crate::trace::Context::parse(&format!("00-{trace:032x}-00000000000000aa-01"));
        let given = [
            (0.003, sampled(1)),
            (0.004, sampled(2)),
            (0.2, sampled(3)),
            (0.3, None),
            (0.4, crate::trace::Context::parse("00-00000000000000000000000000000009-00000000000000aa-00")),
        ];
        for (value, context) in given {
            seconds.with_label_values(&["a", "b"]).observe(value);
            crate::metrics::exemplar(&seconds, &["a", "b"], value, context);
        }
        seconds.with_label_values(&["b", "a"]).observe(1.0);
        let registry = Registry::new();
        registry.register(Box::new(seconds)).unwrap();
        let family = registry.gather().pop().unwrap();
        let named = |exemplars: &Exemplars| {
            let Some(Data::Histogram(found)) = metric(&family, exemplars, 1, 2).unwrap().data else { panic!() };
            let points = found.data_points.into_iter();
            points.map(|point| point.exemplars.iter().map(|each| each.trace_id[15]).collect()).collect::<Vec<Vec<u8>>>()
        };
        // Of each bucket the last, and of one label's alone.
        assert_eq!(named(&take_exemplars()), [vec![], vec![2, 3]]);
        assert!(named(&take_exemplars()).iter().all(Vec::is_empty), "each is told once");
    }
}
