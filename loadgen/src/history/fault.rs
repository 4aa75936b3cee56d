//! What can go wrong, counted, with the first cases in words.

use serde::Serialize;
use std::fmt;

/// How many faults are told in words; all are counted.
const EXAMPLES: usize = 40;
/// How many of them of one kind.
const OF_A_KIND: usize = 8;

macro_rules! faults {
    ($($(#[$doc:meta])* $kind:ident $field:ident = $word:literal;)*) => {
        /// What went wrong, counted. All zero: nothing did.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub struct Faults { $($(#[$doc])* pub $field: u64,)* }

        /// A way to go wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind),*];

            /// Its name.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Kind::$kind => $word),* }
            }
        }

        impl Faults {
            /// Adds another count to this one.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }

            /// How many of a kind.
            #[must_use]
            pub fn of(&self, kind: Kind) -> u64 {
                match kind { $(Kind::$kind => self.$field),* }
            }

            fn count(&mut self, kind: Kind, times: u64) {
                match kind { $(Kind::$kind => self.$field += times),* }
            }
        }
    };
}

faults! {
    /// Acknowledged or delivered, and not there.
    Lost lost = "lost";
    /// There twice, under two numbers.
    Doubled doubled = "doubled";
    /// Not in the order in which it was sent.
    Misordered misordered = "misordered";
    /// Received by somebody who should not have it, or never sent by us.
    Leaked leaked = "leaked";
    /// Not as it was sent, byte for byte, or not the same for all.
    Altered altered = "altered";
    /// Numbers left out.
    Gaps gaps = "gaps";
    /// One number for two things.
    Reused reused = "reused";
    /// Due to a device that has never had it.
    Missed missed = "missed";
    /// Accepted from somebody who was not in the conversation.
    Intruded intruded = "intruded";
    /// Refused for good, and there all the same.
    RefusedKept refused_kept = "refused and kept";
    /// An edit, a deletion or a reaction that was acknowledged or seen, and does not hold.
    Undone undone = "undone";
}

impl Faults {
    /// Whether nothing went wrong.
    #[must_use]
    pub fn none(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, kind) in Kind::ALL.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{} {}", self.of(*kind), kind.word())?;
        }
        Ok(())
    }
}

/// What a journal holds, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Conversations that were judged.
    pub conversations: u64,
    /// Devices.
    pub devices: u64,
    /// Messages in history.
    pub messages: u64,
    /// Messages that were acknowledged.
    pub acked: u64,
    /// Edits, deletions and reactions that were acknowledged.
    pub amended: u64,
    /// Further acknowledgements of the same ones.
    pub acked_again: u64,
    /// Messages that were refused for good.
    pub refused: u64,
    /// Messages of which nobody was told what became of them.
    pub unknown: u64,
    /// Those of them that are in history.
    pub unknown_kept: u64,
    /// Events received, each device's counted.
    pub events: u64,
    /// Messages received for the first time, each device's counted.
    pub delivered: u64,
    /// Events received again.
    pub repeated: u64,
    /// How often a device was told that it may have missed something.
    pub resyncs: u64,
    /// Pages of history that devices read.
    pub pages: u64,
    /// Changes of membership that were acknowledged.
    pub memberships: u64,
}

/// What was decided: the faults, and the first of them with the evidence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// All faults.
    pub faults: Faults,
    /// The first of them in words, some of each kind.
    pub examples: Vec<String>,
    /// What was judged.
    pub counts: Counts,
}

impl Verdict {
    /// Whether nothing went wrong.
    #[must_use]
    pub fn good(&self) -> bool {
        self.faults.none()
    }

    pub(super) fn fault(&mut self, kind: Kind, example: impl FnOnce() -> String) {
        self.faults_of(kind, 1, example);
    }

    pub(super) fn faults_of(&mut self, kind: Kind, times: u64, example: impl FnOnce() -> String) {
        self.faults.count(kind, times);
        let told = |line: &&String| line.strip_prefix(kind.word()).is_some_and(|rest| rest.starts_with(':'));
        if self.examples.len() < EXAMPLES && self.examples.iter().filter(told).count() < OF_A_KIND {
            self.examples.push(format!("{}: {}", kind.word(), example()));
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.faults)?;
        self.examples.iter().try_for_each(|example| write!(f, "\n  {example}"))
    }
}
