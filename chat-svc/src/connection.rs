//! The connections of users whose home this process is: one task for each shard reads its inbox, keeps the same tail in
//! memory, and pushes each event once to every trunk that has a connection of a recipient.

mod delivered;
mod frame;
mod origins;
mod reach;
mod shard;
mod spread;
mod state;
mod tail;
mod trunk;

pub use delivered::Question;
pub use frame::frame;
pub use origins::{Origins, Peers};
pub use trunk::TrunkHandle;

use crate::{
    inbox::Inbox,
    presence::{Board, Watching},
};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use madang_mesh::{
    metrics,
    shard::{Shard, shard_of},
    vital::vital,
};
use madang_proto::{
    chat::v1::{ConnectResponse, Open},
    id::UserId,
};
use shard::Task;
use state::State;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tail::Budget;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};
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
    Delivered { user: UserId, trunk: u64, connection: u64, cursor: String },
    AskDelivered { questions: Vec<Question>, answer: oneshot::Sender<Vec<(usize, UserId, String)>> },
    Watch { user: UserId, trunk: u64, connection: u64, watching: Option<Watching> },
}

/// How long what is known of a shard's users is kept after the shard went elsewhere: it often comes back at once, as
/// when nobody could renew a lease for a moment.
const PARKED: Duration = Duration::from_secs(60);

/// How connections are served.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// How many shards there are.
    pub shards: u32,
    /// How many sockets a user has at most.
    pub devices: u32,
    /// How many bytes the tails of all inboxes may have together.
    pub tail_bytes: usize,
}

/// A handle to the connections of this process.
#[derive(Clone)]
pub struct Connections {
    config: Config,
    shards: Arc<RwLock<HashMap<Shard, mpsc::Sender<Command>>>>,
}

/// What runs the shards that are held.
struct Runner {
    connections: Connections,
    inbox: Arc<dyn Inbox>,
    origins: Arc<dyn Origins>,
    budget: Arc<Budget>,
    board: Board,
    running: HashMap<Shard, (CancellationToken, JoinHandle<State>)>,
    parked: HashMap<Shard, (Instant, State)>,
}

impl Runner {
    async fn follow(mut self, mut held: watch::Receiver<BTreeSet<Shard>>, cancel: CancellationToken) {
        loop {
            let now = if cancel.is_cancelled() { BTreeSet::new() } else { held.borrow_and_update().clone() };
            let lost: Vec<_> = self.running.keys().filter(|shard| !now.contains(shard)).copied().collect();
            // All are told before any is waited for.
            for shard in &lost {
                self.connections.lock().remove(shard);
                self.board.ended(*shard);
                if let Some((token, _)) = self.running.get(shard) {
                    token.cancel();
                }
            }
            for shard in lost {
                let Some((_, task)) = self.running.remove(&shard) else { continue };
                match task.await {
                    Ok(state) => drop(self.parked.insert(shard, (Instant::now(), state))),
                    Err(error) => tracing::error!(shard, %error, "the task of a shard's users was cut off"),
                }
            }
            if cancel.is_cancelled() {
                return;
            }
            self.parked.retain(|_, (since, _)| since.elapsed() < PARKED);
            for shard in now {
                if !self.running.contains_key(&shard) {
                    self.start(shard, &cancel);
                }
            }
            tokio::select! {
                changed = held.changed() => if changed.is_err() { cancel.cancelled().await },
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(PARKED), if !self.parked.is_empty() => {}
            }
        }
    }

    fn start(&mut self, shard: Shard, cancel: &CancellationToken) {
        let Config { shards, devices, .. } = self.connections.config;
        self.board.begun(shard);
        let new = || State::new(shard, shards, devices as usize, self.budget.clone(), self.board.clone());
        let state = self.parked.remove(&shard).map_or_else(new, |(_, state)| state);
        let token = cancel.child_token();
        let (sender, receiver) = mpsc::channel(COMMANDS);
        metrics::queue(
            "user_commands",
            "commands for a shard of users: connections that open and close, notices",
            &sender,
        );
        self.connections.lock().insert(shard, sender);
        let task = Task { shard, inbox: self.inbox.clone(), origins: self.origins.clone() };
        let running = tokio::spawn(vital("the users of a shard", task.run(state, receiver, token.clone())));
        self.running.insert(shard, (token, running));
    }
}

impl Connections {
    /// Serves the users of the shards that are held, until `cancel`; who is connected is on the board.
    #[must_use]
    pub fn spawn(
        inbox: Arc<dyn Inbox>,
        origins: Arc<dyn Origins>,
        config: Config,
        board: Board,
        held: watch::Receiver<BTreeSet<Shard>>,
        cancel: CancellationToken,
    ) -> Self {
        let connections = Self { config, shards: Arc::default() };
        let runner = Runner {
            connections: connections.clone(),
            inbox,
            origins,
            budget: Budget::new(config.tail_bytes),
            board,
            running: HashMap::new(),
            parked: HashMap::new(),
        };
        tokio::spawn(vital("connections", runner.follow(held, cancel)));
        connections
    }

    fn lock(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<Shard, mpsc::Sender<Command>>> {
        self.shards.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, user: &UserId) -> Option<mpsc::Sender<Command>> {
        let shard = shard_of(user.bytes(), self.config.shards);
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
            by_shard.entry(shard_of(user.bytes(), self.config.shards)).or_default().push(*user);
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
