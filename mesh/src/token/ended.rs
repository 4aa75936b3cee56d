//! Which sessions have ended: asked for all at once, twice a second, and kept for as long as their tokens could still be
//! good. What it costs does not depend on how many sessions there are, only on how many end.

use super::ends::{self, Ends};
use crate::{channel::Channel, vital::vital};
use madang_proto::{account::v1::account_service_client::AccountServiceClient, id::SessionId};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How long an ended session is remembered: longer than a token is good.
const KEEP: Duration = Duration::from_secs(20 * 60);
/// How many are remembered at most; then those that ended first are forgotten first.
const MOST: usize = 1_000_000;
/// How long the first answer is waited for.
const FIRST: Duration = Duration::from_secs(3);

/// The sessions that have ended lately.
#[derive(Clone)]
pub(super) struct Ended {
    sessions: Arc<Mutex<HashMap<SessionId, Instant>>>,
    /// Whether the first answer is there.
    heard: watch::Receiver<bool>,
}

impl Ended {
    /// Asks for as long as this is in use.
    pub fn follow(account: AccountServiceClient<Channel>) -> Self {
        let sessions = Arc::default();
        let (sender, heard) = watch::channel(false);
        tokio::spawn(vital("the list of ended sessions", follow(account, Arc::downgrade(&sessions), sender)));
        Self { sessions, heard }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Instant>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a session has ended; where account-svc does not answer, what was known last.
    pub async fn has(&self, session: SessionId) -> bool {
        if !*self.heard.borrow() {
            let mut heard = self.heard.clone();
            // Without any answer nobody is locked out: a token is good for 15 minutes at most.
            let _ = tokio::time::timeout(FIRST, heard.wait_for(|heard| *heard)).await;
        }
        self.knows(session)
    }

    /// Whether it is known that a session has ended.
    pub fn knows(&self, session: SessionId) -> bool {
        self.lock().contains_key(&session)
    }

    /// This one has ended, as is known here already.
    pub fn add(&self, session: SessionId) {
        self.lock().insert(session, Instant::now());
    }
}

async fn follow(
    account: AccountServiceClient<Channel>,
    sessions: Weak<Mutex<HashMap<SessionId, Instant>>>,
    heard: watch::Sender<bool>,
) {
    let mut ends = Ends::since(0, account);
    loop {
        match ends.ask().await {
            Ok(ends::Ended { sessions: ended, more, .. }) => {
                let Some(sessions) = sessions.upgrade() else { return };
                let mut sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
                let now = Instant::now();
                for id in ended {
                    sessions.entry(id).or_insert(now);
                }
                sessions.retain(|_, at| now.duration_since(*at) < KEEP);
                if sessions.len() > MOST {
                    let mut times: Vec<Instant> = sessions.values().copied().collect();
                    let excess = times.len() - MOST;
                    let (.., oldest_kept, _) = times.select_nth_unstable(excess);
                    let oldest_kept = *oldest_kept;
                    sessions.retain(|_, at| *at >= oldest_kept);
                }
                heard.send_replace(true);
                if more {
                    continue;
                }
            }
            Err(status) => tracing::warn!(%status, "which sessions have ended can't be asked; trying again"),
        }
        if sessions.strong_count() == 0 {
            return;
        }
        // A socket is closed within 2 s of its session's end.
        tokio::time::sleep(Ends::EVERY).await;
    }
}
