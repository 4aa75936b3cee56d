//! What was asked for under an `Idempotency-Key`, in SQLite.

use super::SqliteAccounts;
use crate::store::{
    Error,
    requests::{Claim, DAY_MS, Request, RequestStore},
};
use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};

/// The table, as of version 6 of the file.
pub(super) const TABLES: &str = "
    CREATE TABLE request (
        user BLOB NOT NULL, key TEXT NOT NULL, asked BLOB NOT NULL, answer BLOB NOT NULL, busy_until INTEGER NOT NULL,
        at INTEGER NOT NULL, PRIMARY KEY (user, key)) WITHOUT ROWID;
    CREATE INDEX request_at ON request (at);";

#[async_trait]
impl RequestStore for SqliteAccounts {
    async fn claim_request(&self, request: Request, now: i64, until: i64) -> Result<Claim, Error> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let user = request.user.bytes();
            let select = "SELECT asked, answer, busy_until FROM request WHERE user = ?1 AND key = ?2 AND at > ?3";
            let kept: Option<(Vec<u8>, Vec<u8>, i64)> = transaction
                .query_row(select, params![user, request.key, now - DAY_MS], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()?;
            let claim = kept
                .map_or(Claim::New, |(asked, answer, busy_until)| Claim::of(&request, &asked, answer, busy_until, now));
            if claim == Claim::New {
                let insert = "INSERT OR REPLACE INTO request VALUES (?1, ?2, ?3, x'', ?4, ?5)";
                transaction.execute(insert, params![user, request.key, request.asked, until, now])?;
                transaction.commit()?;
            }
            Ok(claim)
        })
        .await
    }

    async fn settle_request(&self, request: Request, answer: Option<Vec<u8>>) -> Result<(), Error> {
        self.run(move |connection| {
            let one = params![request.user.bytes(), request.key, request.asked, answer];
            let what = if answer.is_some() {
                "UPDATE request SET answer = ?4, busy_until = 0 WHERE user = ?1 AND key = ?2 AND asked = ?3"
            } else {
                "DELETE FROM request WHERE user = ?1 AND key = ?2 AND asked = ?3 AND busy_until != 0 AND ?4 IS NULL"
            };
            connection.execute(what, one).map(drop)
        })
        .await
    }

    async fn forget_requests(&self, before: i64) -> Result<(), Error> {
        self.run(move |connection| connection.execute("DELETE FROM request WHERE at < ?1", [before]).map(drop)).await
    }
}
