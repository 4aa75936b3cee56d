//! The journal of a schedule, for the history checker that every other test of the promises uses: it decides from what
//! clients know alone, without a look at the log until the end.

use super::{
    check,
    clock::now,
    databases::{self, Listed},
};
use madang_loadgen::history::{Device, Fetched, Journal, Membership, Room, judge};
use madang_proto::event::to_client;
use madang_proto::{
    client::v1::{Ack, Deleted, Edited, Event, Message, Reacted, Reaction, Send, client_frame, event::Body},
    id::{ClientId, ConversationId, UserId},
    log::v1::LoggedEvent,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

thread_local! {
    static JOURNAL: RefCell<Journal> = RefCell::default();
    static DEVICES: RefCell<Vec<Device>> = RefCell::default();
}

fn journal<T>(act: impl FnOnce(&mut Journal) -> T) -> T {
    JOURNAL.with_borrow_mut(act)
}

fn of(device: usize) -> Device {
    DEVICES.with_borrow(|devices| devices[device])
}

/// A device begins, or begins anew with nothing.
pub fn device(number: usize, user: UserId) {
    let new = journal(|journal| journal.device(&user.to_string()));
    DEVICES.with_borrow_mut(|devices| {
        if let Some(old) = devices.get_mut(number) {
            journal(|journal| journal.retired(*old));
            *old = new;
        } else {
            devices.push(new);
        }
    });
}

/// A message is about to be sent.
pub fn invoked(conversation: ConversationId, sender: UserId, send: &Send) {
    journal(|journal| journal.invoked(now(), &conversation.to_string(), &sender.to_string(), send));
}

/// It was acknowledged.
pub fn acked(sender: UserId, client_id: ClientId, ack: &Ack) {
    journal(|journal| journal.acked(now(), &sender.to_string(), &client_id.to_string(), ack));
}

/// It was refused for good.
pub fn refused(conversation: ConversationId, sender: UserId, client_id: ClientId) {
    journal(|journal| journal.refused(&conversation.to_string(), &sender.to_string(), &client_id.to_string()));
}

/// A message is about to be changed.
pub fn amending(user: UserId, frame: &client_frame::Body) {
    journal(|journal| journal.amending(now(), &user.to_string(), frame));
}

/// That was acknowledged.
pub fn amended(user: UserId, frame: &client_frame::Body, ack: &Ack) {
    journal(|journal| journal.amended(now(), &user.to_string(), frame, ack));
}

/// Somebody came or went.
pub fn changed(asked: u64, conversation: ConversationId, user: UserId, inside: bool, ack: &Ack) {
    let (conversation, user) = (conversation.to_string(), user.to_string());
    let (conversation, user) = (&*conversation, &*user);
    let change = Membership { asked, answered: now(), conversation, user, inside, revision: ack.revision };
    journal(|journal| journal.changed(change));
}

/// A device was told that it may have missed something.
pub fn resynced(device: usize) {
    journal(|journal| journal.resynced(of(device)));
}

/// A device received an event.
pub fn saw(device: usize, event: &Event) {
    journal(|journal| journal.saw(now(), of(device), event));
}

/// A device of somebody read all that one conversation of its list has.
pub fn fetched(device: usize, user: UserId, asked: u64, listed: &Listed) {
    let all = databases::stored(listed.conversation, listed.revision);
    let direct = check::room(listed.conversation, check::Room::is_direct).unwrap_or(false);
    let from = if direct { 1 } else { listed.joined };
    let (messages, notices) = split(all.iter().filter(|event| event.revision >= from), Some(user));
    let page = Fetched {
        asked,
        conversation: &listed.conversation.to_string(),
        messages: &messages,
        notices: &notices,
        revision: listed.revision,
        has_before: false,
        has_after: false,
        since: None,
    };
    journal(|journal| journal.fetched(of(device), page));
}

/// The messages as events leave them, as somebody reads them, and the notices.
fn split<'a>(events: impl Iterator<Item = &'a LoggedEvent>, reader: Option<UserId>) -> (Vec<Message>, Vec<Event>) {
    let (mut messages, mut notices) = (BTreeMap::<u64, Message>::new(), Vec::new());
    let mut reactors: BTreeMap<(u64, String), BTreeSet<String>> = BTreeMap::new();
    for event in events.map(to_client) {
        let (at, revision) = (event.at, event.revision);
        match event.body {
            Some(Body::Message(message)) => drop(messages.insert(message.seq, message)),
            Some(Body::Read(_)) | None => {}
            // Of a message from before the reader came.
            Some(
                Body::Edited(Edited { seq, .. })
                | Body::Deleted(Deleted { seq, .. })
                | Body::Reacted(Reacted { seq, .. }),
            ) if !messages.contains_key(&seq) => {}
            Some(Body::Edited(edited)) => {
                messages.entry(edited.seq).and_modify(|message| {
                    (message.text, message.edited_at, message.revision) = (edited.text, at, revision);
                });
            }
            Some(Body::Deleted(deleted)) => {
                reactors.retain(|(seq, _), _| *seq != deleted.seq);
                messages.entry(deleted.seq).and_modify(|message| {
                    (message.text, message.deleted, message.revision) = (String::new(), true, revision);
                });
            }
            Some(Body::Reacted(reacted)) => {
                let users = reactors.entry((reacted.seq, reacted.emoji)).or_default();
                if reacted.removed {
                    users.remove(&reacted.user)
                } else {
                    users.insert(reacted.user)
                };
                messages.entry(reacted.seq).and_modify(|message| message.revision = revision);
            }
            Some(_) => notices.push(event),
        }
    }
    let reader = reader.map(|reader| reader.to_string()).unwrap_or_default();
    for ((seq, emoji), users) in reactors.into_iter().filter(|(_, users)| !users.is_empty()) {
        let shown = Reaction { emoji, count: users.len() as u32, mine: users.contains(&reader) };
        messages.entry(seq).and_modify(|message| message.reactions.push(shown));
    }
    (messages.into_values().collect(), notices)
}

/// Judges it by what the log has at the end.
pub fn verdict() {
    let rooms: Vec<Room> = check::rooms()
        .into_iter()
        .filter_map(|id| {
            check::room(id, |room| {
                let (messages, notices) = split(room.events.iter(), None);
                let (revision, all_visible) = (room.revision(), room.is_direct());
                Room { conversation: id.to_string(), messages, notices, revision, all_visible }
            })
        })
        .collect();
    let verdict = journal(|journal| judge(journal, &rooms));
    if !verdict.good() {
        check::wrong(format!("the history checker: {}", verdict.to_string().replace('\n', ";")));
    }
}
