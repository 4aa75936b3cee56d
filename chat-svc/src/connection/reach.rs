//! How far a destination has come with each source shard: what is new, what it has already, what is missing, and what
//! to do about that. Decides, and does nothing itself.
//!
//! A source's parcels are taken in the order of its log, each naming the one before: one that is behind is there
//! already, one that leaves something out is not taken at all, and its source is asked to send again what lies
//! between. Where that can't be had any more, it is given up, once the databases have it.

use crate::fan_out::Rewound;
use madang_mesh::{log::Position, shard::Shard};
use madang_proto::log::v1::SourcePosition;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// So long after a position was announced it should have been read.
const ANNOUNCED: Duration = Duration::from_millis(1500);
/// So long what is sent again may take to come.
const AGAIN: Duration = Duration::from_secs(2);
/// How long after a home that did not answer it is asked again.
const RETRY: Duration = Duration::from_millis(500);
/// After so many times that what was sent again did not come, the inbox is to be opened anew: perhaps it is not read.
const DEAF: u32 = 2;
/// After so many it is given up.
const TRIES: u32 = 4;
/// How long it is tried at most: a source's home may be moving, inboxes may be lost one after another.
const PATIENCE: Duration = Duration::from_secs(15);
/// After so long lists and history have everything: they are refused when they are over 15 s old, and some margin.
pub(super) const LISTED: Duration = Duration::from_secs(20);

/// How far it has come with all sources.
pub(super) struct Reach {
    sources: BTreeMap<Shard, Source>,
    /// Since when what is in the inbox is known not to be old: the inbox has been read to its end once.
    read: Option<Instant>,
    /// It seems not to be read.
    deaf: bool,
    /// How often the inbox was opened.
    openings: u32,
}

#[derive(Default)]
struct Source {
    /// Everything up to here has been taken, or given up.
    taken: Option<Position>,
    /// What was before the first parcel that was read, when that came, and where in the tail.
    first: Option<First>,
    /// Something of it has come since the inbox was opened, so nothing was lost before.
    confirmed: bool,
    /// It has not, and for so long after the inbox was opened that lists have what was lost before, if anything was.
    excused: bool,
    announced: Option<(Position, Instant)>,
    gap: Option<Gap>,
    asked: Asked,
}

#[derive(Clone, Copy)]
struct First {
    previous: Position,
    at: Instant,
    place: u64,
}

#[derive(Default)]
struct Asked {
    waiting: bool,
    again_at: Option<Instant>,
    /// Until then, what is missing should have come: it has been sent to the inbox that is read now.
    promised: bool,
}

/// Something is missing, up to here at least.
struct Gap {
    upto: Position,
    since: Instant,
    /// How often what was sent again did not come in time.
    tries: u32,
    /// It can't be had any more: up to where, and since when.
    lost: Option<(Position, Instant)>,
}

/// What to ask a source's home for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    pub source: Shard,
    pub after: Option<Position>,
    /// Which opening of the inbox it is about.
    opening: u32,
}

impl Reach {
    /// Nothing is known yet of so many sources.
    pub fn new(shards: u32) -> Self {
        Self {
            sources: (0..shards).map(|shard| (shard, Source::default())).collect(),
            read: None,
            deaf: false,
            openings: 0,
        }
    }

    /// Nobody has been asked for anything yet, or no answer will come.
    pub fn begun(&mut self) {
        for source in self.sources.values_mut() {
            source.asked = Asked::default();
        }
    }

    /// The inbox is read from its beginning: the one that was, or another.
    pub fn opened(&mut self) {
        self.read = None;
        self.openings = self.openings.wrapping_add(1);
        for source in self.sources.values_mut() {
            (source.confirmed, source.excused) = (false, false);
            // What was sent to the inbox before this one does not come any more, which is nobody's fault.
            (source.asked.again_at, source.asked.promised) = (None, false);
        }
    }

    /// What the inbox held when it was opened has been read.
    pub fn read(&mut self, now: Instant) {
        self.read = Some(now);
    }

    /// Whether a parcel is to be delivered, whose first event would be at this place of the tail.
    pub fn take(&mut self, parcel: &SourcePosition, place: u64, now: Instant) -> bool {
        let read = self.read.is_some();
        let source = self.sources.entry(parcel.shard).or_default();
        if source.taken.is_some_and(|taken| parcel.position <= taken) {
            source.confirmed |= read && source.gap.is_none() && source.taken == Some(parcel.position);
            return false;
        }
        if source.taken.is_some_and(|taken| parcel.previous > taken) {
            source.missing(parcel.position, now);
            return false;
        }
        source.first.get_or_insert(First { previous: parcel.previous, at: now, place });
        source.taken = Some(parcel.position);
        source.gap.take_if(|gap| gap.upto <= parcel.position);
        if let Some(gap) = &mut source.gap {
            (gap.since, gap.tries, gap.lost) = (now, 0, None);
        }
        source.confirmed |= read && source.gap.is_none();
        true
    }

    /// A source has said how far it has come.
    pub fn announced(&mut self, shard: Shard, position: Position, now: Instant) {
        if let Some(source) = self.sources.get_mut(&shard)
            && source.taken.is_some_and(|taken| taken < position)
        {
            source.announced.get_or_insert((position, now));
        }
    }

    /// What to ask for now; the inbox was last known to be read to its end at this time.
    pub fn asks(&mut self, read_until: Instant, now: Instant) -> Vec<Ask> {
        let mut asks = Vec::new();
        for (shard, source) in &mut self.sources {
            source.heed_beacon(read_until, now);
            let due = source.asked.again_at.is_none_or(|at| at <= now) && !source.asked.waiting;
            if due && std::mem::take(&mut source.asked.promised) {
                self.deaf |= source.in_vain(*shard, now);
            }
            let after = match &source.gap {
                Some(gap) if gap.lost.is_some() => continue,
                Some(_) => source.taken,
                None if source.confirmed || self.read.is_none() => continue,
                None => None,
            };
            if due {
                source.asked.waiting = true;
                asks.push(Ask { source: *shard, after, opening: self.openings });
            }
        }
        asks
    }

    /// A source's home has answered; none: it did not.
    pub fn answered(&mut self, ask: Ask, answer: Option<Rewound>, now: Instant) {
        let Some(source) = self.sources.get_mut(&ask.source) else { return };
        source.asked.waiting = false;
        source.asked.again_at = Some(now + if answer.is_some() { AGAIN } else { RETRY });
        if let Some(answer) = answer
            && ask.opening == self.openings
            && source.gap.is_none()
            && source.taken.is_some_and(|taken| answer.sent <= taken)
        {
            // Also of a home that knows of less than was sent: all that it has sent is there.
            source.confirmed = true;
        }
        let Some(gap) = source.gap.as_mut().filter(|gap| gap.lost.is_none()) else { return };
        if ask.after.is_none() || ask.after != source.taken {
            // It was asked for something else.
            source.asked.again_at = None;
            return;
        }
        source.asked.promised = answer.is_some();
        if answer.is_some_and(|answer| !answer.again) || now - gap.since > PATIENCE {
            gap.give_up(ask.source, answer.map_or(0, |answer| answer.sent), now);
        }
    }

    /// Whether what was sent again did not come so often that the inbox should be opened anew; says so once.
    pub fn deaf(&mut self) -> bool {
        std::mem::take(&mut self.deaf)
    }

    /// Whether something has been read.
    pub fn has_begun(&self) -> bool {
        self.sources.values().any(|source| source.taken.is_some())
    }

    /// Whether something is known to be missing.
    pub fn has_gap(&self) -> bool {
        self.sources.values().any(|source| source.gap.is_some())
    }

    /// Whether nothing is missing, nor may be without it being known.
    pub fn whole(&self) -> bool {
        self.sources.values().all(|source| (source.confirmed || source.excused) && source.gap.is_none())
    }

    /// Whether something of every source has been read.
    pub fn all_known(&self) -> bool {
        self.sources.values().all(|source| source.first.is_some())
    }

    /// From which place of the tail on it has everything of all sources, if that is known.
    pub fn known_from(&self) -> Option<u64> {
        self.all_known().then(|| {
            let places = self.sources.values().filter_map(|source| source.first);
            places.filter(|first| first.previous > 0).map(|first| first.place).max().unwrap_or(0)
        })
    }

    /// What was before the tail's beginning and may not be old: must be in the databases before one begins there.
    pub fn before(&self, now: Instant) -> impl Iterator<Item = (Shard, Position)> {
        let first = self.sources.iter().filter_map(|(shard, source)| Some((*shard, source.first?)));
        first.filter(move |(_, first)| now - first.at < LISTED).map(|(shard, first)| (shard, first.previous))
    }

    /// What has been read by now was in the inbox before: when the entries of the tail could have been read.
    pub fn aged(&mut self, received: impl Fn(u64) -> Option<Instant>) {
        for first in self.sources.values_mut().filter_map(|source| source.first.as_mut()) {
            first.at = received(first.place).map_or(first.at, |at| at.min(first.at));
        }
    }

    /// What was given up, up to where, and since when.
    pub fn lost(&self) -> impl Iterator<Item = (Shard, Position, Instant)> {
        let lost = |(shard, source): (&Shard, &Source)| {
            source.gap.as_ref()?.lost.map(|(position, since)| (*shard, position, since))
        };
        self.sources.iter().filter_map(lost)
    }

    /// Of whom nobody has said for long whether something was lost with the inbox before this one: they have no home.
    pub fn unheard(&self, now: Instant) -> impl Iterator<Item = Shard> {
        let listed = self.read.is_some_and(|read| now - read >= LISTED);
        self.sources.iter().filter(move |(_, source)| listed && source.is_unheard()).map(|(shard, _)| *shard)
    }

    /// The databases have what they may have sent. It is asked for all the same, and shows when they have a home.
    pub fn excuse(&mut self, unheard: &[Shard]) {
        for shard in unheard {
            if let Some(source) = self.sources.get_mut(shard) {
                source.excused = true;
            }
        }
    }

    /// The databases have what was given up: it goes on from there.
    pub fn skip_lost(&mut self, now: Instant) {
        for source in self.sources.values_mut() {
            let Some((position, _)) = source.gap.as_ref().and_then(|gap| gap.lost) else { continue };
            source.taken = Some(position);
            source.asked.again_at = None;
            source.gap.take_if(|gap| gap.upto <= position);
            if let Some(gap) = &mut source.gap {
                (gap.since, gap.tries, gap.lost) = (now, 0, None);
            }
        }
    }
}

impl Gap {
    fn give_up(&mut self, source: Shard, sent: Position, now: Instant) {
        tracing::warn!(
            source,
            tries = self.tries,
            upto = self.upto.max(sent),
            "what an inbox lost can't be sent again: clients look for it themselves"
        );
        self.upto = self.upto.max(sent);
        self.lost = Some((self.upto, now));
    }
}

impl Source {
    fn is_unheard(&self) -> bool {
        !self.confirmed && !self.excused && self.gap.is_none()
    }

    /// What was sent again has not come; whether the inbox should be opened anew.
    fn in_vain(&mut self, source: Shard, now: Instant) -> bool {
        let Some(gap) = self.gap.as_mut().filter(|gap| gap.lost.is_none()) else { return false };
        gap.tries += 1;
        if gap.tries >= TRIES {
            gap.give_up(source, 0, now);
        }
        gap.tries == DEAF
    }

    fn missing(&mut self, upto: Position, now: Instant) {
        let gap = self.gap.get_or_insert_with(|| {
            (self.asked.again_at, self.asked.promised) = (None, false);
            Gap { upto, since: now, tries: 0, lost: None }
        });
        gap.upto = upto.max(gap.upto);
    }

    fn heed_beacon(&mut self, read_until: Instant, now: Instant) {
        let Some((position, since)) = self.announced else { return };
        if self.taken.is_some_and(|taken| taken >= position) {
            self.announced = None;
        } else if now - since >= ANNOUNCED && read_until >= since + ANNOUNCED {
            self.announced = None;
            self.missing(position, now);
        }
    }
}
