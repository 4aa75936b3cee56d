//! What is asked of a room, parsed once: from the wire's operation to typed ids and checked content.

use crate::{
    content, retry,
    room::{Amendment, How, Request},
};
use madang_mesh::{clock::now_micros, trace::Context};
use madang_proto::{
    chat::v1::{Operation, operation::Body},
    client::v1::{Ack, Content, ConversationKind, History, React, Role},
    id::{ConversationId, DeviceId, UserId},
    log::v1 as log,
    reason::{Reason, Refusal},
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// How many messages are erased with one request, at most.
const ERASED: usize = 200;

/// Takes the answer to where it was asked; called exactly once.
pub type Answer = Box<dyn FnOnce(Result<Ack, Refusal>) + Send>;

/// Something asked of a room.
pub struct Ask {
    /// Of which.
    pub conversation: ConversationId,
    /// By whom; none: the home itself.
    pub actor: Option<UserId>,
    /// What.
    pub what: What,
    /// What it takes of what may wait.
    pub claim: Claim,
    /// The trace that it belongs to.
    pub trace: Option<Context>,
    /// Where the answer goes.
    pub answer: Answer,
}

/// How many bytes something takes where only so many may wait, until it is dropped.
#[derive(Default)]
pub struct Claim {
    bytes: usize,
    of: Option<Arc<AtomicUsize>>,
}

impl Claim {
    /// For so many bytes; it takes them nowhere yet.
    #[must_use]
    pub fn of(bytes: usize) -> Self {
        Self { bytes, of: None }
    }

    /// Takes them where these wait, and gives them back where they were taken. False: there would be more than `most`.
    pub fn take(&mut self, waiting: &Arc<AtomicUsize>, most: usize) -> bool {
        if self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, waiting)) {
            return true;
        }
        if waiting.fetch_add(self.bytes, Ordering::Relaxed) + self.bytes > most {
            waiting.fetch_sub(self.bytes, Ordering::Relaxed);
            return false;
        }
        drop(std::mem::replace(self, Self { bytes: self.bytes, of: Some(waiting.clone()) }));
        true
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(waiting) = &self.of {
            waiting.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// What is asked.
#[derive(Clone)]
pub enum What {
    /// To be numbered; with the date of its client id (ms since 1970), if it has one.
    Request(Request, i64),
    /// A read mark, and on which device that is, if it is known.
    Read(u64, Option<DeviceId>),
    /// The actor is writing.
    Typing,
    /// What the actor had set when they joined with this event, as the home was told.
    Settled(u64, Box<log::MemberSettings>),
    /// A block between the two of a direct conversation, the actor and this one, has begun or ended.
    BlocksChanged(Option<UserId>),
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(Reason::InvalidField, message)
}

fn user(text: &str, field: &str) -> Result<UserId, Refusal> {
    text.parse()
        .map_err(|_| invalid(format!("{field} must be a user's id: a UUID in lower-case canonical text")).of(field))
}

/// A conversation's id. One that is none names nothing, so whoever sends it learns nothing by being told.
pub(crate) fn conversation_of(text: &str) -> Result<ConversationId, Refusal> {
    let message = "conversation must be a conversation's id: a UUID in lower-case canonical text";
    text.parse().map_err(|_| invalid(message).of("conversation"))
}

/// Checks an operation's form.
pub fn parse(operation: Operation, max_text: usize) -> Result<(ConversationId, Option<UserId>, What, usize), Refusal> {
    let bytes = prost::Message::encoded_len(&operation);
    let actor = user(&operation.actor, "actor")?;
    let mut conversation = conversation_of(&operation.conversation);
    let what = match operation.body {
        Some(Body::Send(send)) => {
            let first_to = match (send.conversation.is_empty(), send.user.is_empty()) {
                (false, true) => None,
                (true, false) => Some(user(&send.user, "user")?),
                _ => return Err(invalid("send names either a conversation or a user; name one of them").of("user")),
            };
            if let Some(other) = first_to {
                conversation = Ok(ConversationId::direct(actor, other));
            }
            let (client_id, dated) = retry::dated(&send.client_id, now_micros() / 1000)?;
            let content = content::of_send(send, max_text)?;
            let hash = content::hash("send", &content);
            What::Request(Request::Send { first_to, client_id, hash, content }, dated)
        }
        Some(Body::Edit(edit)) => {
            let (seq, id) = (edit.seq, edit.client_id.clone());
            let content = content::of_edit(edit, max_text)?;
            let hash = content::hash(&format!("edit {seq}"), &content);
            let as_sent = content::hash("send", &content);
            amend(seq, &id, hash, How::Edit(content, as_sent))?
        }
        Some(Body::Delete(delete)) => {
            let hash = content::hash(&format!("delete {}", delete.seq), &Content::default());
            amend(delete.seq, &delete.client_id, hash, How::Delete)?
        }
        Some(Body::React(React { seq, emoji, remove: removed, client_id, .. })) => {
            content::check_emoji(&emoji)?;
            let hash = content::hash(&format!("react {seq} {removed} {emoji}"), &Content::default());
            amend(seq, &client_id, hash, How::React { emoji, removed })?
        }
        Some(Body::Erase(erase)) => {
            if erase.seqs.len() > ERASED {
                let message = format!("at most {ERASED} messages are erased at once");
                return Err(Refusal::new(Reason::TooLarge, message).of("seqs"));
            }
            What::Request(Request::Erase(erase.seqs), 0)
        }
        Some(Body::Read(read)) => What::Read(read.seq, operation.device.parse().ok()),
        Some(Body::Typing(_)) => What::Typing,
        Some(Body::CreateGroup(group)) => {
            let owner = log::JoinedUser { user: slice(actor), role: Role::Owner.into() };
            let mut members = vec![owner];
            for each in &group.members {
                let member = user(each, "members")?;
                if member != actor {
                    members.push(log::JoinedUser { user: slice(member), role: Role::Member.into() });
                }
            }
            let history = match group.history() {
                History::Unspecified => History::SinceJoined,
                other => other,
            };
            What::Request(
                Request::Create(log::Created {
                    kind: ConversationKind::Group.into(),
                    name: group.name,
                    history: history.into(),
                    data: group.data,
                    members,
                }),
                0,
            )
        }
        Some(Body::AddMembers(add)) => {
            let users = add.users.iter().map(|each| user(each, "users")).collect::<Result<_, _>>()?;
            What::Request(Request::Add(users), 0)
        }
        Some(Body::RemoveMember(remove)) => What::Request(Request::Remove(user(&remove.user, "user")?), 0),
        Some(Body::SetRole(set)) => {
            if set.role() == Role::Unspecified {
                return Err(invalid("role must be ROLE_OWNER, ROLE_ADMIN or ROLE_MEMBER").of("role"));
            }
            What::Request(Request::SetRole(user(&set.user, "user")?, set.role()), 0)
        }
        Some(Body::ChangeGroup(change)) => What::Request(Request::Change(change), 0),
        Some(Body::EndGroup(_)) => What::Request(Request::End, 0),
        Some(Body::ChangeSettings(change)) => What::Request(Request::Settings(change), 0),
        Some(Body::Admit(_)) => What::Request(Request::Admit, 0),
        Some(Body::BlocksChanged(changed)) => What::BlocksChanged(changed.other.parse().ok()),
        None => return Err(invalid("the operation has no body").of("body")),
    };
    Ok((conversation?, Some(actor), what, bytes))
}

fn amend(seq: u64, client_id: &str, hash: u64, how: How) -> Result<What, Refusal> {
    let (client_id, dated) = retry::dated(client_id, now_micros() / 1000)?;
    Ok(What::Request(Request::Amend(Amendment { seq, client_id, hash, how }), dated))
}

fn slice(user: UserId) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(user.bytes())
}
