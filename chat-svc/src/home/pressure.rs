//! How far behind the log its readers are: sends are refused when one is too far, so that log, memory and takeover
//! stay bounded; and what all have read for an hour is trimmed.

use madang_mesh::{clock::now_micros, log::Position, registry::Registry, shard::Shard};
use madang_proto::reason::{Reason, Refusal};
use std::{collections::VecDeque, time::Duration};

/// The readers without whom nothing is trimmed, and whose lag refuses sends.
const READERS: [&str; 2] = ["store", "group"];
/// How long a reader may be behind.
const MAX_LAG: Duration = Duration::from_secs(600);
/// How long the log is kept behind its readers.
const KEEP: Duration = Duration::from_secs(3600);
/// How often a checkpoint is taken.
const CHECKPOINT: Duration = Duration::from_secs(2);

/// How far the log had come at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The position.
    pub position: Position,
    /// When, ms since 1970.
    pub at_ms: i64,
    /// How many bytes had been written up to it, counted from anywhere.
    pub bytes: u64,
}

/// What the readers say: where each stands, if it is known.
pub type Heard = [Option<Position>; READERS.len()];

/// What a home knows of its readers.
#[derive(Debug, Clone)]
pub struct Pressure {
    /// How the log grew, oldest first.
    pub checkpoints: VecDeque<Checkpoint>,
    bytes: u64,
    /// Up to where both have written.
    pub slowest: Position,
    /// Up to where store-svc has written.
    pub stored: Position,
    stored_until_ms: i64,
    trimmed: Position,
    lagging: bool,
}

/// What those get who send while a reader is too far behind.
pub fn refusal() -> Refusal {
    crate::refusals::LAGGING.count();
    let message =
        "what was said is not being stored fast enough, so no more is taken for now: send again a little later";
    Refusal::new(Reason::Lagging, message).after(2000)
}

/// Asks where the readers stand.
pub async fn ask(registry: &dyn Registry, shard: Shard) -> Heard {
    let of = async |reader: &str| {
        let item = registry.get(&format!("progress.{reader}.{shard}")).await.ok()??;
        std::str::from_utf8(&item.value?).ok()?.parse().ok()
    };
    [of(READERS[0]).await, of(READERS[1]).await]
}

impl Pressure {
    /// At a home's beginning: both readers have passed a position, and the log grew so since, as far as it is known.
    pub fn new(position: Position, grew: impl IntoIterator<Item = Checkpoint>) -> Self {
        let checkpoints: VecDeque<_> = grew.into_iter().collect();
        let bytes = checkpoints.back().map_or(0, |last| last.bytes);
        let mut new = Self {
            checkpoints,
            bytes,
            slowest: position,
            stored: position,
            stored_until_ms: 0,
            trimmed: 0,
            lagging: false,
        };
        if new.checkpoints.is_empty() {
            new.checkpoint(position, now_micros() / 1000);
        }
        new
    }

    /// Whether sends are refused.
    pub fn lagging(&self) -> bool {
        self.lagging
    }

    /// Up to where store-svc and group-svc have both written.
    pub fn slowest(&self) -> Position {
        self.slowest
    }

    /// Up to when everything is stored, ms since 1970.
    pub fn stored_until_ms(&self) -> i64 {
        self.stored_until_ms
    }

    /// The log has grown.
    pub fn appended(&mut self, position: Position, bytes: usize) {
        self.grew(position, bytes, now_micros() / 1000);
    }

    fn grew(&mut self, position: Position, bytes: usize, now_ms: i64) {
        self.bytes += bytes as u64;
        if self.checkpoints.back().is_none_or(|last| now_ms - last.at_ms >= ms(CHECKPOINT)) {
            self.checkpoint(position, now_ms);
        }
    }

    fn checkpoint(&mut self, position: Position, at_ms: i64) {
        self.checkpoints.push_back(Checkpoint { position, at_ms, bytes: self.bytes });
    }

    /// Takes in where the readers stand; the position before which the log may be trimmed, if that has moved enough.
    /// Fails if one has read what the log does not have: then the log was lost, and numbers would be used twice. `most`:
    /// how many bytes a reader may be behind, and how many are kept behind the readers; a setting (`lag-bytes`).
    pub fn hear(
        &mut self,
        heard: &Heard,
        last: Position,
        fanned_out: Position,
        most: u64,
    ) -> Result<Option<Position>, String> {
        self.hear_at(heard, last, fanned_out, most, now_micros() / 1000)
    }

    fn hear_at(
        &mut self,
        heard: &Heard,
        last: Position,
        fanned_out: Position,
        most: u64,
        now_ms: i64,
    ) -> Result<Option<Position>, String> {
        let mut slowest = last;
        for (reader, position) in READERS.iter().zip(heard) {
            let Some(position) = *position else {
                slowest = slowest.min(self.slowest);
                continue;
            };
            // One batch may be in the log already of which this home does not know yet.
            if position > last + 1 {
                return Err(format!("{reader}-svc has read up to {position}, and the log ends at {last}"));
            }
            slowest = slowest.min(position);
            if *reader == "store" {
                self.stored = self.stored.max(position);
            }
        }
        // Nothing is trimmed that a reader whose database was restored has still to read again.
        let floor = slowest.min(fanned_out);
        // Never back: a reader that starts says where it stood when it wrote last.
        self.slowest = self.slowest.max(slowest);
        let slowest = self.slowest;
        if let Some(stored) = self.checkpoints.iter().rev().find(|each| each.position <= self.stored) {
            self.stored_until_ms = self.stored_until_ms.max(stored.at_ms);
        }
        // The first checkpoint that the slowest has not passed is how far behind it is.
        let behind = self.checkpoints.iter().find(|each| each.position > slowest).filter(|_| slowest < last);
        self.lagging = behind.is_some_and(|each| now_ms - each.at_ms > ms(MAX_LAG) || self.bytes - each.bytes > most);
        let old = |each: &Checkpoint| now_ms - each.at_ms > ms(KEEP) || self.bytes - each.bytes > most;
        let mut before = None;
        while self.checkpoints.len() > 1
            && self.checkpoints.front().is_some_and(|each| each.position < floor && old(each))
        {
            before = self.checkpoints.pop_front().map(|each| each.position);
        }
        // Nothing has come for an hour: all goes but the newest record, or a text that was taken back would stay in the log
        // until somebody speaks. Who takes it back writes a later record, so the newest has none such.
        let quiet = self.checkpoints.back().is_some_and(|each| now_ms - each.at_ms > ms(KEEP + CHECKPOINT));
        if quiet && self.checkpoints.len() == 1 {
            before = Some(floor);
        }
        Ok(before.filter(|before| *before > self.trimmed).inspect(|before| self.trimmed = *before))
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is usual.
    const MOST: u64 = 256 << 20;

    /// One append a second of so many bytes each, from position 2 on; the readers stand still at 1.
    fn grown(seconds: i64, bytes: usize) -> Pressure {
        let mut pressure = Pressure::new(1, [Checkpoint { position: 1, at_ms: 0, bytes: 0 }]);
        for n in 1..=seconds {
            pressure.grew(n as u64 + 1, bytes, n * 1000);
        }
        pressure
    }

    fn lags(pressure: &mut Pressure, seconds: i64, heard: Heard) -> bool {
        pressure.hear_at(&heard, seconds as u64 + 1, u64::MAX, MOST, seconds * 1000).unwrap();
        pressure.lagging()
    }

    #[test]
    fn sends_are_refused_when_a_reader_is_too_far_behind_in_time_or_in_bytes_and_taken_again_when_it_is_back() {
        let late = |seconds| lags(&mut grown(seconds, 100), seconds, [Some(1), Some(seconds as u64)]);
        assert_eq!((late(590), late(610)), (false, true), "10 min behind");
        let late = |megabytes| lags(&mut grown(megabytes, 1 << 20), megabytes, [Some(megabytes as u64), Some(1)]);
        assert_eq!((late(250), late(262)), (false, true), "256 MiB behind");
        let mut pressure = grown(700, 100);
        assert!(lags(&mut pressure, 700, [Some(1), Some(1)]));
        assert!(lags(&mut pressure, 700, [None, Some(701)]), "one of which nothing is known stands where it stood");
        assert!(!lags(&mut pressure, 700, [Some(701), Some(701)]));
    }

    #[test]
    fn the_log_is_trimmed_behind_the_slowest_of_all_only_and_an_hour_behind_it() {
        let trim = |store, group, fanned_out| {
            grown(8000, 10).hear_at(&[Some(store), Some(group)], 8001, fanned_out, MOST, 8_000_000).unwrap()
        };
        assert_eq!(trim(1, 8001, 8001), None);
        assert_eq!(trim(8001, 1, 8001), None);
        assert_eq!(trim(8001, 8001, 1), None);
        let hour = trim(8001, 8001, 8001).unwrap();
        assert!((4395..=4401).contains(&hour), "{hour}");
        assert!(trim(3000, 8001, 8001).unwrap() < 3000);
        assert!(trim(8001, 8001, 2000).unwrap() < 2000);
        // Less than an hour where that is much.
        let much =
            grown(1000, 1 << 20).hear_at(&[Some(1001), Some(1001)], 1001, 1001, MOST, 1_000_000).unwrap().unwrap();
        assert!((740..=746).contains(&much), "{much}");
    }

    #[test]
    fn what_a_restored_database_has_still_to_read_is_not_trimmed() {
        let mut pressure = grown(8000, 10);
        let mut trim = |group, now_ms| pressure.hear_at(&[Some(8001), Some(group)], 8001, 8001, MOST, now_ms).unwrap();
        assert!(trim(8001, 8_000_000).unwrap() > 4000);
        assert!(trim(5000, 9_000_000).unwrap() < 5000, "it was at 8001, and is at 5000 again");
        assert!(trim(8001, 9_000_000).unwrap() > 5000);
    }

    #[test]
    fn what_was_said_last_goes_from_a_quiet_log_as_well() {
        // The last three came within two seconds, and nothing came after.
        let mut pressure = grown(10, 100);
        pressure.grew(12, 100, 10_100);
        pressure.grew(13, 100, 10_200);
        let mut trim = |minutes: i64, read| {
            pressure.hear_at(&[Some(read), Some(read)], 13, read, MOST, 10_200 + minutes * 60_000).unwrap()
        };
        assert!(trim(59, 13).is_none_or(|before| before < 11), "not within the hour");
        assert_eq!(trim(61, 12), Some(12), "not past its readers");
        assert_eq!(trim(61, 13), Some(13), "all but the newest");
        assert_eq!(trim(62, 13), None, "once");
    }

    #[test]
    fn a_reader_that_is_ahead_of_the_log_says_that_the_log_was_lost() {
        let mut pressure = grown(10, 100);
        assert!(pressure.hear_at(&[Some(12), Some(3)], 11, 11, MOST, 10_000).is_ok(), "a batch is in flight");
        assert!(pressure.hear_at(&[Some(3), Some(13)], 11, 11, MOST, 10_000).is_err());
    }
}
