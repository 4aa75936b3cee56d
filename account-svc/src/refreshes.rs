//! Turns for refreshes. When a gateway or a cluster was away, everybody refreshes at once: so many are done at a time that
//! others still get a connection to the database, so many wait, and the rest are told when to come again, each another time.

use madang_mesh::refused::Refused;
use madang_proto::reason::{Reason, Refusal};
use std::sync::LazyLock;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How many are done at once: half of the connections to Postgres.
const AT_ONCE: usize = 8;
/// How many wait for their turn at most: about what is done within a second.
const WAITING: usize = 1024;

static REFUSED: LazyLock<Refused> = LazyLock::new(|| {
    Refused::new("refreshes", "more refreshes at once than account-svc takes: they come again within a few seconds")
});

/// Turns.
pub struct Refreshes {
    turns: Semaphore,
    waiting: Semaphore,
}

/// A turn, until it is dropped.
pub struct Turn<'a> {
    _place: SemaphorePermit<'a>,
    _turn: SemaphorePermit<'a>,
}

impl Default for Refreshes {
    fn default() -> Self {
        Self { turns: Semaphore::new(AT_ONCE), waiting: Semaphore::new(AT_ONCE + WAITING) }
    }
}

impl Refreshes {
    /// The next turn; RESOURCE_EXHAUSTED, if too many wait for theirs.
    pub async fn turn(&self) -> Result<Turn<'_>, Refusal> {
        let busy = || {
            REFUSED.count();
            let message = "very many refresh at once: try again after retryAfterMs";
            Refusal::new(Reason::Overloaded, message).after(rand::random_range(1000..4000))
        };
        let place = self.waiting.try_acquire().map_err(|_| busy())?;
        let turn = self.turns.acquire().await.map_err(|_| busy())?;
        Ok(Turn { _place: place, _turn: turn })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn so_many_wait_and_the_rest_come_again() {
        let refreshes = Refreshes::default();
        let mut turns = Vec::new();
        for _ in 0..AT_ONCE {
            turns.push(refreshes.turn().await.unwrap());
        }
        let mut waiting: Vec<_> = (0..WAITING).map(|_| Box::pin(refreshes.turn())).collect();
        for each in &mut waiting {
            assert!(futures_util::poll!(each).is_pending());
        }
        let refused = refreshes.turn().await.err().unwrap();
        assert!(refused.reason == Reason::Overloaded && refused.reason.retryable());
        assert!((1000..4000).contains(&refused.retry_after_ms));
        drop(turns.pop());
        assert!(waiting.swap_remove(0).await.is_ok(), "the first who waited");
        assert!(futures_util::poll!(Box::pin(refreshes.turn())).is_pending(), "there is room again");
    }
}
