//! The journal of a schedule, for the history checker that every other test of the promises uses: it decides from what
//! clients know alone, without a look at the log until the end.

use super::{
    check,
    clock::now,
    databases::{self, Listed},
};
use madang_chat::event::to_client;
use madang_loadgen::history::{Device, Fetched, Journal, Membership, Room, judge};
use madang_proto::{
    client::v1::{Ack, ConversationKind, Event, Message, Send, event::Body},
    id::{ClientId, ConversationId, UserId},
    log::v1::{LoggedEvent, logged_event},
};
use std::cell::RefCell;

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

/// A device read all that one conversation of its list has.
pub fn fetched(device: usize, asked: u64, listed: &Listed) {
    let all = databases::stored(listed.conversation, listed.revision);
    let direct = check::room(listed.conversation, is_direct).unwrap_or(false);
    let from = if direct { 1 } else { listed.joined };
    let (messages, notices) = split(all.iter().filter(|event| event.revision >= from));
    let page = Fetched {
        asked,
        conversation: &listed.conversation.to_string(),
        messages: &messages,
        notices: &notices,
        revision: listed.revision,
        has_before: false,
        has_after: false,
    };
    journal(|journal| journal.fetched(of(device), page));
}

fn is_direct(room: &check::Room) -> bool {
    room.events.first().is_some_and(|first| {
        matches!(&first.body, Some(logged_event::Body::Created(created)) if created.kind() == ConversationKind::Direct)
    })
}

fn split<'a>(events: impl Iterator<Item = &'a LoggedEvent>) -> (Vec<Message>, Vec<Event>) {
    let (mut messages, mut notices) = (Vec::new(), Vec::new());
    for event in events.map(to_client) {
        match event.body {
            Some(Body::Message(message)) => messages.push(message),
            Some(Body::Read(_)) | None => {}
            Some(_) => notices.push(event),
        }
    }
    (messages, notices)
}

/// Judges it by what the log has at the end.
pub fn verdict() {
    let rooms: Vec<Room> = check::rooms()
        .into_iter()
        .filter_map(|id| {
            check::room(id, |room| {
                let (messages, notices) = split(room.events.iter());
                let (revision, all_visible) = (room.revision(), is_direct(room));
                Room { conversation: id.to_string(), messages, notices, revision, all_visible }
            })
        })
        .collect();
    let verdict = journal(|journal| judge(journal, &rooms));
    if !verdict.good() {
        check::wrong(format!("the history checker: {}", verdict.to_string().replace('\n', ";")));
    }
}
