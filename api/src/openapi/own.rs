//! More endpoints: one's own settings of a conversation.

use super::endpoints::{Endpoint, GET, object};
use serde_json::Value;

/// All of them.
pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: "patch",
    path: "/v1/conversations/{c}/settings",
    id: "updateSettings",
    summary: "Change one's own settings of a conversation: a merge patch; null is as at first. Hiding and clearing read.",
    body: "ChangedSettings",
    answer: ("200", "Settings", "All of them, in force; one's devices are told."),
    ..GET
}];

/// The objects of these alone.
pub(super) fn objects() -> Vec<(&'static str, Value)> {
    let settings = [
        ("mutedUntil", "int64", false),
        ("notify", "string", false),
        ("pinnedAt", "int64", false),
        ("hidden", "bool", false),
        ("clearedSeq", "uint64", false),
        ("data", "object", false),
    ];
    vec![("ChangedSettings", object(&settings))]
}
