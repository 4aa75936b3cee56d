//! What users do: each operation is sent to the home that some process names, again and again with the same client id
//! until it has a definite answer, and now and then once more, much later.

use super::{
    check,
    clock::{self, MS, between, chance, fate},
    databases, journal,
    net::{self, Port},
    processes,
};
use madang_proto::{
    chat::v1::{AddMembers, ChangeSettings, CreateGroup, Operation, RemoveMember, operation::Body},
    client::v1::{Ack, Delete, Edit, History, React, Read, Send, client_frame},
    id::{ClientId, ConversationId, UserId},
    reason::{Reason, Refusal},
};
use std::{cell::Cell, time::Duration};
use tokio::sync::oneshot;

thread_local! {
    static OPEN: Cell<u64> = const { Cell::new(0) };
}

/// How many operations have no definite answer yet.
pub fn open() -> u64 {
    OPEN.get()
}

/// What somebody wants.
#[derive(Debug, Clone)]
pub enum Wish {
    /// To say something in a conversation, or to somebody for the first time.
    Say {
        /// Where.
        conversation: ConversationId,
        /// To whom, if it is to be by their name.
        first_to: Option<UserId>,
        /// What.
        text: String,
        /// Under which id.
        client_id: ClientId,
    },
    /// To change a message: a frame of an edit, a deletion or a reaction, under an id.
    Amend(ConversationId, client_frame::Body, ClientId),
    /// To make a group.
    Create(ConversationId, Vec<UserId>),
    /// To bring somebody in.
    Add(ConversationId, UserId),
    /// To remove somebody, or to leave.
    Remove(ConversationId, UserId),
    /// To have read.
    Read(ConversationId, u64),
    /// To set something for oneself, and perhaps to hide it.
    Set(ConversationId, i64, bool),
}

impl Wish {
    /// Something to be said under a new id, of one age or another.
    pub fn say(conversation: ConversationId, first_to: Option<UserId>) -> Self {
        let now = clock::wall_micros() / 1000;
        let dated = match clock::below(20) {
            0..=14 => now,
            15..=18 => now - i64::try_from(clock::below(25 * 60_000)).unwrap_or(0),
            _ => now + i64::try_from(clock::below(4 * 60_000)).unwrap_or(0),
        };
        let client_id = id(dated);
        Self::Say { conversation, first_to, text: format!("{:x}", fate()), client_id }
    }

    /// To edit or take back a message of one's own, or to react to any; none: there is none.
    pub fn amend(user: UserId, id: ConversationId) -> Option<Self> {
        let (newest, own) = check::room(id, |room| (room.last_seq, room.said_by(user)))?;
        let (conversation, client_id) = (id.to_string(), self::id(clock::wall_micros() / 1000));
        let (number, any) = (client_id.to_string(), 1 + clock::below(newest.max(1)));
        let mine = if own.is_empty() || chance(50) { any } else { *clock::pick(&own) };
        let frame = match clock::below(10) {
            0..=3 => {
                let text = format!("{:x} anew", fate());
                client_frame::Body::Edit(Edit { conversation, seq: mine, client_id: number, text, ..Edit::default() })
            }
            4 => client_frame::Body::Delete(Delete { conversation, seq: mine, client_id: number }),
            _ => {
                let emoji = (*clock::pick(&["👍", "❤", "🎉"])).to_owned();
                let remove = chance(400);
                client_frame::Body::React(React { conversation, seq: any, emoji, remove, client_id: number })
            }
        };
        Some(Self::Amend(id, frame, client_id))
    }

    fn conversation(&self) -> ConversationId {
        match self {
            Self::Say { conversation, .. } => *conversation,
            Self::Create(id, _) | Self::Add(id, _) | Self::Remove(id, _) | Self::Read(id, _) => *id,
            Self::Set(id, ..) | Self::Amend(id, ..) => *id,
        }
    }

    fn operation(&self, actor: UserId) -> Operation {
        let id = self.conversation().to_string();
        let body = match self {
            Self::Say { first_to, text, client_id, .. } => Body::Send(Send {
                conversation: if first_to.is_some() { String::new() } else { id.clone() },
                user: first_to.map(|user| user.to_string()).unwrap_or_default(),
                client_id: client_id.to_string(),
                text: text.clone(),
                ..Send::default()
            }),
            Self::Amend(_, client_frame::Body::Edit(edit), _) => Body::Edit(edit.clone()),
            Self::Amend(_, client_frame::Body::Delete(delete), _) => Body::Delete(delete.clone()),
            Self::Amend(_, client_frame::Body::React(react), _) => Body::React(react.clone()),
            Self::Amend(..) => unreachable!("no such change"),
            Self::Create(_, members) => Body::CreateGroup(CreateGroup {
                name: "group".into(),
                history: History::SinceJoined.into(),
                members: members.iter().map(ToString::to_string).collect(),
                ..CreateGroup::default()
            }),
            Self::Add(_, user) => Body::AddMembers(AddMembers { users: vec![user.to_string()] }),
            Self::Remove(_, user) => Body::RemoveMember(RemoveMember { user: user.to_string() }),
            Self::Set(_, until, hide) => Body::ChangeSettings(ChangeSettings {
                muted_until: Some(*until),
                hidden: Some(*hide),
                // What is there stays: see `check`.
                data: [(clock::below(20).to_string(), String::new())].into(),
                ..ChangeSettings::default()
            }),
            Self::Read(_, seq) => Body::Read(Read { conversation: id.clone(), seq: *seq }),
        };
        Operation { conversation: id, actor: actor.to_string(), body: Some(body), ..Operation::default() }
    }

    /// Takes note of the answer that the user got.
    fn note(&self, actor: UserId, answer: Option<&Result<Ack, Refusal>>) {
        let id = self.conversation();
        match (self, answer) {
            (Self::Say { client_id, .. }, Some(Ok(ack))) => journal::acked(actor, *client_id, ack),
            (Self::Say { client_id, .. }, Some(Err(refusal))) if !refusal.reason.retryable() => {
                journal::refused(id, actor, *client_id);
            }
            (Self::Amend(_, frame, _), Some(Ok(ack))) => journal::amended(actor, frame, ack),
            _ => {}
        }
    }

    /// Who changes members is answered by group-svc, once its rows have the change.
    async fn written(&self, since: u64, ack: &Ack) {
        let (id, user, inside) = match self {
            Self::Add(id, user) => (*id, *user, true),
            Self::Remove(id, user) => (*id, *user, false),
            _ => return,
        };
        while databases::revisions(id).0 < ack.revision {
            net::pause(50 * MS).await;
        }
        journal::changed(since, id, user, inside, ack);
    }

    /// Looks at a home's answer in the moment when it is given.
    fn judge(&self, actor: UserId, since: u64, stay: Option<u64>, answer: &Result<Ack, Refusal>) {
        let id = self.conversation();
        match (self, answer) {
            (Self::Say { text, client_id, .. }, Ok(ack)) => {
                check::count(if ack.duplicate { "acks of retries" } else { "acks" });
                check::acked(actor, id, *client_id, text, since, ack);
            }
            (Self::Set(..), Ok(ack)) => check::set(actor, id, ack),
            (Self::Amend(_, _, client_id), Ok(ack)) => {
                check::count(if ack.duplicate { "changes that were there" } else { "changes of messages" });
                check::amended(actor, id, *client_id, ack);
            }
            (Self::Amend(..), Err(refusal)) if !refusal.reason.retryable() => {
                use Reason::{ConversationNotFound, MessageDeleted, MessageNotFound, NotSender, RoleRequired};
                let usual = [ConversationNotFound, MessageDeleted, MessageNotFound, NotSender, RoleRequired];
                if !usual.contains(&refusal.reason) {
                    check::wrong(format!("{actor} was refused in {id}: {} {}", refusal.reason.word(), refusal.message));
                }
            }
            (Self::Remove(_, user), Ok(ack)) => check::removed(*user, id, ack),
            (Self::Say { .. }, Err(refusal)) if !refusal.reason.retryable() => {
                if refusal.reason != Reason::ConversationNotFound {
                    check::wrong(format!("{actor} was refused in {id}: {} {}", refusal.reason.word(), refusal.message));
                } else if stay.is_some() && stay == present_since(actor, id) {
                    check::count("members told that there is no such conversation");
                    check::trace(|| format!("TOLD {actor} {id} by the home of {:?}", stay));
                }
            }
            _ => {}
        }
    }
}

/// Since which revision somebody is in a room without a break; none: they are not.
fn present_since(user: UserId, id: ConversationId) -> Option<u64> {
    check::room(id, |room| room.stays.get(&user)?.last().filter(|stay| stay.1 == 0).map(|stay| stay.0)).flatten()
}

/// Does it, however often it must be asked for; the answer, if there was a definite one.
pub async fn operate(actor: UserId, wish: Wish) -> Option<Ack> {
    OPEN.set(OPEN.get() + 1);
    let since = clock::now();
    let stay = present_since(actor, wish.conversation());
    let mut tries = 0;
    let ack = loop {
        tries += 1;
        if tries > 1 {
            check::count("tries again");
        }
        let answer = once(actor, &wish, since, stay).await;
        wish.note(actor, answer.as_ref());
        match answer {
            Some(Ok(ack)) => break Some(ack),
            Some(Err(refusal)) if !refusal.reason.retryable() => break None,
            Some(Err(refusal)) => {
                net::pause(refusal.retry_after_ms.max(20) * MS / if chance(500) { 1 } else { 4 }).await
            }
            None => net::pause(between(MS, 300 * MS)).await,
        }
    };
    if let Some(ack) = &ack {
        wish.written(since, ack).await;
    }
    OPEN.set(OPEN.get() - 1);
    check::trace(|| format!("{actor} {wish:?} -> {:?} after {tries} tries", ack.as_ref().map(|ack| ack.revision)));
    ack
}

/// Asks once; none: no answer came.
async fn once(actor: UserId, wish: &Wish, since: u64, stay: Option<u64>) -> Option<Result<Ack, Refusal>> {
    // Straight to the room's home, or by way of the user's own, as gateways do.
    let direct = chance(500);
    let by = if direct { *wish.conversation().bytes() } else { *actor.bytes() };
    let Some(chat) = processes::home_of(&by) else {
        net::pause(200 * MS).await;
        return None;
    };
    let (sender, receiver) = oneshot::channel();
    let (id, operation, wish) = (chat.id, wish.operation(actor), wish.clone());
    let (there, back) = (net::way(id, Port::Clients), net::way(id, Port::Clients));
    drop(chat);
    if let Some(Body::Send(send)) = &operation.body {
        journal::invoked(wish.conversation(), actor, send);
    }
    if let Wish::Amend(_, frame, _) = &wish {
        journal::amending(actor, frame);
    }
    if let Some(there) = there {
        net::after(there, move || {
            let Some(chat) = processes::find(id) else { return };
            let answer = move |answer: Result<Ack, Refusal>| {
                wish.judge(actor, since, stay, &answer);
                if let Some(back) = back {
                    net::after(back, move || {
                        if !net::is_cut(id, Port::Clients) {
                            drop(sender.send(answer));
                        }
                    });
                }
            };
            chat.within(|_| {
                if direct {
                    chat.router.submit_here(operation, Box::new(answer));
                } else {
                    chat.router.submit(operation, Box::new(answer));
                }
            });
        });
    }
    let patience = Duration::from_nanos(between(500 * MS, 6000 * MS));
    tokio::time::timeout(patience, receiver).await.ok()?.ok()
}

/// An id that was made at a time, in ms since 1970.
fn id(dated: i64) -> ClientId {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&fate().to_le_bytes());
    ClientId::at(dated.unsigned_abs(), random)
}

/// Something said or changed, and perhaps asked for again later under the same id.
pub async fn say(actor: UserId, wish: Wish) {
    let Some(ack) = operate(actor, wish.clone()).await else { return };
    if !chance(250) {
        return;
    }
    net::pause(between(MS, 30_000 * MS)).await;
    check::count("late retries");
    let Some(again) = operate(actor, wish.clone()).await else { return };
    // What changes nothing has no number of its own.
    let numbered = matches!(wish, Wish::Say { .. }) || !ack.duplicate;
    if numbered && (again.seq, again.revision) != (ack.seq, ack.revision) {
        check::wrong(format!(
            "{actor} {wish:?} is revision {} and, when asked again, {}",
            ack.revision, again.revision
        ));
    }
}
