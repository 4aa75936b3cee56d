//! What the outcome of a call says in its span: what is the server's fault is a failure; a refusal is none.

use super::Span;
use madang_proto::reason::{Refusal, code_name};
use tonic::Code;

fn ours(code: Code) -> bool {
    matches!(code, Code::Unknown | Code::DeadlineExceeded | Code::Internal | Code::Unavailable | Code::DataLoss)
}

impl Span {
    /// It was answered with a refusal.
    pub fn refused(&mut self, refusal: &Refusal) {
        self.word("madang.reason", refusal.reason.word());
        if ours(refusal.reason.code()) {
            self.fail(refusal.reason.word());
        }
    }
}

/// A gRPC call was answered with a code: a number of google.rpc.Code, or a word of our own.
pub(crate) fn answered(span: &mut Span, code: &str) {
    if span.context().is_none() {
        return;
    }
    span.word("rpc.system.name", "grpc");
    if code.parse::<u8>().is_err() {
        // Whoever asked has not waited.
        return span.word("rpc.response.status_code", "GIVEN_UP");
    }
    let code = Code::from_bytes(code.as_bytes());
    span.word("rpc.response.status_code", code_name(code));
    if ours(code) {
        span.fail(code_name(code));
    }
}
