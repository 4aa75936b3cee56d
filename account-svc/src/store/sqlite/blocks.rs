//! Who blocks whom, in SQLite.

use super::SqliteAccounts;
use crate::store::{
    Error,
    blocks::{BlockStore, Change, Untold},
};
use async_trait::async_trait;
use madang_proto::id::UserId;
use rusqlite::{OptionalExtension, Row, params};

/// The tables, as of version 2 of the file.
pub(super) const TABLES: &str = "
    CREATE TABLE block (
        user BLOB NOT NULL, other BLOB NOT NULL, blocked INTEGER NOT NULL, version INTEGER NOT NULL,
        changed_at INTEGER NOT NULL, told INTEGER NOT NULL, PRIMARY KEY (user, other)) WITHOUT ROWID;
    CREATE INDEX block_untold ON block (changed_at) WHERE NOT told;";

fn user(row: &Row<'_>, column: usize) -> rusqlite::Result<UserId> {
    let id: [u8; 16] = row.get(column)?;
    Ok(uuid::Uuid::from_bytes(id).into())
}

#[async_trait]
impl BlockStore for SqliteAccounts {
    async fn set_block(
        &self,
        user: UserId,
        other: UserId,
        blocked: bool,
        most: usize,
        now: i64,
    ) -> Result<Change, Error> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let one = params![user.bytes(), other.bytes()];
            let select = "SELECT blocked, told FROM block WHERE user = ?1 AND other = ?2";
            let before: Option<(bool, bool)> =
                transaction.query_row(select, one, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            let (was, told) = before.unwrap_or((false, true));
            if was == blocked && told {
                return Ok(Change::Nothing);
            }
            if blocked && !was {
                let count = "SELECT count(*) FROM block WHERE user = ?1 AND blocked";
                let count: i64 = transaction.query_row(count, [user.bytes()], |row| row.get(0))?;
                if count >= i64::try_from(most).unwrap_or(i64::MAX) {
                    return Ok(Change::TooMany);
                }
            }
            let version = transaction.query_row(
                "INSERT INTO block VALUES (?1, ?2, ?3, ?4, ?4, FALSE) ON CONFLICT (user, other) DO UPDATE
                 SET blocked = ?3, version = version + 1, changed_at = ?4, told = FALSE RETURNING version",
                params![user.bytes(), other.bytes(), blocked, now],
                |row| row.get(0),
            )?;
            transaction.commit()?;
            Ok(Change::Kept(version))
        })
        .await
    }

    async fn told(&self, Untold { user, other, version }: Untold) -> Result<(), Error> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let one = params![user.bytes(), other.bytes(), version];
            let this = "user = ?1 AND other = ?2 AND version = ?3";
            transaction.execute(&format!("DELETE FROM block WHERE {this} AND NOT blocked"), one)?;
            transaction.execute(&format!("UPDATE block SET told = TRUE WHERE {this}"), one)?;
            transaction.commit()
        })
        .await
    }

    async fn untold(&self, before: i64, limit: usize) -> Result<Vec<Untold>, Error> {
        self.run(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT user, other, version FROM block WHERE NOT told AND changed_at < ?1 ORDER BY changed_at LIMIT ?2",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let one = |row: &Row<'_>| Ok(Untold { user: user(row, 0)?, other: user(row, 1)?, version: row.get(2)? });
            select.query_map([before, limit], one)?.collect()
        })
        .await
    }

    async fn blocks(&self, whose: UserId, after: Option<UserId>, limit: usize) -> Result<Vec<UserId>, Error> {
        self.run(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT other FROM block WHERE user = ?1 AND blocked AND other > ?2 ORDER BY other LIMIT ?3",
            )?;
            let after = after.map(|after| after.bytes().to_vec()).unwrap_or_default();
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            select.query_map(params![whose.bytes(), after, limit], |row| user(row, 0))?.collect()
        })
        .await
    }

    async fn blocked(&self, pairs: Vec<(UserId, UserId)>) -> Result<Vec<bool>, Error> {
        self.run(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM block WHERE user = ?1 AND other = ?2 AND blocked)
                     OR EXISTS (SELECT 1 FROM block WHERE user = ?2 AND other = ?1 AND blocked)",
            )?;
            let mut one = |(one, other): &(UserId, UserId)| {
                select.query_row(params![one.bytes(), other.bytes()], |row| row.get(0))
            };
            pairs.iter().map(&mut one).collect()
        })
        .await
    }
}
