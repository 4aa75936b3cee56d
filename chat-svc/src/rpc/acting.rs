//! For whom an internal service calls: the user that it names in `madang-user`, alone.

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use madang_mesh::status::to_status;
use madang_proto::{
    chat::v1::ConnectResponse,
    id::UserId,
    reason::{Reason, Refusal},
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Status,
    metadata::{AsciiMetadataValue, MetadataMap},
};

/// The metadata that names the user for whom an internal service acts.
const USER: &str = "madang-user";

/// The user for whom a call is.
fn user(value: &AsciiMetadataValue) -> Result<UserId, Status> {
    let missing = "the call names no user: put the user's id into the metadata madang-user";
    let user = value.to_str().unwrap_or_default().parse();
    user.map_err(|_| to_status(&Refusal::new(Reason::InvalidField, missing).of("madang-user")))
}

/// The user for whom a call must be.
pub(super) fn for_user(metadata: &MetadataMap) -> Result<UserId, Status> {
    user(metadata.get(USER).unwrap_or(&AsciiMetadataValue::from_static("")))
}

/// The user for whom a call is, if it names one.
pub(super) fn perhaps_for_user(metadata: &MetadataMap) -> Result<Option<UserId>, Status> {
    metadata.get(USER).map(user).transpose()
}

/// A trunk of one user alone: an internal service has named them in its metadata.
#[derive(Clone)]
pub(super) struct OneUser {
    user: UserId,
    /// Another was named: the trunk ends.
    another: CancellationToken,
}

impl OneUser {
    /// That of this user.
    pub fn of(user: UserId) -> Self {
        Self { user, another: CancellationToken::new() }
    }

    /// Whether a connection is theirs; it is, if it names nobody.
    pub fn has(&self, user: &mut String) -> bool {
        if user.is_empty() {
            *user = self.user.to_string();
        }
        let same = user.parse() == Ok(self.user);
        if !same {
            self.another.cancel();
        }
        same
    }

    /// What goes to them, until another is named.
    pub fn answers(
        self,
        responses: BoxStream<'static, Result<ConnectResponse, Status>>,
    ) -> BoxStream<'static, Result<ConnectResponse, Status>> {
        let Self { another, .. } = self;
        let message = "a connection names another user than the metadata madang-user";
        let refused = another.clone();
        let refusal = stream::once(async move { refused.is_cancelled() })
            .filter(|refused| std::future::ready(*refused))
            .map(move |_| Err(to_status(&Refusal::new(Reason::NotAllowed, message))));
        responses.take_until(another.cancelled_owned()).chain(refusal).boxed()
    }
}
