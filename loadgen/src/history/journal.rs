//! A journal of a run: what clients sent, were answered, saw and fetched. It keeps numbers and hashes, not texts: some
//! 200 bytes for each message and each event, and a few for each delivery only where there are gaps.
//!
//! Times (`at`) are numbers of one clock that never goes back, for the whole run; µs are fine enough. What is done is
//! noted before it is done, what is heard is noted after it was heard: then what the journal holds to be before
//! something was before it.

use super::{
    amended::Amended,
    fault::{Counts, Faults, Kind, Verdict},
    shown::{Shown, content, hash, id, of_event},
    stream::{Step, Stream},
};
use madang_proto::client::v1::{Ack, Event, Message, Send, event::Body};
use std::collections::HashMap;

/// A device of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Device(u32);

/// A page of history, as a device read it.
#[derive(Debug, Clone, Copy)]
pub struct Fetched<'a> {
    /// When it was asked for.
    pub asked: u64,
    /// Of which conversation.
    pub conversation: &'a str,
    /// Its messages, by seq upwards.
    pub messages: &'a [Message],
    /// Its notices.
    pub notices: &'a [Event],
    /// As of which event.
    pub revision: u64,
    /// Whether there are older messages.
    pub has_before: bool,
    /// Whether there are newer messages.
    pub has_after: bool,
    /// Since which revision it tells what was sent or changed, whichever messages that concerns, up to `revision`; none:
    /// it is a page of messages in a row.
    pub since: Option<u64>,
}

/// A change of who is in a conversation, acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Membership<'a> {
    /// When it was asked for.
    pub asked: u64,
    /// When the answer came.
    pub answered: u64,
    /// Which conversation.
    pub conversation: &'a str,
    /// Who came or went.
    pub user: &'a str,
    /// Whether they are in it now.
    pub inside: bool,
    /// As of which event, by the answer.
    pub revision: u64,
}

/// Texts as numbers.
#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: HashMap<Box<str>, u32>,
    texts: Vec<Box<str>>,
}

impl Names {
    fn number(&mut self, text: &str) -> usize {
        if let Some(number) = self.numbers.get(text) {
            return *number as usize;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.numbers.insert(text.into(), number);
        self.texts.push(text.into());
        number as usize
    }

    pub(super) fn find(&self, text: &str) -> Option<usize> {
        self.numbers.get(text).map(|number| *number as usize)
    }

    pub(super) fn text(&self, number: usize) -> &str {
        self.texts.get(number).map_or("?", |text| text)
    }
}

/// Whose message, and their id of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) sender: u32,
    pub(super) client_id: u128,
}

/// The numbers that an ack gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) seq: u64,
    pub(super) revision: u64,
    pub(super) at: i64,
}

/// A message that somebody sent.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) content: u64,
    /// When it was sent first.
    pub(super) invoked: u64,
    /// When it was acknowledged first, and with what.
    pub(super) acked: Option<(u64, Numbers)>,
    /// How often it was sent, and how often refused for good.
    attempts: u32,
    refusals: u32,
}

impl Sent {
    /// Whether every attempt was refused for good.
    pub(super) fn refused(&self) -> bool {
        self.acked.is_none() && self.attempts > 0 && self.refusals >= self.attempts
    }
}

/// An event that somebody saw.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) shown: Shown,
    /// When it was first seen.
    pub(super) at: u64,
}

/// A page that a device read: what is needed to say what it covers.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) device: u32,
    pub(super) asked: u64,
    /// The first and the last message in it.
    pub(super) seqs: Option<(u64, u64)>,
    /// The lowest and the highest revision in it.
    pub(super) revisions: Option<(u64, u64)>,
    pub(super) notices: u64,
    /// The newest of them.
    pub(super) noticed: u64,
    pub(super) revision: u64,
    pub(super) has_before: bool,
    pub(super) has_after: bool,
    /// Since which revision it has all that was sent or changed; none: it has those between two messages.
    pub(super) since: Option<u64>,
    /// Its messages, each with the revision of its last change.
    pub(super) shown: Vec<(u64, u64)>,
    /// Under which messages which of the reader's own emoji are.
    pub(super) own: Vec<(u64, u64)>,
    /// Whether the device had been told that it may have missed something.
    pub(super) due: bool,
}

/// A change of membership.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    pub(super) asked: u64,
    pub(super) answered: u64,
    pub(super) user: u32,
    pub(super) inside: bool,
    pub(super) revision: u64,
}

/// All that is known of one conversation.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) sent: HashMap<Key, Sent>,
    pub(super) known: HashMap<u64, Known>,
    pub(super) amended: Amended,
    pub(super) changes: Vec<Change>,
    pub(super) pages: Vec<Page>,
    pub(super) streams: HashMap<u32, Stream>,
}

#[derive(Debug)]
pub(super) struct Owner {
    pub(super) user: u32,
    pub(super) resyncs: u32,
    pub(super) retired: bool,
}

/// What clients sent, were answered, saw and fetched.
#[derive(Debug, Default)]
pub struct Journal {
    pub(super) conversations: Names,
    pub(super) users: Names,
    pub(super) devices: Vec<Owner>,
    pub(super) logs: Vec<Log>,
    /// What was found while it was written.
    pub(super) found: Verdict,
}

impl Journal {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A device of a user. From now on it is owed all events of its user's conversations, from joining to leaving.
    pub fn device(&mut self, user: &str) -> Device {
        let user = self.user(user);
        let number = u32::try_from(self.devices.len()).unwrap_or(u32::MAX);
        self.devices.push(Owner { user, resyncs: 0, retired: false });
        Device(number)
    }

    /// A device is used no more: it is owed nothing further.
    pub fn retired(&mut self, device: Device) {
        if let Some(owner) = self.devices.get_mut(device.0 as usize) {
            owner.retired = true;
        }
    }

    /// A message is about to be sent, or sent again. Where it goes to a person, `conversation` is the direct one.
    pub fn invoked(&mut self, at: u64, conversation: &str, sender: &str, send: &Send) {
        let key = self.key(sender, &send.client_id);
        let content = content(send);
        let fresh = Sent { content, invoked: at, acked: None, attempts: 0, refusals: 0 };
        let sent = self.log(conversation).sent.entry(key).or_insert(fresh);
        sent.attempts += 1;
        sent.invoked = sent.invoked.min(at);
    }

    /// A message was acknowledged.
    pub fn acked(&mut self, at: u64, sender: &str, client_id: &str, ack: &Ack) {
        let key = self.key(sender, client_id);
        let numbers = Numbers { seq: ack.seq, revision: ack.revision, at: ack.at };
        let what = || format!("{client_id} of {sender} in {}", ack.conversation);
        let Some(sent) = self.log(&ack.conversation).sent.get_mut(&key) else {
            return self.found.fault(Kind::Leaked, || format!("an ack of {}, which was never sent there", what()));
        };
        match sent.acked {
            None => sent.acked = Some((at, numbers)),
            Some((first, before)) => {
                sent.acked = Some((first.min(at), before));
                self.found.counts.acked_again += 1;
                if before != numbers {
                    self.found.fault(Kind::Doubled, || format!("{}: acked as {before:?}, then {numbers:?}", what()));
                }
            }
        }
    }

    /// A message was refused for good: the refusal is not retryable, and so was that of every earlier attempt noted
    /// here. Do not call it if an attempt that is not noted may have arrived (as one that a session sent again itself),
    /// or if the refusal may pass: then nobody knows, and nothing is noted.
    pub fn refused(&mut self, conversation: &str, sender: &str, client_id: &str) {
        let key = self.key(sender, client_id);
        if let Some(sent) = self.log(conversation).sent.get_mut(&key) {
            sent.refusals += 1;
        }
    }

    /// Somebody came or went, and that was acknowledged.
    pub fn changed(&mut self, change: Membership<'_>) {
        let Membership { asked, answered, conversation, user, inside, revision } = change;
        let user = self.user(user);
        self.log(conversation).changes.push(Change { asked, answered, user, inside, revision });
        self.found.counts.memberships += 1;
    }

    /// A device was told that it may have missed something: `NEW`, `SNAPSHOT`, `resync`. What it then did miss it has
    /// to fetch; until it is told so, its events come without gaps, over as many connections as it makes.
    pub fn resynced(&mut self, device: Device) {
        if let Some(owner) = self.devices.get_mut(device.0 as usize) {
            owner.resyncs += 1;
            self.found.counts.resyncs += 1;
        }
    }

    /// A device received an event.
    pub fn saw(&mut self, at: u64, device: Device, event: &Event) {
        // To oneself, without a number.
        let (false, Some(owner)) = (event.revision == 0, self.devices.get(device.0 as usize)) else { return };
        let (resyncs, user) = (owner.resyncs, owner.user);
        self.found.counts.events += 1;
        let room = self.conversations.number(&event.conversation);
        let revision = event.revision;
        let shown = self.shown(room, Some(user), event);
        self.observe(room, revision, Known { shown, at });
        let step = self.logs[room].streams.entry(device.0).or_default().step(resyncs, revision);
        let what = || format!("device {} in {}: revision {revision}", device.0, event.conversation);
        match step {
            Step::New => self.found.counts.delivered += u64::from(matches!(event.body, Some(Body::Message(_)))),
            Step::Again => self.found.counts.repeated += 1,
            Step::Late => self.found.fault(Kind::Misordered, || format!("{} after later ones", what())),
        }
    }

    /// A device read a page of history.
    pub fn fetched(&mut self, device: Device, page: Fetched<'_>) {
        let Some(owner) = self.devices.get(device.0 as usize) else { return };
        let due = owner.resyncs > 0;
        self.found.counts.pages += 1;
        let room = self.room(page.conversation);
        let what = || format!("device {} read {} as of {}", device.0, page.conversation, page.revision);
        for pair in page.messages.windows(2).filter(|_| page.since.is_none()) {
            if pair[1].seq != pair[0].seq + 1 {
                self.found.fault(Kind::Gaps, || format!("{}: {} after {}", what(), pair[1].seq, pair[0].seq));
            }
        }
        page.messages.iter().for_each(|message| self.read(room, message));
        for notice in page.notices {
            let shown = self.shown(room, None, notice);
            self.observe(room, notice.revision, Known { shown, at: u64::MAX });
        }
        let revisions = page.messages.iter().map(|message| message.revision);
        let revisions = revisions.chain(page.notices.iter().map(|notice| notice.revision));
        let ends = page.messages.first().zip(page.messages.last()).map(|(low, high)| (low.seq, high.seq));
        let own = |message: &Message| {
            let own = message.reactions.iter().filter(|each| each.mine).map(|each| (message.seq, hash(&each.emoji)));
            own.collect::<Vec<_>>()
        };
        let page = Page {
            device: device.0,
            asked: page.asked,
            seqs: ends.filter(|_| page.since.is_none()),
            revisions: revisions.clone().min().zip(revisions.max()),
            notices: page.notices.len() as u64,
            noticed: page.notices.iter().map(|notice| notice.revision).max().unwrap_or(0),
            revision: page.revision,
            has_before: page.has_before,
            has_after: page.has_after,
            since: page.since,
            shown: page.messages.iter().map(|message| (message.seq, message.revision)).collect(),
            own: page.messages.iter().flat_map(own).collect(),
            due,
        };
        self.logs[room].pages.push(page);
    }

    /// What was counted so far, and the faults that showed already; [`super::judge()`] finds the others.
    #[must_use]
    pub fn so_far(&self) -> (&Faults, &Counts) {
        (&self.found.faults, &self.found.counts)
    }

    pub(super) fn user(&mut self, user: &str) -> u32 {
        u32::try_from(self.users.number(user)).unwrap_or(u32::MAX)
    }

    pub(super) fn key(&mut self, sender: &str, client_id: &str) -> Key {
        Key { sender: self.user(sender), client_id: id(client_id) }
    }

    fn room(&mut self, conversation: &str) -> usize {
        let room = self.conversations.number(conversation);
        if self.logs.len() <= room {
            self.logs.resize_with(room + 1, Log::default);
        }
        room
    }

    pub(super) fn log(&mut self, conversation: &str) -> &mut Log {
        let room = self.room(conversation);
        &mut self.logs[room]
    }

    /// What an event is; notes what it changes.
    fn shown(&mut self, room: usize, user: Option<u32>, event: &Event) -> Shown {
        if self.logs.len() <= room {
            self.logs.resize_with(room + 1, Log::default);
        }
        if let Some(Body::Message(message)) = &event.body {
            let wrong = message.revision != event.revision || message.seq != event.last_seq;
            if wrong || message.at != event.at {
                self.found.fault(Kind::Altered, || {
                    format!("in {}, event {} has other numbers than its message", event.conversation, event.revision)
                });
            }
        }
        self.told(room, user, event);
        of_event(event)
    }

    /// Notes that an event was seen, and compares it with what others saw.
    fn observe(&mut self, room: usize, revision: u64, seen: Known) {
        let known = self.logs[room].known.entry(revision).or_insert(seen);
        known.at = known.at.min(seen.at);
        let kind = match (known.shown, seen.shown) {
            (_, Shown::Hidden) => return,
            (Shown::Hidden, shown) => return known.shown = shown,
            (one, other) if one == other => return,
            (Shown::Message { seq, author, .. }, Shown::Message { seq: other_seq, author: other_author, .. })
                if (seq, author) == (other_seq, other_author) =>
            {
                Kind::Altered
            }
            (Shown::Notice(_), Shown::Notice(_)) | (Shown::Passing(_), Shown::Passing(_)) => Kind::Altered,
            _ => Kind::Reused,
        };
        let (one, other) = (known.shown, seen.shown);
        let conversation = self.conversations.text(room);
        self.found.fault(kind, || {
            format!("in {conversation}, revision {revision} is {one:?} to one and {other:?} to another")
        });
    }
}
