//! Where events come from: the homes of the source shards, which are asked how far they have come and to send again
//! what was missed; and what the databases have of each shard.

use crate::fan_out::{FanOut, Rewound};
use async_trait::async_trait;
use madang_mesh::{
    channel::Channels,
    log::Position,
    registry::Registry,
    shard::{Shard, ShardMap},
};
use madang_proto::chat::v1::{RewindRequest, RewindResponse, home_service_client::HomeServiceClient};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// How long a home may take to answer.
const DEADLINE: Duration = Duration::from_secs(2);
/// The readers whose databases clients look into.
const READERS: [&str; 2] = ["store", "group"];

/// The port to the homes of source shards.
#[async_trait]
pub trait Origins: Send + Sync + 'static {
    /// Asks a source's home to send a destination all after a log position again; without one, to say in its inbox how
    /// far it has come. None: it has no home now, or that does not answer.
    async fn rewind(&self, source: Shard, destination: Shard, after: Option<Position>) -> Option<Rewound>;

    /// Up to which position of a source's log whoever reads lists and history now finds everything.
    async fn stored(&self, source: Shard) -> Option<Position>;
}

/// The homes of source shards, here and in other processes.
pub struct Peers {
    /// Of the homes here.
    pub fan_out: FanOut,
    /// Who is home of what.
    pub map: watch::Receiver<ShardMap>,
    /// This process.
    pub process: String,
    /// The way to the others.
    pub channels: Channels,
    /// Where readers say how far they have come.
    pub registry: Arc<dyn Registry>,
}

#[async_trait]
impl Origins for Peers {
    async fn rewind(&self, source: Shard, destination: Shard, after: Option<Position>) -> Option<Rewound> {
        if let Some(rewound) = self.fan_out.rewind(source, destination, after) {
            return Some(rewound);
        }
        let home = self.map.borrow().homes.get(&source).filter(|home| home.process != self.process).cloned()?;
        let mut client = HomeServiceClient::new(self.channels.get(&home.address).ok()?);
        let asked = client.rewind(RewindRequest { source, destination, after });
        match tokio::time::timeout(DEADLINE, asked).await {
            Ok(Ok(response)) => {
                let RewindResponse { sent, again } = response.into_inner();
                Some(Rewound { sent, again })
            }
            Ok(Err(status)) => {
                tracing::debug!(source, destination, %status, "a source can't be rewound");
                None
            }
            Err(_) => None,
        }
    }

    async fn stored(&self, source: Shard) -> Option<Position> {
        let mut least = Position::MAX;
        for reader in READERS {
            let key = format!("progress.{reader}.{source}");
            let item = tokio::time::timeout(DEADLINE, self.registry.get(&key)).await.ok()?.ok()??;
            least = least.min(std::str::from_utf8(&item.value?).ok()?.parse().ok()?);
        }
        Some(least)
    }
}
