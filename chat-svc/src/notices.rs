//! Notices that are never stored (somebody is writing): to the users' homes, here or elsewhere; dropped when busy.

use crate::connection::Connections;
use bytes::Bytes;
use madang_mesh::{
    channel::Channels,
    shard::{ShardMap, shard_of},
};
use madang_proto::{
    chat::v1::{NotifyRequest, home_service_client::HomeServiceClient},
    id::UserId,
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};

/// How many notices are on their way to other processes at most; more are dropped.
const IN_FLIGHT: usize = 64;
/// How long one may take.
const DEADLINE: Duration = Duration::from_secs(1);

/// The way of notices.
#[derive(Clone)]
pub struct Notices {
    connections: Connections,
    map: watch::Receiver<ShardMap>,
    process: String,
    channels: Channels,
    permits: Arc<Semaphore>,
}

impl Notices {
    /// From this process.
    #[must_use]
    pub fn new(connections: Connections, map: watch::Receiver<ShardMap>, process: String, channels: Channels) -> Self {
        Self { connections, map, process, channels, permits: Arc::new(Semaphore::new(IN_FLIGHT)) }
    }

    /// What is known of blocks of these users is no more good, in any process: the others are told by an empty frame. Each
    /// of the tasks ends when one of them has heard, or can't be reached.
    pub fn doubt(&self, users: &[UserId]) -> JoinSet<()> {
        self.connections.notify(users, Bytes::new());
        let addresses: HashSet<String> = {
            let map = self.map.borrow();
            let elsewhere = map.homes.values().filter(|home| home.process != self.process);
            elsewhere.map(|home| home.address.clone()).collect()
        };
        let users: Bytes = users.iter().flat_map(|user| *user.bytes()).collect::<Vec<u8>>().into();
        let mut telling = JoinSet::new();
        for address in addresses {
            let Ok(channel) = self.channels.get(&address) else { continue };
            let request = NotifyRequest { users: users.clone(), ..NotifyRequest::default() };
            telling.spawn(async move {
                let told = tokio::time::timeout(DEADLINE, HomeServiceClient::new(channel).notify(request)).await;
                if !matches!(told, Ok(Ok(_))) {
                    tracing::debug!(%address, "a process did not hear that blocks have changed");
                }
            });
        }
        telling
    }

    /// Tells users, but for the one whom it is about.
    pub fn send(&self, users: &[UserId], except: UserId, frame: &Bytes) {
        let mut here = Vec::new();
        let mut elsewhere: HashMap<String, Vec<u8>> = HashMap::new();
        {
            let map = self.map.borrow();
            for user in users.iter().filter(|user| **user != except) {
                match map.homes.get(&shard_of(user.bytes(), map.count)) {
                    Some(home) if home.process == self.process => here.push(*user),
                    Some(home) => elsewhere.entry(home.address.clone()).or_default().extend_from_slice(user.bytes()),
                    None => {}
                }
            }
        }
        if !here.is_empty() {
            self.connections.notify(&here, frame.clone());
        }
        for (address, users) in elsewhere {
            let Ok(permit) = self.permits.clone().try_acquire_owned() else {
                crate::refusals::NOTICES.count();
                continue;
            };
            let Ok(channel) = self.channels.get(&address) else { continue };
            let request = NotifyRequest { users: users.into(), frame: frame.clone(), ..NotifyRequest::default() };
            tokio::spawn(async move {
                let _permit = permit;
                let sent = tokio::time::timeout(DEADLINE, HomeServiceClient::new(channel).notify(request)).await;
                tracing::trace!(%address, ok = sent.is_ok(), "notice");
            });
        }
    }
}
