//! Idempotency keys: what each stands for, and what was asked for when it was made. A key is known for a day; in that time
//! what it made is not made again, also where it is gone.

use madang_proto::id::ConversationId;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};

/// How long a key is known, in ms.
pub(super) const KEY_MS: i64 = 24 * 3600 * 1000;

/// What was asked for, to be compared.
pub type Asked = [u8; 32];

/// What a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// A group's id, the random bits of a code, or the revision as of which people were first to come.
    pub id: ConversationId,
    /// What was asked for, once it is made; empty: an earlier version did not keep it.
    pub asked: Option<Vec<u8>>,
}

impl Made {
    /// The revision that it is.
    #[must_use]
    pub fn revision(&self) -> u64 {
        let [.., a, b, c, d, e, f, g, h] = *self.id.bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// Whether something else than this was made.
    #[must_use]
    pub fn is_of_another(&self, asked: &Asked) -> bool {
        self.asked.as_ref().is_some_and(|first| !first.is_empty() && first != asked)
    }
}

/// A revision, to be kept under a key.
#[must_use]
pub fn of_revision(revision: u64) -> ConversationId {
    uuid::Uuid::from_u128(revision.into()).into()
}

fn of(what: &Value) -> Asked {
    Sha256::digest(what.to_string()).into()
}

/// What is asked for with a group.
#[must_use]
pub fn of_group(name: &str, members: &[String], history: i32, data: &HashMap<String, String>) -> Asked {
    of(&json!(["group", name, members, history, data.iter().collect::<BTreeMap<_, _>>()]))
}

/// What is asked for with an invite.
#[must_use]
pub fn of_invite(expires_at: i64, max_uses: u32) -> Asked {
    of(&json!(["invite", expires_at, max_uses]))
}
