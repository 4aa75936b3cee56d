//! Refusals on gRPC: `google.rpc` details in, and out again.

use madang_proto::reason::{Reason, Refusal};
use std::{collections::HashMap, time::Duration};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

/// The `domain` of every `ErrorInfo`.
const DOMAIN: &str = "madang";

/// A refusal as a gRPC status, with `ErrorInfo`; with `RetryInfo`, where there is a time to wait; with `BadRequest`, where
/// a field is wrong.
#[must_use]
pub fn to_status(refusal: &Refusal) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(refusal.reason.word(), DOMAIN, HashMap::new());
    if refusal.retry_after_ms > 0 {
        details.set_retry_info(Some(Duration::from_millis(refusal.retry_after_ms)));
    }
    if !refusal.field.is_empty() {
        details.add_bad_request_violation(refusal.field.clone(), refusal.message.clone());
    }
    Status::with_error_details(refusal.reason.code(), refusal.message.clone(), details)
}

/// A field of a request is wrong: which, and what to do about it.
#[must_use]
pub fn invalid_field(field: &str, message: &str) -> Status {
    to_status(&Refusal::new(Reason::InvalidField, message).of(field))
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
    let field = details.bad_request().and_then(|request| request.field_violations.first());
    let field = field.map(|violation| violation.field.clone()).unwrap_or_default();
    Refusal::new(reason, status.message()).after(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)).of(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_in_details_is_understood_again() {
        for refusal in [
            Refusal::new(Reason::HandleTaken, "taken"),
            Refusal::new(Reason::RateLimited, "later").after(1500),
            Refusal::new(Reason::InvalidField, "name is too long").of("name"),
        ] {
            let status = to_status(&refusal);
            assert_eq!(from_status(&status), refusal);
            let details = status.get_error_details();
            assert_eq!(details.error_info().map(|info| info.domain.as_str()), Some(DOMAIN));
            assert_eq!(details.retry_info().is_some(), refusal.retry_after_ms > 0);
            assert_eq!(details.bad_request().is_some(), !refusal.field.is_empty());
        }
        assert_eq!(from_status(&Status::unavailable("lost")).reason, Reason::Unavailable);
    }
}
