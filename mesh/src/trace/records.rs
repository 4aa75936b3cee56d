//! The traces that a record of the log has to do with.

use super::{Kind, Span};
use madang_proto::log::v1::Record;

/// A span for each of a record's events whose trace is sampled: what its reader makes of it. They end when they are
/// dropped.
pub fn projected(scope: &'static str, record: &Record) -> impl Iterator<Item = Span> {
    let traced = record.events.iter().filter(|event| !event.trace.is_empty());
    traced.map(move |event| Span::of(&event.trace, scope, "project", Kind::Consumer))
}
