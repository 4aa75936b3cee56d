//! What is only kept for a time goes when that is over: log-ins at an outside provider, and what was asked for under an
//! `Idempotency-Key`. Whether it has gone makes no difference to anybody: its times are looked at when it is used.

use crate::{
    accounts::Accounts,
    store::{Error, requests::DAY_MS},
};
use madang_mesh::clock::now_ms;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often it is looked for what can be forgotten.
const LOOK: Duration = Duration::from_secs(3600);

impl Accounts {
    async fn forget_now(&self) -> Result<(), Error> {
        let now = now_ms();
        self.store.forget_log_ins(now).await?;
        self.store.forget_requests(now - DAY_MS).await
    }

    /// Forgets what is over, for as long as this runs.
    pub(crate) async fn forget(&self, drain: CancellationToken) {
        loop {
            if let Err(error) = self.forget_now().await {
                tracing::warn!(%error, "what is over can't be forgotten; trying again");
            }
            tokio::select! {
                () = drain.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}
