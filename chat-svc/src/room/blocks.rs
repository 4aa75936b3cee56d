//! Blocks between the two of a direct conversation: what a home knows of them, and what they keep from happening.
//!
//! account-svc has them. A home asks for them with the room, and is told when they change: then it knows nothing, until
//! it has asked anew. So what is known is never older than the last change that was answered.

use super::{How, Request, State};
use madang_proto::{
    chat::v1 as chat,
    client::v1::ConversationKind,
    id::UserId,
    reason::{Reason, Refusal},
};

/// What is known of blocks between the two of a direct conversation; of either by the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Blocks {
    /// Nothing.
    #[default]
    Unknown,
    /// There is none.
    None,
    /// There is one.
    Blocked,
}

impl Blocks {
    /// As account-svc has answered.
    #[must_use]
    pub fn of(blocked: bool) -> Self {
        if blocked { Self::Blocked } else { Self::None }
    }
}

impl From<Blocks> for chat::Blocks {
    fn from(blocks: Blocks) -> Self {
        match blocks {
            Blocks::Unknown => Self::Unspecified,
            Blocks::None => Self::None,
            Blocks::Blocked => Self::Blocked,
        }
    }
}

impl From<chat::Blocks> for Blocks {
    fn from(blocks: chat::Blocks) -> Self {
        match blocks {
            chat::Blocks::Unspecified => Self::Unknown,
            chat::Blocks::None => Self::None,
            chat::Blocks::Blocked => Self::Blocked,
        }
    }
}

/// What blocks say to a request.
#[derive(Debug)]
pub enum Say {
    /// Nothing against it.
    Go,
    /// No.
    No(Refusal),
    /// Ask whether there is a block between the actor and this one.
    Ask(UserId),
}

impl Request {
    /// Whether a block keeps it from happening: whatever is said to the other one. Reading, and taking back what is one's
    /// own, go on.
    #[must_use]
    pub fn is_said(&self) -> bool {
        match self {
            Self::Send { .. } => true,
            Self::Amend(change) => !matches!(change.how, How::Delete),
            _ => false,
        }
    }
}

/// The other one of a direct conversation, who may have blocked the actor or be blocked; none in a group, in notes to
/// oneself, and for who is not in it.
#[must_use]
pub fn peer(state: &State, actor: UserId) -> Option<UserId> {
    if state.kind != ConversationKind::Direct || state.members.get(&actor).is_none() {
        return None;
    }
    state.members.all().map(|(user, _)| *user).find(|user| *user != actor)
}

/// What blocks say to a request. Everything that a block may keep from happening is asked this; retries of what has
/// happened already are not.
#[must_use]
pub fn check(request: &Request, actor: UserId, state: Option<&State>, known: Blocks) -> Say {
    let to = match (state, request) {
        _ if !request.is_said() => None,
        (Some(state), _) => peer(state, actor),
        (None, Request::Send { first_to, .. }) => first_to.filter(|other| *other != actor),
        (None, _) => None,
    };
    match (to, known) {
        (None, _) | (_, Blocks::None) => Say::Go,
        (Some(_), Blocks::Blocked) => {
            let message = "one of you has blocked the other: nothing can be said here until that ends";
            Say::No(Refusal::new(Reason::Blocked, message))
        }
        (Some(peer), Blocks::Unknown) => Say::Ask(peer),
    }
}
