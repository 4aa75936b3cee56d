//! More endpoints: one's own settings of a conversation, and invites to groups.

use super::endpoints::{DELETE, Endpoint, GET, LIMIT_OR_ALL, POST, TOKEN, object};
use serde_json::Value;

/// All of them.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "patch",
        path: "/v1/conversations/{c}/settings",
        id: "updateSettings",
        summary: "Change one's own settings of a conversation: a merge patch; null is as at first. Hiding and clearing read.",
        body: "ChangedSettings",
        answer: ("200", "Settings", "All of them, in force; one's devices are told."),
        ..GET
    },
    Endpoint {
        path: "/v1/groups/{c}/invites",
        id: "listInvites",
        summary: "The invites of a group of which one is an admin.",
        query: &[TOKEN, LIMIT_OR_ALL],
        answer: ("200", "Invites", "All of them, or a page, the newest first."),
        ..GET
    },
    Endpoint {
        path: "/v1/groups/{c}/invites",
        id: "createInvite",
        summary: "Make an invite: an admin's right. At most 50 of a group are of use.",
        body: "NewInvite",
        answer: ("201", "Invite", "With its code."),
        ..POST
    },
    Endpoint {
        path: "/v1/groups/{c}/invites/{code}",
        id: "deleteInvite",
        summary: "Take an invite back: an admin's right.",
        answer: ("204", "", "It is of no use any more."),
        ..DELETE
    },
    Endpoint {
        path: "/v1/invites/{code}",
        id: "getInvite",
        summary: "What a code's group is. One look or joining a second, 30 at once.",
        answer: ("200", "Invited", "What it shows; `conversation` only to who is in it."),
        ..GET
    },
    Endpoint {
        path: "/v1/invites/{code}",
        id: "acceptInvite",
        summary: "Join a code's group; who is in it stays.",
        answer: ("200", "Conversation", "The group, which one is in."),
        ..POST
    },
];

/// The objects of these alone.
pub(super) fn objects() -> Vec<(&'static str, Value)> {
    // A merge patch: null is as at first.
    let settings = [
        ("mutedUntil", "int64?", false),
        ("notify", "Notify?", false),
        ("pinnedAt", "int64?", false),
        ("hidden", "bool?", false),
        ("clearedSeq", "uint64?", false),
        ("data", "object?", false),
    ];
    let invite = [
        ("code", "string", true),
        ("expiresAt", "int64", true),
        ("maxUses", "uint32", true),
        ("uses", "uint32", true),
        ("by", "uuid", true),
    ];
    let invited = [
        ("name", "string", true),
        ("picture", "string", true),
        ("memberCount", "uint32", true),
        ("expiresAt", "int64", true),
        ("conversation", "string", true),
    ];
    vec![
        ("ChangedSettings", object(&settings)),
        ("NewInvite", object(&[("expiresAt", "int64?", false), ("maxUses", "uint32?", false)])),
        ("Invite", object(&invite)),
        ("Invites", object(&[("invites", "[Invite]", true), ("nextPageToken", "string", true)])),
        ("Invited", object(&invited)),
    ]
}
