//! P4 and P5: who was in a conversation when, and what follows from that; and the order of what happened one after
//! another.

use super::numbers::Written;
use crate::history::{
    fault::{Kind, Verdict},
    journal::{Key, Page, Sent},
    shown::id,
    spans::{Spans, count},
    stream::Stream,
};
use madang_proto::client::v1::event::Body;
use std::collections::HashMap;

/// From the event of joining to that of leaving, both included; without an end: still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stay {
    joined: u64,
    left: Option<u64>,
}

impl Stay {
    fn end(&self) -> u64 {
        self.left.unwrap_or(u64::MAX)
    }
}

/// Who was in a conversation when.
pub struct Members<'a> {
    written: &'a Written<'a>,
    stays: HashMap<u32, Vec<Stay>>,
}

impl<'a> Members<'a> {
    /// By the notices of its history.
    pub fn of(written: &'a Written<'a>) -> Self {
        let mut stays: HashMap<u32, Vec<Stay>> = HashMap::new();
        let number = |user: &str| written.journal.users.find(user).and_then(|user| u32::try_from(user).ok());
        for (revision, notice) in &written.notices {
            match &notice.body {
                Some(Body::Joined(joined)) => {
                    for user in joined.members.iter().filter_map(|member| number(&member.user)) {
                        let of = stays.entry(user).or_default();
                        if of.last().is_none_or(|stay| stay.left.is_some()) {
                            of.push(Stay { joined: *revision, left: None });
                        }
                    }
                }
                Some(Body::Left(left)) => {
                    for user in left.users.iter().filter_map(|user| number(user)) {
                        let stay = stays.get_mut(&user).and_then(|of| of.last_mut());
                        if let Some(stay) = stay.filter(|stay| stay.left.is_none()) {
                            stay.left = Some(*revision);
                        }
                    }
                }
                _ => {}
            }
        }
        Self { written, stays }
    }

    fn stays(&self, user: u32) -> &[Stay] {
        self.stays.get(&user).map_or(&[], Vec::as_slice)
    }

    /// Whether somebody is a member once an event has happened.
    fn inside(&self, user: u32, revision: u64) -> bool {
        self.stays(user).iter().any(|stay| stay.joined <= revision && revision < stay.end())
    }

    fn user(&self, user: u32) -> &str {
        self.written.journal.users.text(user as usize)
    }

    /// P3: what was asked for after something had been answered or seen comes after it.
    pub fn order(&self, verdict: &mut Verdict) {
        let (log, messages) = (self.written.log, &self.written.messages);
        let acked = log.sent.values().filter_map(|sent| sent.acked).map(|(at, numbers)| (at, numbers.revision));
        let seen = log.known.iter().map(|(revision, known)| (known.at, *revision));
        let changed = log.changes.iter().map(|change| (change.answered, change.revision));
        let mut done: Vec<(u64, u64)> = acked.chain(seen).chain(changed).collect();
        done.sort_unstable();
        let mut highest = 0;
        for (_, revision) in &mut done {
            highest = highest.max(*revision);
            *revision = highest;
        }
        // The newest event that was known to have happened before a time.
        let before = |at: u64| match done.partition_point(|(done, _)| *done < at) {
            0 => 0,
            place => done[place - 1].1,
        };
        for (message, base) in messages.values() {
            let (Some(base), Some((key, sent))) = (*base, self.sent(&message.sender, &message.client_id)) else {
                continue;
            };
            let known = before(sent.invoked);
            if base <= known {
                let name = self.written.name(&key);
                verdict.fault(Kind::Misordered, || format!("{name} has revision {base}, sent when {known} was known"));
            }
        }
        for change in &log.changes {
            let (known, revision) = (before(change.asked), change.revision);
            if revision < known {
                verdict.fault(Kind::Misordered, || {
                    let user = self.user(change.user);
                    format!("a change of {user} has revision {revision}, asked for when {known} was known")
                });
            }
        }
    }

    fn sent(&self, sender: &str, client_id: &str) -> Option<(Key, &'a Sent)> {
        let sender = u32::try_from(self.written.journal.users.find(sender)?).ok()?;
        let key = Key { sender, client_id: id(client_id) };
        Some((key, self.written.log.sent.get(&key)?))
    }

    /// P5: who is heard is a member.
    pub fn senders(&self, verdict: &mut Verdict) {
        for (message, base) in self.written.messages.values() {
            let Some((base, (key, _))) = base.zip(self.sent(&message.sender, &message.client_id)) else { continue };
            if !self.inside(key.sender, base) {
                let (name, stays) = (self.written.name(&key), self.stays(key.sender));
                verdict.fault(Kind::Intruded, || format!("{name} has revision {base}; the sender's stays: {stays:?}"));
            }
        }
    }

    /// P5: an acknowledged change of membership holds.
    pub fn changes(&self, verdict: &mut Verdict) {
        for change in &self.written.log.changes {
            if self.inside(change.user, change.revision) != change.inside {
                let (user, stays) = (self.user(change.user), self.stays(change.user));
                let what = if change.inside { "joining" } else { "leaving" };
                let (name, revision) = (&self.written.room.conversation, change.revision);
                verdict.fault(Kind::Lost, || format!("in {name}, {user}'s {what} as of {revision}; stays: {stays:?}"));
            }
        }
    }

    /// P4, P5: a device has what its user was there for, and nothing else.
    pub fn devices(&self, verdict: &mut Verdict) {
        let nothing = Stream::default();
        let (log, journal) = (self.written.log, self.written.journal);
        let mut covered: HashMap<u32, Spans> = HashMap::new();
        for page in log.pages.iter().filter(|page| page.due) {
            if let Some((low, high)) = self.covers(page) {
                covered.entry(page.device).or_default().add(low, high);
            }
        }
        for (device, owner) in (0u32..).zip(&journal.devices) {
            let (stays, stream) = (self.stays(owner.user), log.streams.get(&device).unwrap_or(&nothing));
            let name = || format!("device {device} of {} in {}", self.user(owner.user), self.written.room.conversation);
            let mut allowed = Spans::default();
            for stay in stays {
                allowed.add(stay.joined, stay.end());
            }
            for (low, high) in stream.seen.iter() {
                let outside = allowed.missing(low, high);
                if !outside.is_empty() {
                    verdict.faults_of(Kind::Leaked, count(&outside), || {
                        format!("{} saw {outside:?}; its user's stays: {stays:?}", name())
                    });
                }
            }
            // Between two stays numbers are left out. What comes from before a snapshot may be a repetition of something
            // older, with what is in the snapshot left out after it.
            let fetched = covered.get(&device);
            let owed = |(low, high)| fetched.map_or(vec![(low, high)], |fetched| fetched.missing(low, high));
            let skipped: Vec<_> =
                stream.skipped.iter().flat_map(|(low, high)| allowed.within(low, high)).flat_map(owed).collect();
            if !skipped.is_empty() {
                verdict.faults_of(Kind::Gaps, count(&skipped), || format!("{} was not sent {skipped:?}", name()));
            }
            if owner.retired {
                continue;
            }
            let mut has = stream.seen.clone();
            for (low, high) in covered.get(&device).into_iter().flat_map(Spans::iter) {
                has.add(low, high);
            }
            for stay in stays {
                // Who may have missed something can't read it any more once they have left.
                if stay.left.is_some() && owner.resyncs > 0 {
                    continue;
                }
                let missing = has.missing(stay.joined, stay.end().min(self.written.newest));
                if !missing.is_empty() {
                    verdict.faults_of(Kind::Missed, count(&missing), || format!("{} lacks {missing:?}", name()));
                }
            }
        }
    }

    /// The events that a page of history tells all of.
    fn covers(&self, page: &Page) -> Option<(u64, u64)> {
        let base = |seq: u64| self.written.messages.get(&seq).and_then(|(_, base)| *base);
        let low = if page.has_before { base(page.seqs?.0)? } else { 1 };
        // Notices stand behind the message before them.
        let high = if page.has_after { base(page.seqs?.1 + 1)?.saturating_sub(1) } else { page.revision };
        Some((low, high.min(page.revision)))
    }

    /// P3 to P5 for readers: a page leaves nothing out, and only members read.
    pub fn pages(&self, verdict: &mut Verdict) {
        for page in &self.written.log.pages {
            let Some(owner) = self.written.journal.devices.get(page.device as usize) else { continue };
            let (user, stays) = (owner.user, self.stays(owner.user));
            let what = || {
                let name = &self.written.room.conversation;
                format!("device {} of {} read {name}: {page:?}; stays: {stays:?}", page.device, self.user(user))
            };
            let stay = stays.iter().rev().find(|stay| stay.joined <= page.revision);
            let changes = self.written.log.changes.iter();
            // Gone, by an answer that came before the page was asked for, and not come again since.
            let gone = changes.filter(|change| change.user == user && !change.inside && change.answered < page.asked);
            let gone = gone.map(|change| change.revision).max().unwrap_or(0);
            let again = stays.iter().any(|stay| stay.joined > gone);
            let Some(stay) = stay.filter(|_| gone == 0 || again) else {
                verdict.fault(Kind::Leaked, || format!("not a member: {}", what()));
                continue;
            };
            let first = if self.written.room.all_visible { 1 } else { stay.joined };
            // Who was still a member when it was asked for may be told that it is newer, but not what came since.
            if page.revisions.is_some_and(|(low, high)| low < first || high > stay.end()) {
                verdict.fault(Kind::Leaked, what);
            }
            if page.revisions.is_some_and(|(_, high)| high > page.revision) {
                verdict.fault(Kind::Misordered, || format!("newer than it says: {}", what()));
            }
            if page.revision < stay.end() {
                self.complete(page, first, verdict, what);
            }
        }
    }

    fn complete(&self, page: &Page, first: u64, verdict: &mut Verdict, what: impl Fn() -> String) {
        let next = page.seqs.map(|(_, high)| high + 1);
        let next = next.and_then(|next| self.written.messages.get(&next)).and_then(|(_, base)| *base);
        if !page.has_after && next.is_some_and(|next| next <= page.revision) {
            verdict.fault(Kind::Gaps, || format!("has no last message, though there is one: {}", what()));
        }
        let Some((low, high)) = self.covers(page) else { return };
        let low = low.max(first);
        let due = if low > high { 0 } else { self.written.notices.range(low..=high).count() as u64 };
        // So many that they may be cut.
        const MANY: u64 = 1000;
        if page.notices < due.min(MANY) {
            verdict.fault(Kind::Gaps, || format!("{due} notices were due: {}", what()));
        }
    }
}
