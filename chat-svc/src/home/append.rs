//! One append, with its outcome found out: an append that nobody answered is sent again, and where the log then says
//! that somebody has written, the next record tells whether it was this very batch.

use bytes::Bytes;
use futures_util::StreamExt;
use madang_mesh::{
    log::{Error, Log, Position},
    shard::Shard,
};
use madang_proto::log::v1::Record;
use prost::Message as _;
use std::{sync::Arc, time::Duration};

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
            Err(Error::Conflict { .. }) => match own(&*log, shard, last + 1, nonce).await {
                Ok(true) => return Appended::At(last + 1),
                Ok(false) => return Appended::Lost,
                Err(error) => tracing::warn!(shard, %error, "looking for a batch whose outcome is unknown"),
            },
            Err(error @ (Error::Full | Error::Unavailable(_) | Error::Missing { .. })) if !unknown => {
                return Appended::Refused(error.to_string());
            }
            Err(error) => {
                unknown = true;
                tracing::warn!(shard, %error, "an append's outcome is unknown; sending the same one again");
            }
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Whether the record at a position is the one with this nonce.
async fn own(log: &dyn Log, shard: Shard, position: Position, nonce: u64) -> Result<bool, Error> {
    let mut entries = log.read(shard, position).await?;
    match entries.next().await {
        Some(entry) => Ok(Record::decode(entry?.payload).is_ok_and(|record| record.nonce == nonce)),
        None => Err(Error::Unavailable("the log ended".into())),
    }
}
