//! Who is about to come into conversations, in SQLite.

use super::SqliteGroups;
use crate::store::{
    Error,
    comings::{Comings, KEEP_MS, SPARE},
};
use async_trait::async_trait;
use madang_proto::id::{ConversationId, UserId};
use rusqlite::{Connection, params};
use std::collections::HashSet;

/// The table.
pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS coming (
    user BLOB, conversation BLOB, at INTEGER NOT NULL, revision INTEGER NOT NULL, asking INTEGER NOT NULL,
    PRIMARY KEY (user, conversation)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS coming_at ON coming (at);";

/// In how many conversations a user, ?1, is beside one, ?2.
const IN: &str = "SELECT count(*) FROM member WHERE user = ?1 AND left_revision = 0 AND conversation <> ?2";
/// Into how many beside one, ?2, a user, ?1, is about to come, announced since a time, ?3.
const COMING: &str = "SELECT count(*) FROM coming c
    WHERE c.user = ?1 AND c.conversation <> ?2 AND c.at >= ?3 AND NOT EXISTS (
        SELECT 1 FROM member m WHERE m.conversation = c.conversation AND m.user = ?1
        AND (m.left_revision = 0 OR m.joined_revision > c.revision))";
/// A user, ?1, is about to come into a conversation, ?2, at a time, ?3.
const ANNOUNCED: &str = "INSERT INTO coming
    VALUES (?1, ?2, ?3, coalesce((SELECT revision FROM conversation WHERE conversation = ?2), 0), 1)
    ON CONFLICT DO UPDATE SET at = ?3, revision = excluded.revision, asking = asking + 1";

/// Announces somebody; false: they would be in too many.
fn announce(
    connection: &Connection,
    conversation: ConversationId,
    user: UserId,
    most: usize,
    now_ms: i64,
) -> Result<bool, Error> {
    let (user, conversation) = (user.bytes(), conversation.bytes());
    let count = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
    let within = connection.prepare_cached(IN)?.query_row(params![user, conversation], |row| row.get(0)).map(count)?;
    if within.saturating_add(SPARE) < most {
        return Ok(true);
    }
    let coming = params![user, conversation, now_ms - KEEP_MS];
    let coming = connection.prepare_cached(COMING)?.query_row(coming, |row| row.get(0)).map(count)?;
    if within.saturating_add(coming) >= most {
        return Ok(false);
    }
    connection.prepare_cached(ANNOUNCED)?.execute(params![user, conversation, now_ms])?;
    Ok(true)
}

#[async_trait]
impl Comings for SqliteGroups {
    async fn announce(
        &self,
        conversation: ConversationId,
        users: Vec<UserId>,
        most: usize,
        now_ms: i64,
    ) -> Result<HashSet<UserId>, Error> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM coming WHERE at < ?1", [now_ms - KEEP_MS])?;
            let mut full = HashSet::new();
            for user in users {
                if !announce(&transaction, conversation, user, most, now_ms)? {
                    full.insert(user);
                }
            }
            transaction.commit()?;
            Ok(full)
        })
        .await
    }

    async fn call_off(&self, conversation: ConversationId, users: Vec<UserId>) -> Result<(), Error> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            for user in users {
                let values = params![user.bytes(), conversation.bytes()];
                let one = "WHERE user = ?1 AND conversation = ?2";
                transaction.execute(&format!("UPDATE coming SET asking = asking - 1 {one}"), values)?;
                transaction.execute(&format!("DELETE FROM coming {one} AND asking <= 0"), values)?;
            }
            Ok(transaction.commit()?)
        })
        .await
    }
}
