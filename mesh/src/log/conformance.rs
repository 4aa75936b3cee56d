//! What every log must do: run by the tests of each adapter.

use super::{Error, Log};
use bytes::Bytes;
use futures_util::StreamExt;

/// Says what is wrong with a log that was empty in shard 0.
pub async fn check(log: &dyn Log) -> Result<(), String> {
    let said = |error: Error| error.to_string();
    let payload = |n: u64| Bytes::from(format!("record {n}"));
    log.create(0).await.map_err(said)?;
    log.create(0).await.map_err(said)?;
    let bounds = log.bounds(0).await.map_err(said)?;
    expect("an empty log", (bounds.first, bounds.last), (1, 0))?;
    expect("the marker", log.append(0, payload(1), None).await.map_err(said)?, 1)?;
    for n in 2..=20 {
        expect("an append", log.append(0, payload(n), Some(n - 1)).await.map_err(said)?, n)?;
    }
    for expected in [0, 5, 19, 21] {
        match log.append(0, payload(99), Some(expected)).await {
            Err(Error::Conflict { .. }) => {}
            other => return Err(format!("an append that expects {expected} after 20: {other:?}")),
        }
    }
    let mut entries = log.read(0, 1).await.map_err(said)?;
    for n in 1..=20 {
        let entry = entries.next().await.ok_or("the log ended")?.map_err(said)?;
        expect("an entry", (entry.position, entry.payload), (n, payload(n)))?;
    }
    log.append(0, payload(21), Some(20)).await.map_err(said)?;
    let tail = entries.next().await.ok_or("the log ended")?.map_err(said)?;
    expect("the tail", tail.position, 21)?;
    log.trim(0, 10).await.map_err(said)?;
    let bounds = log.bounds(0).await.map_err(said)?;
    expect("a trimmed log", (bounds.first, bounds.last), (10, 21))?;
    for wanted in [1, 9, 23] {
        let first = match log.read(0, wanted).await {
            Ok(mut entries) => entries.next().await.ok_or("the log ended")?,
            Err(error) => Err(error),
        };
        if !matches!(first, Err(Error::Missing { .. })) {
            return Err(format!("reading from {wanted}, where 10 to 21 are kept: {first:?}"));
        }
    }
    let mut rest = log.read(0, 10).await.map_err(said)?;
    expect("after the trim", rest.next().await.ok_or("the log ended")?.map_err(said)?.position, 10)
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, is: T, should: T) -> Result<(), String> {
    if is == should { Ok(()) } else { Err(format!("{what}: {is:?}, should be {should:?}")) }
}
