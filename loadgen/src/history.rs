//! What was said against what arrived: judgements without any network, so that they can be shown to catch every fault
//! that they exist for. [`compare`] and [`Watch`] are for a load whose sockets stay up; a [`Journal`] and its [`judge()`]
//! are for one whose clients retry, reconnect, come and go while things break.

mod amended;
#[cfg(test)]
mod doctored;
mod fault;
mod journal;
mod judge;
mod shown;
mod spans;
mod stream;

pub use fault::{Counts, Faults, Kind, Verdict};
pub use journal::{Device, Fetched, Journal, Membership};
pub use judge::{Judge, Room, judge};

use madang_proto::client::v1::Message;
use std::collections::HashMap;

/// A message that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// Its client id.
    pub client_id: &'a str,
    /// The number that the ack gave it.
    pub seq: u64,
    /// Who sent it.
    pub sender: &'a str,
    /// What it said.
    pub text: &'a str,
}

/// Compares a room's whole history with what was acknowledged, in the order of sending.
#[must_use]
pub fn compare(sent: &[Sent<'_>], history: &[Message]) -> Faults {
    let mut faults = Faults::default();
    let places: HashMap<&str, usize> = sent.iter().enumerate().map(|(place, sent)| (sent.client_id, place)).collect();
    let mut found = vec![false; sent.len()];
    let mut last_place = None;
    let mut last_seq = 0;
    for message in history {
        if message.seq == last_seq {
            faults.reused += 1;
        } else if message.seq < last_seq {
            faults.misordered += 1;
        } else if message.seq > last_seq + 1 {
            faults.gaps += 1;
        }
        last_seq = last_seq.max(message.seq);
        let Some(&place) = places.get(message.client_id.as_str()) else {
            faults.leaked += 1;
            continue;
        };
        if std::mem::replace(&mut found[place], true) {
            faults.doubled += 1;
            continue;
        }
        if last_place.is_some_and(|last| place < last) || message.seq != sent[place].seq {
            faults.misordered += 1;
        }
        last_place = last_place.max(Some(place));
        if message.text != sent[place].text || message.sender != sent[place].sender || message.deleted {
            faults.altered += 1;
        }
    }
    faults.lost = found.iter().filter(|found| !**found).count() as u64;
    faults
}

/// What one member's socket received of one room.
#[derive(Debug, Clone)]
pub struct Watch {
    revision: Option<u64>,
    last: Option<usize>,
    seen: Vec<u64>,
    /// Messages received, each counted once.
    pub delivered: u64,
    /// What went wrong so far; what is lost shows at the end.
    pub faults: Faults,
}

impl Watch {
    /// Of a room with so many messages to be sent, whose events above a revision must all come. Without one, the first
    /// event says where it begins.
    #[must_use]
    pub fn new(revision: Option<u64>, messages: usize) -> Self {
        let seen = vec![0; messages.div_ceil(64)];
        Self { revision, last: None, seen, delivered: 0, faults: Faults::default() }
    }

    /// Whether a message was received.
    #[must_use]
    pub fn has(&self, place: usize) -> bool {
        self.seen.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    /// Takes an event; `message` is the place of one that we sent. Gives whether it is new.
    pub fn event(&mut self, revision: u64, message: Option<usize>) -> bool {
        match self.revision {
            // At least once: what comes again is not counted, but has to be the same.
            Some(own) if revision <= own => {
                if message.is_some_and(|place| self.last.is_some() && !self.has(place)) {
                    self.faults.reused += 1;
                }
                return false;
            }
            Some(own) if revision > own + 1 => self.faults.gaps += 1,
            _ => {}
        }
        self.revision = Some(revision);
        let Some(place) = message else { return true };
        if self.has(place) {
            self.faults.doubled += 1;
            return false;
        }
        if self.last.is_some_and(|last| place < last) {
            self.faults.misordered += 1;
        }
        self.last = self.last.max(Some(place));
        if let Some(word) = self.seen.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
        self.delivered += 1;
        true
    }

    /// The faults, with those of `due` that never came.
    #[must_use]
    pub fn finish(&self, due: impl IntoIterator<Item = usize>) -> Faults {
        let lost = due.into_iter().filter(|place| !self.has(*place)).count() as u64;
        Faults { lost, ..self.faults }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 4] = ["하나", "둘", "셋", "넷"];
    const IDS: [&str; 4] = ["a", "b", "c", "d"];

    fn sent() -> Vec<Sent<'static>> {
        (0..4).map(|n| Sent { client_id: IDS[n], seq: n as u64 + 1, sender: "u", text: TEXTS[n] }).collect()
    }

    fn history() -> Vec<Message> {
        let message = |sent: Sent<'_>| Message {
            seq: sent.seq,
            sender: sent.sender.into(),
            client_id: sent.client_id.into(),
            text: sent.text.into(),
            ..Default::default()
        };
        sent().into_iter().map(message).collect()
    }

    #[test]
    fn a_true_history_has_no_faults() {
        assert!(compare(&sent(), &history()).none());
    }

    #[test]
    fn every_doctored_history_is_caught() {
        let mut lost = history();
        lost.pop();
        assert_eq!(compare(&sent(), &lost), Faults { lost: 1, ..Default::default() });

        let mut gap = history();
        gap.remove(1);
        assert_eq!(compare(&sent(), &gap), Faults { lost: 1, gaps: 1, ..Default::default() });

        let mut doubled = history();
        doubled.push(Message { seq: 5, ..doubled[1].clone() });
        assert_eq!(compare(&sent(), &doubled), Faults { doubled: 1, ..Default::default() });

        let mut swapped = history();
        swapped.swap(1, 2);
        (swapped[1].seq, swapped[2].seq) = (2, 3);
        assert!(compare(&sent(), &swapped).misordered > 0);

        let mut unsorted = history();
        unsorted.swap(1, 2);
        assert!(compare(&sent(), &unsorted).misordered > 0);

        let mut leaked = history();
        leaked.push(Message { seq: 5, client_id: "x".into(), ..Default::default() });
        assert_eq!(compare(&sent(), &leaked), Faults { leaked: 1, ..Default::default() });

        let mut reused = history();
        reused[2].seq = 2;
        assert!(compare(&sent(), &reused).reused > 0);

        let mut altered = history();
        altered[0].text = "하나".chars().rev().collect();
        assert_eq!(compare(&sent(), &altered), Faults { altered: 1, ..Default::default() });
    }

    #[test]
    fn a_watch_takes_repeats_and_catches_faults() {
        let mut good = Watch::new(Some(1), 100);
        for (revision, place) in [(1, None), (2, Some(0)), (3, Some(70)), (2, Some(0)), (4, None), (5, Some(99))] {
            good.event(revision, place);
        }
        assert!(good.finish([0, 70, 99]).none());
        assert_eq!(good.delivered, 3);
        assert_eq!(good.finish([0, 1]).lost, 1);

        let faults = |events: &[(u64, Option<usize>)]| {
            let mut watch = Watch::new(Some(1), 10);
            for (revision, place) in events {
                watch.event(*revision, *place);
            }
            watch.faults
        };
        assert_eq!(faults(&[(3, Some(0))]).gaps, 1);
        assert_eq!(faults(&[(2, Some(0)), (3, Some(0))]).doubled, 1);
        assert_eq!(faults(&[(2, Some(1)), (3, Some(0))]).misordered, 1);
        assert_eq!(faults(&[(2, Some(0)), (2, Some(1))]).reused, 1);
    }
}
