//! What is only kept for a time goes when that is over: log-ins at an outside provider, and what was asked for under an
//! `Idempotency-Key`. Whether it has gone makes no difference to anybody: its times are looked at when it is used. And pictures
//! that nothing shows any more are deleted, however long their store can't be reached.

use crate::{
    accounts::{Accounts, failed},
    store::requests::DAY_MS,
};
use bytes::Bytes;
use madang_mesh::clock::now_ms;
use madang_proto::{id::PictureId, reason::Refusal};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often it is looked for what can be forgotten.
const LOOK: Duration = Duration::from_secs(3600);
/// How often pictures are deleted that could not be at once, and how many then.
const DELETE: (Duration, u32) = (Duration::from_secs(60), 1000);

/// Does something again and again, until this stops.
async fn again<W>(pause: Duration, drain: &CancellationToken, what: &str, work: impl Fn() -> W)
where
    W: Future<Output = Result<(), Refusal>>,
{
    loop {
        if let Err(refusal) = work().await {
            tracing::warn!(what, reason = refusal.reason.word(), "what is to go can't be deleted; trying again");
        }
        tokio::select! {
            () = drain.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl Accounts {
    /// Forgets what is over, and deletes the pictures that could not be deleted, for as long as this runs.
    pub(crate) async fn forget(&self, drain: CancellationToken) {
        tokio::join!(
            again(LOOK, &drain, "what is over", || self.forget_now()),
            again(DELETE.0, &drain, "pictures", || self.delete_gone()),
        );
    }

    async fn forget_now(&self) -> Result<(), Refusal> {
        let now = now_ms();
        self.store.forget_log_ins(now).await.map_err(failed)?;
        self.store.forget_requests(now - DAY_MS).await.map_err(failed)
    }

    /// Keeps a picture, in all sizes or in none; its id.
    pub(crate) async fn keep_picture(&self, upload: Bytes) -> Result<String, Refusal> {
        let pictures = self.pictures()?;
        let made = pictures.make(upload).await?;
        if let Err(refusal) = pictures.keep(&made).await {
            // What of it is there is deleted as soon as its store can be reached.
            self.store.note_gone(made.id, now_ms()).await.map_err(failed)?;
            return Err(refusal);
        }
        Ok(made.id)
    }

    /// Deletes a picture that nothing shows any more: now, or as soon as its store can be reached.
    pub(crate) async fn forget_picture(&self, picture: String) -> Result<(), Refusal> {
        if picture.parse::<PictureId>().is_err() {
            return Ok(());
        }
        let pictures = self.pictures()?;
        let noted = self.store.note_gone(picture.clone(), now_ms()).await;
        match (pictures.delete(&picture).await, noted) {
            (Ok(()), Ok(())) => self.store.deleted(picture).await.map_err(failed),
            (Ok(()), Err(_)) => Ok(()),
            // It is deleted later.
            (Err(_), Ok(())) => Ok(()),
            (Err(_), Err(error)) => Err(failed(error)),
        }
    }

    async fn delete_gone(&self) -> Result<(), Refusal> {
        let Ok(pictures) = self.pictures() else { return Ok(()) };
        let mut all = Ok(());
        for picture in self.store.gone(now_ms(), DELETE.1).await.map_err(failed)? {
            // One that can't be deleted keeps no other.
            match pictures.delete(&picture).await {
                Ok(()) => self.store.deleted(picture).await.map_err(failed)?,
                Err(refusal) => all = Err(refusal),
            }
        }
        all
    }
}
