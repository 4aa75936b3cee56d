//! What is asked of homes: sent where their map says, and again while one is moving.

use crate::{channel::Channels, homes::Homes, status::from_status};
use bytes::Bytes;
use madang_proto::{
    chat::v1::{NotifyRequest, OperateOnceRequest, Operation, home_service_client::HomeServiceClient, outcome},
    client::v1::Ack,
    id::{ConversationId, UserId},
    reason::{Reason, Refusal},
};
use std::time::Duration;
use tokio::time::Instant;

/// How long an operation is tried.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long between tries.
const AGAIN: Duration = Duration::from_millis(100);

/// The way to every room's home.
#[derive(Clone)]
pub struct Operations {
    channels: Channels,
    homes: Homes,
}

fn unavailable() -> Refusal {
    Refusal::new(Reason::Unavailable, "the conversation's home does not answer: try again").after(500)
}

impl Operations {
    /// By way of any chat-svc.
    #[must_use]
    pub fn new(channels: Channels, chats: &str) -> Self {
        Self { homes: Homes::follow(channels.clone(), chats), channels }
    }

    /// Where homes are.
    #[must_use]
    pub fn homes(&self) -> &Homes {
        &self.homes
    }

    /// Has the room's home do it; waits for a home for a while.
    pub async fn operate(&self, conversation: ConversationId, operation: Operation) -> Result<Ack, Refusal> {
        self.tried(conversation, operation).await.0
    }

    /// The same, and whether it may have been done by an earlier try, of which nobody knows: the last one may have been
    /// refused because of that.
    pub async fn tried(&self, conversation: ConversationId, operation: Operation) -> (Result<Ack, Refusal>, bool) {
        let (tries, mut before) = (Tries::begin(), false);
        loop {
            match self.once(conversation, operation.clone()).await {
                Err(refusal) if tries.again(&refusal).await => before |= refusal.reason == Reason::Unavailable,
                other => return (other, before),
            }
        }
    }

    /// Has the user's home give an encoded event of no conversation, without its cursor, to all their devices.
    pub async fn tell(&self, user: UserId, event: Bytes) -> Result<(), Refusal> {
        let tries = Tries::begin();
        loop {
            match self.tell_once(user, event.clone()).await {
                Err(refusal) if tries.again(&refusal).await => {}
                other => return other,
            }
        }
    }

    async fn tell_once(&self, user: UserId, event: Bytes) -> Result<(), Refusal> {
        let home = self.homes.of(user.bytes()).ok_or_else(unavailable)?;
        let channel = self.channels.get(&home.address).map_err(|_| unavailable())?;
        let users = Bytes::copy_from_slice(user.bytes());
        let request = NotifyRequest { users, event, ..NotifyRequest::default() };
        let told = HomeServiceClient::new(channel).notify(request).await;
        told.map(drop).map_err(|status| from_status(&status))
    }

    /// Has the room's home do it, if there is one: for who looks again at what an operation follows from before the next
    /// of its [`Tries`].
    pub async fn once(&self, conversation: ConversationId, operation: Operation) -> Result<Ack, Refusal> {
        let home = self.homes.of(conversation.bytes()).ok_or_else(unavailable)?;
        let channel = self.channels.get(&home.address).map_err(|_| unavailable())?;
        let request = OperateOnceRequest { operation: Some(operation) };
        let call = HomeServiceClient::new(channel).operate_once(request).await;
        match call.map_err(|status| from_status(&status))?.into_inner().outcome.and_then(|outcome| outcome.result) {
            Some(outcome::Result::Ack(ack)) => Ok(ack),
            Some(outcome::Result::Error(error)) => Err(Refusal::from_error(&error)),
            None => Err(unavailable()),
        }
    }
}

/// For how long, and how often, something is tried.
#[derive(Debug)]
pub struct Tries {
    end: Instant,
}

impl Tries {
    /// From now on.
    #[must_use]
    pub fn begin() -> Self {
        Self { end: Instant::now() + PATIENCE }
    }

    /// Whether a refusal will pass, as a home is moving, and there is time to try again; then it waits for that.
    pub async fn again(&self, refusal: &Refusal) -> bool {
        let again =
            matches!(refusal.reason, Reason::NotHome | Reason::Unavailable) && Instant::now() + AGAIN < self.end;
        if again {
            tokio::time::sleep(AGAIN).await;
        }
        again
    }
}
