//! What the log's record of a member's settings means, to whoever reads it.

use crate::{client::v1::Settings, log::v1::MemberSettings};

impl MemberSettings {
    /// Up to which message they have read by having hidden or cleared the conversation.
    #[must_use]
    pub fn read_by(&self) -> u64 {
        self.cleared_seq.max(self.hidden_until_seq.saturating_sub(1))
    }

    /// As their owner sees them, when the newest message is this one.
    #[must_use]
    pub fn view(&self, last_seq: u64) -> Settings {
        Settings {
            muted_until: self.muted_until_ms,
            notify: self.notify,
            pinned_at: self.pinned_at_ms,
            hidden: self.hidden_until_seq > last_seq,
            cleared_seq: self.cleared_seq,
            data: self.data.clone(),
            updated_at: self.updated_at_ms,
        }
    }
}
