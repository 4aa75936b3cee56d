//! Sets of numbers that come mostly in a row, kept as ranges.

/// Disjoint ranges, ascending, bounds included, no two of them adjacent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spans(Vec<(u64, u64)>);

impl Spans {
    /// Adds `low` to `high`.
    pub fn add(&mut self, low: u64, high: u64) {
        if low > high {
            return;
        }
        // Those that end before it, with a number between; and those that begin after it, with one between.
        let from = self.0.partition_point(|span| span.1.saturating_add(1) < low);
        let to = self.0.partition_point(|span| span.0 <= high.saturating_add(1));
        if from == to {
            self.0.insert(from, (low, high));
            return;
        }
        let merged = (low.min(self.0[from].0), high.max(self.0[to - 1].1));
        self.0[from] = merged;
        self.0.drain(from + 1..to);
    }

    /// Whether a number is in it.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        let place = self.0.partition_point(|span| span.1 < number);
        self.0.get(place).is_some_and(|span| span.0 <= number)
    }

    /// The parts of `low` to `high` that are not in it.
    #[must_use]
    pub fn missing(&self, low: u64, high: u64) -> Vec<(u64, u64)> {
        let (mut gaps, mut next) = (Vec::new(), low);
        for span in &self.0[self.0.partition_point(|span| span.1 < low)..] {
            if span.0 > high || next > high {
                break;
            }
            if span.0 > next {
                gaps.push((next, span.0 - 1));
            }
            next = next.max(span.1.saturating_add(1));
        }
        if next <= high {
            gaps.push((next, high));
        }
        gaps
    }

    /// The parts of `low` to `high` that are in it.
    #[must_use]
    pub fn within(&self, low: u64, high: u64) -> Vec<(u64, u64)> {
        let from = self.0.partition_point(|span| span.1 < low);
        let inside = self.0[from..].iter().take_while(|span| span.0 <= high);
        inside.map(|span| (span.0.max(low), span.1.min(high))).collect()
    }

    /// The ranges.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }
}

/// How many numbers ranges hold.
#[must_use]
pub fn count(spans: &[(u64, u64)]) -> u64 {
    spans.iter().map(|span| span.1 - span.0 + 1).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn ranges_are_the_set_that_they_stand_for(ranges in prop::collection::vec((1u64..60, 0u64..6), 0..30)) {
            let (mut spans, mut set) = (Spans::default(), BTreeSet::new());
            for (low, length) in ranges {
                spans.add(low, low + length);
                set.extend(low..=low + length);
                let all: Vec<u64> = spans.iter().flat_map(|span| span.0..=span.1).collect();
                prop_assert_eq!(all, set.iter().copied().collect::<Vec<_>>());
                prop_assert!(spans.iter().zip(spans.iter().skip(1)).all(|(one, next)| one.1 + 1 < next.0));
            }
            for number in 0..70 {
                prop_assert_eq!(spans.contains(number), set.contains(&number));
            }
            let missing: Vec<u64> = spans.missing(5, 50).into_iter().flat_map(|span| span.0..=span.1).collect();
            prop_assert_eq!(missing, (5..=50).filter(|number| !set.contains(number)).collect::<Vec<_>>());
            let within: Vec<u64> = spans.within(5, 50).into_iter().flat_map(|span| span.0..=span.1).collect();
            prop_assert_eq!(within, (5..=50).filter(|number| set.contains(number)).collect::<Vec<_>>());
        }
    }
}
