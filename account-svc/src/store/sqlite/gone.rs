//! Pictures that are to be deleted, in SQLite.

use super::SqliteAccounts;
use crate::store::{Error, gone::GonePictures};
use async_trait::async_trait;
use rusqlite::params;

/// The table, as of version 8 of the file.
pub(super) const TABLES: &str = "
    CREATE TABLE picture_gone (picture TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX picture_gone_at ON picture_gone (at);";

#[async_trait]
impl GonePictures for SqliteAccounts {
    async fn note_gone(&self, picture: String, at: i64) -> Result<(), Error> {
        self.run(move |connection| {
            connection.execute("INSERT OR IGNORE INTO picture_gone VALUES (?1, ?2)", params![picture, at]).map(drop)
        })
        .await
    }

    async fn gone(&self, before: i64, limit: u32) -> Result<Vec<String>, Error> {
        self.run(move |connection| {
            let oldest = "SELECT picture FROM picture_gone WHERE at < ?1 ORDER BY at LIMIT ?2";
            let mut statement = connection.prepare_cached(oldest)?;
            statement.query_map(params![before, limit], |row| row.get(0))?.collect()
        })
        .await
    }

    async fn deleted(&self, picture: String) -> Result<(), Error> {
        self.run(move |connection| {
            connection.execute("DELETE FROM picture_gone WHERE picture = ?1", [picture]).map(drop)
        })
        .await
    }
}
