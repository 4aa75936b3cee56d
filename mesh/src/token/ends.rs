//! The question which sessions have ended, for who has to know of all of them: asked twice a second, each time from where
//! the last answer ended.

use crate::channel::Channel;
use madang_proto::{
    account::v1::{ListEndedSessionsRequest, account_service_client::AccountServiceClient},
    id::SessionId,
};
use std::time::Duration;
use tonic::Status;

/// How far each question reaches back before the last answer, in ms: commits under way, which take no longer than the call in
/// which they are, and clocks that differ.
const OVERLAP: i64 = 15_000;

/// Who asks.
pub struct Ends {
    account: AccountServiceClient<Channel>,
    since: i64,
}

/// What was answered.
pub struct Ended {
    /// The sessions; some were named before.
    pub sessions: Vec<SessionId>,
    /// Up to when these are all, in ms since 1970, by account-svc's clock.
    pub until: i64,
    /// There are more: ask again at once.
    pub more: bool,
}

impl Ends {
    /// How long to wait before the next question.
    pub const EVERY: Duration = Duration::from_millis(500);

    /// From a time on, in ms since 1970, up to which all are known; 0: all that account-svc remembers.
    #[must_use]
    pub fn since(until: i64, account: AccountServiceClient<Channel>) -> Self {
        Self { account, since: (until - OVERLAP).max(0) }
    }

    /// Asks. What the next question begins with follows from the answer, unless that is dropped half-way.
    pub async fn ask(&mut self) -> Result<Ended, Status> {
        let request = ListEndedSessionsRequest { since: self.since };
        let answer = self.account.list_ended_sessions(request).await?.into_inner();
        // Where there is more, the overlap may be more than one answer takes.
        self.since = if answer.more { answer.until.max(self.since + 1) } else { (answer.until - OVERLAP).max(0) };
        let sessions = answer.sessions.chunks_exact(16).filter_map(|id| SessionId::from_slice(id).ok()).collect();
        Ok(Ended { sessions, until: answer.until, more: answer.more })
    }
}
