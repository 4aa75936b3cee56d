//! Looks, once a second, where every shard's log ends and how far its reader has come: this process by its own reading,
//! others by what they publish. When a reader has come to where the log ended, everything until that look is proven to be
//! written. While the log itself answers nobody, what was proven last holds, for then nothing can be said either. What
//! others have published is believed once the database has confirmed it: it may be one that was restored from a back-up,
//! and what is known of it what the one before had.

use super::{LAG, PROGRESS, Reader, STALE, progress_key};
use crate::{log::Position, shard::Shard};
use futures_util::future::join_all;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How soon the next look is while something is not proven at all.
const SOON: Duration = Duration::from_millis(50);

/// Where a log ended at a look, which its reader had not reached yet.
#[derive(Clone, Copy)]
struct Awaited {
    last: Position,
    asked: Instant,
}

/// What one look at a shard has shown.
enum Seen {
    /// The reader has come to where the log ends.
    All,
    /// It has come here, and the log ends there.
    Some { reached: Position, last: Position },
    /// The log does not answer.
    Nothing,
}

/// Looks for as long as it is let.
pub(super) async fn look(reader: Arc<Reader>) {
    let lag = reader.config.lag.clone();
    let mut awaited: HashMap<Shard, Awaited> = HashMap::new();
    loop {
        let asked = Instant::now();
        let all = join_all((0..lag.shards()).map(|shard| see(&reader, shard))).await;
        // One log alone that does not answer answers nobody.
        let cut_off = all.iter().all(|seen| matches!(seen, Seen::Nothing)) && *reader.config.others_hear.borrow();
        for (shard, seen) in (0..).zip(all) {
            match (seen, awaited.get(&shard).copied()) {
                (Seen::All, _) => {
                    awaited.remove(&shard);
                    lag.proven(shard, asked);
                }
                (Seen::Some { reached, last }, Some(waits)) if reached >= waits.last => {
                    awaited.insert(shard, Awaited { last, asked });
                    lag.proven(shard, waits.asked);
                }
                (Seen::Some { last, .. }, None) => {
                    awaited.insert(shard, Awaited { last, asked });
                }
                // Only if nothing is known to wait, and if others hear nothing either; and not after a pause, of which
                // nothing is known.
                (Seen::Nothing, None) if lag.of(shard) <= STALE && !cut_off => lag.proven(shard, asked),
                (Seen::Some { .. } | Seen::Nothing, _) => {}
            }
            if reader.reached(shard).is_some() {
                let seconds = i64::try_from(lag.of(shard).as_secs()).unwrap_or(i64::MAX);
                LAG.with_label_values(&[&reader.config.group, &shard.to_string()]).set(seconds);
            }
        }
        tokio::time::sleep(if lag.worst() == Duration::MAX { SOON } else { PROGRESS }).await;
    }
}

async fn see(reader: &Reader, shard: Shard) -> Seen {
    let look = async {
        let last = reader.log.bounds(shard).await.ok()?.last;
        let reached = match reader.reached(shard) {
            Some(reached) => reached,
            None => {
                let item = reader.registry.get(&progress_key(&reader.config.group, shard)).await.ok()?;
                let said = item.and_then(|item| std::str::from_utf8(&item.value?).ok()?.parse().ok()).unwrap_or(0);
                let confirmed = reader.config.lag.of(shard) < Duration::MAX;
                if confirmed { said } else { said.min(reader.handler.saved(shard).await.ok()?) }
            }
        };
        Some(if reached >= last { Seen::All } else { Seen::Some { reached, last } })
    };
    tokio::time::timeout(PATIENCE, look).await.ok().flatten().unwrap_or(Seen::Nothing)
}
