//! One's own settings of a conversation: changed by its home, so that of two changes at once none is lost, and answered
//! once the rows have them.

use super::{Groups, conversation, failed, late, user};
use crate::store::settings::view;
use madang_proto::{
    chat::v1::{self as chat, operation::Body},
    client::v1::Settings,
    group::v1::UpdateSettingsRequest,
};
use tonic::Status;

impl Groups {
    pub(super) async fn set(&self, request: UpdateSettingsRequest) -> Result<Settings, Status> {
        let (whose, id) = (user(&request.user)?, conversation(&request.conversation)?);
        let change = chat::ChangeSettings {
            muted_until: request.muted_until,
            notify: request.notify,
            pinned_at: request.pinned_at,
            hidden: request.hidden,
            cleared_seq: request.cleared_seq,
            clear_data: request.clear_data,
            data: request.data,
            drop_data: request.drop_data,
        };
        let ack = self.operate(id, whose, Body::ChangeSettings(change)).await?;
        match self.projection.settings(whose, id, ack.at).await {
            Ok((settings, last_seq)) => Ok(view(settings.as_ref(), last_seq)),
            Err(Some(error)) => Err(failed(&error)),
            Err(None) => Err(late()),
        }
    }
}
