//! What becomes of messages after they were sent: edits, deletions and reactions, as they were asked for, answered, seen
//! as events and read in pages. [`super::judge()`] says whether these agree.

use super::{
    fault::Kind,
    journal::{Journal, Key, Numbers},
    shown::{content_of, edited, hash, written},
};
use madang_proto::client::v1::{Ack, Event, Message, client_frame, event::Body};
use std::collections::HashMap;

/// What is done to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum What {
    /// Its content becomes this.
    Edit(u64),
    Delete,
    /// An emoji, by its hash.
    React {
        emoji: u64,
        removed: bool,
    },
}

/// A change that somebody asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) seq: u64,
    pub(super) what: What,
    /// When it was asked for first.
    pub(super) invoked: u64,
    /// When it was answered first, and with what.
    pub(super) acked: Option<(u64, Numbers)>,
    /// Whether that answer says that it was so already: by an earlier try, or because it changes nothing.
    pub(super) duplicate: bool,
}

/// A change that somebody was told of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) seq: u64,
    pub(super) what: What,
    /// Who did it; none: the event does not say, and it was the sender.
    pub(super) by: Option<u32>,
    /// How many have put the emoji there, after it.
    pub(super) count: u32,
}

/// A message as of its last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) author: u64,
    pub(super) at: i64,
    pub(super) content: u64,
    pub(super) deleted: bool,
    /// By emoji: how many.
    pub(super) reactions: Vec<(u64, u32)>,
}

/// As somebody reads it.
pub(super) fn view(message: &Message) -> View {
    let mut reactions: Vec<_> = message.reactions.iter().map(|each| (hash(&each.emoji), each.count)).collect();
    reactions.sort_unstable();
    View {
        author: written(&message.sender, &message.client_id),
        at: message.at,
        content: content_of(message),
        deleted: message.deleted,
        reactions,
    }
}

/// Of one conversation, what became of its messages.
#[derive(Debug, Default)]
pub(super) struct Amended {
    pub(super) asked: HashMap<Key, Asked>,
    /// Events that were seen, by revision.
    pub(super) told: HashMap<u64, Told>,
    /// Messages as they were read, by seq and the revision of their last change.
    pub(super) views: HashMap<(u64, u64), View>,
    /// Which of these events each user was sent with their body.
    pub(super) bodies: HashMap<u32, Vec<u64>>,
}

/// What a frame asks for; none: it changes no message.
fn wanted(frame: &client_frame::Body) -> Option<(&str, &str, u64, What)> {
    Some(match frame {
        client_frame::Body::Edit(edit) => {
            let content = super::shown::edit(edit);
            (&edit.conversation, &edit.client_id, edit.seq, What::Edit(content))
        }
        client_frame::Body::Delete(delete) => (&delete.conversation, &delete.client_id, delete.seq, What::Delete),
        client_frame::Body::React(react) => {
            let what = What::React { emoji: hash(&react.emoji), removed: react.remove };
            (&react.conversation, &react.client_id, react.seq, what)
        }
        _ => return None,
    })
}

impl Journal {
    /// An `edit`, `delete` or `react` is about to be sent, or sent again; other frames are passed over.
    pub fn amending(&mut self, at: u64, user: &str, frame: &client_frame::Body) {
        let Some((conversation, client_id, seq, what)) = wanted(frame) else { return };
        let key = self.key(user, client_id);
        let fresh = Asked { seq, what, invoked: at, acked: None, duplicate: false };
        let asked = self.log(conversation).amended.asked.entry(key).or_insert(fresh);
        asked.invoked = asked.invoked.min(at);
    }

    /// One of them was acknowledged.
    pub fn amended(&mut self, at: u64, user: &str, frame: &client_frame::Body, ack: &Ack) {
        let Some((conversation, client_id, seq, what)) = wanted(frame) else { return };
        let key = self.key(user, client_id);
        let name = || format!("{what:?} of {seq} in {conversation} by {user}");
        let numbers = Numbers { seq: ack.seq, revision: ack.revision, at: ack.at };
        let Some(asked) = self.log(conversation).amended.asked.get_mut(&key) else {
            return self.found.fault(Kind::Leaked, || format!("an ack of {}, which was never asked for", name()));
        };
        let before = asked.acked;
        if before.is_none() {
            (asked.acked, asked.duplicate) = (Some((at, numbers)), ack.duplicate);
        }
        // Of what changes nothing, a retry is told how the message is by then.
        let other = before.filter(|(_, before)| !asked.duplicate && *before != numbers);
        if ack.seq != seq {
            self.found.fault(Kind::Altered, || format!("{}: the ack is of message {}", name(), ack.seq));
        }
        if let Some((_, before)) = other {
            self.found.fault(Kind::Doubled, || format!("{}: acked as {before:?}, then {numbers:?}", name()));
        }
        match before {
            None => self.found.counts.amended += 1,
            Some(_) => self.found.counts.acked_again += 1,
        }
    }

    /// Notes what an event does to a message, for a user who was sent it.
    pub(super) fn told(&mut self, room: usize, user: Option<u32>, event: &Event) {
        let (seq, what, by, count) = match &event.body {
            Some(Body::Edited(body)) => (body.seq, What::Edit(edited(body)), None, 0),
            Some(Body::Deleted(body)) => (body.seq, What::Delete, Some(self.user(&body.by)), 0),
            Some(Body::Reacted(body)) => {
                let what = What::React { emoji: hash(&body.emoji), removed: body.removed };
                (body.seq, what, Some(self.user(&body.user)), body.count)
            }
            _ => return,
        };
        let amended = &mut self.logs[room].amended;
        amended.told.entry(event.revision).or_insert(Told { seq, what, by, count });
        if let Some(user) = user {
            amended.bodies.entry(user).or_default().push(event.revision);
        }
    }

    /// Notes how a message was read, and compares it with how others read it as of the same change.
    pub(super) fn read(&mut self, room: usize, message: &Message) {
        let (seq, revision, now) = (message.seq, message.revision, view(message));
        let known = self.logs[room].amended.views.entry((seq, revision)).or_insert_with(|| now.clone());
        if *known != now {
            let kind = if known.author == now.author { Kind::Altered } else { Kind::Reused };
            let (known, name) = (known.clone(), self.conversations.text(room));
            self.found.fault(kind, || {
                format!("in {name}, {seq} as of revision {revision} is {known:?} to one and {now:?} to another")
            });
        }
    }
}
