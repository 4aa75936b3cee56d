//! What is done to the cluster, and when: a sequence that follows from its seed alone, endless, and that comes to every
//! kind of process before any comes again, and soon to everything that can be done to processes. It is pure: who executes it decides how long "until it is well again" takes.

use super::server::Kind;
use clap::ValueEnum;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use serde::Serialize;
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Killed without a word, and started again.
    Kill,
    /// Stopped in its tracks for a while, without its knowing.
    Pause,
    /// Asked to end, and started again.
    Restart,
    /// The same to all of a kind, one after the other.
    Rolling,
    /// Its connections are dropped and new ones refused.
    Cut,
    /// What it is sent comes late.
    Delay,
    /// Nothing comes through, and nobody is told.
    Stall,
}

impl Action {
    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Action::Kill => "kill",
            Action::Pause => "pause",
            Action::Restart => "restart",
            Action::Rolling => "rolling",
            Action::Cut => "cut",
            Action::Delay => "delay",
            Action::Stall => "stall",
        }
    }
}

/// When the next fault comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// So long after all is well again.
    After(Duration),
    /// So long after this one began, whatever has become of it.
    During(Duration),
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// To what.
    pub kind: Kind,
    /// What.
    pub action: Action,
    /// Which of those that there are: to be taken modulo their number.
    pub victim: usize,
    /// How long until it is mended.
    pub lasts: Duration,
    /// How much later what is sent comes, where it does.
    pub delay: Duration,
    /// When the next one comes.
    pub then: Then,
}

/// An endless sequence of faults.
#[derive(Debug)]
pub struct Schedule {
    random: StdRng,
    kinds: Vec<Kind>,
    /// Those whose turn has not come in this round.
    round: Vec<Kind>,
    /// Of each kind, what has not been done yet, so that all of it is before anything is again.
    actions: BTreeMap<Kind, VecDeque<Action>>,
    /// What may be done at all.
    allowed: Vec<Action>,
    /// How often each was.
    done: BTreeMap<Action, u64>,
    longest: Duration,
}

fn actions(kind: Kind) -> &'static [Action] {
    match kind {
        Kind::Link => &[Action::Cut, Action::Delay, Action::Stall],
        // There is one of each.
        Kind::Cassandra | Kind::Postgres => &[Action::Kill, Action::Pause, Action::Restart],
        _ => &[Action::Kill, Action::Pause, Action::Restart, Action::Rolling],
    }
}

impl Schedule {
    /// Of a seed; such faults (none named: all) to these kinds (likewise), of which none lasts longer than so long. None:
    /// nothing of that can be done to any of those.
    #[must_use]
    pub fn new(seed: u64, kinds: &[Kind], faults: &[Action], longest: Duration) -> Option<Self> {
        let named = |action: &Action| faults.is_empty() || faults.contains(action);
        let allowed: Vec<_> = Action::value_variants().iter().copied().filter(named).collect();
        let all = if kinds.is_empty() { Kind::value_variants() } else { kinds };
        let kinds: Vec<_> =
            all.iter().copied().filter(|kind| actions(*kind).iter().any(|action| allowed.contains(action))).collect();
        let random = StdRng::seed_from_u64(seed);
        (!kinds.is_empty()).then(|| Self {
            random,
            kinds,
            round: Vec::new(),
            actions: BTreeMap::new(),
            allowed,
            done: BTreeMap::new(),
            longest,
        })
    }

    /// After how many faults every kind has come once.
    #[must_use]
    pub fn round(&self) -> usize {
        self.kinds.len()
    }

    /// Up to so many seconds, and mostly much less.
    fn span(&mut self, least: f64, most: f64) -> Duration {
        let most = most.min(self.longest.as_secs_f64()).max(least);
        let part: f64 = self.random.random_range(0.0..1.0);
        Duration::from_secs_f64(least + (most - least) * part * part)
    }
}

impl Iterator for Schedule {
    type Item = Fault;

    fn next(&mut self) -> Option<Fault> {
        if self.round.is_empty() {
            self.round.clone_from(&self.kinds);
            self.round.shuffle(&mut self.random);
        }
        let kind = self.round.pop()?;
        let left = self.actions.entry(kind).or_default();
        if left.is_empty() {
            let mut all: Vec<_> =
                actions(kind).iter().copied().filter(|action| self.allowed.contains(action)).collect();
            all.shuffle(&mut self.random);
            left.extend(all);
        }
        // What was least often comes first, so that a short run has some of everything.
        let times = |action: &Action| self.done.get(action).copied().unwrap_or(0);
        let place = left.iter().enumerate().min_by_key(|(_, action)| times(action)).map(|(place, _)| place)?;
        let action = left.remove(place)?;
        *self.done.entry(action).or_default() += 1;
        let lasts = match action {
            Action::Kill => self.span(0.0, 5.0),
            Action::Pause => self.span(1.0, 60.0),
            Action::Restart | Action::Rolling => Duration::ZERO,
            Action::Cut | Action::Stall => self.span(1.0, 30.0),
            Action::Delay => self.span(5.0, 30.0),
        };
        // The log needs two of its three servers: what touches it, or may, comes alone.
        let alone = matches!(kind, Kind::Nats | Kind::Link)
            || matches!(self.round.last(), None | Some(Kind::Nats | Kind::Link));
        let overlaps = self.random.random_bool(0.3) && !alone;
        let then = if overlaps { Then::During(self.span(0.5, 5.0)) } else { Then::After(self.span(1.0, 6.0)) };
        let delay = Duration::from_millis(self.random.random_range(5..=300));
        Some(Fault { kind, action, victim: self.random.random_range(0..1 << 20), lasts, delay, then })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 5] = [Kind::Chat, Kind::Nats, Kind::Cassandra, Kind::Link, Kind::Gateway];

    fn some(seed: u64) -> Vec<Fault> {
        Schedule::new(seed, &KINDS, &[], Duration::from_secs(60)).unwrap().take(200).collect()
    }

    #[test]
    fn only_what_is_named_is_done() {
        let longest = Duration::from_secs(60);
        let faults = [Action::Pause, Action::Cut];
        let some: Vec<_> = Schedule::new(1, &[Kind::Chat, Kind::Link], &faults, longest).unwrap().take(9).collect();
        assert!(some.iter().all(|fault| (fault.kind == Kind::Link) == (fault.action == Action::Cut)), "{some:?}");
        assert!(Schedule::new(1, &[Kind::Chat], &[Action::Cut], longest).is_none());
        let kinds = Kind::value_variants();
        let round = Schedule::new(1, &[], &[], longest).unwrap().take(kinds.len());
        let round: Vec<_> = round.map(|fault| fault.kind).collect();
        assert!(kinds.iter().all(|kind| round.contains(kind)), "{round:?}");
    }

    #[test]
    fn the_seed_decides_all_of_it() {
        assert_eq!(some(7), some(7));
        assert_ne!(some(7), some(8));
    }

    #[test]
    fn every_kind_comes_in_each_round_and_every_action_in_four() {
        for round in some(1).chunks(KINDS.len()) {
            assert!(KINDS.iter().all(|kind| round.iter().any(|fault| fault.kind == *kind)));
        }
        for kind in KINDS {
            let done: Vec<_> = some(2)[..4 * KINDS.len()].iter().filter(|fault| fault.kind == kind).cloned().collect();
            assert!(actions(kind).iter().all(|action| done.iter().any(|fault| fault.action == *action)), "{kind:?}");
        }
        for seed in 0..50 {
            let schedule = Schedule::new(seed, &[], &[], Duration::from_secs(60)).unwrap();
            let round = schedule.round();
            let done: Vec<_> = schedule.take(round).map(|fault| fault.action).collect();
            let all = [Action::Kill, Action::Pause, Action::Restart, Action::Rolling];
            assert!(all.iter().all(|action| done.contains(action)), "{done:?}");
        }
    }

    #[test]
    fn nothing_lasts_too_long_and_what_touches_the_log_comes_alone() {
        let faults = some(3);
        assert!(faults.iter().all(|fault| fault.lasts <= Duration::from_secs(60)));
        assert!(faults.iter().any(|fault| fault.lasts > Duration::from_secs(20)));
        assert!(faults.iter().any(|fault| matches!(fault.then, Then::During(_))));
        let alone = |kind| matches!(kind, Kind::Nats | Kind::Link);
        for pair in faults.windows(2) {
            if alone(pair[0].kind) || alone(pair[1].kind) {
                assert!(matches!(pair[0].then, Then::After(_)));
            }
        }
    }
}
