//! Devices of which their provider wants no more for a while: whatever is for them waits, not only what was refused.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use uuid::Uuid;

/// How many registrations are remembered; of more, only what was refused waits.
const MOST: usize = 20_000;
/// How soon it is looked again for those that are over, where there are so many.
const SWEEP: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct All {
    until: HashMap<Uuid, Instant>,
    swept: Option<Instant>,
}

/// Those that are left alone, by their registration: one that was made anew is another.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<All>);

impl Held {
    /// It is left alone for so long.
    pub fn hold(&self, registration: Uuid, wait: Duration, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.until.len() >= MOST && all.swept.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP) {
            all.until.retain(|_, until| *until > now);
            all.swept = Some(now);
        }
        if all.until.len() < MOST || all.until.contains_key(&registration) {
            let until = all.until.entry(registration).or_insert(now);
            *until = (now + wait).max(*until);
        }
    }

    /// For how long it is still to be left alone.
    pub fn left(&self, registration: Uuid, now: Instant) -> Option<Duration> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = *all.until.get(&registration)?;
        if until <= now {
            all.until.remove(&registration);
        }
        Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_left_alone_for_as_long_as_was_asked_for_and_memory_is_bounded() {
        let (held, start, minute) = (Held::default(), Instant::now(), Duration::from_secs(60));
        let device = Uuid::new_v4();
        held.hold(device, minute, start);
        held.hold(device, Duration::ZERO, start);
        assert_eq!(held.left(device, start + minute / 2), Some(minute / 2));
        assert_eq!(held.left(Uuid::new_v4(), start), None);
        assert_eq!(held.left(device, start + minute), None);
        let count = || held.0.lock().unwrap().until.len();
        assert_eq!(count(), 0);
        (0..MOST + 10).for_each(|_| held.hold(Uuid::new_v4(), minute, start));
        assert_eq!(count(), MOST);
        held.hold(device, minute, start + minute);
        assert_eq!((count(), held.left(device, start + minute)), (1, Some(minute)));
    }
}
