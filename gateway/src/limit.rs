//! How fast a user may send: a token bucket each.

use madang_proto::id::UserId;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// How many buckets are kept at most; full ones are forgotten first.
const BUCKETS: usize = 100_000;

/// The buckets of all users here.
pub struct SendRate {
    rate: f64,
    burst: f64,
    buckets: Mutex<HashMap<UserId, (f64, Instant)>>,
}

impl SendRate {
    /// So many a second, so many at once; a rate of 0 is no limit.
    #[must_use]
    pub fn new(rate: u32, burst: u32) -> Self {
        Self { rate: rate.into(), burst: burst.max(1).into(), buckets: Mutex::default() }
    }

    /// Takes one; otherwise in how many ms there is one.
    pub fn take(&self, user: UserId, now: Instant) -> Result<(), u64> {
        if self.rate == 0.0 {
            return Ok(());
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS {
            let full = |(level, at): &(f64, Instant)| level + self.rate * (now - *at).as_secs_f64() >= self.burst;
            buckets.retain(|_, bucket| !full(bucket));
        }
        let (level, at) = buckets.entry(user).or_insert((self.burst, now));
        *level = (*level + self.rate * now.saturating_duration_since(*at).as_secs_f64()).min(self.burst);
        *at = now;
        if *level >= 1.0 {
            *level -= 1.0;
            return Ok(());
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a small positive number of ms
        Err(((1.0 - *level) / self.rate * 1000.0).ceil() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_then_the_rate() {
        let (limit, user, start) = (SendRate::new(10, 40), UserId::new(), Instant::now());
        assert!((0..40).all(|_| limit.take(user, start).is_ok()));
        assert_eq!(limit.take(user, start), Err(100));
        assert!(limit.take(UserId::new(), start).is_ok());
        assert!(limit.take(user, start + Duration::from_millis(100)).is_ok());
    }
}
