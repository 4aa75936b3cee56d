//! Work that a processor is busy with for long: so much of it at once, so much that waits, and off the threads that serve
//! everybody.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Why something was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotDone {
    /// As much as may wait waits already.
    Busy,
    /// It was given up half-way.
    Failed,
}

/// Whose turn it is.
#[derive(Clone)]
pub(crate) struct Turns {
    pub at_once: Arc<Semaphore>,
    pub places: Arc<Semaphore>,
}

impl Turns {
    /// So much at once, and so much in all.
    pub fn new(at_once: usize, places: usize) -> Self {
        Self { at_once: Arc::new(Semaphore::new(at_once)), places: Arc::new(Semaphore::new(places)) }
    }

    /// Does something when it is its turn; with its place, for what is still to be done with the result.
    pub async fn take<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<(T, OwnedSemaphorePermit), NotDone> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| NotDone::Busy)?;
        // The semaphore is never closed.
        let turn = self.at_once.clone().acquire_owned().await.map_err(|_| NotDone::Failed)?;
        // Who asks may be gone before it is done: its turn is over when the work is.
        let work = move || {
            let _turn = turn;
            (work(), place)
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| NotDone::Failed)
    }
}
