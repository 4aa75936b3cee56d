//! Refusals on gRPC: `google.rpc` details in, and out again.

use madang_proto::reason::{Reason, Refusal};
use std::{collections::HashMap, time::Duration};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

/// The `domain` of every `ErrorInfo`.
const DOMAIN: &str = "madang";

/// A refusal as a gRPC status, with `ErrorInfo` and, where there is a time to wait, `RetryInfo`.
#[must_use]
pub fn to_status(refusal: &Refusal) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(refusal.reason.word(), DOMAIN, HashMap::new());
    if refusal.retry_after_ms > 0 {
        details.set_retry_info(Some(Duration::from_millis(refusal.retry_after_ms)));
    }
    Status::with_error_details(refusal.reason.code(), refusal.message.clone(), details)
}

/// The refusal behind a status. One that is not ours (a lost connection, a timeout) is `UNAVAILABLE`.
#[must_use]
pub fn from_status(status: &Status) -> Refusal {
    let details = status.get_error_details();
    let reason = details.error_info().and_then(|info| Reason::from_word(&info.reason)).unwrap_or(match status.code() {
        tonic::Code::DeadlineExceeded => Reason::Timeout,
        tonic::Code::Unimplemented => Reason::Unimplemented,
        tonic::Code::Internal => Reason::Internal,
        tonic::Code::InvalidArgument => Reason::InvalidField,
        _ => Reason::Unavailable,
    });
    let after = details.retry_info().and_then(|info| info.retry_delay).unwrap_or_default();
    Refusal::new(reason, status.message()).after(u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
}
