//! Changes of messages: who may edit, delete and react, and what that leaves to be numbered.

use super::{
    State,
    facts::{self, Facts},
};
use madang_proto::{
    client::v1::{Content, ConversationKind, History, Role},
    id::{ClientId, UserId},
    log::v1::{self as log, LoggedEvent, logged_event::Body},
    reason::{Reason, Refusal},
};
use std::sync::Arc;

/// How many different emoji a message carries at most.
pub const MOST_EMOJI: usize = 20;

/// A change of one message.
#[derive(Debug, Clone)]
pub struct Amendment {
    /// Which message.
    pub seq: u64,
    /// The client's id of it.
    pub client_id: ClientId,
    /// A hash of what was asked.
    pub hash: u64,
    /// What becomes of it.
    pub how: How,
}

/// What becomes of a message.
#[derive(Debug, Clone)]
pub enum How {
    /// Its content is this, whose hash as of a send is the second.
    Edit(Content, u64),
    /// It is taken back.
    Delete,
    /// An emoji comes or goes.
    React {
        /// As it was sent.
        emoji: String,
        /// It goes.
        removed: bool,
    },
}

/// There is no such message, or the actor may not see it: the same answer.
#[must_use]
pub fn no_message(seq: u64) -> Refusal {
    Refusal::new(Reason::MessageNotFound, format!("there is no message {seq} here: check the number"))
}

impl State {
    /// Up to which message who came then was never shown any.
    fn before(&self, joined_seq: u64) -> u64 {
        if self.history == History::All { 0 } else { joined_seq }
    }

    /// Up to which message a member sees none: those of before they came, and what they have cleared.
    #[must_use]
    pub fn hidden_upto(&self, user: &UserId, joined_seq: u64) -> u64 {
        self.before(joined_seq).max(self.settings.get(user).map_or(0, |settings| settings.cleared_seq))
    }
}

/// Whether a member sees a message.
pub(super) fn sees(state: &State, user: UserId, seq: u64) -> bool {
    let joined = state.members.get(&user).map(|member| member.joined_seq);
    joined.is_some_and(|joined| state.hidden_upto(&user, joined) < seq)
}

/// What is answered to must be there, and seen by who answers: as for a reaction. What they have `cleared` since is left in
/// what they said before.
pub(super) fn check_reply(state: &State, user: UserId, seq: u64, cleared: bool) -> Result<(), Refusal> {
    let joined = state.members.get(&user).map_or(0, |member| member.joined_seq);
    let hidden = if cleared { state.hidden_upto(&user, joined) } else { state.before(joined) };
    if seq != 0 && !(hidden + 1..=state.last_seq).contains(&seq) {
        let message = format!("replyTo names message {seq}, which is not here: check the number");
        return Err(Refusal::new(Reason::MessageNotFound, message));
    }
    Ok(())
}

/// Of the members who are sent an event, those who may not see the message that it changes, of which there are none for
/// them up to some number: they get it without its body. With the others first.
#[must_use]
pub fn split_blind(
    recipients: Arc<[UserId]>,
    event: &LoggedEvent,
    hidden_upto: impl Fn(&UserId) -> u64,
) -> (Arc<[UserId]>, Arc<[UserId]>) {
    let none: Arc<[UserId]> = Arc::default();
    let Some(seq) = facts::changed(event) else { return (recipients, none) };
    let blind = |user: &UserId| hidden_upto(user) >= seq;
    if !recipients.iter().any(blind) {
        return (recipients, none);
    }
    let (blind, seeing): (Vec<_>, Vec<_>) = recipients.iter().copied().partition(blind);
    (seeing.into(), blind.into())
}

/// What is to be numbered; none: it is so already.
pub(super) fn amended(
    state: &State,
    actor: UserId,
    amendment: Amendment,
    facts: &Facts,
) -> Result<Option<Body>, Refusal> {
    let Amendment { seq, how, .. } = amendment;
    match how {
        How::Edit(content, hash) => {
            present(facts, "edited")?;
            if facts.sender != actor {
                return Err(Refusal::new(Reason::NotSender, "only who sent a message edits it"));
            }
            check_reply(state, actor, content.reply_to, false)?;
            if facts.content == hash {
                return Ok(None);
            }
            Ok(Some(Body::Edited(log::MessageEdited { seq, content: Some(content) })))
        }
        How::Delete => {
            let role = state.members.get(&actor).map_or(Role::Unspecified, |member| member.role);
            let admin = state.kind == ConversationKind::Group && matches!(role, Role::Owner | Role::Admin);
            if facts.sender != actor && !admin {
                let message = "only who sent a message, or an admin of the group, takes it back";
                return Err(Refusal::new(Reason::RoleRequired, message));
            }
            Ok((!facts.deleted).then_some(Body::Deleted(log::MessageDeleted { seq })))
        }
        How::React { emoji, removed } => {
            present(facts, "reacted to")?;
            reaction(state, actor, seq, emoji, removed, facts)
        }
    }
}

fn present(facts: &Facts, what: &str) -> Result<(), Refusal> {
    if facts.deleted {
        return Err(Refusal::new(Reason::MessageDeleted, format!("the message was taken back and can't be {what}")));
    }
    Ok(())
}

fn reaction(
    state: &State,
    actor: UserId,
    seq: u64,
    emoji: String,
    removed: bool,
    facts: &Facts,
) -> Result<Option<Body>, Refusal> {
    let there = facts.reactions.iter().find(|each| facts::same(&each.emoji, &emoji));
    let mine = there.is_some_and(|each| each.users.contains(&actor));
    if mine != removed {
        return Ok(None);
    }
    if there.is_none() && facts.reactions.len() >= MOST_EMOJI {
        let message = format!("a message carries at most {MOST_EMOJI} different emoji: put one that is there already");
        return Err(Refusal::new(Reason::TooManyReactions, message));
    }
    let before = there.map_or(0, |each| each.users.len());
    let count = count(if removed { before - 1 } else { before + 1 });
    let (emoji, began) = there.map_or((emoji, state.revision + 1), |each| (each.emoji.clone(), each.began));
    let mut now: Vec<_> =
        facts.reactions.iter().map(|each| (each.emoji.clone(), self::count(each.users.len()))).collect();
    match now.iter_mut().find(|(each, _)| *each == emoji) {
        Some(there) => there.1 = count,
        None => now.push((emoji.clone(), count)),
    }
    now.retain(|(_, count)| *count > 0);
    let now = now.into_iter().map(|(emoji, count)| log::EmojiCount { emoji, count }).collect();
    Ok(Some(Body::Reacted(log::MessageReacted { seq, emoji, removed, count, began, now })))
}

fn count(users: usize) -> u32 {
    u32::try_from(users).unwrap_or(u32::MAX)
}
