//! Exemplars: which trace was behind a histogram's number, for each of its buckets the one that came last. A report to the
//! collector takes them along; Prometheus' own text has no place for them in the library that writes it here.

use crate::trace::{self, Context};
use prometheus::{HistogramVec, core::Collector as _};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// A number, and the trace in which it came to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exemplar {
    /// When it was measured.
    pub at: SystemTime,
    /// What was measured: seconds.
    pub value: f64,
    /// Its trace.
    pub context: Context,
}

/// A histogram: its name, its labels with their values, by name.
type Key = (String, Vec<(String, String)>);
/// By bucket.
type Last = BTreeMap<usize, Exemplar>;

/// As many as there are buckets, of which each label makes some more; labels are few.
static LAST: Mutex<BTreeMap<Key, Last>> = Mutex::new(BTreeMap::new());

fn lock() -> MutexGuard<'static, BTreeMap<Key, Last>> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says in which trace seconds came to be that a histogram with the buckets of `SECONDS` was given. Of no account where
/// that trace is not collected.
pub fn exemplar(of: &HistogramVec, labels: &[&str], seconds: f64, context: Option<Context>) {
    let collected = |context: &Context| trace::collected(*context, Duration::from_secs_f64(seconds));
    let (Some(context), Some(desc)) = (context.filter(collected), of.desc().first().copied()) else { return };
    let named = desc.variable_labels.iter().cloned().zip(labels.iter().map(ToString::to_string));
    let mut labels: Vec<_> = named.collect();
    labels.sort();
    let bucket = super::SECONDS.partition_point(|bound| *bound < seconds);
    let exemplar = Exemplar { at: SystemTime::now(), value: seconds, context };
    lock().entry((desc.fq_name.clone(), labels)).or_default().insert(bucket, exemplar);
}

/// All there are; from now on others.
pub(crate) fn take() -> Exemplars {
    Exemplars(std::mem::take(&mut *lock()))
}

/// Those of a time.
#[derive(Default)]
pub(crate) struct Exemplars(BTreeMap<Key, Last>);

impl Exemplars {
    /// Those of a histogram.
    pub fn of(&self, name: &str, labels: &[prometheus::proto::LabelPair]) -> impl Iterator<Item = Exemplar> + '_ {
        let mut labels: Vec<_> =
            labels.iter().map(|label| (label.name().to_owned(), label.value().to_owned())).collect();
        labels.sort();
        self.0.get(&(name.to_owned(), labels)).into_iter().flat_map(|last| last.values().copied())
    }
}
