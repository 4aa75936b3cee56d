//! How fast somebody may do something: a token bucket each, at most so many buckets.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// How much of any kind a client may ask for, for each message that it may send.
const PER_SEND: u32 = 10;
/// How many buckets are kept at most; full ones are forgotten first.
const BUCKETS: usize = 100_000;

/// The buckets of all whom this process has seen lately.
pub struct Rate<K> {
    rate: f64,
    burst: f64,
    buckets: Mutex<HashMap<K, (f64, Instant)>>,
}

impl<K: Eq + Hash> Rate<K> {
    /// So many a second, so many at once; a rate of 0 is no limit.
    #[must_use]
    pub fn new(rate: u32, burst: u32) -> Self {
        Self { rate: rate.into(), burst: burst.max(1).into(), buckets: Mutex::default() }
    }

    /// Of whatever somebody asks for, who may send so many messages a second, and so many at once.
    #[must_use]
    pub fn of_frames(sends: u32, burst: u32) -> Self {
        let (rate, burst) = frames(sends, burst);
        Self::new(rate, burst)
    }

    /// Takes one; otherwise in how many ms there is one.
    pub fn take(&self, who: K, now: Instant) -> Result<(), u64> {
        if self.rate == 0.0 {
            return Ok(());
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS && !buckets.contains_key(&who) {
            let full = |(level, at): &(f64, Instant)| {
                level + self.rate * now.saturating_duration_since(*at).as_secs_f64() >= self.burst
            };
            buckets.retain(|_, bucket| !full(bucket));
            // None was full: more people at once than there are buckets, who are refused before memory grows.
            if buckets.len() >= BUCKETS {
                return Err(1000);
            }
        }
        let bucket = buckets.entry(who).or_insert((self.burst, now));
        refill(bucket, self.rate, self.burst, now)
    }
}

/// One bucket for something that is thrown away with it.
#[derive(Debug)]
pub struct Bucket {
    rate: f64,
    burst: f64,
    state: (f64, Instant),
}

impl Bucket {
    /// So many a second, so many at once; a rate of 0 is no limit.
    #[must_use]
    pub fn new(rate: u32, burst: u32, now: Instant) -> Self {
        let burst = burst.max(1).into();
        Self { rate: rate.into(), burst, state: (burst, now) }
    }

    /// As [`Rate::of_frames`].
    #[must_use]
    pub fn of_frames(sends: u32, burst: u32, now: Instant) -> Self {
        let (rate, burst) = frames(sends, burst);
        Self::new(rate, burst, now)
    }

    /// Takes one; otherwise in how many ms there is one.
    pub fn take(&mut self, now: Instant) -> Result<(), u64> {
        if self.rate == 0.0 { Ok(()) } else { refill(&mut self.state, self.rate, self.burst, now) }
    }
}

fn frames(sends: u32, burst: u32) -> (u32, u32) {
    (sends.saturating_mul(PER_SEND), burst.max(1).saturating_mul(PER_SEND))
}

fn refill((level, at): &mut (f64, Instant), rate: f64, burst: f64, now: Instant) -> Result<(), u64> {
    *level = (*level + rate * now.saturating_duration_since(*at).as_secs_f64()).min(burst);
    *at = now;
    if *level >= 1.0 {
        *level -= 1.0;
        return Ok(());
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a small positive number of ms
    Err(((1.0 - *level) / rate * 1000.0).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_then_the_rate() {
        let (limit, start) = (Rate::new(10, 40), Instant::now());
        assert!((0..40).all(|_| limit.take("ann", start).is_ok()));
        assert_eq!(limit.take("ann", start), Err(100));
        assert!(limit.take("bob", start).is_ok());
        assert!(limit.take("ann", start + Duration::from_millis(100)).is_ok());
    }

    #[test]
    fn a_socket_may_ask_as_much_as_a_user() {
        let start = Instant::now();
        for (sends, burst) in [(10, 40), (10, 0), (0, 0)] {
            let (of_all, mut of_one) = (Rate::of_frames(sends, burst), Bucket::of_frames(sends, burst, start));
            let taken: Vec<_> = (0..500).map(|_| (of_all.take("ann", start), of_one.take(start))).collect();
            assert!(taken.iter().all(|(all, one)| all == one), "of {sends} a second and {burst} at once");
        }
    }

    #[test]
    fn memory_is_bounded_also_where_nobody_comes_twice() {
        let (limit, start) = (Rate::new(1, 2), Instant::now());
        let later = start + Duration::from_secs(2);
        assert!((0..BUCKETS).all(|n| limit.take(n, start).is_ok()));
        assert_eq!(limit.take(BUCKETS, start), Err(1000), "no room, and nobody's bucket is full again");
        assert!(limit.take(0, start).is_ok(), "who has a bucket keeps it");
        assert!(limit.take(BUCKETS, later).is_ok(), "full buckets are as good as new ones");
        assert!(limit.buckets.lock().unwrap().len() < BUCKETS);
    }
}
