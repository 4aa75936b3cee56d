//! One append, with its outcome found out: an append that nobody answered is sent again, and where the log then says
//! that somebody has written, the next record tells whether it was this very batch.

use bytes::Bytes;
use futures_util::StreamExt;
use madang_mesh::{
    log::{Error, Log, Position},
    metrics,
    shard::Shard,
};
use madang_proto::log::v1::Record;
use prometheus::IntCounterVec;
use prost::Message as _;
use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::time::timeout;

/// How long a record is waited for that is in the log, as the log says.
const LOOK: Duration = Duration::from_secs(3);

static FAILED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "How many tries to append to the log of a shard failed: it refused them, or did not answer.";
    metrics::counters("madang_chat_appends_failed_total", help, &["shard"])
});

/// What became of an append.
#[derive(Debug)]
pub enum Appended {
    /// It is in the log.
    At(Position),
    /// The log took nothing.
    Refused(String),
    /// Another home has written: this one is over.
    Lost,
}

/// Appends after `last`, and finds out what became of it however long that takes.
pub async fn append(log: Arc<dyn Log>, shard: Shard, payload: Bytes, last: Position, nonce: u64) -> Appended {
    let mut unknown = false;
    loop {
        match log.append(shard, payload.clone(), Some(last)).await {
            Ok(position) => return Appended::At(position),
            Err(Error::Conflict { .. }) if !unknown => return Appended::Lost,
            Err(Error::Conflict { .. }) => match timeout(LOOK, own(&*log, shard, last + 1, nonce)).await {
                Ok(Ok(true)) => return Appended::At(last + 1),
                Ok(Ok(false)) => return Appended::Lost,
                Ok(Err(error)) => tracing::warn!(shard, %error, "looking for a batch whose outcome is unknown"),
                // A cluster's server knows of a record before it is in the log, and it may never come to be there.
                Err(_) => tracing::warn!(shard, "a batch whose outcome is unknown is not in the log"),
            },
            Err(error @ (Error::Full | Error::Unavailable(_) | Error::Missing { .. })) if !unknown => {
                failed(shard);
                return Appended::Refused(error.to_string());
            }
            Err(error) => {
                unknown = true;
                failed(shard);
                tracing::warn!(shard, %error, "an append's outcome is unknown; sending the same one again");
            }
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Counted here, since [`Appended::At`] alone has a time, and nobody knows what goes on where nothing ends.
fn failed(shard: Shard) {
    FAILED.with_label_values(&[&shard.to_string()]).inc();
}

/// Whether the record at a position is the one with this nonce.
async fn own(log: &dyn Log, shard: Shard, position: Position, nonce: u64) -> Result<bool, Error> {
    let mut entries = log.read(shard, position).await?;
    match entries.next().await {
        Some(entry) => Ok(Record::decode(entry?.payload).is_ok_and(|record| record.nonce == nonce)),
        None => Err(Error::Unavailable("the log ended".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use futures_util::stream;
    use madang_mesh::log::{Bounds, Entries};
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    /// A log whose server has taken a record, said so to who sends it again, and then forgotten it.
    #[derive(Default)]
    struct Forgets(AtomicU64);

    #[async_trait]
    impl Log for Forgets {
        async fn create(&self, _: Shard) -> Result<(), Error> {
            Ok(())
        }

        async fn begin_after(&self, _: Shard, _: Position) -> Result<(), Error> {
            Ok(())
        }

        async fn append(&self, _: Shard, _: Bytes, expected: Option<Position>) -> Result<Position, Error> {
            let expected = expected.unwrap_or(0);
            match self.0.fetch_add(1, Relaxed) {
                0 => Err(Error::Unknown("no acknowledgement in time".into())),
                1 => Err(Error::Conflict { expected }),
                _ => Ok(expected + 1),
            }
        }

        async fn bounds(&self, _: Shard) -> Result<Bounds, Error> {
            Ok(Bounds { first: 1, last: 13, bytes: 0 })
        }

        async fn read(&self, _: Shard, _: Position) -> Result<Entries, Error> {
            // Nothing is there yet, and nothing comes.
            Ok(stream::pending().boxed())
        }

        async fn trim(&self, _: Shard, _: Position) -> Result<(), Error> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_the_log_forgot_is_sent_again() {
        let ends = append(Arc::new(Forgets::default()), 211, Bytes::from_static(b"x"), 13, 7);
        let appended = timeout(Duration::from_secs(60), ends).await.unwrap();
        assert!(matches!(appended, Appended::At(14)), "{appended:?}");
        assert_eq!(FAILED.with_label_values(&["211"]).get(), 1, "what was not answered is counted");
    }
}
