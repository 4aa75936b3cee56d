//! How a connection goes when its gateway does: told at a random moment of the window, so that the next gateways are not
//! met by all at once, to go very soon, because it may send nothing meanwhile; and what is in flight is answered before.

use rand::Rng;
use std::time::{Duration, Instant};

/// How soon after it was told a client goes, at the latest.
const SOON: Duration = Duration::from_millis(250);

/// How long after the moment to go answers in flight are waited for.
const GOODBYE: Duration = Duration::from_secs(3);

/// How long after it was told a client is heard all the same: what it sent before it read that is in flight, too.
const UNDER_WAY: Duration = Duration::from_secs(1);

/// A departure that is planned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Departure {
    /// When the client is told.
    tell: Instant,
    /// When it goes.
    go: Instant,
    /// It has been told.
    told: bool,
}

/// What is to be done about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// Tell the client to reconnect in so many ms.
    Tell(u32),
    /// Close the socket.
    Close,
}

impl Departure {
    /// Within a window that begins now.
    pub fn plan(now: Instant, window: Duration, random: &mut impl Rng) -> Self {
        let tell = now + window.mul_f64(random.random_range(0.0..=1.0));
        let go = tell + SOON.mul_f64(random.random_range(0.0..=1.0));
        Self { tell, go, told: false }
    }

    /// When to look next, with or without requests in flight.
    pub fn next(&self, in_flight: bool) -> Instant {
        match self.told {
            false => self.tell,
            true if in_flight => self.go + GOODBYE,
            true => self.go,
        }
    }

    /// What is due now.
    pub fn due(&mut self, now: Instant, in_flight: bool) -> Due {
        if now < self.next(in_flight) {
            return Due::Nothing;
        }
        if std::mem::replace(&mut self.told, true) {
            return Due::Close;
        }
        let wait = self.go.saturating_duration_since(now);
        self.go = self.go.max(now + UNDER_WAY);
        Due::Tell(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX))
    }

    /// Nothing further is taken from the client.
    pub fn gone(&self, now: Instant) -> bool {
        self.told && now >= self.go
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng as _, rngs::StdRng};

    #[test]
    fn departures_are_spread_over_the_window_and_all_within_it() {
        let (start, window, mut random) = (Instant::now(), Duration::from_secs(30), StdRng::seed_from_u64(7));
        let all: Vec<_> = (0..1000).map(|_| Departure::plan(start, window, &mut random)).collect();
        assert!(all.iter().all(|each| start <= each.tell && each.tell <= start + window));
        assert!(all.iter().all(|each| each.tell <= each.go && each.go <= each.tell + SOON), "who is told falls silent");
        for part in 0..6_u32 {
            let (from, to) = (start + window / 6 * part, start + window / 6 * (part + 1));
            let told = all.iter().filter(|each| from <= each.tell && each.tell < to).count();
            assert!((100..240).contains(&told), "{told} of 1,000 are told in part {part}");
            let going = all.iter().filter(|each| from <= each.go && each.go < to).count();
            assert!((100..240).contains(&going), "{going} of 1,000 go in part {part}");
        }
    }

    #[test]
    fn first_told_then_gone_and_what_is_in_flight_is_waited_for() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut departure = Departure { tell: start + ms(10), go: start + ms(50), told: false };
        assert_eq!(departure.due(start, false), Due::Nothing);
        assert_eq!(departure.due(start + ms(20), true), Due::Tell(30));
        assert_eq!(departure.due(start + ms(40), false), Due::Nothing);
        assert!(!departure.gone(start + ms(50)), "something may be under way");
        let go = start + ms(20) + UNDER_WAY;
        assert!(departure.gone(go));
        assert_eq!(departure.due(go, true), Due::Nothing, "an answer is still to come");
        assert_eq!(departure.due(go, false), Due::Close);
        assert_eq!(departure.due(go + GOODBYE, true), Due::Close);
    }

    #[test]
    fn without_a_window_all_are_told_at_once() {
        let start = Instant::now();
        let mut departure = Departure::plan(start, Duration::ZERO, &mut StdRng::seed_from_u64(7));
        assert!(matches!(departure.due(start, false), Due::Tell(wait) if u128::from(wait) <= SOON.as_millis()));
        assert_eq!(departure.due(start + UNDER_WAY, false), Due::Close);
    }
}
