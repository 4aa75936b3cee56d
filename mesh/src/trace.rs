//! Traces: what became of one request, through all processes that had to do with it.
//!
//! A request's [`Context`] goes along with it: as `traceparent` in metadata, as 25 bytes in frames of trunks, and, where
//! the trace is sampled, in records of the log and of inboxes. What a process does for it is a [`Span`]. Where nobody
//! collects traces there is no context, and a span is nothing. A span carries no text: its attributes are numbers and
//! fixed words, so that nothing anybody has said, and nobody's name or address, can get into one.

mod calls;
mod context;
mod records;
mod span;
mod tracer;

pub(crate) use calls::answered;
pub use context::{Context, current, during, within};
pub(crate) use context::{into_headers, of_headers};
pub use records::projected;
pub use span::{Kind, Span};
pub use tracer::{Config, Tracer};
pub(crate) use tracer::{collected, flush};
