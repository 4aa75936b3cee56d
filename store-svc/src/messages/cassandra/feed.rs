//! The log's records in Cassandra. A partition holds 1,024 positions of a shard and goes as a whole when its newest is old
//! enough: one tombstone, which nobody reads across, since it is noted where what is kept begins.

use super::{CassandraMessages, Rows};
use crate::messages::{
    Error, Messages,
    feed::{Feed, Kept},
    number,
};
use async_trait::async_trait;
use cdrs_tokio::{TryFromRow, query::QueryValues, query_values, types::blob::Blob};
use madang_mesh::{clock::now_micros, log::Position, shard::Shard};
use std::collections::BTreeMap;

/// How many positions of a shard share a partition: 2 to the power of this.
const BUCKET_BITS: u32 = 10;

#[derive(TryFromRow)]
struct RecordRow {
    position: i64,
    at_micros: i64,
    events: Blob,
}

#[derive(TryFromRow)]
struct PlaceRow {
    position: i64,
}

#[derive(TryFromRow)]
struct ShardRow {
    shard: i32,
    position: i64,
}

#[derive(TryFromRow)]
struct TimeRow {
    at_micros: i64,
}

fn bucket(position: Position) -> i32 {
    i32::try_from(position >> BUCKET_BITS).unwrap_or(i32::MAX)
}

fn signed(shard: Shard) -> i32 {
    i32::try_from(shard).unwrap_or(i32::MAX)
}

/// A record's row, and the partition that it goes to.
pub(super) fn row(shard: Shard, kept: Kept) -> (i32, QueryValues, usize) {
    let Kept { position, at_micros, events } = kept;
    let (bytes, bucket) = (events.len() + 64, bucket(position));
    let row = query_values!(signed(shard), bucket, number(position), at_micros, Blob::from(events), at_micros);
    (bucket, row, bytes)
}

impl CassandraMessages {
    async fn begin(&self, shard: Shard) -> Result<Option<Position>, Error> {
        let values = query_values!(signed(shard));
        let row = self.select::<PlaceRow>(&self.statements.feed_begin, values, 1).await?.pop();
        Ok(row.map(|row| row.position.unsigned_abs()))
    }

    /// Notes where what is kept begins. The position is the timestamp: it can only grow.
    async fn begin_at(&self, shard: Shard, position: Position) -> Result<(), Error> {
        let position = number(position);
        let row = query_values!(signed(shard), position, position);
        self.write(&self.statements.insert_feed_begin, vec![row]).await
    }

    /// Writes records; the first ever are where what is kept begins.
    pub(super) async fn keep(&self, shard: Shard, first: Position, rows: BTreeMap<i32, Rows>) -> Result<(), Error> {
        self.write_all(&self.statements.insert_record, rows).await?;
        let known = || self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if known().contains(&shard) {
            return Ok(());
        }
        if self.begin(shard).await?.is_none() {
            self.begin_at(shard, first).await?;
        }
        known().insert(shard);
        Ok(())
    }
}

#[async_trait]
impl Feed for CassandraMessages {
    async fn cursors(&self, shards: u32) -> Result<Vec<Position>, Error> {
        let all: Vec<i32> = (0..shards).map(signed).collect();
        let mut cursors = vec![0; all.len()];
        let limit = all.len();
        for row in self.select::<ShardRow>(&self.statements.cursors, query_values!(all), limit).await? {
            if let Some(cursor) = usize::try_from(row.shard).ok().and_then(|shard| cursors.get_mut(shard)) {
                *cursor = row.position.unsigned_abs();
            }
        }
        Ok(cursors)
    }

    async fn records(&self, shard: Shard, after: Position, upto: Position, limit: usize) -> Result<Vec<Kept>, Error> {
        let mut found = Vec::new();
        for bucket in bucket(after + 1)..=bucket(upto) {
            let most = limit - found.len();
            let rows = i32::try_from(most).unwrap_or(i32::MAX);
            let values = query_values!(signed(shard), bucket, number(after), number(upto), rows);
            let rows = self.select::<RecordRow>(&self.statements.records, values, most).await?;
            found.extend(rows.into_iter().map(|row| Kept {
                position: row.position.unsigned_abs(),
                at_micros: row.at_micros,
                events: row.events.into_vec(),
            }));
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    async fn oldest(&self, shard: Shard) -> Result<Position, Error> {
        match self.begin(shard).await? {
            Some(position) => Ok(position),
            None => {
                let next = self.cursor(shard).await? + 1;
                // The first of all may have been written meanwhile.
                Ok(self.begin(shard).await?.unwrap_or(next))
            }
        }
    }

    async fn forget(&self, shard: Shard, before_micros: i64) -> Result<bool, Error> {
        let Some(begin) = self.begin(shard).await? else { return Ok(false) };
        let bucket = bucket(begin);
        // The next record comes after it: nothing is written here any more.
        let next = (u64::from(bucket.unsigned_abs()) + 1) << BUCKET_BITS;
        if self.cursor(shard).await? + 1 < next {
            return Ok(false);
        }
        let newest = self.select::<TimeRow>(&self.statements.newest_record, query_values!(signed(shard), bucket), 1);
        if newest.await?.pop().is_some_and(|row| row.at_micros >= before_micros) {
            return Ok(false);
        }
        // What comes again, as a shard's last minute may, is older than this and stays away.
        let row = query_values!(now_micros(), signed(shard), bucket);
        self.write(&self.statements.delete_records, vec![row]).await?;
        self.begin_at(shard, next).await?;
        Ok(true)
    }
}
