//! The connections of users whose home this process is: one task for each shard reads its inbox, keeps the same tail in
//! memory, and pushes each event once to every trunk that has a connection of a recipient.

mod shard;
mod tail;
mod trunk;

pub use shard::frame;
pub use trunk::TrunkHandle;

use crate::inbox::Inbox;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use madang_mesh::shard::{Shard, shard_of};
use madang_proto::{
    chat::v1::{ConnectResponse, Open},
    id::UserId,
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use trunk::Trunk;

/// How many commands wait for a shard at most.
const COMMANDS: usize = 4096;

/// What a shard's task is told.
enum Command {
    Open { user: UserId, trunk: Arc<Trunk>, connection: u64, open: Box<Open> },
    Close { user: UserId, trunk: u64, connection: u64 },
    Notify { users: Vec<UserId>, frame: Bytes },
}

/// A handle to the connections of this process.
#[derive(Clone)]
pub struct Connections {
    count: u32,
    devices: usize,
    shards: Arc<RwLock<HashMap<Shard, mpsc::Sender<Command>>>>,
}

impl Connections {
    /// Serves the users of the shards that are held, until `cancel`; a user has so many sockets at most.
    #[must_use]
    pub fn spawn(
        inbox: Arc<dyn Inbox>,
        shards: u32,
        devices: u32,
        held: watch::Receiver<BTreeSet<Shard>>,
        cancel: CancellationToken,
    ) -> Self {
        let connections = Self { count: shards, devices: devices as usize, shards: Arc::default() };
        tokio::spawn(connections.clone().follow(inbox, held, cancel));
        connections
    }

    async fn follow(
        self,
        inbox: Arc<dyn Inbox>,
        mut held: watch::Receiver<BTreeSet<Shard>>,
        cancel: CancellationToken,
    ) {
        let mut running: HashMap<Shard, CancellationToken> = HashMap::new();
        loop {
            let now = if cancel.is_cancelled() { BTreeSet::new() } else { held.borrow_and_update().clone() };
            running.retain(|shard, token| {
                let keep = now.contains(shard);
                if !keep {
                    self.lock().remove(shard);
                    token.cancel();
                }
                keep
            });
            if cancel.is_cancelled() {
                return;
            }
            for shard in now {
                running.entry(shard).or_insert_with(|| {
                    let token = cancel.child_token();
                    let (sender, receiver) = mpsc::channel(COMMANDS);
                    self.lock().insert(shard, sender);
                    tokio::spawn(shard::run(shard, self.devices, inbox.clone(), receiver, token.clone()));
                    token
                });
            }
            tokio::select! {
                changed = held.changed() => if changed.is_err() { cancel.cancelled().await },
                () = cancel.cancelled() => {}
            }
        }
    }

    fn lock(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<Shard, mpsc::Sender<Command>>> {
        self.shards.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, user: &UserId) -> Option<mpsc::Sender<Command>> {
        let shard = shard_of(user.bytes(), self.count);
        self.shards.read().unwrap_or_else(PoisonError::into_inner).get(&shard).cloned()
    }

    /// A new trunk: what its reader calls, and what goes back to the gateway.
    #[must_use]
    pub fn trunk(&self) -> (TrunkHandle, BoxStream<'static, Result<ConnectResponse, Status>>) {
        trunk::new(self.clone())
    }

    /// Gives a frame to the connections of users whose home this is; dropped where there is too much to do.
    pub fn notify(&self, users: &[UserId], frame: Bytes) {
        let mut by_shard: HashMap<Shard, Vec<UserId>> = HashMap::new();
        for user in users {
            by_shard.entry(shard_of(user.bytes(), self.count)).or_default().push(*user);
        }
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        for (shard, users) in by_shard {
            if let Some(sender) = shards.get(&shard)
                && sender.try_send(Command::Notify { users, frame: frame.clone() }).is_err()
            {
                crate::refusals::NOTICES.count();
            }
        }
    }
}

#[cfg(test)]
mod tests;
