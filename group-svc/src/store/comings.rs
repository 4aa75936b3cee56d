//! Who is about to come into a conversation: announced before the room's home is asked, and counted with those that they are in,
//! until they have come or it is called off. So however much is asked at once, nobody comes to be in more than they may.
//!
//! Only of those who are close to that a note is kept. Of others at least [`SPARE`] more would have to be under way at once.

use super::Error;
use async_trait::async_trait;
use madang_proto::id::{ConversationId, UserId};
use std::collections::HashSet;

/// Who may come into more conversations than this is not counted.
pub const SPARE: usize = 1000;
/// How long somebody of whom nothing was heard counts, in ms: longer than this reader of the log may be behind.
pub const KEEP_MS: i64 = 15 * 60_000;

/// Who is about to come into conversations.
#[async_trait]
pub trait Comings: Send + Sync + 'static {
    /// Announces users; not those, whom it returns, who are in `most` already, beside the conversation itself. Announcing somebody
    /// again takes no more room.
    async fn announce(
        &self,
        conversation: ConversationId,
        users: Vec<UserId>,
        most: usize,
        now_ms: i64,
    ) -> Result<HashSet<UserId>, Error>;

    /// They do not come, each as often as they were announced.
    async fn call_off(&self, conversation: ConversationId, users: Vec<UserId>) -> Result<(), Error>;
}
