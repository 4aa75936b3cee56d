//! Inboxes that are lost with what people were sent just before: whoever logs in then is told what happened in the last half
//! minute all the same. A home that begins sends that again, from the log, to the inboxes that are younger; who has it already
//! passes it over.

use super::{Logged, extend_back};
use crate::home::World;
use madang_mesh::{clock::now_micros, log::Position, shard::Shard};
use madang_proto::log::v1::FanOutPosition;
use prost::Message as _;

/// From how far back it is sent again, in microseconds: what a log-in is told of the past, and how long it may take.
const BACK_MICROS: i64 = 35_000_000;
/// At most so many bytes of a shard's log; the newest.
const MOST: usize = 4 << 20;
/// How many records are read back at once.
const AT_ONCE: u64 = 256;

/// Sets back how far the fan-out has come with inboxes that are younger than what was sent to them, so that this is sent again, and reads
/// the records that takes, if the log has them; from where on it has records now.
pub(super) async fn send(
    world: &World,
    shard: Shard,
    (first, mut from): (Position, Position),
    records: &mut Vec<Logged>,
    reached: &mut [FanOutPosition],
) -> Result<Position, String> {
    let since = now_micros() - BACK_MICROS;
    let inboxes = world.fan_out.inboxes_since().await;
    let began = |each: &FanOutPosition| inboxes.get(each.shard as usize).copied().unwrap_or(0);
    if !reached.iter().any(|each| began(each) > since) {
        return Ok(from);
    }
    while from > first && records.first().is_some_and(|oldest| oldest.at_micros >= since) && bytes(records) < MOST {
        from = from.saturating_sub(AT_ONCE).max(first);
        extend_back(world, shard, from, records).await?;
    }
    let Some(begin) = begin(records, since) else { return Ok(from) };
    for each in reached.iter_mut().filter(|each| began(each) > begin.at_micros && each.sent >= begin.position) {
        each.sent = begin.position - 1;
        each.position = each.position.min(each.sent);
    }
    Ok(from)
}

fn bytes(records: &[Logged]) -> usize {
    records.iter().map(|logged| logged.record.encoded_len()).sum()
}

/// The first record since a time, of as many as may be sent again.
fn begin(records: &[Logged], since: i64) -> Option<&Logged> {
    let mut most = MOST;
    let fits = |logged: &&Logged| {
        let left = most.checked_sub(logged.record.encoded_len());
        most = left.unwrap_or(0);
        left.is_some()
    };
    records.iter().rev().take_while(|logged| logged.at_micros >= since).take_while(fits).last()
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::log::v1::{LoggedEvent, Record};

    #[test]
    fn of_the_last_half_minute_it_is_as_much_as_may_be_the_newest() {
        let record = |position: Position, at_micros, bytes| {
            let events = vec![LoggedEvent { trace: vec![0; bytes].into(), ..LoggedEvent::default() }];
            Logged { position, at_micros, record: Record { events, ..Record::default() } }
        };
        let of = |bytes| -> Vec<_> { (4..10).zip(20..).map(|(position, at)| record(position, at, bytes)).collect() };
        let begin = |bytes, since| begin(&of(bytes), since).map(|logged| logged.position);
        assert_eq!(begin(10, 0), Some(4));
        assert_eq!(begin(10, 22), Some(6));
        assert_eq!(begin(10, 30), None, "nothing was sent since");
        assert_eq!(begin(MOST / 3, 0), Some(8));
        assert_eq!(begin(MOST, 0), None);
    }
}
