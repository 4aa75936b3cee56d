//! Those who talk through a storm: each message has an intended time, from which latency counts.

use super::crowd::Crowd;
use crate::Error;
use madang_client::Session;
use madang_proto::{
    client::v1::Send,
    id::{ClientId, UserId},
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{runtime::Handle, task::JoinSet, time::sleep};

/// How long a message that was refused for now waits at least.
const AGAIN: Duration = Duration::from_millis(20);

/// Where somebody writes to.
#[derive(Debug, Clone)]
pub enum To {
    /// To a person, in the conversation with them; measured.
    User(String, String),
    /// To a group.
    Group(String),
}

/// Who shares what.
struct Shared {
    crowd: Arc<Crowd>,
    over: AtomicBool,
    acked: Mutex<HashMap<String, u64>>,
}

/// Those who talk.
pub struct Talk {
    shared: Arc<Shared>,
    talkers: JoinSet<Result<(), Error>>,
    on: Handle,
}

impl Talk {
    /// Nobody yet; they will talk on this runtime.
    pub fn new(crowd: Arc<Crowd>, on: Handle) -> Self {
        let shared = Shared { crowd, over: AtomicBool::new(false), acked: Mutex::default() };
        Self { shared: Arc::new(shared), talkers: JoinSet::new(), on }
    }

    /// Somebody talks from now on.
    pub fn start(&mut self, session: &Session, user: &UserId, to: To, gap: Duration) {
        let first = gap.mul_f64(self.talkers.len() as f64 * 0.618 % 1.0);
        let talker = talk(self.shared.clone(), session.clone(), user.to_string(), to, first, gap);
        self.talkers.spawn_on(talker, &self.on);
    }

    /// Ends it; what is unanswered is waited for.
    pub async fn end(&mut self) -> Result<(), Error> {
        self.shared.over.store(true, Relaxed);
        while let Some(done) = self.talkers.join_next().await {
            done??;
        }
        Ok(())
    }

    /// How many messages were acknowledged, by conversation.
    pub fn acked(&self) -> HashMap<String, u64> {
        self.shared.acked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn talk(
    shared: Arc<Shared>,
    session: Session,
    user: String,
    to: To,
    first: Duration,
    gap: Duration,
) -> Result<(), Error> {
    let crowd = &shared.crowd;
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let mut at = crowd.now() + micros(first);
    loop {
        // In steps, so that nobody who talks seldom is waited for.
        while at > crowd.now() && !shared.over.load(Relaxed) {
            sleep(Duration::from_micros(at.saturating_sub(crowd.now())).min(Duration::from_millis(200))).await;
        }
        if shared.over.load(Relaxed) {
            return Ok(());
        }
        let mut send = Send { client_id: ClientId::now().to_string(), ..Send::default() };
        let conversation = match &to {
            To::User(other, conversation) => {
                (send.user, send.text) = (other.clone(), at.to_string());
                conversation
            }
            To::Group(group) => {
                (send.conversation, send.text) = (group.clone(), format!("to all, at {at}"));
                group
            }
        };
        let ack = loop {
            crowd.journal().invoked(crowd.now(), conversation, &user, &send);
            match session.send(send.clone()).await {
                Ok(ack) => break ack,
                Err(refusal) if refusal.reason.retryable() => {
                    sleep(Duration::from_millis(refusal.retry_after_ms).max(AGAIN)).await;
                }
                Err(refusal) => return Err(refusal.into()),
            }
        };
        let now = crowd.now();
        crowd.journal().acked(now, &user, &send.client_id, &ack);
        if let To::User(..) = &to {
            crowd.acked(at, now);
        }
        *shared.acked.lock().unwrap_or_else(PoisonError::into_inner).entry(conversation.clone()).or_default() += 1;
        at += micros(gap);
    }
}
