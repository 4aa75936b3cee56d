//! P1 to P3: what was acknowledged is there, once, under one number that all agree on.

use super::Room;
use crate::history::{
    amended::Amended,
    fault::{Kind, Verdict},
    journal::{Journal, Key, Log, Numbers, Sent},
    shown::{Shown, changed, content_of, id, of_event, of_message},
};
use madang_proto::client::v1::{Event, Message};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A conversation's history beside what clients know of it.
pub struct Written<'a> {
    pub room: &'a Room,
    pub log: &'a Log,
    pub journal: &'a Journal,
    /// The messages by seq, with the revisions at which they were sent, where these are known.
    pub messages: BTreeMap<u64, (&'a Message, Option<u64>)>,
    /// The notices by revision.
    pub notices: BTreeMap<u64, &'a Event>,
    /// The newest event of which anybody knows.
    pub newest: u64,
    touched: HashSet<u64>,
}

impl<'a> Written<'a> {
    /// Of a history; finds holes in it, and what stands in it twice.
    pub fn of(room: &'a Room, log: &'a Log, journal: &'a Journal, verdict: &mut Verdict) -> Self {
        let name = &room.conversation;
        verdict.counts.messages += room.messages.len() as u64;
        let mut last = 0;
        for message in &room.messages {
            let seq = message.seq;
            if seq == last {
                verdict.fault(Kind::Reused, || format!("history of {name}: {seq} stands there twice"));
            } else if seq < last {
                verdict.fault(Kind::Misordered, || format!("history of {name}: {seq} after {last}"));
            } else if seq > last + 1 {
                verdict.fault(Kind::Gaps, || format!("history of {name}: {seq} after {last}"));
            }
            last = last.max(seq);
        }
        let Amended { asked, told, .. } = &log.amended;
        let mut written = Self {
            touched: asked.values().map(|asked| asked.seq).chain(told.values().map(|told| told.seq)).collect(),
            room,
            log,
            journal,
            messages: BTreeMap::new(),
            notices: room.notices.iter().map(|notice| (notice.revision, notice)).collect(),
            newest: 0,
        };
        written.place(verdict);
        written
    }

    /// Puts the messages in their places, and finds revisions that stand for two things.
    fn place(&mut self, verdict: &mut Verdict) {
        let name = &self.room.conversation;
        let mut sent_at = HashMap::new();
        if self.room.messages.iter().any(|message| self.touched(message)) {
            let acked = self.log.sent.values().filter_map(|sent| sent.acked);
            sent_at.extend(acked.map(|(_, numbers)| (numbers.seq, numbers.revision)));
            for (revision, known) in &self.log.known {
                if let Shown::Message { seq, .. } = known.shown {
                    sent_at.insert(seq, *revision);
                }
            }
        }
        let mut taken: BTreeMap<u64, u64> = BTreeMap::new();
        for message in &self.room.messages {
            let (seq, revision) = (message.seq, message.revision);
            let base = if self.touched(message) { sent_at.get(&seq).copied() } else { Some(revision) };
            self.messages.insert(seq, (message, base));
            let other = taken.insert(revision, seq).filter(|other| *other != seq);
            if let Some(other) = other {
                verdict
                    .fault(Kind::Reused, || format!("history of {name}: {other} and {seq} have revision {revision}"));
            } else if self.notices.contains_key(&revision) {
                verdict
                    .fault(Kind::Reused, || format!("history of {name}: {seq} and a notice have revision {revision}"));
            }
        }
        let mut last = (0, 0);
        for (seq, base) in self.messages.iter().filter_map(|(seq, (_, base))| Some((*seq, (*base)?))) {
            if base <= last.1 {
                let (before, revision) = last;
                verdict.fault(Kind::Misordered, || {
                    format!("history of {name}: {seq} has revision {base}, and {before} before it {revision}")
                });
            }
            last = (seq, base);
        }
        let known = self.log.known.keys().max().copied().unwrap_or(0);
        let there = taken.last_key_value().map_or(0, |(revision, _)| *revision);
        let notices = self.notices.last_key_value().map_or(0, |(revision, _)| *revision);
        self.newest = self.room.revision.max(known).max(there).max(notices);
    }

    /// Whether somebody has asked for a message to be changed, or was told that it is. That history says so is not enough.
    pub fn touched(&self, message: &Message) -> bool {
        self.touched.contains(&message.seq)
    }

    /// Whose message it is, and their id of it; none: of somebody who is not known.
    pub fn key(&self, message: &Message) -> Option<Key> {
        let sender = u32::try_from(self.journal.users.find(&message.sender)?).ok()?;
        Some(Key { sender, client_id: id(&message.client_id) })
    }

    /// How a message of a key is called.
    pub fn name(&self, key: &Key) -> String {
        let (sender, id) = (self.journal.users.text(key.sender as usize), uuid::Uuid::from_u128(key.client_id));
        format!("{id} of {sender} in {}", self.room.conversation)
    }

    /// P1, P2: history beside what was sent.
    pub fn sends(&self, verdict: &mut Verdict) {
        let mut found: HashMap<Key, u64> = HashMap::new();
        for (message, _) in self.messages.values() {
            let Some((key, sent)) = self.key(message).and_then(|key| Some((key, self.log.sent.get(&key)?))) else {
                verdict.fault(Kind::Leaked, || {
                    let Message { seq, client_id, sender, .. } = message;
                    format!("history of {}: {seq} is {client_id} of {sender}, never sent", self.room.conversation)
                });
                continue;
            };
            if let Some(other) = found.insert(key, message.seq) {
                let seq = message.seq;
                verdict.fault(Kind::Doubled, || format!("{} is in history as {other} and {seq}", self.name(&key)));
                continue;
            }
            self.one(&key, sent, message, verdict);
        }
        let mut seqs: HashMap<u64, Key> = HashMap::new();
        for (key, sent) in &self.log.sent {
            let there = found.contains_key(key);
            let Some((_, numbers)) = sent.acked else {
                let counted = if sent.refused() { &mut verdict.counts.refused } else { &mut verdict.counts.unknown };
                *counted += 1;
                verdict.counts.unknown_kept += u64::from(there && !sent.refused());
                continue;
            };
            verdict.counts.acked += 1;
            if !there {
                verdict.fault(Kind::Lost, || format!("{}, acked as {numbers:?}", self.name(key)));
            }
            if let Some(other) = seqs.insert(numbers.seq, *key) {
                let seq = numbers.seq;
                verdict.fault(Kind::Reused, || {
                    format!("{seq} was acked for {} and {}", self.name(&other), self.name(key))
                });
            }
        }
    }

    /// A message of history beside the sending of it.
    fn one(&self, key: &Key, sent: &Sent, message: &Message, verdict: &mut Verdict) {
        let touched = self.touched(message);
        if sent.refused() {
            verdict.fault(Kind::RefusedKept, || format!("{} is in history as {}", self.name(key), message.seq));
        }
        if let Some((_, numbers)) = sent.acked {
            let revision = if touched { numbers.revision } else { message.revision };
            let there = Numbers { seq: message.seq, revision, at: message.at };
            if (there.seq, there.revision) != (numbers.seq, numbers.revision) {
                verdict.fault(Kind::Misordered, || format!("{}: acked as {numbers:?}, is {there:?}", self.name(key)));
            } else if there.at != numbers.at {
                verdict.fault(Kind::Altered, || format!("{}: acked as {numbers:?}, is {there:?}", self.name(key)));
            }
        }
        if !touched && (changed(message) || content_of(message) != sent.content) {
            verdict.fault(Kind::Altered, || format!("{} is not in history as it was sent", self.name(key)));
        }
    }

    /// P3: history beside what devices saw.
    pub fn observations(&self, verdict: &mut Verdict) {
        let by_revision: HashMap<u64, &Message> =
            self.messages.values().filter_map(|(message, base)| Some(((*base)?, *message))).collect();
        let name = &self.room.conversation;
        for (revision, known) in &self.log.known {
            let message = by_revision.get(revision).copied();
            let notice = self.notices.get(revision).copied();
            let kind = match (known.shown, message, notice) {
                (Shown::Hidden, ..) => continue,
                (Shown::Passing(_), None, None) => continue,
                (Shown::Message { .. } | Shown::Notice(_), None, None) => Kind::Lost,
                (Shown::Message { seq, author, content }, Some(message), None) => match of_message(message) {
                    Shown::Message { seq: its_seq, author: its_author, content: its_content } => {
                        if (seq, author) != (its_seq, its_author) {
                            Kind::Reused
                        } else if content == its_content || self.touched(message) {
                            continue;
                        } else {
                            Kind::Altered
                        }
                    }
                    _ => continue,
                },
                (shown @ Shown::Notice(_), None, Some(notice)) if of_event(notice) == shown => continue,
                (Shown::Notice(_), None, Some(_)) => Kind::Altered,
                _ => Kind::Reused,
            };
            verdict.fault(kind, || {
                format!(
                    "in {name}, revision {revision} was seen as {:?}; history has {message:?} {notice:?}",
                    known.shown
                )
            });
        }
    }
}
