//! A log that was lost, with NATS's data: its readers' databases have what it has not. Beginning it anew would give its
//! positions out twice, and its readers would pass over what is new; so its homes serve nothing, and say so, until it is
//! restored, or somebody who knows what that means has the log begin anew behind what the databases have:
//! the key `log.reset.<shard>` of the registry = that very position.

use super::{World, pressure};
use madang_mesh::{log::Position, metrics, shard::Shard};
use prometheus::IntGaugeVec;
use std::sync::LazyLock;

static LOST: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "1: the log of this shard is lost, and its rooms are not served until somebody sees to it.";
    metrics::gauges("madang_chat_log_lost", help, &["shard"])
});

/// Fails if the log is lost, or if it is empty and the databases don't say whether it may be.
pub(super) async fn check(world: &World, shard: Shard) -> Result<(), String> {
    // Asked first: what the log has meanwhile may be read meanwhile.
    let heard = pressure::ask(&*world.registry, shard).await;
    let last = world.log.bounds(shard).await.map_err(|error| error.to_string())?.last;
    let mut read: Vec<Position> = heard.into_iter().flatten().collect();
    if last == 0 {
        // What the registry said may be lost with the log: the databases know.
        let cursors = world.sources.cursors(shard).await.map_err(|refusal| refusal.message)?;
        read = cursors.to_vec();
    }
    let furthest = read.iter().copied().max().unwrap_or(0);
    let lost = furthest > last;
    LOST.with_label_values(&[&shard.to_string()]).set(i64::from(lost));
    if !lost {
        return Ok(());
    }
    let key = format!("log.reset.{shard}");
    let item = world.registry.get(&key).await.map_err(|error| error.to_string())?;
    let told = item.and_then(|item| String::from_utf8_lossy(&item.value?).trim().parse().ok());
    // Where one has more than the other, the other would miss what is lost, and its numbers be used twice.
    if last == 0 && told == Some(furthest) && read.iter().all(|each| *each == furthest) {
        tracing::warn!(shard, furthest, "the log was lost, and begins anew, as the registry says");
        world.log.begin_after(shard, furthest).await.map_err(|error| error.to_string())?;
        LOST.with_label_values(&[&shard.to_string()]).set(0);
        return Ok(());
    }
    Err(format!(
        "the log of this shard is LOST: it ends at {last}, and its readers have read up to {read:?}; nothing is served until \
         it is restored, or begun anew by the registry's key {key} (docs/reliability.md)"
    ))
}
