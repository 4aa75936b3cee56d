//! What observers see of messages and events, as hashes that are equal if and only if they see the same.

use madang_proto::client::v1::{Attachment, Edit, Edited, Event, Mention, Message, Send, event::Body};
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};
use uuid::Uuid;

/// What an event is, as devices and readers of history saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Message {
        seq: u64,
        author: u64,
        content: u64,
    },
    /// What is also in history.
    Notice(u64),
    /// What is not: read marks, edits, deletions, reactions.
    Passing(u64),
    /// Without a body.
    Hidden,
}

/// A message's or a client's id as 16 bytes; of what is no UUID, a hash.
pub(super) fn id(text: &str) -> u128 {
    Uuid::try_parse(text).map_or_else(|_| u128::from(hash(text)), |id| id.as_u128())
}

/// Whether a message is no longer as it was sent.
pub(super) fn changed(message: &Message) -> bool {
    message.deleted || message.edited_at != 0 || !message.reactions.is_empty()
}

pub(super) fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Who wrote a message, under which id.
pub(super) fn written(sender: &str, client_id: &str) -> u64 {
    hash((sender, client_id))
}

/// A message, as an observer sees it.
pub(super) fn of_message(message: &Message) -> Shown {
    let author = written(&message.sender, &message.client_id);
    Shown::Message { seq: message.seq, author, content: hash((content_of(message), message.at)) }
}

/// An event, as a device sees it.
pub(super) fn of_event(event: &Event) -> Shown {
    let Some(body) = &event.body else { return Shown::Hidden };
    let numbers = (event.at, event.last_seq);
    match body {
        Body::Message(message) => of_message(message),
        Body::Joined(_) | Body::Left(_) | Body::Role(_) => Shown::Notice(hash((numbers, format!("{body:?}")))),
        Body::Changed(changed) => {
            let data = sorted(&changed.data);
            Shown::Notice(hash((numbers, &changed.by, &changed.name, &changed.picture, data)))
        }
        Body::Edited(body) => Shown::Passing(hash((numbers, body.seq, edited(body)))),
        _ => Shown::Passing(hash((numbers, format!("{body:?}")))),
    }
}

fn sorted(data: &HashMap<String, String>) -> Vec<(&String, &String)> {
    let mut all: Vec<_> = data.iter().collect();
    all.sort_unstable();
    all
}

/// The parts of a content that messages and sends have alike.
fn parts(
    text: &str,
    reply_to: u64,
    mentions: &[Mention],
    attachments: &[Attachment],
    kind: &str,
    data: Vec<(&String, &String)>,
) -> u64 {
    let kind = if kind.is_empty() { "text" } else { kind };
    let mentions: Vec<_> = mentions.iter().map(|each| (&each.user, each.offset, each.length)).collect();
    let attachments: Vec<String> = attachments.iter().map(|each| format!("{each:?}")).collect();
    hash((text, reply_to, mentions, attachments, kind, data))
}

/// What is to be said.
pub(super) fn content(send: &Send) -> u64 {
    parts(&send.text, send.reply_to, &send.mentions, &send.attachments, &send.r#type, sorted(&send.data))
}

/// What a message says.
pub(super) fn content_of(message: &Message) -> u64 {
    parts(
        &message.text,
        message.reply_to,
        &message.mentions,
        &message.attachments,
        &message.r#type,
        sorted(&message.data),
    )
}

/// What an edit is to make of a message.
pub(super) fn edit(edit: &Edit) -> u64 {
    let Edit { text, reply_to, mentions, attachments, r#type, data, .. } = edit;
    parts(text, *reply_to, mentions, attachments, r#type, sorted(data))
}

/// What an edit has made of it.
pub(super) fn edited(edited: &Edited) -> u64 {
    let Edited { text, reply_to, mentions, attachments, r#type, data, .. } = edited;
    parts(text, *reply_to, mentions, attachments, r#type, sorted(data))
}

/// What is left of a message that was taken back.
pub(super) fn nothing() -> u64 {
    content_of(&Message::default())
}
