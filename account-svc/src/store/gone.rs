//! The port to the pictures that nothing shows any more: whoever has their address sees them until they are deleted where
//! they are kept, so that is tried until it has happened.

use super::Error;
use async_trait::async_trait;

/// Pictures that are to be deleted.
#[async_trait]
pub trait GonePictures: Send + Sync + 'static {
    /// Notes one, at a time (ms since 1970).
    async fn note_gone(&self, picture: String, at: i64) -> Result<(), Error>;

    /// Those that were noted before a time, the oldest first.
    async fn gone(&self, before: i64, limit: u32) -> Result<Vec<String>, Error>;

    /// One has been deleted.
    async fn deleted(&self, picture: String) -> Result<(), Error>;
}
