//! The way to a room's home: the map of homes, kept fresh, and operations sent where it says.

use futures_util::StreamExt;
use madang_mesh::{
    channel::Channels,
    shard::{Home, ShardMap, shard_of},
    status::from_status,
};
use madang_proto::{
    chat::v1::{OperateOnceRequest, Operation, WatchShardsRequest, home_service_client::HomeServiceClient, outcome},
    client::v1::Ack,
    id::ConversationId,
    reason::{Reason, Refusal},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long an operation is tried.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long between tries.
const AGAIN: Duration = Duration::from_millis(100);

/// The way to every room's home.
#[derive(Clone)]
pub struct Homes {
    channels: Channels,
    chat: String,
    map: Arc<watch::Sender<ShardMap>>,
}

fn unavailable() -> Refusal {
    Refusal::new(Reason::Unavailable, "the conversation's home does not answer: try again").after(500)
}

impl Homes {
    /// By way of any chat-svc.
    #[must_use]
    pub fn new(channels: Channels, chat: String) -> Self {
        Self { channels, chat, map: Arc::new(watch::Sender::new(ShardMap::default())) }
    }

    /// Keeps the map fresh until `drain`.
    pub async fn follow(self, drain: CancellationToken) {
        drain
            .run_until_cancelled(async {
                loop {
                    if let Err(why) = self.watch().await {
                        tracing::debug!(%why, "the shard map can't be watched");
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            })
            .await;
    }

    async fn watch(&self) -> Result<(), Refusal> {
        let channel = self.channels.get(&self.chat).map_err(|_| unavailable())?;
        let maps = HomeServiceClient::new(channel).watch_shards(WatchShardsRequest {}).await;
        let mut maps = maps.map_err(|status| from_status(&status))?.into_inner();
        while let Some(map) = maps.next().await {
            let map = map.map_err(|status| from_status(&status))?;
            let homes =
                map.homes.into_iter().map(|home| (home.shard, Home { process: home.process, address: home.address }));
            self.map.send_replace(ShardMap { count: map.count, homes: homes.collect() });
        }
        Ok(())
    }

    /// Has the room's home do it; waits for a home for a while.
    pub async fn operate(&self, conversation: ConversationId, operation: Operation) -> Result<Ack, Refusal> {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.once(conversation, &operation).await {
                Err(refusal)
                    if matches!(refusal.reason, Reason::NotHome | Reason::Unavailable)
                        && tokio::time::Instant::now() + AGAIN < end =>
                {
                    tokio::time::sleep(AGAIN).await;
                }
                other => return other,
            }
        }
    }

    async fn once(&self, conversation: ConversationId, operation: &Operation) -> Result<Ack, Refusal> {
        let address = {
            let map = self.map.borrow();
            map.homes.get(&shard_of(conversation.bytes(), map.count)).map(|home| home.address.clone())
        };
        let channel = self.channels.get(&address.ok_or_else(unavailable)?).map_err(|_| unavailable())?;
        let request = OperateOnceRequest { operation: Some(operation.clone()) };
        let call = HomeServiceClient::new(channel).operate_once(request).await;
        match call.map_err(|status| from_status(&status))?.into_inner().outcome.and_then(|outcome| outcome.result) {
            Some(outcome::Result::Ack(ack)) => Ok(ack),
            Some(outcome::Result::Error(error)) => Err(Refusal::from_error(&error)),
            None => Err(unavailable()),
        }
    }
}
