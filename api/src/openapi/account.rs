//! More endpoints: blocks, the end of an account, its export.

use super::endpoints::{DELETE, Endpoint, GET, LIMIT, POST, PUT, TOKEN, object};
use serde_json::Value;

/// All of them.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        path: "/v1/me/deletion",
        id: "deleteMe",
        summary: "End one's account for good: sessions end at once, it leaves its groups, its handle is not given out again.",
        body: "Deletion",
        answer: ("204", "", "It is gone; what it leaves is cleaned up."),
        ..POST
    },
    Endpoint {
        path: "/v1/me/export",
        id: "exportMe",
        summary: "All that is kept of one: profile, sessions, blocks, conversations with what one said there.",
        answer: ("200", "Export", "As it is read; broken off where it can't be read to its end."),
        ..GET
    },
    Endpoint {
        path: "/v1/blocks",
        id: "listBlocks",
        summary: "Whom one blocks.",
        query: &[TOKEN, LIMIT],
        answer: ("200", "Blocks", "A page of them."),
        ..GET
    },
    Endpoint {
        path: "/v1/blocks/{user}",
        id: "block",
        summary: "Block somebody: neither can send, edit or react directly, or add the other to a group.",
        answer: ("204", "", "It is in force."),
        ..PUT
    },
    Endpoint {
        path: "/v1/blocks/{user}",
        id: "unblock",
        summary: "End a block.",
        answer: ("204", "", "There is none any more."),
        ..DELETE
    },
];

/// What they take and give.
pub(super) fn objects() -> Vec<(&'static str, Value)> {
    vec![
        ("Deletion", object(&[("password", "string?", false), ("eraseMessages", "bool?", false)])),
        ("Said", object(&[("conversation", "Conversation", true), ("messages", "[Message]", true)])),
        (
            "Export",
            object(&[
                ("user", "User", true),
                ("sessions", "[Session]", true),
                ("blocks", "[User]", true),
                ("conversations", "[Said]", true),
            ]),
        ),
        ("Blocks", object(&[("users", "[User]", true), ("nextPageToken", "string", true)])),
    ]
}
