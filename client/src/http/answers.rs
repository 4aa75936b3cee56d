//! What the HTTP door answers, as types.

use madang_proto::client::v1 as client;
use serde::{Deserialize, Deserializer, Serialize};

/// An RFC 9457 problem.
#[derive(Debug, Clone, Default, Deserialize, thiserror::Error)]
#[error("{status} {reason}: {detail}")]
#[serde(rename_all = "camelCase", default)]
pub struct Problem {
    /// The HTTP status.
    #[serde(skip)]
    pub status: u16,
    /// The gRPC code's name.
    pub code: String,
    /// The fixed word.
    pub reason: String,
    /// What is wrong and what to do.
    pub detail: String,
    /// Whether to try again.
    pub retryable: bool,
    /// When, in ms, by `Retry-After`; 0: as one likes.
    #[serde(skip)]
    pub retry_after_ms: u64,
}

/// What a sign-up, a log-in and a refresh give.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    /// Who one is.
    pub user: String,
    /// One's session.
    pub session: String,
    /// For every call and for `hello`.
    pub access_token: String,
    /// For the next pair.
    pub refresh_token: String,
    /// How long the access token is good for, in seconds.
    #[serde(deserialize_with = "number")]
    pub expires_in: u64,
    /// When this machine got them, ms since 1970; not part of the contract.
    #[serde(default)]
    pub obtained_at: u64,
}

impl Tokens {
    /// Whether two thirds of the access token's life are over.
    #[must_use]
    pub fn ageing(&self) -> bool {
        crate::now_ms() >= self.obtained_at + self.expires_in * 1000 * 2 / 3
    }

    /// Whether all of it is over.
    #[must_use]
    pub fn expired(&self) -> bool {
        crate::now_ms() >= self.obtained_at + self.expires_in * 1000
    }
}

/// A page of messages.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// By seq upwards.
    #[serde(default)]
    pub messages: Vec<client::Message>,
    /// Who came and went, and what was renamed, between them.
    #[serde(default)]
    pub notices: Vec<client::Event>,
    /// As of which event.
    #[serde(default, deserialize_with = "number")]
    pub revision: u64,
    /// Whether there are older ones.
    #[serde(default)]
    pub has_before: bool,
    /// Whether there are newer ones.
    #[serde(default)]
    pub has_after: bool,
}

/// What was sent or changed in a conversation since a revision.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Changes {
    /// Which one; empty where only one was asked about.
    pub conversation: String,
    /// By revision upwards, as they are now.
    pub messages: Vec<client::Message>,
    /// Who came and went, and what was renamed.
    pub notices: Vec<client::Event>,
    /// Up to which event.
    #[serde(deserialize_with = "number")]
    pub revision: u64,
    /// There is more above it.
    pub more: bool,
    /// The revision asked for is too old: page the conversation anew.
    pub too_old: bool,
}

/// One's conversations: all, or those that changed.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// The most active first; one that changed while they were listed may come twice: the higher revision holds.
    pub conversations: Vec<client::Conversation>,
    /// What one has left since.
    pub removed: Vec<String>,
    /// The sum of what is unread, as of the last page.
    pub badge: u64,
    /// What the next list is asked for as since.
    pub sync: String,
}

/// A page of conversations.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Conversations {
    pub(super) conversations: Vec<client::Conversation>,
    pub(super) removed: Vec<String>,
    #[serde(deserialize_with = "number")]
    pub(super) badge: u64,
    pub(super) sync: String,
    pub(super) next_page_token: String,
}

/// A member of a group who was not taken in.
#[derive(Debug, Clone, Deserialize)]
pub struct NotTaken {
    /// Who.
    pub user: String,
    /// A fixed word.
    pub reason: String,
}

/// A new group.
#[derive(Debug, Clone)]
pub struct Group {
    /// As its owner sees it.
    pub conversation: client::Conversation,
    /// Who was not taken in.
    pub refused: Vec<NotTaken>,
}

/// A 64-bit number in either of its JSON forms.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Number(u64),
        Text(String),
    }
    match Form::deserialize(from)? {
        Form::Number(number) => Ok(number),
        Form::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}
