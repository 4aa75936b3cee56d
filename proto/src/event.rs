//! What clients see of the log's record of an event.

use crate::{
    client::v1 as client,
    id::{ClientId, ConversationId, UserId},
    log::v1::{JoinedUser, LoggedEvent, logged_event::Body},
};

fn user(bytes: &[u8]) -> String {
    UserId::from_slice(bytes).map(|id| id.to_string()).unwrap_or_default()
}

fn joined(members: &[JoinedUser], by: &[u8]) -> client::event::Body {
    let members = members.iter().map(|each| client::JoinedMember { user: user(&each.user), role: each.role });
    client::event::Body::Joined(client::Joined { members: members.collect(), by: user(by) })
}

/// The client's event, without a cursor. Without a body where clients of this version see none.
#[must_use]
pub fn to_client(event: &LoggedEvent) -> client::Event {
    let body = event.body.as_ref().map(|body| match body {
        Body::Message(content) => client::event::Body::Message(message(event, content)),
        Body::Created(created) => joined(&created.members, &event.actor),
        Body::Joined(more) => joined(&more.members, &event.actor),
        Body::Left(left) => client::event::Body::Left(client::Left {
            users: left.users.iter().map(|each| user(each)).collect(),
            by: user(&event.actor),
        }),
        Body::Role(set) => client::event::Body::Role(client::RoleChanged {
            user: user(&set.user),
            role: set.role,
            by: user(&event.actor),
        }),
        Body::Changed(changed) => client::event::Body::Changed(client::Changed {
            by: user(&event.actor),
            name: changed.name.clone(),
            picture: changed.picture.clone(),
            data: changed.data.clone(),
        }),
        Body::Read(read) => client::event::Body::Read(client::ReadMarks {
            marks: read.marks.iter().map(|mark| client::ReadMark { user: user(&mark.user), seq: mark.seq }).collect(),
        }),
        Body::Settings(settings) => client::event::Body::Settings(settings.view(event.last_seq)),
        Body::Edited(edited) => {
            let content = edited.content.clone().unwrap_or_default();
            let client::Content { text, reply_to, mentions, attachments, r#type, data } = content;
            let seq = edited.seq;
            client::event::Body::Edited(client::Edited { seq, text, reply_to, mentions, attachments, r#type, data })
        }
        Body::Deleted(deleted) => {
            client::event::Body::Deleted(client::Deleted { seq: deleted.seq, by: user(&event.actor) })
        }
        Body::Reacted(reacted) => client::event::Body::Reacted(client::Reacted {
            seq: reacted.seq,
            user: user(&event.actor),
            emoji: reacted.emoji.clone(),
            removed: reacted.removed,
            count: reacted.count,
        }),
    });
    client::Event {
        cursor: String::new(),
        conversation: ConversationId::from_slice(&event.conversation).map(|id| id.to_string()).unwrap_or_default(),
        revision: event.revision,
        at: event.at_micros / 1000,
        last_seq: event.last_seq,
        body,
    }
}

fn message(event: &LoggedEvent, content: &client::Content) -> client::Message {
    client::Message {
        seq: event.last_seq,
        revision: event.revision,
        at: event.at_micros / 1000,
        sender: user(&event.actor),
        client_id: ClientId::from_slice(&event.client_id).map(|id| id.to_string()).unwrap_or_default(),
        text: content.text.clone(),
        reply_to: content.reply_to,
        mentions: content.mentions.clone(),
        attachments: content.attachments.clone(),
        r#type: content.r#type.clone(),
        data: content.data.clone(),
        edited_at: 0,
        deleted: false,
        reactions: Vec::new(),
    }
}
