//! The endpoints, in a table: what each takes and gives. Words are those of `schema::word`.

use super::schema;
use serde_json::{Map, Value, json};

/// One endpoint.
pub(super) struct Endpoint {
    pub method: &'static str,
    pub path: &'static str,
    pub id: &'static str,
    pub summary: &'static str,
    /// (name, type, what for).
    pub query: &'static [(&'static str, &'static str, &'static str)],
    /// What the body is; empty: there is none.
    pub body: &'static str,
    /// (status, what the body is, what it says).
    pub answer: (&'static str, &'static str, &'static str),
    /// The answer's media type.
    pub media: &'static str,
    /// Without a token.
    pub open: bool,
}

pub(super) const GET: Endpoint = Endpoint {
    method: "get",
    path: "",
    id: "",
    summary: "",
    query: &[],
    body: "",
    answer: ("200", "", ""),
    media: "application/json",
    open: false,
};
pub(super) const POST: Endpoint = Endpoint { method: "post", ..GET };
pub(super) const PUT: Endpoint = Endpoint { method: "put", ..GET };
pub(super) const DELETE: Endpoint = Endpoint { method: "delete", ..GET };

const AT_LEAST: (&str, &str, &str) =
    ("atLeast", "uint64", "Wait until the answer is as of this revision, at most 2 s; then 503.");
pub(super) const TOKEN: (&str, &str, &str) = ("pageToken", "string", "From the page before, to go on behind it.");
/// Of a list that is short.
pub(super) const LIMIT_OR_ALL: (&str, &str, &str) = ("limit", "limit", "How much to give; 0: all.");
pub(super) const LIMIT: (&str, &str, &str) = ("limit", "limit", "How much to give; 0: 50. Over 200 counts as 200.");

/// All of them.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        path: "/v1/accounts",
        id: "signUp",
        summary: "Sign up, and log in.",
        body: "SignUp",
        answer: ("201", "Tokens", "Somebody new, logged in."),
        open: true,
        ..POST
    },
    Endpoint {
        path: "/v1/sessions",
        id: "logIn",
        summary: "Log in; it ends the same device's earlier session, and of too many the one unused longest.",
        body: "LogIn",
        answer: ("201", "Tokens", "A new session."),
        open: true,
        ..POST
    },
    Endpoint {
        path: "/v1/sessions",
        id: "listSessions",
        summary: "One's own sessions: the one used last first; in pages, the one begun last.",
        query: &[TOKEN, LIMIT_OR_ALL],
        answer: ("200", "Sessions", "All of them, or a page."),
        ..GET
    },
    Endpoint {
        path: "/v1/sessions/refresh",
        id: "refresh",
        summary: "New tokens for a refresh token, which works until the new pair is used and 60 s longer.",
        body: "Refresh",
        answer: ("200", "Tokens", "The new pair."),
        open: true,
        ..POST
    },
    Endpoint {
        path: "/v1/sessions/{session}",
        id: "logOut",
        summary: "End a session of one's own, or `current`.",
        answer: ("204", "", "There is none of one's own with this id any more; its socket is closed."),
        ..DELETE
    },
    Endpoint { path: "/v1/me", id: "getMe", summary: "One's own profile.", answer: ("200", "User", "It."), ..GET },
    Endpoint {
        method: "patch",
        path: "/v1/me",
        id: "updateMe",
        summary: "Change one's profile: a merge patch, in which a status message that is null is cleared.",
        body: "Profile",
        answer: ("200", "User", "The profile as it is now."),
        ..GET
    },
    Endpoint {
        path: "/v1/me/password",
        id: "changePassword",
        summary: "Change one's password; one's other sessions end.",
        body: "Password",
        answer: ("204", "", "It holds from now on."),
        ..PUT
    },
    Endpoint {
        path: "/v1/me/picture",
        id: "setPicture",
        summary: "Show a picture: at most 5 MiB and 32 million pixels; it is cut square.",
        body: "image",
        answer: ("200", "Picture", "Its id."),
        ..PUT
    },
    Endpoint {
        path: "/v1/me/picture",
        id: "removePicture",
        summary: "Show no picture.",
        answer: ("204", "", "It is gone."),
        ..DELETE
    },
    Endpoint {
        path: "/v1/pictures/{picture}",
        id: "getPicture",
        summary: "A picture, cached for good.",
        query: &[("size", "uint32", "Pixels a side: 64, 256 or 1024; 0: 256.")],
        answer: ("200", "image", "The picture."),
        media: "image/jpeg",
        open: true,
        ..GET
    },
    Endpoint {
        path: "/v1/users",
        id: "findUsers",
        summary: "People by id, or one by handle: give either.",
        query: &[
            ("ids", "string", "At most 100 ids, separated by commas."),
            ("handle", "string", "Exactly this handle."),
        ],
        answer: ("200", "Users", "Those that there are."),
        ..GET
    },
    Endpoint {
        path: "/v1/users/{user}",
        id: "getUser",
        summary: "Somebody's profile.",
        answer: ("200", "User", "It."),
        ..GET
    },
    Endpoint {
        path: "/v1/conversations",
        id: "listConversations",
        summary: "One's conversations, the latest activity first.",
        query: &[
            (
                "since",
                "string",
                "`sync` of an earlier list: only what has changed since, and what was left. Too old: 410.",
            ),
            ("pageToken", "string", "Where to go on: `nextPageToken` of the page before, which holds `since` as well."),
            LIMIT,
        ],
        answer: ("200", "Conversations", "A page. `removed` is on the first one; `sync` is the same on all."),
        ..GET
    },
    Endpoint {
        path: "/v1/conversations/{c}",
        id: "getConversation",
        summary: "A conversation that one is in.",
        query: &[AT_LEAST],
        answer: ("200", "Conversation", "It."),
        ..GET
    },
    Endpoint {
        path: "/v1/conversations/{c}/members",
        id: "listMembers",
        summary: "Who is in it, and how far each has read.",
        query: &[AT_LEAST],
        answer: ("200", "Members", "All of them."),
        ..GET
    },
    Endpoint {
        path: "/v1/conversations/{c}/messages",
        id: "listMessages",
        summary: "History, by seq upwards, bounds excluded; without a bound, the newest.",
        query: &[
            ("before", "place", "Only older than this seq."),
            ("after", "uint64", "Only newer than this seq."),
            ("around", "place", "Before and after this seq, and it."),
            LIMIT,
            AT_LEAST,
        ],
        answer: ("200", "Messages", "A page: at most `limit` messages, and at most 1 MiB."),
        ..GET
    },
    Endpoint {
        path: "/v1/conversations/{c}/changes",
        id: "listChanges",
        summary: "What was sent or changed since a revision, as it is now, by revision upwards. Too old: 410.",
        query: &[("since", "uint64", "Only above this revision; 0: all there is. Required."), LIMIT, AT_LEAST],
        answer: ("200", "Changes", "All of it up to `revision`: at most `limit` messages, and at most 1 MiB."),
        ..GET
    },
    Endpoint {
        path: "/v1/changes",
        id: "listManyChanges",
        summary: "The same for at most 100 conversations; those that one is not in are left out.",
        body: "ChangesSince",
        answer: (
            "200",
            "ManyChanges",
            "At most 100 messages of each, and 4 MiB in all: what has `more` is asked for again. `tooOld`: page it anew.",
        ),
        ..POST
    },
    Endpoint {
        path: "/v1/conversations/{c}/read",
        id: "markRead",
        summary: "Everything up to a message is read; never goes back.",
        body: "ReadUpTo",
        answer: ("200", "Ack", "Taken; saved within 5 s."),
        ..PUT
    },
    Endpoint {
        path: "/v1/messages",
        id: "sendMessage",
        summary: "Send, as the frame `send` does: idempotent by its `clientId`.",
        body: "Send",
        answer: ("200", "Ack", "It is saved."),
        ..POST
    },
    Endpoint {
        path: "/v1/groups",
        id: "createGroup",
        summary: "Make a group of which one is the owner.",
        body: "NewGroup",
        answer: ("201", "NewConversation", "The group, and who could not be brought in."),
        ..POST
    },
    Endpoint {
        method: "patch",
        path: "/v1/groups/{c}",
        id: "updateGroup",
        summary: "Change a group's name or data: a merge patch, in which a key of `data` that is null goes.",
        body: "ChangedGroup",
        answer: ("200", "Conversation", "The group as it is now."),
        ..GET
    },
    Endpoint {
        path: "/v1/groups/{c}",
        id: "endGroup",
        summary: "End a group that one owns: everybody leaves it.",
        answer: ("204", "", "It has ended."),
        ..DELETE
    },
    Endpoint {
        path: "/v1/groups/{c}/picture",
        id: "setGroupPicture",
        summary: "Show a picture for a group: at most 5 MiB and 32 million pixels; it is cut square.",
        body: "image",
        answer: ("200", "Picture", "Its id."),
        ..PUT
    },
    Endpoint {
        path: "/v1/groups/{c}/picture",
        id: "removeGroupPicture",
        summary: "Show no picture for a group.",
        answer: ("204", "", "It is gone."),
        ..DELETE
    },
    Endpoint {
        path: "/v1/groups/{c}/members/{user}/role",
        id: "setRole",
        summary: "Make or unmake an admin, or hand the group over (`ROLE_OWNER`).",
        body: "Rank",
        answer: ("200", "Changed", "In force, as of this revision."),
        ..PUT
    },
    Endpoint {
        path: "/v1/groups/{c}/members",
        id: "addMembers",
        summary: "Bring people in.",
        body: "NewMembers",
        answer: ("200", "Changed", "In force, as of this revision."),
        ..POST
    },
    Endpoint {
        path: "/v1/groups/{c}/members/{user}",
        id: "removeMember",
        summary: "Remove somebody, or leave.",
        answer: ("200", "Changed", "In force, as of this revision."),
        ..DELETE
    },
    Endpoint {
        path: "/v1/push/key",
        id: "getPushKey",
        summary: "The key that browsers subscribe with (`applicationServerKey`).",
        answer: ("200", "PushKey", "It; the same for good."),
        ..GET
    },
    Endpoint {
        path: "/v1/devices/{device}/push",
        id: "setPush",
        summary: "Notify a device that one is logged in on: by exactly one of webPush, fcm, apns and webhook.",
        body: "PushSubscription",
        answer: ("204", "", "It is notified from now on, and nobody else at the same place."),
        ..PUT
    },
    Endpoint {
        path: "/v1/devices/{device}/push",
        id: "removePush",
        summary: "Notify a device no more.",
        answer: ("204", "", "It is not notified."),
        ..DELETE
    },
    Endpoint {
        path: "/.well-known/jwks.json",
        id: "getKeys",
        summary: "The keys of access tokens (RFC 7517).",
        answer: ("200", "object", "A key set."),
        open: true,
        ..GET
    },
    Endpoint {
        path: "/v1/client.proto",
        id: "getClientProto",
        summary: "The frames of the WebSocket, as protobuf.",
        answer: ("200", "string", "A .proto file."),
        media: "text/plain",
        open: true,
        ..GET
    },
    Endpoint {
        path: "/v1/openapi.json",
        id: "getOpenApi",
        summary: "This document.",
        answer: ("200", "object", "OpenAPI 3.1."),
        open: true,
        ..GET
    },
];

/// A field: its name, its type, whether it is required.
type Field = (&'static str, &'static str, bool);

pub(super) fn object(fields: &[Field]) -> Value {
    let properties: Map<_, _> = fields.iter().map(|(name, word, _)| ((*name).to_owned(), schema::word(word))).collect();
    let required: Vec<_> = fields.iter().filter(|(.., required)| *required).map(|(name, ..)| *name).collect();
    json!({"type": "object", "properties": properties, "required": required})
}

/// The objects of this door alone.
pub(super) fn objects() -> Vec<(&'static str, Value)> {
    let problem = [
        ("type", "string", true),
        ("title", "string", true),
        ("status", "uint32", true),
        ("detail", "string", true),
        ("code", "string", true),
        ("reason", "string", true),
        ("retryable", "bool", true),
        ("retryAfterMs", "uint64", true),
        ("field", "string", true),
    ];
    let tokens = [
        ("user", "uuid", true),
        ("session", "uuid", true),
        ("accessToken", "string", true),
        ("refreshToken", "string", true),
        ("expiresIn", "uint32", true),
    ];
    let session = [
        ("session", "uuid", true),
        ("device", "Device", true),
        ("createdAt", "int64", true),
        ("usedAt", "int64", true),
        ("current", "bool", true),
    ];
    let page = [
        ("conversations", "[Conversation]", true),
        ("removed", "[uuid]", true),
        ("badge", "uint64", true),
        ("sync", "string", true),
        ("nextPageToken", "string", true),
    ];
    let messages = [
        ("messages", "[Message]", true),
        ("notices", "[Event]", true),
        ("revision", "uint64", true),
        ("hasBefore", "bool", true),
        ("hasAfter", "bool", true),
        ("noticesUntil", "uint64", false),
    ];
    let changes = [
        ("messages", "[Message]", true),
        ("notices", "[Event]", true),
        ("revision", "uint64", true),
        ("more", "bool", true),
    ];
    let of_each = [&[("conversation", "uuid", true), ("tooOld", "bool", true)][..], &changes].concat();
    let group = [
        ("name", "string", true),
        ("members", "[uuid]?", false),
        ("history", "History?", false),
        ("data", "map?", false),
    ];
    let made = json!({"allOf": [schema::reference("Conversation"), object(&[("refused", "[Refused]", true)])]});
    vec![
        ("Problem", object(&problem)),
        ("Tokens", object(&tokens)),
        ("LogIn", object(&[("handle", "string", true), ("password", "string", true), ("device", "Device", true)])),
        (
            "SignUp",
            object(&[
                ("handle", "string", true),
                ("password", "string", true),
                ("name", "string?", false),
                ("device", "Device", true),
            ]),
        ),
        ("Refresh", object(&[("refreshToken", "string", true)])),
        ("Session", object(&session)),
        ("Sessions", object(&[("sessions", "[Session]", true), ("nextPageToken", "string", true)])),
        (
            "Profile",
            object(&[("handle", "string", false), ("name", "string", false), ("statusMessage", "string?", false)]),
        ),
        ("Password", object(&[("old", "string", true), ("new", "string", true)])),
        ("Picture", object(&[("picture", "uuid", true)])),
        ("Users", object(&[("users", "[User]", true)])),
        ("Conversations", object(&page)),
        ("Members", object(&[("members", "[Member]", true), ("revision", "uint64", true)])),
        ("Messages", object(&messages)),
        ("Changes", object(&changes)),
        ("ConversationChanges", object(&of_each)),
        ("ManyChanges", object(&[("changes", "[ConversationChanges]", true)])),
        ("ConversationRevision", object(&[("conversation", "uuid", true), ("revision", "number", true)])),
        ("ChangesSince", object(&[("since", "[ConversationRevision]", true)])),
        ("ReadUpTo", object(&[("seq", "number", true)])),
        ("NewGroup", object(&group)),
        ("NewConversation", made),
        ("ChangedGroup", object(&[("name", "string", false), ("data", "object?", false)])),
        ("Rank", object(&[("role", "Role", true)])),
        ("NewMembers", object(&[("users", "[uuid]", true)])),
        ("Refused", object(&[("user", "string", true), ("reason", "string", true)])),
        ("Changed", object(&[("revision", "uint64", true), ("refused", "[Refused]", true)])),
        ("PushKey", object(&[("key", "string", true)])),
        (
            "PushSubscription",
            schema::with_one_of(
                object(&[
                    ("webPush", "BrowserSubscription?", false),
                    ("fcm", "FcmRegistration?", false),
                    ("apns", "ApnsRegistration?", false),
                    ("webhook", "Webhook?", false),
                    ("locale", "string?", false),
                    ("preview", "bool?", false),
                ]),
                &["webPush", "fcm", "apns", "webhook"],
            ),
        ),
        ("BrowserSubscription", object(&[("endpoint", "string", true), ("keys", "BrowserKeys", true)])),
        ("BrowserKeys", object(&[("p256dh", "string", true), ("auth", "string", true)])),
        ("FcmRegistration", object(&[("token", "string", true)])),
        ("ApnsRegistration", object(&[("token", "string", true), ("sandbox", "bool", false)])),
        ("Webhook", object(&[("url", "string", true), ("secret", "string", true)])),
    ]
}
