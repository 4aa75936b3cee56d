//! What homes that have stopped here left for the next ones, kept for some seconds: one thing for each shard, taken once.

use crate::home::Left;
use futures_util::future::BoxFuture;
use madang_mesh::{
    channel::Channels,
    log::Position,
    shard::{Home, Shard},
};
use madang_proto::chat::v1::{TakeOverRequest, home_service_client::HomeServiceClient};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// How long something is kept.
const KEEP: Duration = Duration::from_secs(5);
/// How long a new home waits for it; then it replays the log.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the one who was home before for what it left, now that the marker is at this position.
pub type Ask = Box<dyn FnOnce(Position) -> BoxFuture<'static, Option<Left>> + Send>;

/// The shelf of this process.
#[derive(Clone, Default)]
pub struct Shelf {
    left: Arc<Mutex<HashMap<Shard, (Instant, Left)>>>,
    taken: Arc<Notify>,
}

impl Shelf {
    /// Puts there what a home of the shard has left, for some seconds.
    pub fn put(&self, shard: Shard, left: Left) {
        let at = Instant::now();
        self.lock().insert(shard, (at, left));
        let shelf = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(KEEP).await;
            let mut all = shelf.lock();
            if all.get(&shard).is_some_and(|(put, _)| *put == at) {
                all.remove(&shard);
                shelf.taken.notify_waiters();
            }
        });
    }

    /// Takes it, if there is nothing in the log after it but this marker.
    #[must_use]
    pub fn take(&self, shard: Shard, marker: Position) -> Option<Left> {
        let taken = self.lock().remove(&shard).map(|(_, left)| left);
        self.taken.notify_waiters();
        taken.filter(|left| left.position + 1 == marker)
    }

    /// Waits until everything was taken or is too old.
    pub async fn emptied(&self) {
        loop {
            let taken = self.taken.notified();
            if self.lock().is_empty() {
                return;
            }
            taken.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Shard, (Instant, Left)>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to what another process has left.
#[must_use]
pub fn ask(channels: Channels, shard: Shard, before: Home) -> Ask {
    Box::new(move |marker| {
        Box::pin(async move {
            let asked = async {
                let channel = channels.get(&before.address).map_err(|error| error.to_string())?;
                let mut client = HomeServiceClient::new(channel).max_decoding_message_size(crate::MAX_GRPC);
                let parts = client.take_over(TakeOverRequest { shard, marker }).await;
                Left::receive(parts.map_err(|status| status.message().to_owned())?.into_inner()).await
            };
            match tokio::time::timeout(PATIENCE, asked).await {
                Ok(Ok(left)) => return Some(left),
                Ok(Err(why)) => tracing::info!(shard, process = before.process, why, "nothing was handed over"),
                Err(_) => tracing::warn!(shard, process = before.process, "nothing was handed over in time"),
            }
            None
        })
    })
}
