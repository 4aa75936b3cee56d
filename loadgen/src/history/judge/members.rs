//! P4 and P5: who was in a conversation when, and what follows from that; and the order of what happened one after
//! another.

use super::{lives::Lives, numbers::Written};
use crate::history::{
    amended::{Asked, What},
    fault::{Kind, Verdict},
    journal::{Key, Page, Sent},
    shown::id,
    spans::{Spans, count},
    stream::Stream,
};
use madang_proto::client::v1::{Role, event::Body};
use std::collections::{HashMap, HashSet};

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
    lives: &'a Lives<'a>,
    stays: HashMap<u32, Vec<Stay>>,
    /// Who was ever an owner or an admin.
    leaders: HashSet<u32>,
}

impl<'a> Members<'a> {
    /// By the notices of its history.
    pub fn of(written: &'a Written<'a>, lives: &'a Lives<'a>) -> Self {
        let (mut stays, mut leaders): (HashMap<u32, Vec<Stay>>, _) = (HashMap::new(), HashSet::new());
        let leads = |role: Role| matches!(role, Role::Owner | Role::Admin);
        let number = |user: &str| written.journal.users.find(user).and_then(|user| u32::try_from(user).ok());
        for (revision, notice) in &written.notices {
            match &notice.body {
                Some(Body::Role(role)) if leads(role.role()) => leaders.extend(number(&role.user)),
                Some(Body::Joined(joined)) => {
                    let leading = joined.members.iter().filter(|member| leads(member.role()));
                    leaders.extend(leading.filter_map(|member| number(&member.user)));
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
        Self { written, lives, stays, leaders }
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
        let amended = log.amended.asked.values().filter(|asked| !asked.duplicate);
        let amended = amended.filter_map(|asked| Some((asked, asked.acked?)));
        let changed = changed.chain(amended.clone().map(|(_, (at, numbers))| (at, numbers.revision)));
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
        for (Asked { seq, what, invoked, .. }, (_, numbers)) in amended {
            let (known, revision) = (before(*invoked), numbers.revision);
            if revision <= known {
                verdict.fault(Kind::Misordered, || {
                    format!("{what:?} of {seq} has revision {revision}, asked for when {known} was known")
                });
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
            let user = journal.devices.get(page.device as usize).map_or(u32::MAX, |owner| owner.user);
            self.cover(page, user, covered.entry(page.device).or_default());
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

    /// Adds all events that a page of history tells of. A change of a message is not told of between the messages after
    /// it, but by the message itself, if the reader may see that at all.
    fn cover(&self, page: &Page, user: u32, into: &mut Spans) {
        if let Some(since) = page.since {
            return into.add(since + 1, page.revision);
        }
        let Some((mut low, high)) = self.covers(page) else { return };
        let stay = self.stays(user).iter().rev().find(|stay| stay.joined <= page.revision);
        let joined = stay.filter(|_| !self.written.room.all_visible).map_or(0, |stay| stay.joined);
        let elsewhere = |seq: u64| {
            let beside = match page.seqs {
                Some((first, last)) => seq < first && page.has_before || seq > last && page.has_after,
                None => page.has_before || page.has_after,
            };
            beside && self.base(seq).is_some_and(|base| base >= joined)
        };
        let within = self.lives.order.range(low..).take_while(|(revision, _)| **revision <= high);
        for (revision, _) in within.filter(|(_, seq)| elsewhere(**seq)) {
            into.add(low, revision - 1);
            low = revision + 1;
        }
        into.add(low, high);
        let told = page.shown.iter().filter_map(|(seq, _)| self.lives.get(*seq)).flat_map(|life| &life.revisions);
        told.filter(|revision| **revision <= page.revision).for_each(|revision| into.add(*revision, *revision));
    }

    /// From where to where a page of history tells what was sent, and who came and went.
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
            // Messages are as they are now, so one may have been changed since; but nothing is there that came later.
            let later = |(seq, _): &(u64, u64)| self.base(*seq).is_some_and(|base| base > page.revision);
            if page.noticed > page.revision || page.shown.iter().any(later) {
                verdict.fault(Kind::Misordered, || format!("newer than it says: {}", what()));
            }
            if page.revision < stay.end() {
                match page.since {
                    Some(since) => self.all_since(page, (first, first.max(since + 1)), verdict, what),
                    None => self.complete(page, first, verdict, what),
                }
            }
            self.current(page, user, verdict, what);
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

    /// What tells all that was sent or changed since a revision leaves out none of it.
    fn all_since(&self, page: &Page, (visible, first): (u64, u64), verdict: &mut Verdict, what: impl Fn() -> String) {
        let shown: HashSet<u64> = page.shown.iter().map(|(seq, _)| *seq).collect();
        let within = |revision: u64| (first..=page.revision).contains(&revision);
        let sent = self.written.messages.iter().filter(|(_, (_, base))| base.is_some_and(within)).map(|(seq, _)| seq);
        let changed = self.lives.order.iter().filter(|(revision, _)| within(**revision)).map(|(_, seq)| seq);
        let sees = |seq: &&u64| self.base(**seq).is_some_and(|base| base >= visible);
        if let Some(seq) = sent.chain(changed.filter(sees)).find(|seq| !shown.contains(seq)) {
            verdict.fault(Kind::Gaps, || format!("{seq} is left out: {}", what()));
        }
        let due = if first > page.revision { 0 } else { self.written.notices.range(first..=page.revision).count() };
        if page.notices < due as u64 {
            verdict.fault(Kind::Gaps, || format!("{due} notices were due: {}", what()));
        }
    }

    /// Each message of a page is as it was by the revision that the page has.
    fn current(&self, page: &Page, user: u32, verdict: &mut Verdict, what: impl Fn() -> String) {
        let own: HashSet<&(u64, u64)> = page.own.iter().collect();
        for (seq, revision) in &page.shown {
            let Some(life) = self.lives.get(*seq) else { continue };
            let newer = life.revisions.range(revision + 1..).next().filter(|newer| **newer <= page.revision);
            if let Some(newer) = newer {
                verdict.fault(Kind::Undone, || format!("{seq} as of {revision}, not {newer}: {}", what()));
            }
            for emoji in life.emoji() {
                let (is, there) = (own.contains(&(*seq, emoji)), life.reaction(emoji, user, *revision));
                if there.is_some_and(|there| there != is) {
                    verdict.fault(Kind::Undone, || format!("one's own emoji under {seq}: {is}; {}", what()));
                }
            }
        }
    }

    fn base(&self, seq: u64) -> Option<u64> {
        self.written.messages.get(&seq).and_then(|(_, base)| *base)
    }

    /// P5: who changes a message may, and who is told how may see it.
    pub fn amendments(&self, verdict: &mut Verdict) {
        let amended = &self.written.log.amended;
        let name = |seq: u64| format!("{seq} in {}", self.written.room.conversation);
        for (Key { sender, .. }, Asked { seq, what, acked, duplicate, .. }) in &amended.asked {
            let Some((_, numbers)) = acked else { continue };
            let author = self.lives.sender(*seq).is_none_or(|author| author == *sender);
            let may = match what {
                What::Edit(_) => author,
                What::Delete => author || self.leaders.contains(sender),
                What::React { .. } => true,
            };
            let inside = *duplicate || self.inside(*sender, numbers.revision);
            if !may || !inside {
                let user = self.user(*sender);
                verdict.fault(Kind::Intruded, || format!("{what:?} of {} by {user}, as {numbers:?}", name(*seq)));
            }
        }
        for (user, revisions) in amended.bodies.iter().filter(|_| !self.written.room.all_visible) {
            for revision in revisions {
                let Some(seq) = amended.told.get(revision).map(|told| told.seq) else { continue };
                let stay = self.stays(*user).iter().find(|stay| (stay.joined..=stay.end()).contains(revision));
                if stay.zip(self.base(seq)).is_some_and(|(stay, base)| base < stay.joined) {
                    let user = self.user(*user);
                    verdict.fault(Kind::Leaked, || format!("{user} was told of {revision}, about {}", name(seq)));
                }
            }
        }
    }
}
