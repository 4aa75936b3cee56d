//! What became of messages: every edit, deletion and reaction that was acknowledged or seen holds from its revision on,
//! is there once, and nothing else has changed a message. What was asked for and never answered may have happened.

use super::numbers::Written;
use crate::history::{
    amended::{Asked, Told, View, What, view},
    fault::{Kind, Verdict},
    journal::Key,
    shown::nothing,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Of one message, what is known to be so as of which revision.
#[derive(Debug, Default)]
pub struct Life {
    /// What it said when it was sent, where that is known.
    first: Option<u64>,
    edits: BTreeMap<u64, u64>,
    deleted: Option<u64>,
    /// By emoji and who put it there or took it away.
    reactions: BTreeMap<(u64, u32), BTreeMap<u64, bool>>,
    /// What was asked for and never answered, and by whom.
    open: Vec<(u32, What)>,
    /// All revisions that are known to speak of it.
    pub revisions: BTreeSet<u64>,
}

impl Life {
    fn holds(&mut self, revision: u64, what: What, by: Option<u32>) {
        self.revisions.insert(revision);
        match what {
            What::Edit(content) => drop(self.edits.insert(revision, content)),
            What::Delete => self.deleted = Some(self.deleted.map_or(revision, |before| before.min(revision))),
            What::React { emoji, removed } => {
                let by = by.unwrap_or(u32::MAX);
                self.reactions.entry((emoji, by)).or_default().insert(revision, !removed);
            }
        }
    }

    fn open(&self, what: impl Fn(u32, What) -> bool) -> bool {
        self.open.iter().any(|(by, open)| what(*by, *open))
    }

    /// Whether somebody's emoji is there as of a revision; none: that is not known.
    pub fn reaction(&self, emoji: u64, user: u32, revision: u64) -> Option<bool> {
        let deleted = self.deleted.is_some_and(|deleted| deleted <= revision);
        let mine = |by, what| by == user && matches!(what, What::React { emoji: of, .. } if of == emoji);
        if self.open(|by, what| mine(by, what) || what == What::Delete && !deleted) {
            return None;
        }
        let last = self.reactions.get(&(emoji, user)).and_then(|all| all.range(..=revision).next_back());
        Some(!deleted && last.is_some_and(|(_, there)| *there))
    }

    /// All that anybody has put there.
    pub fn emoji(&self) -> BTreeSet<u64> {
        self.reactions.keys().map(|(emoji, _)| *emoji).collect()
    }

    /// How many have put an emoji there as of a revision: at least, and at most.
    fn count(&self, emoji: u64, revision: u64) -> (u32, u32) {
        let mut users: BTreeSet<u32> =
            self.reactions.keys().filter(|(of, _)| *of == emoji).map(|(_, user)| *user).collect();
        users.extend(self.open.iter().filter_map(|(by, what)| match what {
            What::React { emoji: of, .. } if *of == emoji => Some(*by),
            _ => None,
        }));
        let (mut least, mut most) = (0, 0);
        for there in users.into_iter().map(|user| self.reaction(emoji, user, revision)) {
            least += u32::from(there == Some(true));
            most += u32::from(there != Some(false));
        }
        (least, most)
    }

    /// What is wrong with how it was read as of a revision.
    fn check(&self, revision: u64, view: &View) -> Option<(Kind, String)> {
        let deleted = self.deleted.is_some_and(|deleted| deleted <= revision);
        if view.deleted != deleted {
            let may = view.deleted && self.open(|_, what| what == What::Delete);
            let kind = if view.deleted { Kind::Altered } else { Kind::Undone };
            return (!may).then(|| (kind, format!("deleted: {}; it was {:?}", view.deleted, self.deleted)));
        }
        if view.deleted {
            let bare = view.content == nothing() && view.reactions.is_empty();
            return (!bare).then(|| (Kind::Leaked, "something is left of what was taken back".into()));
        }
        let last = self.edits.range(..=revision).next_back();
        let content = last.map(|(_, content)| *content).or(self.first);
        let asked = self.open(|_, what| what == What::Edit(view.content));
        if content.is_some_and(|content| content != view.content) && !asked {
            let earlier = self.first == Some(view.content) || self.edits.values().any(|each| *each == view.content);
            let kind = if earlier { Kind::Undone } else { Kind::Altered };
            return Some((kind, format!("not what the edit {:?} said", last.map(|(revision, _)| revision))));
        }
        let shown: BTreeMap<_, _> = view.reactions.iter().copied().collect();
        let emoji: BTreeSet<u64> = shown.keys().copied().chain(self.reactions.keys().map(|(of, _)| *of)).collect();
        emoji.into_iter().find_map(|emoji| {
            let (is, (least, most)) = (shown.get(&emoji).copied().unwrap_or(0), self.count(emoji, revision));
            let kind = if is < least { Kind::Undone } else { Kind::Altered };
            (is < least || is > most).then(|| (kind, format!("an emoji {is} times, and not {least} to {most}")))
        })
    }
}

/// What became of a conversation's messages.
pub struct Lives<'a> {
    pub written: &'a Written<'a>,
    of: HashMap<u64, Life>,
    /// What is known to have happened to which message, by revision.
    pub order: BTreeMap<u64, u64>,
}

impl<'a> Lives<'a> {
    /// As answers and events tell it.
    pub fn of(written: &'a Written<'a>) -> Self {
        let amended = &written.log.amended;
        let mut lives = Self { written, of: HashMap::new(), order: BTreeMap::new() };
        // What was seen to happen, and is not known by an answer to have been asked for by whom.
        let mut seen: HashMap<(u64, What, u32), usize> = HashMap::new();
        for (revision, Told { seq, what, by, .. }) in &amended.told {
            lives.of.entry(*seq).or_default().holds(*revision, *what, *by);
            lives.order.insert(*revision, *seq);
            let by = by.or_else(|| lives.sender(*seq)).unwrap_or(u32::MAX);
            *seen.entry((*seq, *what, by)).or_default() += 1;
        }
        for (Key { sender, .. }, Asked { seq, what, acked, duplicate, .. }) in &amended.asked {
            let Some((_, numbers)) = acked else { continue };
            // What was so already may have been so for long.
            lives.of.entry(*seq).or_default().holds(numbers.revision, *what, Some(*sender));
            if !duplicate {
                lives.order.insert(numbers.revision, *seq);
            }
            let own = amended.told.get(&numbers.revision).is_some_and(|told| (told.seq, told.what) == (*seq, *what));
            if let Some(times) = seen.get_mut(&(*seq, *what, *sender)).filter(|_| own) {
                *times = times.saturating_sub(1);
            }
        }
        for (Key { sender, .. }, Asked { seq, what, .. }) in
            amended.asked.iter().filter(|(_, asked)| asked.acked.is_none())
        {
            // It has happened, and does not again; or nobody knows.
            match seen.get_mut(&(*seq, *what, *sender)).filter(|times| **times > 0) {
                Some(times) => *times -= 1,
                None => lives.of.entry(*seq).or_default().open.push((*sender, *what)),
            }
        }
        for (seq, life) in &mut lives.of {
            let key = written.messages.get(seq).and_then(|(message, _)| written.key(message));
            life.first = key.and_then(|key| written.log.sent.get(&key)).map(|sent| sent.content);
        }
        lives
    }

    /// Of a message, if anything is known to have been done to it.
    pub fn get(&self, seq: u64) -> Option<&Life> {
        self.of.get(&seq)
    }

    /// Answers, events, pages and history tell the same.
    pub fn agree(&self, verdict: &mut Verdict) {
        self.history(verdict);
        self.views(verdict);
        self.once(verdict);
        self.events(verdict);
        self.acks(verdict);
    }

    fn name(&self, seq: u64) -> String {
        format!("{seq} in {}", self.written.room.conversation)
    }

    fn judge(&self, seq: u64, revision: u64, shown: &View, who: &str, verdict: &mut Verdict) {
        let Some(life) = self.of.get(&seq) else { return };
        let found = life.check(revision, shown);
        if let Some((kind, why)) = found {
            verdict.fault(kind, || format!("{who}: {} as of {revision}: {why}", self.name(seq)));
        }
    }

    /// At the end, all of it holds.
    fn history(&self, verdict: &mut Verdict) {
        for (seq, life) in &self.of {
            // A message that is not there at all is another fault.
            let Some((message, base)) = self.written.messages.get(seq) else { continue };
            let last = life.revisions.last().copied().unwrap_or(0);
            if message.revision < last {
                let revision = message.revision;
                verdict.fault(Kind::Undone, || format!("history has {} as of {revision}, not {last}", self.name(*seq)));
                continue;
            }
            let known = life.revisions.contains(&message.revision) || *base == Some(message.revision);
            if !known && life.open.is_empty() {
                let revision = message.revision;
                verdict.fault(Kind::Altered, || format!("{} was changed as of {revision} by nobody", self.name(*seq)));
            }
            self.judge(*seq, message.revision, &view(message), "history", verdict);
        }
    }

    /// So does it in every page, as of the revision that the message had there.
    fn views(&self, verdict: &mut Verdict) {
        for ((seq, revision), shown) in &self.written.log.amended.views {
            let Some((message, base)) = self.written.messages.get(seq) else {
                verdict.fault(Kind::Lost, || format!("{}, which was read, is not in history", self.name(*seq)));
                continue;
            };
            let now = view(message);
            if shown.author != now.author || shown.at != now.at {
                let kind = if shown.author == now.author { Kind::Altered } else { Kind::Reused };
                verdict.fault(kind, || format!("{} was read as {shown:?}, and is {now:?}", self.name(*seq)));
                continue;
            }
            if !self.of.contains_key(seq) {
                let same = *shown == now && *base == Some(*revision);
                if !same {
                    let kind = if *base == Some(*revision) { Kind::Altered } else { Kind::Misordered };
                    verdict.fault(kind, || {
                        format!(
                            "{} was read as of {revision}: {shown:?}, and is {now:?} as of {base:?}",
                            self.name(*seq)
                        )
                    });
                }
                continue;
            }
            self.judge(*seq, *revision, shown, "a page", verdict);
        }
    }

    /// P2: what was asked for once happened once, and what nobody asked for did not.
    fn once(&self, verdict: &mut Verdict) {
        let mut asked: HashMap<(u64, What, u32), u64> = HashMap::new();
        for (Key { sender, .. }, Asked { seq, what, .. }) in &self.written.log.amended.asked {
            *asked.entry((*seq, *what, *sender)).or_default() += 1;
        }
        let mut happened: HashMap<(u64, What, u32), Vec<u64>> = HashMap::new();
        for (revision, Told { seq, what, by, .. }) in &self.written.log.amended.told {
            let Some(by) = by.or_else(|| self.sender(*seq)) else { continue };
            happened.entry((*seq, *what, by)).or_default().push(*revision);
        }
        for (of, revisions) in happened {
            let times = asked.get(&of).copied().unwrap_or(0);
            if revisions.len() as u64 > times {
                let kind = if times == 0 { Kind::Leaked } else { Kind::Doubled };
                verdict.fault(kind, || {
                    let what = of.1;
                    format!("{what:?} of {} was asked for {times} times, and is {revisions:?}", self.name(of.0))
                });
            }
        }
    }

    /// Who sent a message, as history has it.
    pub fn sender(&self, seq: u64) -> Option<u32> {
        let (message, _) = self.written.messages.get(&seq)?;
        u32::try_from(self.written.journal.users.find(&message.sender)?).ok()
    }

    /// P3: nothing happens to a message after it was taken back, and counts are right.
    fn events(&self, verdict: &mut Verdict) {
        for (revision, Told { seq, what, count, .. }) in &self.written.log.amended.told {
            let Some(life) = self.of.get(seq) else { continue };
            if *what != What::Delete && life.deleted.is_some_and(|deleted| deleted < *revision) {
                verdict.fault(Kind::Undone, || format!("{what:?} of {} after it was taken back", self.name(*seq)));
            } else if let What::React { emoji, .. } = what {
                let (least, most) = life.count(*emoji, *revision);
                if *count < least || *count > most {
                    verdict.fault(Kind::Altered, || {
                        format!("{}: event {revision} counts {count}, and not {least} to {most}", self.name(*seq))
                    });
                }
            }
        }
    }

    /// P1, P3: an acknowledged change has the revision that it was given, alone.
    fn acks(&self, verdict: &mut Verdict) {
        let mut taken: HashMap<u64, Key> = HashMap::new();
        for (key, asked) in &self.written.log.amended.asked {
            let Some((_, numbers)) = asked.acked.filter(|_| !asked.duplicate) else { continue };
            let revision = numbers.revision;
            if taken.insert(revision, *key).is_some() {
                verdict.fault(Kind::Reused, || format!("{revision} was acked for two, of {}", self.name(asked.seq)));
            }
            let told = self.written.log.amended.told.get(&revision);
            let same = |told: &Told| {
                (told.seq, told.what) == (asked.seq, asked.what) && told.by.is_none_or(|by| by == key.sender)
            };
            let other = match told {
                Some(told) => !same(told),
                None => {
                    use crate::history::shown::Shown::{Hidden, Passing};
                    let known = self.written.log.known.get(&revision).map(|known| known.shown);
                    !matches!(known, None | Some(Hidden | Passing(_))) || self.written.notices.contains_key(&revision)
                }
            };
            if other {
                verdict.fault(Kind::Reused, || {
                    format!("{:?} of {} was acked as {revision}, which is {told:?}", asked.what, self.name(asked.seq))
                });
            }
        }
    }
}
