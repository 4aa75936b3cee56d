//! How fast new sockets are taken: when another gateway dies, all its clients come at once, and those who are here
//! already must hardly notice. Who comes too fast waits for a turn before the WebSocket is opened.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How many may come at once after a pause, as a part of a second's.
const BURST: u32 = 5;
/// How long a turn is waited for at most; who would have to wait longer is sent away, to come again.
const LONGEST: Duration = Duration::from_secs(20);

/// The turns of those who come.
pub(crate) struct Pace {
    /// Between two of them; zero: everybody at once.
    gap: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    /// So many a second; 0: no limit.
    pub(crate) fn new(rate: u32) -> Self {
        let gap = Duration::from_secs(1).checked_div(rate).unwrap_or_default();
        Self { gap, next: Mutex::new(Instant::now()) }
    }

    /// Takes a turn; how long to wait for it. None: too many wait.
    pub(crate) fn turn(&self, now: Instant) -> Option<Duration> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        // Turns that nobody took are kept, up to a burst.
        let kept =
            if self.gap.is_zero() { now } else { now.checked_sub(Duration::from_secs(1) / BURST).unwrap_or(now) };
        let turn = (*next).max(kept);
        let wait = turn.saturating_duration_since(now);
        if wait > LONGEST {
            return None;
        }
        *next = turn + self.gap;
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_taken_at_once_the_rest_in_turn_and_no_more_than_can_wait() {
        let (pace, now) = (Pace::new(1000), Instant::now() + Duration::from_secs(10));
        let gap = Duration::from_millis(1);
        for _ in 0..=200 {
            assert_eq!(pace.turn(now), Some(Duration::ZERO));
        }
        assert_eq!(pace.turn(now), Some(gap));
        assert_eq!(pace.turn(now + gap), Some(gap));
        let waiting = (0..100_000).take_while(|_| pace.turn(now).is_some()).count();
        assert!((19_900..=20_000).contains(&waiting), "{waiting}");
        assert_eq!(pace.turn(now), None);
        // Later there is room again.
        assert_eq!(pace.turn(now + Duration::from_secs(60)), Some(Duration::ZERO));
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let (pace, now) = (Pace::new(0), Instant::now());
        assert!((0..10_000).all(|_| pace.turn(now) == Some(Duration::ZERO)));
    }
}
