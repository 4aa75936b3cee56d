//! What came of a run: whom it told of what, and how soon.

use super::service::Push;
use crate::{Error, replay::check::histogram};
use serde::Serialize;
use std::time::{Duration, Instant};

/// What is reported.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub pushes: usize,
    pub pushes_per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    pub missing: usize,
    /// To a device once more than there were messages for it.
    pub doubled: usize,
    /// To where nobody was to be told.
    pub stray: usize,
    pub server_micros_per_push: f64,
    pub server_cores: f64,
}

impl Report {
    /// Everybody was told of everything, once, and nobody else.
    pub fn good(&self) -> bool {
        self.missing == 0 && self.doubled == 0 && self.stray == 0
    }
}

/// Judges what came. `acked`: when each group's message of each round was; members are numbered group by group. A device
/// is told in order, so its n-th push is of the n-th round.
pub(super) fn judge(
    came: &[Push],
    acked: &[Vec<Instant>],
    members: usize,
    at_once: bool,
    used: Duration,
) -> Result<Report, Error> {
    let (rounds, groups) = (acked.len(), acked.first().map_or(0, Vec::len));
    let mut told: Vec<Vec<Instant>> = vec![Vec::new(); groups * members];
    let (mut stray, mut doubled, mut times) = (0, 0, histogram()?);
    for (number, at) in came {
        let Some(device) = number.and_then(|number| told.get_mut(number)) else {
            stray += 1;
            continue;
        };
        device.push(*at);
    }
    for (number, device) in told.iter().enumerate() {
        doubled += device.len().saturating_sub(rounds);
        for (at, round) in device.iter().zip(acked) {
            let after = at.saturating_duration_since(round[number / members]);
            times.saturating_record(u64::try_from(after.as_micros()).unwrap_or(u64::MAX));
        }
    }
    let span = |all: &mut dyn Iterator<Item = Instant>| {
        let (first, last) = all.fold((None::<Instant>, None::<Instant>), |(first, last), at| {
            (Some(first.map_or(at, |first| first.min(at))), last.max(Some(at)))
        });
        first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first)
    };
    // Of each round from its first push to its last; where rounds overlap, of all.
    let busy: Duration = if at_once {
        (0..rounds).map(|round| span(&mut told.iter().filter_map(|device| device.get(round).copied()))).sum()
    } else {
        span(&mut told.iter().flatten().copied())
    };
    let pushes = told.iter().map(|device| device.len().min(rounds)).sum::<usize>();
    let (at, seconds) = (|quantile| times.value_at_quantile(quantile) as f64 / 1000.0, busy.as_secs_f64().max(1e-6));
    Ok(Report {
        pushes,
        pushes_per_second: pushes as f64 / seconds,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        max_ms: times.max() as f64 / 1000.0,
        missing: rounds * told.len() - pushes,
        doubled,
        stray,
        server_micros_per_push: used.as_secs_f64() * 1e6 / (pushes as f64).max(1.0),
        server_cores: used.as_secs_f64() / seconds,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn who_was_told_twice_not_at_all_or_of_nothing_is_counted() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        // Two groups of two, two rounds.
        let acked = [vec![at(0), at(10)], vec![at(100), at(110)]];
        let mut came = Vec::new();
        for (number, ms) in [(0, 5), (1, 6), (2, 15), (3, 16), (0, 105), (1, 106), (2, 115), (3, 116)] {
            came.push((Some(number), at(ms)));
        }
        let judged = |came: &[Push]| judge(came, &acked, 2, true, Duration::ZERO).unwrap();
        let report = judged(&came);
        assert!(report.good() && report.pushes == 8 && (5.9..=6.1).contains(&report.max_ms), "{report:?}");
        assert!((report.pushes_per_second - 8.0 / 0.022).abs() < 1.0, "from first to last of each round: {report:?}");
        let (missing, rest) = came.split_last().unwrap();
        assert_eq!((judged(rest).missing, judged(rest).good()), (1, false));
        let doubled = [&came[..], &[*missing]].concat();
        assert_eq!((judged(&doubled).doubled, judged(&doubled).good()), (1, false));
        let stray = [&came[..], &[(Some(4), at(7)), (None, at(8))]].concat();
        assert_eq!((judged(&stray).stray, judged(&stray).good()), (2, false));
    }
}
