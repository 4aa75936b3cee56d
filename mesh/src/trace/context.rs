//! Which trace something belongs to, and what it is done for: as W3C's Trace Context has it.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use std::{future::Future, str};

/// The header of W3C's Trace Context.
const TRACEPARENT: &str = "traceparent";
/// How many bytes a context takes where it is not a header.
const BYTES: usize = 25;

tokio::task_local! {
    static CURRENT: Context;
}

/// A trace, and the span in it that what follows is done for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    pub(super) sampled: bool,
}

impl Context {
    /// From the text of a `traceparent`; none: it is not one, and a trace begins here.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        // A later version may have more parts, and has these.
        let extra = parts.next().is_some();
        let [version] = hex(version)?;
        if version == 0xff || version == 0 && extra {
            return None;
        }
        let [flags] = hex(flags)?;
        let context = Self { trace: hex(trace)?, span: hex(span)?, sampled: flags & 1 == 1 };
        context.valid().then_some(context)
    }

    fn valid(&self) -> bool {
        self.trace != [0; 16] && self.span != [0; 8]
    }

    /// As the text of a `traceparent`.
    #[must_use]
    pub fn header(&self) -> String {
        let (trace, span) = (u128::from_be_bytes(self.trace), u64::from_be_bytes(self.span));
        format!("00-{trace:032x}-{span:016x}-{:02x}", u8::from(self.sampled))
    }

    /// From 25 bytes; none: they are none, or not so many.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
        let (trace, rest) = bytes.split_first_chunk()?;
        let (span, flags) = rest.split_first_chunk()?;
        let context = Self { trace: *trace, span: *span, sampled: flags.first()? & 1 == 1 };
        context.valid().then_some(context)
    }

    /// As 25 bytes: the trace, the span, flags.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        let mut bytes = [0; BYTES];
        bytes[..16].copy_from_slice(&self.trace);
        bytes[16..24].copy_from_slice(&self.span);
        bytes[24] = u8::from(self.sampled);
        Bytes::copy_from_slice(&bytes)
    }

    /// Whether its spans are collected, all of them.
    #[must_use]
    pub fn sampled(&self) -> bool {
        self.sampled
    }

    /// The ids of the trace and of the span.
    pub(crate) fn ids(&self) -> ([u8; 16], [u8; 8]) {
        (self.trace, self.span)
    }

    /// The trace's id, 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.trace))
    }
}

/// As many bytes as lower-case digits say; none: they say another number of them, or are no such digits.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// What the caller's headers say.
#[must_use]
pub fn of_headers(headers: &HeaderMap) -> Option<Context> {
    headers.get(TRACEPARENT)?.to_str().ok().and_then(Context::parse)
}

/// Tells it to who is called.
pub fn into_headers(context: Context, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_str(&context.header()) {
        headers.insert(TRACEPARENT, value);
    }
}

/// What the task that runs now is done for.
#[must_use]
pub fn current() -> Option<Context> {
    CURRENT.try_with(|context| *context).ok()
}

/// Does it at once, for this.
pub fn during<T>(context: Option<Context>, work: impl FnOnce() -> T) -> T {
    match context {
        Some(context) => CURRENT.sync_scope(context, work),
        None => work(),
    }
}

/// Does it, and all that it asks of others, for this.
pub async fn within<F: Future>(context: Option<Context>, work: F) -> F::Output {
    match context {
        Some(context) => CURRENT.scope(context, work).await,
        None => work.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_the_same_in_every_form() {
        let context = Context::parse(TEXT).unwrap();
        assert!(context.sampled() && context.trace_id() == "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.header(), TEXT);
        assert_eq!(Context::from_bytes(&context.bytes()), Some(context));
        let mut headers = HeaderMap::new();
        into_headers(context, &mut headers);
        assert_eq!(of_headers(&headers), Some(context));
        let not = Context { sampled: false, ..context };
        assert_eq!(Context::parse(&not.header()), Some(not));
        assert_eq!(Context::from_bytes(&not.bytes()), Some(not));
        // A later version, with more behind.
        assert_eq!(Context::parse(&format!("cc{}-what", &TEXT[2..])), Some(context));
    }

    #[test]
    fn what_is_no_context_is_none() {
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47é-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Context::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Context::from_bytes(&[0; 25]), None);
        assert_eq!(Context::from_bytes(&[1; 24]), None);
    }

    #[tokio::test]
    async fn what_is_done_for_it_knows_it() {
        let context = Context::parse(TEXT);
        assert_eq!(current(), None);
        within(context, async { assert_eq!(current(), context) }).await;
        assert_eq!(current(), None);
    }
}
