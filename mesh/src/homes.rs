//! The way to homes: which process is home of which shard, as any chat-svc says it, kept fresh.

use crate::{
    channel::Channels,
    shard::{Home, ShardMap, shard_of},
    vital::vital,
};
use futures_util::StreamExt;
use madang_proto::chat::v1::{WatchShardsRequest, home_service_client::HomeServiceClient};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// How long between tries to watch the map.
const AGAIN: Duration = Duration::from_millis(100);

/// How long one chat-svc may take to begin to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The map of homes, kept fresh for as long as somebody holds this.
#[derive(Clone)]
pub struct Homes {
    map: Arc<watch::Sender<ShardMap>>,
    awake: watch::Receiver<bool>,
}

impl Homes {
    /// By way of any of these chat-svc: addresses separated by commas, the next one when one ends.
    #[must_use]
    pub fn follow(channels: Channels, chats: &str) -> Self {
        let map = Arc::new(watch::Sender::new(ShardMap::default()));
        let (hears, awake) = watch::channel(false);
        let (follower, chats) = (Arc::downgrade(&map), chats.to_owned());
        let follow = async move {
            for chat in chats.split(',').cycle() {
                let Some(map) = follower.upgrade() else { return };
                watch_map(&channels, chat.trim(), &map, &hears).await;
                hears.send_replace(false);
                drop(map);
                tokio::time::sleep(AGAIN).await;
            }
        };
        tokio::spawn(vital("the list of homes", follow));
        Self { map, awake }
    }

    /// Whether a chat-svc says the map at the moment: one that is cut off from the registry does not.
    #[must_use]
    pub fn awake(&self) -> watch::Receiver<bool> {
        self.awake.clone()
    }

    /// The home of a conversation or a user, by its id.
    #[must_use]
    pub fn of(&self, id: &[u8; 16]) -> Option<Home> {
        let map = self.map.borrow();
        map.homes.get(&shard_of(id, map.count)).cloned()
    }

    /// The same; waits until there is one.
    pub async fn wait_for(&self, id: &[u8; 16]) -> Home {
        let mut map = self.map.subscribe();
        loop {
            let home = {
                let map = map.borrow_and_update();
                map.homes.get(&shard_of(id, map.count)).cloned()
            };
            match home {
                Some(home) => return home,
                // The sender lives as long as this does.
                None => drop(map.changed().await),
            }
        }
    }
}

async fn watch_map(channels: &Channels, chat: &str, to: &watch::Sender<ShardMap>, hears: &watch::Sender<bool>) {
    let Ok(channel) = channels.get(chat) else { return };
    let mut client = HomeServiceClient::new(channel);
    let asked = tokio::time::timeout(PATIENCE, client.watch_shards(WatchShardsRequest {})).await;
    let Ok(Ok(mut maps)) = asked.map(|maps| maps.map(tonic::Response::into_inner)) else { return };
    while let Some(Ok(map)) = maps.next().await {
        let homes = map.homes.into_iter();
        let homes = homes.map(|home| (home.shard, Home { process: home.process, address: home.address })).collect();
        to.send_replace(ShardMap { count: map.count, homes });
        hears.send_replace(true);
    }
}
