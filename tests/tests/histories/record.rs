//! What was asked for, when, and what was answered: whether all of it can have happened in the order of the revisions.

use super::model::{Op, Room};
use std::collections::{BTreeMap, BTreeSet};

/// What became of something.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// No answer came: it was done or not, or is done later.
    Unknown,
    /// It was done with this revision; or (`again`) it was so already, as of it.
    Done { revision: u64, seq: u64, again: bool },
    /// With which reason.
    Refused(String),
}

/// Something that was asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    pub by: String,
    pub room: String,
    pub op: Op,
    /// When it was asked for and answered, among all the others.
    from: usize,
    to: usize,
    pub outcome: Outcome,
}

impl Asked {
    /// It was done before, or changed nothing.
    fn was_so(&self) -> bool {
        matches!(self.outcome, Outcome::Done { again: true, .. })
    }

    /// With which revision it is done; none: it makes no event, or is not known to.
    fn done(&self) -> Option<(u64, u64)> {
        match self.outcome {
            Outcome::Done { revision, seq, .. } if !self.op.is_timeless() => Some((revision, seq)),
            _ => None,
        }
    }
}

/// Somebody blocks somebody, or does no more.
#[derive(Debug, Clone)]
struct Block {
    by: String,
    whom: String,
    set: bool,
    from: usize,
    to: usize,
}

/// Somebody clears a conversation for themselves.
#[derive(Debug, Clone)]
struct Clear {
    by: String,
    room: String,
    /// Up to here; before it is answered, at most.
    upto: u64,
    from: usize,
    to: usize,
}

/// All that was asked for.
#[derive(Debug, Default)]
pub struct Record {
    pub asked: Vec<Asked>,
    blocks: Vec<Block>,
    clears: Vec<Clear>,
    /// Whose account has ended, and since when.
    pub gone: Option<(String, usize)>,
    now: usize,
    /// Conversations of which it is not known when something was done, or how often: they are not compared with the model.
    pub unsure: BTreeSet<String>,
}

/// How often what came of what.
pub type Counts = BTreeMap<String, u64>;

/// How a conversation was after each of its revisions that are known.
pub type Times = BTreeMap<u64, Room>;

impl Record {
    pub fn tick(&mut self) -> usize {
        self.now += 1;
        self.now
    }

    /// Something is asked for; its place.
    pub fn begin(&mut self, by: &str, room: &str, op: Op) -> usize {
        let (by, room, from) = (by.to_owned(), room.to_owned(), self.tick());
        self.asked.push(Asked { by, room, op, from, to: usize::MAX, outcome: Outcome::Unknown });
        self.asked.len() - 1
    }

    /// It is answered.
    pub fn end(&mut self, place: usize, outcome: Outcome) {
        let to = self.tick();
        let asked = &mut self.asked[place];
        (asked.to, asked.outcome) = (to, outcome);
    }

    /// Somebody begins to set or end a block; its place.
    pub fn block(&mut self, by: &str, whom: &str, set: bool) -> usize {
        let (by, whom, from) = (by.to_owned(), whom.to_owned(), self.tick());
        self.blocks.push(Block { by, whom, set, from, to: usize::MAX });
        self.blocks.len() - 1
    }

    pub fn blocked(&mut self, place: usize) {
        self.blocks[place].to = self.tick();
    }

    /// Somebody begins to clear a conversation up to some message; its place.
    pub fn clear(&mut self, by: &str, room: &str, upto: u64) -> usize {
        let (by, room, from) = (by.to_owned(), room.to_owned(), self.tick());
        self.clears.push(Clear { by, room, upto, from, to: usize::MAX });
        self.clears.len() - 1
    }

    /// It is cleared up to this one.
    pub fn cleared(&mut self, place: usize, upto: u64) {
        let to = self.tick();
        let clear = &mut self.clears[place];
        (clear.upto, clear.to) = (upto, to);
    }

    /// Whether what something changes may have been cleared by who asked for it, and whether it may not have.
    fn clears(&self, asked: &Asked) -> (bool, bool) {
        let Some(seq) = asked.op.changes().filter(|_| !matches!(asked.op, Op::Erased { .. })) else {
            return (false, true);
        };
        let of = |each: &&Clear| each.by == asked.by && each.room == asked.room && seq <= each.upto;
        let all = || self.clears.iter().filter(of);
        (all().any(|each| each.from < asked.to), !all().any(|each| each.to < asked.from))
    }

    /// Something was done that nobody asked for at that moment: what follows from the end of an account.
    pub fn follow(&mut self, (by, from): &(String, usize), room: &str, op: Op, (revision, seq): (u64, u64)) {
        let outcome = Outcome::Done { revision, seq, again: false };
        let to = self.tick();
        self.asked.push(Asked { by: by.clone(), room: room.to_owned(), op, from: *from, to, outcome });
    }

    /// Whether something is known to have been done in a conversation with this revision. (What changed nothing has that of another.)
    pub fn has(&self, room: &str, revision: u64, what: impl Fn(&Op) -> bool) -> bool {
        let mut of = self.asked.iter().filter(|asked| asked.room == room && !asked.was_so() && what(&asked.op));
        of.any(|asked| asked.done().is_some_and(|(at, _)| at == revision))
    }

    /// The groups that somebody is in as far as is known, with their newest revisions.
    pub fn groups_of(&self, user: &str) -> BTreeMap<String, u64> {
        let newest = |id: String| self.times(&id).pop_last().map(|(revision, room)| (id, revision, room));
        let of = |(id, revision, room): (String, u64, Room)| {
            (!room.direct && room.members.contains_key(user)).then_some((id, revision))
        };
        self.rooms().into_iter().filter_map(newest).filter_map(of).collect()
    }

    /// Whether somebody's account has ended.
    pub fn is_gone(&self, user: &str) -> bool {
        self.gone.as_ref().is_some_and(|(gone, _)| gone == user)
    }

    /// Whether somebody may have had somebody blocked, and may not have, at some time between two.
    fn block_of(&self, by: &str, whom: &str, from: usize, to: usize) -> (bool, bool) {
        let all = || self.blocks.iter().filter(|each| each.by == by && each.whom == whom && each.from < to);
        let over = |each: &Block| all().any(|later| later.from > each.to && later.to < from);
        let may = |set: bool| all().any(|each| each.set == set && !over(each));
        (may(true), may(false) || !all().any(|each| each.to < from))
    }

    /// The same of either by the other.
    pub fn blocks(&self, one: &str, other: &str, from: usize, to: usize) -> (bool, bool) {
        let (there, back) = (self.block_of(one, other, from, to), self.block_of(other, one, from, to));
        (there.0 || back.0, there.1 && back.1)
    }

    /// Whom somebody may have blocked now; those of the second they may not have.
    pub fn blocks_now(&self, by: &str, people: &[String]) -> (BTreeSet<String>, BTreeSet<String>) {
        let of = |whom: &&String| self.block_of(by, whom, usize::MAX - 1, usize::MAX);
        let may = people.iter().filter(|whom| of(whom).0).cloned().collect();
        (may, people.iter().filter(|whom| of(whom).1).cloned().collect())
    }

    /// When something was asked for, and answered.
    pub fn when(&self, place: usize) -> (usize, usize) {
        (self.asked[place].from, self.asked[place].to)
    }

    /// Conversations that somebody may know of.
    pub fn rooms(&self) -> Vec<String> {
        let mut rooms = Vec::new();
        for asked in self.asked.iter().filter(|asked| asked.done().is_some()) {
            if !rooms.contains(&asked.room) {
                rooms.push(asked.room.clone());
            }
        }
        rooms
    }

    /// The messages of a conversation that are known of: number, sender, text as it was sent.
    pub fn said(&self, room: &str) -> Vec<(u64, String, String)> {
        let of = |asked: &Asked| match (&asked.op, asked.done()) {
            (Op::Say { text, .. }, Some((_, seq))) if asked.room == room => Some((seq, asked.by.clone(), text.clone())),
            _ => None,
        };
        self.asked.iter().filter_map(of).collect()
    }

    /// A message that somebody sees, of a group in which somebody else does not: they have come after it.
    pub fn hidden(&self, user: &str) -> Option<(String, u64)> {
        self.rooms().into_iter().find_map(|id| {
            let room = self.now(&id);
            let first = room.members.get(user)?.first;
            let latest = room.members.values().map(|member| member.first).max()?;
            let hidden = room.said.range(first..latest.max(first)).rev().find(|(_, said)| !said.deleted);
            hidden.map(|(seq, _)| (id, *seq))
        })
    }

    /// What nobody knows of a conversation whether it was done.
    pub fn unknown<'a>(&'a self, room: &'a str) -> impl Iterator<Item = &'a Asked> {
        self.asked.iter().filter(move |asked| asked.room == room && asked.outcome == Outcome::Unknown)
    }

    /// What is known of a conversation.
    pub fn now(&self, room: &str) -> Room {
        self.times(room).pop_last().map(|(_, room)| room).unwrap_or_default()
    }

    pub fn times(&self, room: &str) -> Times {
        let mut done: Vec<_> = self.asked.iter().filter(|asked| asked.room == room).collect();
        done.retain(|asked| asked.done().is_some());
        // What was so already comes after what has made it so.
        done.sort_by_key(|asked| (asked.done().map(|(revision, _)| revision), asked.was_so()));
        let (mut times, mut now) = (Times::new(), Room::default());
        for asked in done {
            let (revision, seq) = asked.done().unwrap();
            now.take(&asked.by, &asked.op, revision, seq);
            times.insert(revision, now.clone());
        }
        times
    }

    /// Whether what is known of a conversation says nothing about something: it may have met what nobody knows of.
    fn may_meet_unknown(&self, asked: &Asked) -> bool {
        let seq = asked.op.changes();
        let meets = |other: &Asked| match &other.op {
            Op::Say { .. } => seq.is_some_and(|seq| self.said(&asked.room).iter().all(|(said, ..)| *said != seq)),
            other => seq.is_some() && other.changes() == seq,
        };
        self.unknown(&asked.room).any(meets)
    }

    /// Whether as many may have come by an invite as may.
    fn may_be_used_up(&self, asked: &Asked) -> bool {
        let Op::Join { code: wanted, most } = &asked.op else { return false };
        let used = |other: &&Asked| {
            let same = matches!(&other.op, Op::Join { code, .. } if code == wanted);
            same && other.from < asked.to && !matches!(other.outcome, Outcome::Refused(_))
        };
        self.asked.iter().filter(used).count() as u64 >= *most
    }

    /// How often what was asked for, and what came of it.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::new();
        for asked in &self.asked {
            let what = format!("{:?}", asked.op);
            let what = what.split([' ', '(']).next().unwrap_or_default();
            let outcome = match &asked.outcome {
                Outcome::Unknown => "no answer",
                Outcome::Done { again: true, .. } => "done before",
                Outcome::Done { .. } => "done",
                Outcome::Refused(reason) => reason,
            };
            *counts.entry(format!("{what}: {outcome}")).or_default() += 1;
        }
        counts.insert("conversations that are not sure".to_owned(), self.unsure.len() as u64);
        counts
    }

    /// That everything can have been answered so. `most` may be in a group.
    pub fn judge(&self, most: usize) {
        let rooms: BTreeSet<_> = self.asked.iter().map(|asked| asked.room.clone()).collect();
        for room in rooms.difference(&self.unsure) {
            let times = self.times(room);
            let mut numbers = BTreeMap::new();
            for asked in self.asked.iter().filter(|asked| asked.room == *room) {
                self.judge_one(asked, &times, most);
                if let Outcome::Done { revision, again: false, .. } = asked.outcome
                    && (asked.op.changes().is_some() || matches!(asked.op, Op::Say { .. }))
                {
                    let other = numbers.insert(revision, asked);
                    assert!(other.is_none(), "one revision of {room} twice: {asked:?} and {other:?}");
                }
            }
        }
    }

    /// The newest revision that was known at a time, and the newest that there can have been at a later one.
    fn span(&self, room: &str, from: usize, to: usize) -> (u64, u64) {
        let newest = |of: &dyn Fn(&Asked) -> bool| {
            let of_room = self.asked.iter().filter(|other| other.room == room && of(other));
            of_room.filter_map(Asked::done).max().map_or(0, |(at, _)| at)
        };
        (newest(&|other| other.to < from), newest(&|other| other.from < to))
    }

    /// All that a conversation can have been between two times.
    pub fn between<'a>(&self, room: &str, times: &'a Times, from: usize, to: usize) -> impl Iterator<Item = &'a Room> {
        let (known, last) = self.span(room, from, to);
        let after = known.saturating_add(1);
        let at_first = times.range(..=known).next_back();
        at_first.into_iter().chain(times.range(after..=last.max(after))).map(|(_, room)| room)
    }

    fn judge_one(&self, asked: &Asked, times: &Times, most: usize) {
        let Asked { by, room, op, from, to, outcome } = asked;
        let none = Room::default();
        let at = |revision: u64| times.range(..=revision).next_back().map_or(&none, |(_, room)| room);
        let of_room = || self.asked.iter().filter(|other| other.room == *room);
        let (known, last) = self.span(room, *from, *to);
        // All that it can have met.
        let met = || std::iter::once(at(known)).chain(self.between(room, times, *from, *to));
        let to_whom = if let Op::Say { to, .. } = op { to.as_ref() } else { None };
        let other = to_whom.or_else(|| at(u64::MAX).members.keys().find(|user| *user != by)).filter(|user| *user != by);
        let direct = op.is_said() && (at(u64::MAX).direct || to_whom.is_some());
        let (blocked, free) = match other.filter(|_| direct) {
            Some(other) => self.blocks(by, other, *from, *to),
            None => (false, true),
        };
        let unsure = self.may_meet_unknown(asked);
        let (cleared, shown) = self.clears(asked);
        // Nobody writes first to who is no more there.
        let to_gone = self.gone.as_ref().is_some_and(|(gone, since)| Some(gone) == to_whom && since < from);
        let fair = match outcome {
            Outcome::Unknown => true,
            Outcome::Done { .. } if op.is_timeless() => met().any(|room| room.refusals(by, op, most).is_empty()),
            Outcome::Done { revision, seq, again: true } => unsure || at(*revision).shows(by, op, *seq),
            Outcome::Done { revision, .. } => {
                let group = !(op.changes().is_some() || matches!(op, Op::Say { .. }));
                let may = |room: &Room| room.refusals(by, op, most).is_empty();
                // What changes nothing of a group is answered with the revision as of which it is so.
                let begins = matches!(op, Op::Say { .. }) && *revision == 2;
                free && shown
                    && !(to_gone && begins)
                    && (unsure || may(at(revision - 1)) || (group && may(at(*revision))))
            }
            Outcome::Refused(reason) => {
                let may = |room: &Room| room.refusals(by, op, most).contains(&reason.as_str());
                let used_up = reason == "INVITE_USED_UP" && self.may_be_used_up(asked);
                unsure
                    || met().any(may)
                    || (blocked && reason == "BLOCKED")
                    || (cleared && reason == "MESSAGE_NOT_FOUND")
                    || used_up
                    || (to_gone && reason == "USER_NOT_FOUND")
            }
        };
        let story = || {
            let mut all: Vec<_> = of_room().map(|each| format!("{each:?}")).collect();
            all.extend(self.blocks.iter().map(|each| format!("{each:?}")));
            all.extend(self.clears.iter().filter(|each| each.room == *room).map(|each| format!("{each:?}")));
            all.join("\n")
        };
        assert!(
            fair,
            "this can't have been answered so: {asked:?}\nknown up to {known}, at most {last}, blocked: {blocked}, free: {free}\n{}",
            story()
        );
    }
}
