//! What a device says of itself.

use crate::client::v1::{Device, DeviceKind};

impl Device {
    /// A kind that this server does not know is that of an app that is newer, and counts as a browser, which is always
    /// notified: so nothing that it should hear of is kept from it. One that is left out does, too.
    #[must_use]
    pub fn of_known_kind(mut self) -> Self {
        if self.kind() == DeviceKind::Unspecified {
            self.set_kind(DeviceKind::Web);
        }
        self
    }
}
