//! What members have set for themselves, as rows have it: all of it encoded, and beside it what queries go by.

use super::{Error, number};
use madang_proto::{
    client::v1::{Notify, Settings},
    id::{ConversationId, UserId},
    log::v1::{LoggedEvent, MemberSettings},
};
use prost::Message as _;

/// A row's part that is set.
pub(super) struct Set {
    pub conversation: ConversationId,
    pub user: UserId,
    pub encoded: Vec<u8>,
    pub muted_until: i64,
    pub cleared_seq: i64,
    pub floor_seq: i64,
    pub at: i64,
}

impl Set {
    /// What an event sets.
    pub fn of(event: &LoggedEvent, settings: &MemberSettings) -> Result<Self, Error> {
        let unreadable = |_| Error::Event("settings of nobody");
        Ok(Self {
            conversation: ConversationId::from_slice(&event.conversation).map_err(unreadable)?,
            user: UserId::from_slice(&event.actor).map_err(unreadable)?,
            encoded: settings.encode_to_vec(),
            muted_until: settings.muted_until_ms,
            cleared_seq: number(settings.cleared_seq),
            floor_seq: number(settings.read_by()),
            at: settings.updated_at_ms,
        })
    }
}

/// From a row; none where nothing was set.
pub(super) fn read(encoded: Option<Vec<u8>>) -> Option<MemberSettings> {
    encoded.and_then(|encoded| MemberSettings::decode(&encoded[..]).ok())
}

/// As their owner sees them, when the newest message is this one.
#[must_use]
pub fn view(settings: Option<&MemberSettings>, last_seq: u64) -> Settings {
    let nothing = || Settings { notify: Notify::All.into(), ..Settings::default() };
    settings.map_or_else(nothing, |settings| settings.view(last_seq))
}
