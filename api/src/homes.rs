//! The way to a user's home, for what is sent without a socket.

use futures_util::StreamExt;
use madang_mesh::{
    channel::Channels,
    shard::{Home, ShardMap, shard_of},
};
use madang_proto::{
    chat::v1::{WatchShardsRequest, chat_service_client::ChatServiceClient, home_service_client::HomeServiceClient},
    id::UserId,
    reason::{Reason, Refusal},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// How long between tries to watch the map.
const AGAIN: Duration = Duration::from_millis(100);

/// The map of homes, kept fresh.
#[derive(Clone)]
pub struct Homes {
    channels: Channels,
    chat: String,
    map: Arc<watch::Sender<ShardMap>>,
}

impl Homes {
    /// By way of any chat-svc.
    #[must_use]
    pub fn new(channels: Channels, chat: String) -> Self {
        Self { channels, chat, map: Arc::new(watch::Sender::new(ShardMap::default())) }
    }

    /// Keeps the map fresh until `drain`.
    pub async fn follow(self, drain: CancellationToken) {
        let follow = async {
            loop {
                self.watch().await;
                tokio::time::sleep(AGAIN).await;
            }
        };
        drain.run_until_cancelled(follow).await;
    }

    async fn watch(&self) {
        let Ok(channel) = self.channels.get(&self.chat) else { return };
        let maps = HomeServiceClient::new(channel).watch_shards(WatchShardsRequest {}).await;
        let Ok(mut maps) = maps.map(tonic::Response::into_inner) else { return };
        while let Some(Ok(map)) = maps.next().await {
            let homes =
                map.homes.into_iter().map(|home| (home.shard, Home { process: home.process, address: home.address }));
            self.map.send_replace(ShardMap { count: map.count, homes: homes.collect() });
        }
    }

    /// The home of a user.
    pub fn of(&self, user: UserId) -> Result<ChatServiceClient<Channel>, Refusal> {
        let address = {
            let map = self.map.borrow();
            map.homes.get(&shard_of(user.bytes(), map.count)).map(|home| home.address.clone())
        };
        let channel = address.and_then(|address| self.channels.get(&address).ok());
        let none =
            || Refusal::new(Reason::Unavailable, "no home at the moment: send again with the same clientId").after(500);
        channel.map(ChatServiceClient::new).ok_or_else(none)
    }
}
