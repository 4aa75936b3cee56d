//! Telling a user's devices that something of the account has changed, so that they ask for it anew. It goes the way of all
//! events, by the user's home; what can't be told now is not told later, as a device asks whenever it begins anew.

use crate::accounts::Accounts;
use madang_mesh::{clock::now_ms, refused::Refused};
use madang_proto::{
    client::v1::{AccountChanged, Event, event::Body},
    id::UserId,
};
use prost::Message as _;
use std::sync::LazyLock;

/// How many are being told at once.
pub(crate) const AT_ONCE: usize = 256;

static DROPPED: LazyLock<Refused> =
    LazyLock::new(|| Refused::new("account_events", "accounts change faster than their devices can be told"));

impl Accounts {
    /// A user's profile, blocks or sessions have changed.
    pub(crate) fn changed(&self, user: UserId) {
        let Ok(place) = self.telling.clone().try_acquire_owned() else { return DROPPED.count() };
        let operations = self.operations.clone();
        tokio::spawn(async move {
            let body = Some(Body::Account(AccountChanged {}));
            let event = Event { at: now_ms(), body, ..Event::default() };
            if let Err(refusal) = operations.tell(user, event.encode_to_vec().into()).await {
                tracing::info!(reason = refusal.reason.word(), "devices were not told that their account has changed");
            }
            drop(place);
        });
    }
}
