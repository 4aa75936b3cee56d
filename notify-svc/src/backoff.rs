//! How long until something is asked again that nobody can say: longer each time, up to a bound, and not all at once.

use std::time::Duration;
use uuid::Uuid;

/// How often it could not be said, one time after the other.
pub struct Backoff {
    first: Duration,
    longest: Duration,
    times: u32,
}

impl Backoff {
    /// So long at first, and at most.
    #[must_use]
    pub fn between(first: Duration, longest: Duration) -> Self {
        Self { first, longest, times: 0 }
    }

    /// It was said: begins anew.
    pub fn reset(&mut self) {
        self.times = 0;
    }

    /// How long to leave it alone once more.
    pub fn next(&mut self) -> Duration {
        self.pause(f64::from(Uuid::new_v4().as_bytes()[0]) / 255.0)
    }

    /// The same; `apart`, from 0 to 1, keeps shards from asking all at once.
    fn pause(&mut self, apart: f64) -> Duration {
        let pause = self.first.saturating_mul(1 << self.times.min(16)).min(self.longest);
        self.times = self.times.saturating_add(1);
        pause.mul_f64(0.5 + apart / 2.0).max(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_can_say_is_asked_less_and_less_often() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::between(second, 30 * second);
        let pauses: Vec<_> = (0..8).map(|_| backoff.pause(1.0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(backoff.pause(0.0), 15 * second, "not all shards at once");
        backoff.reset();
        assert_eq!(backoff.pause(0.0), second);
    }
}
