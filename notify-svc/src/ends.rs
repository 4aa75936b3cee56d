//! Sessions that end take their devices' subscriptions with them: account-svc is asked twice a second which have. After
//! an outage that is longer than it remembers them, every session is asked after.

use crate::store::{Error, Subscriptions};
use madang_mesh::{channel::Channel, clock::now_ms, token::Ends as Question, vital::vital};
use madang_proto::{
    account::v1::{ListSessionsRequest, account_service_client::AccountServiceClient},
    id::{SessionId, UserId},
};
use std::{collections::HashSet, sync::Arc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How far back account-svc surely remembers, in ms: it keeps an hour's.
const REMEMBERED_MS: i64 = 50 * 60_000;
/// How often it is written how far this has come, in ms.
const SAVE_MS: i64 = 60_000;
/// How many sessions are looked at together.
const PAGE: usize = 1000;

/// Follows the ends of sessions.
pub struct Ends {
    /// Where subscriptions are.
    pub store: Arc<dyn Subscriptions>,
    /// Who knows.
    pub account: AccountServiceClient<Channel>,
}

/// Why a round failed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Store(#[from] Error),
    #[error("account-svc: {}", .0.message())]
    Account(#[from] tonic::Status),
}

impl Ends {
    /// Follows them until `drain`; without that the process is none.
    pub async fn run(self, drain: CancellationToken) {
        vital("ends of sessions", self.follow(drain)).await;
    }

    async fn follow(mut self, drain: CancellationToken) {
        let mut question = None;
        let mut saved = 0;
        loop {
            match self.round(&mut question, &mut saved).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "which sessions have ended can't be asked; trying again"),
            }
            tokio::select! {
                () = tokio::time::sleep(Question::EVERY) => {}
                () = drain.cancelled() => return,
            }
        }
    }

    /// One question; whether there is more to ask at once.
    async fn round(&mut self, question: &mut Option<Question>, saved: &mut i64) -> Result<bool, Failed> {
        // Whatever fails on the way, it is asked anew from where what is written reaches; or after all, if that is too long ago
        // by then.
        let mut asked = match question.take() {
            Some(asked) => asked,
            None => {
                let until = self.store.ended_until().await?;
                if now_ms() - until > REMEMBERED_MS {
                    self.ask_after_all().await?;
                }
                Question::since(until, self.account.clone())
            }
        };
        let answer = asked.ask().await?;
        if !answer.sessions.is_empty() {
            self.store.end(answer.sessions).await?;
        }
        *question = Some(asked);
        if answer.until - *saved > SAVE_MS {
            self.store.set_ended_until(answer.until).await?;
            *saved = answer.until;
        }
        Ok(answer.more)
    }

    /// Drops what is of no session that there is.
    async fn ask_after_all(&mut self) -> Result<(), Failed> {
        let mut after = (Uuid::nil(), Uuid::nil());
        loop {
            let page = self.store.sessions(after, PAGE).await?;
            let Some((user, device, _)) = page.last() else { return Ok(()) };
            after = (user.uuid(), device.uuid());
            let users: HashSet<UserId> = page.iter().map(|(user, ..)| *user).collect();
            let mut live = HashSet::new();
            for user in users {
                let request = ListSessionsRequest { user: user.to_string() };
                let sessions = self.account.list_sessions(request).await?.into_inner().sessions;
                live.extend(sessions.into_iter().filter_map(|each| each.session.parse::<SessionId>().ok()));
            }
            let gone = page.iter().map(|(.., session)| *session).filter(|session| !live.contains(session));
            self.store.end(gone.collect()).await?;
        }
    }
}
