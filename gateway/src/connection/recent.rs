//! What happens too often: the moments of the last few times, so that any minute counts, wherever it begins.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How long back it counts.
const MINUTE: Duration = Duration::from_secs(60);

/// When something has happened lately.
pub(super) struct Recent {
    times: VecDeque<Instant>,
    most: usize,
}

impl Recent {
    /// So often in a minute is too often. What it takes is taken as it happens: most never do it.
    pub fn new(most: usize) -> Self {
        Self { times: VecDeque::new(), most }
    }

    /// Once more; true: that is too often.
    pub fn once_more(&mut self, now: Instant) -> bool {
        if self.times.len() == self.most {
            self.times.pop_front();
        }
        self.times.push_back(now);
        self.times.len() == self.most
            && self.times.front().is_some_and(|first| now.saturating_duration_since(*first) <= MINUTE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tenth_within_any_minute_is_too_often() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut recent = Recent::new(10);
        // One at the beginning, eight at the end of a minute, and two in the next: ten within 11 s.
        assert!(!recent.once_more(start));
        for n in 50..58 {
            assert!(!recent.once_more(start + n * second), "{n}");
        }
        assert!(!recent.once_more(start + 61 * second), "ten, but in more than a minute");
        assert!(recent.once_more(start + 62 * second));
        let mut slow = Recent::new(10);
        assert!((0..100).all(|n| !slow.once_more(start + n * 7 * second)), "one every 7 s goes on for ever");
    }
}
