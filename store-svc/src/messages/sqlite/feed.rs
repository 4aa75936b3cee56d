//! The log's records in SQLite, which are let go of from the oldest on.

use super::SqliteMessages;
use crate::messages::{
    Error,
    feed::{Feed, Kept},
    number,
};
use async_trait::async_trait;
use madang_mesh::{log::Position, shard::Shard};
use rusqlite::params;

/// How many rows go at once.
const FORGET: usize = 1000;

#[async_trait]
impl Feed for SqliteMessages {
    async fn cursors(&self, shards: u32) -> Result<Vec<Position>, Error> {
        self.read(move |connection| {
            let mut cursors = vec![0; shards as usize];
            let mut select = connection.prepare_cached("SELECT shard, position FROM cursor")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                if let Some(cursor) = cursors.get_mut(row.get::<_, u32>(0)? as usize) {
                    *cursor = row.get::<_, i64>(1)?.unsigned_abs();
                }
            }
            Ok(cursors)
        })
        .await
    }

    async fn records(&self, shard: Shard, after: Position, upto: Position, limit: usize) -> Result<Vec<Kept>, Error> {
        self.read(move |connection| {
            let select = "SELECT position, at_micros, events FROM feed
                          WHERE shard = ?1 AND position > ?2 AND position <= ?3 ORDER BY position LIMIT ?4";
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = connection
                .prepare_cached(select)?
                .query_map(params![shard, number(after), number(upto), limit], |row| {
                    let position = row.get::<_, i64>(0)?.unsigned_abs();
                    Ok(Kept { position, at_micros: row.get(1)?, events: row.get(2)? })
                })?
                .collect::<Result<_, _>>()?;
            Ok(rows)
        })
        .await
    }

    async fn oldest(&self, shard: Shard) -> Result<Position, Error> {
        // Asked at once: what is written between two questions would be passed over.
        self.read(move |connection| {
            let select = "SELECT coalesce((SELECT min(position) FROM feed WHERE shard = ?1),
                                          (SELECT position FROM cursor WHERE shard = ?1) + 1, 1)";
            let oldest = connection.prepare_cached(select)?.query_row([shard], |row| row.get::<_, i64>(0))?;
            Ok(oldest.unsigned_abs())
        })
        .await
    }

    async fn forget(&self, shard: Shard, before_micros: i64) -> Result<bool, Error> {
        self.write(move |connection| {
            let old: Vec<i64> = {
                let select = "SELECT position, at_micros FROM feed WHERE shard = ?1 ORDER BY position LIMIT ?2";
                let mut select = connection.prepare_cached(select)?;
                let limit = i64::try_from(FORGET).unwrap_or(i64::MAX);
                let mut rows = select.query(params![shard, limit])?;
                let mut old = Vec::new();
                while let Some(row) = rows.next()?
                    && row.get::<_, i64>(1)? < before_micros
                {
                    old.push(row.get(0)?);
                }
                old
            };
            let Some(last) = old.last() else { return Ok(false) };
            connection
                .prepare_cached("DELETE FROM feed WHERE shard = ?1 AND position <= ?2")?
                .execute(params![shard, last])?;
            Ok(old.len() == FORGET)
        })
        .await
    }
}
