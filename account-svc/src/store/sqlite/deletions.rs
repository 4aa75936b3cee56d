//! The ends of accounts, in SQLite.

use super::{SqliteAccounts, end};
use crate::store::{
    Error,
    deletions::{DeletionStore, Job},
};
use async_trait::async_trait;
use madang_proto::id::UserId;
use rusqlite::{OptionalExtension, Row, params};

/// The tables, as of version 3 of the file.
pub(super) const TABLES: &str = "
    ALTER TABLE account ADD COLUMN deleted_at INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE account ADD COLUMN suspended INTEGER NOT NULL DEFAULT FALSE;
    CREATE TABLE deletion (
        user BLOB PRIMARY KEY, erase INTEGER NOT NULL, picture TEXT NOT NULL, round INTEGER NOT NULL, place BLOB,
        due_at INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX deletion_due ON deletion (due_at);";

fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    let user: [u8; 16] = row.get("user")?;
    let place: Option<[u8; 16]> = row.get("place")?;
    Ok(Job {
        user: uuid::Uuid::from_bytes(user).into(),
        erase: row.get("erase")?,
        picture: row.get("picture")?,
        round: row.get("round")?,
        place: place.map(|place| uuid::Uuid::from_bytes(place).into()),
    })
}

#[async_trait]
impl DeletionStore for SqliteAccounts {
    async fn delete(&self, user: UserId, was: String, erase: bool, now: i64) -> Result<bool, Error> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let note = "INSERT INTO deletion SELECT user, ?2, picture, 0, NULL, ?3 FROM account
                        WHERE user = ?1 AND deleted_at = 0 AND password = ?4";
            if transaction.execute(note, params![user.bytes(), erase, now, was])? == 0 {
                return Ok(false);
            }
            transaction.execute(
                "UPDATE account SET name = '', status_message = '', password = '', picture = '', deleted_at = ?2
                 WHERE user = ?1",
                params![user.bytes(), now],
            )?;
            end(&transaction, "user = ?1", params![user.bytes()], now)?;
            transaction.commit()?;
            Ok(true)
        })
        .await
    }

    async fn take_deletion(&self, now: i64, until: i64) -> Result<Option<Job>, Error> {
        self.run(move |connection| {
            let take = "UPDATE deletion SET due_at = ?2 WHERE user =
                            (SELECT user FROM deletion WHERE due_at <= ?1 ORDER BY due_at LIMIT 1) RETURNING *";
            connection.query_row(take, [now, until], job).optional()
        })
        .await
    }

    async fn keep_deletion(&self, job: Job, due_at: i64) -> Result<(), Error> {
        self.run(move |connection| {
            let place = job.place.map(|place| place.bytes().to_vec());
            connection.execute(
                "UPDATE deletion SET round = ?2, place = ?3, due_at = ?4 WHERE user = ?1",
                params![job.user.bytes(), job.round, place, due_at],
            )?;
            Ok(())
        })
        .await
    }

    async fn finish_deletion(&self, user: UserId) -> Result<(), Error> {
        self.run(move |connection| {
            connection.execute("DELETE FROM deletion WHERE user = ?1", [user.bytes()])?;
            Ok(())
        })
        .await
    }

    async fn suspend(&self, user: UserId, suspended: bool, now: i64) -> Result<bool, Error> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let set = "UPDATE account SET suspended = ?2 WHERE user = ?1 AND deleted_at = 0";
            if transaction.execute(set, params![user.bytes(), suspended])? == 0 {
                return Ok(false);
            }
            if suspended {
                end(&transaction, "user = ?1", params![user.bytes()], now)?;
            }
            transaction.commit()?;
            Ok(true)
        })
        .await
    }
}
