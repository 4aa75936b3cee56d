//! What a group shows of itself: name, picture, the app's own data. It comes with the group's first event, and each
//! change says all of it anew.

use super::settings::patch_data;
use madang_proto::{
    chat::v1::ChangeGroup,
    group::v1::RoomState,
    id::PictureId,
    log::v1::{self as log, LoggedEvent, logged_event::Body},
    reason::{Reason, Refusal},
};
use std::collections::HashMap;

/// What a group shows of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// The id of its picture, or empty.
    pub picture: String,
    /// The app's own data.
    pub data: HashMap<String, String>,
}

impl Profile {
    /// As group-svc has it.
    #[must_use]
    pub fn of(row: &RoomState) -> Self {
        Self { name: row.name.clone(), picture: row.picture.clone(), data: row.data.clone() }
    }

    /// What an event leaves of it; none: it stays.
    pub(super) fn after(event: &LoggedEvent) -> Option<Self> {
        match &event.body {
            Some(Body::Created(log::Created { name, data, .. })) => {
                Some(Self { name: name.clone(), picture: String::new(), data: data.clone() })
            }
            Some(Body::Changed(changed)) => Some(changed.clone().into()),
            _ => None,
        }
    }

    /// As an event of the log says it.
    #[must_use]
    pub fn to_log(&self) -> log::GroupChanged {
        let Self { name, picture, data } = self.clone();
        log::GroupChanged { name, picture, data }
    }

    /// How many bytes it has, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let data: usize = self.data.iter().map(|(key, value)| key.len() + value.len() + 48).sum();
        self.name.len() + self.picture.len() + data
    }

    /// With a change, if that leaves it within its limits.
    pub(super) fn changed(&self, change: ChangeGroup) -> Result<Self, Refusal> {
        if change.picture_was.is_some_and(|was| was != self.picture) {
            let message = "another picture was set just now: ask again";
            return Err(Refusal::new(Reason::Lagging, message).after(100));
        }
        let mut new = self.clone();
        if let Some(name) = change.name {
            new.name = name;
        }
        if let Some(picture) = change.picture {
            PictureId::or_none(&picture)?;
            new.picture = picture;
        }
        patch_data(&mut new.data, change.clear_data, &change.drop_data, change.data)?;
        Ok(new)
    }
}

impl From<log::GroupChanged> for Profile {
    fn from(log::GroupChanged { name, picture, data }: log::GroupChanged) -> Self {
        Self { name, picture, data }
    }
}
