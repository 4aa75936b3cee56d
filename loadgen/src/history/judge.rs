//! Decides P1 to P5 of the promises from a [`Journal`] and the history at the end.
//!
//! P1: what was acknowledged is in history, with those numbers, that sender and that content. P2: one id of one sender is
//! there once at most, and not at all if it was refused for good. P3: numbers have no holes; history and all who saw an
//! event agree on what it is; and what was asked for after something else had been answered or seen comes after it. P4: a
//! device has every event from its user's joining to their leaving. P5: nobody has others, nobody is heard who is not a
//! member, and an acknowledged removal holds. What became of messages ([`lives`]) is held to all five as well.

mod lives;
mod members;
mod numbers;

use super::{
    fault::Verdict,
    journal::{Journal, Log},
};
use lives::Lives;
use madang_proto::client::v1::{Event, Message};
use members::Members;
use numbers::Written;

/// A conversation's history at the end: all of it, as someone reads it who may read all.
#[derive(Debug, Clone, Default)]
pub struct Room {
    /// Its id.
    pub conversation: String,
    /// Its messages, in the order in which they were given.
    pub messages: Vec<Message>,
    /// Its notices (`joined`, `left`, `role`, `changed`), from revision 1: they say who was a member when.
    pub notices: Vec<Event>,
    /// As of which event.
    pub revision: u64,
    /// Whether members see what was said before they joined (`history: ALL`, and direct conversations).
    pub all_visible: bool,
}

/// Judges conversations one by one, so that their histories need not all be in memory.
#[derive(Debug)]
pub struct Judge<'a> {
    journal: &'a Journal,
    judged: Vec<bool>,
    verdict: Verdict,
}

impl<'a> Judge<'a> {
    /// Of a journal to which nothing is added any more.
    #[must_use]
    pub fn new(journal: &'a Journal) -> Self {
        let mut verdict = journal.found.clone();
        verdict.counts.devices = journal.devices.len() as u64;
        Self { journal, judged: vec![false; journal.logs.len()], verdict }
    }

    /// Judges a conversation.
    pub fn room(&mut self, room: &Room) {
        let empty = Log::default();
        let place = self.journal.conversations.find(&room.conversation);
        let log = place.and_then(|place| self.journal.logs.get(place)).unwrap_or(&empty);
        if let Some(judged) = place.and_then(|place| self.judged.get_mut(place)) {
            *judged = true;
        }
        let (journal, verdict) = (self.journal, &mut self.verdict);
        verdict.counts.conversations += 1;
        let written = Written::of(room, log, journal, verdict);
        written.sends(verdict);
        written.observations(verdict);
        let lives = Lives::of(&written);
        lives.agree(verdict);
        let members = Members::of(&written, &lives);
        members.order(verdict);
        members.senders(verdict);
        members.changes(verdict);
        members.devices(verdict);
        members.pages(verdict);
        members.amendments(verdict);
    }

    /// Leaves a conversation out: its history could not be read, so nothing can be said of what should be in it.
    pub fn unread(&mut self, conversation: &str) {
        let place = self.journal.conversations.find(conversation);
        if let Some(judged) = place.and_then(|place| self.judged.get_mut(place)) {
            *judged = true;
        }
    }

    /// The verdict. A conversation of which no history was given has none: all that was acknowledged there is lost.
    #[must_use]
    pub fn finish(mut self) -> Verdict {
        for place in 0..self.judged.len() {
            let log = &self.journal.logs[place];
            let nothing = log.known.is_empty() && log.sent.values().all(|sent| sent.acked.is_none());
            if !self.judged[place] && !nothing {
                let conversation = self.journal.conversations.text(place).into();
                self.room(&Room { conversation, ..Room::default() });
            }
        }
        self.verdict
    }
}

/// Decides from a journal and all histories at the end, once all devices are connected and have come to rest.
#[must_use]
pub fn judge<'a>(journal: &Journal, rooms: impl IntoIterator<Item = &'a Room>) -> Verdict {
    let mut judge = Judge::new(journal);
    for room in rooms {
        judge.room(room);
    }
    judge.finish()
}
