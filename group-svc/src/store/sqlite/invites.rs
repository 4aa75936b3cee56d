//! Invites in SQLite.

use super::{SqliteGroups, done, number};
use crate::store::{
    Error,
    invites::{Hash, INVITES, Invited, Invites, Kept, TAKEN_MS, Taken, hash},
    keys::Asked,
};
use async_trait::async_trait;
use madang_proto::id::{ConversationId, UserId};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// The tables.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS invite (
    hash BLOB PRIMARY KEY, code TEXT NOT NULL, conversation BLOB NOT NULL, by BLOB NOT NULL, expires_at INTEGER NOT NULL,
    max_uses INTEGER NOT NULL, uses INTEGER NOT NULL, created_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS invite_conversation ON invite (conversation, created_at);
CREATE TABLE IF NOT EXISTS invite_use (
    hash BLOB, user BLOB, at INTEGER NOT NULL, joined INTEGER NOT NULL, revision INTEGER NOT NULL DEFAULT 0,
    asking INTEGER NOT NULL DEFAULT 1, PRIMARY KEY (hash, user)) WITHOUT ROWID;";

fn kept(row: &Row<'_>) -> rusqlite::Result<Kept> {
    let (conversation, by): ([u8; 16], [u8; 16]) = (row.get("conversation")?, row.get("by")?);
    Ok(Kept {
        code: row.get("code")?,
        conversation: uuid::Uuid::from_bytes(conversation).into(),
        by: uuid::Uuid::from_bytes(by).into(),
        expires_at: row.get("expires_at")?,
        max_uses: row.get("max_uses")?,
        uses: row.get("uses")?,
    })
}

fn find(connection: &Connection, hash: Hash) -> Result<Option<Kept>, Error> {
    Ok(connection.prepare_cached("SELECT * FROM invite WHERE hash = ?1")?.query_row([hash], kept).optional()?)
}

/// Takes invites and who came by them away.
fn drop_all(connection: &Connection, gone: &str, values: impl rusqlite::Params + Clone) -> Result<usize, Error> {
    let uses = format!("DELETE FROM invite_use WHERE hash IN (SELECT hash FROM invite WHERE {gone})");
    connection.execute(&uses, values.clone())?;
    Ok(connection.execute(&format!("DELETE FROM invite WHERE {gone}"), values)?)
}

/// A group's that has ended.
pub(super) fn end(connection: &Connection, conversation: ConversationId) -> Result<(), Error> {
    drop_all(connection, "conversation = ?1", [conversation.bytes()]).map(drop)
}

/// Somebody came into a group at a revision: whatever place they took before has been used, also where nobody was there any
/// more to say so.
pub(super) fn joined(
    connection: &Connection,
    conversation: ConversationId,
    user: &[u8],
    revision: i64,
) -> Result<(), Error> {
    let used = "UPDATE invite_use SET joined = 1, revision = ?3 WHERE joined = 0 AND user = ?2 AND revision < ?3
                AND hash IN (SELECT hash FROM invite WHERE conversation = ?1)";
    connection.prepare_cached(used)?.execute(params![conversation.bytes(), user, revision])?;
    Ok(())
}

/// Gives places back of which nobody knows anything any more.
fn give_back(connection: &Connection, hash: Hash, now_ms: i64) -> Result<(), Error> {
    let waits = "invite_use.hash = ?1 AND joined = 0 AND at < ?2";
    let member = "EXISTS (SELECT 1 FROM member m JOIN invite i ON i.conversation = m.conversation
        WHERE i.hash = ?1 AND m.user = invite_use.user AND m.left_revision = 0)";
    let values = params![hash, now_ms - TAKEN_MS];
    connection.execute(&format!("UPDATE invite_use SET joined = 1 WHERE {waits} AND {member}"), values)?;
    let given = connection.execute(&format!("DELETE FROM invite_use WHERE {waits}"), values)?;
    connection.execute(
        "UPDATE invite SET uses = uses - ?2 WHERE hash = ?1",
        params![hash, i64::try_from(given).unwrap_or(0)],
    )?;
    Ok(())
}

fn take_place(connection: &Connection, hash: Hash, user: UserId, now_ms: i64, looked_at: i64) -> Result<Taken, Error> {
    let Some(mut invite) = find(connection, hash)? else { return Ok(Taken::Gone) };
    let held = "UPDATE invite_use SET at = ?3, asking = asking + 1
                WHERE hash = ?1 AND user = ?2 AND (joined = 0 OR revision > ?4)";
    if connection.execute(held, params![hash, user.bytes(), now_ms, looked_at])? > 0 {
        return Ok(Taken::Place);
    }
    if invite.expired(now_ms) {
        return Ok(Taken::Expired);
    }
    if invite.used_up() {
        give_back(connection, hash, now_ms)?;
        let Some(now) = find(connection, hash)? else { return Ok(Taken::Gone) };
        invite = now;
    }
    if invite.used_up() {
        return Ok(Taken::UsedUp);
    }
    connection.execute("UPDATE invite SET uses = uses + 1 WHERE hash = ?1", [hash])?;
    connection.execute(
        "INSERT INTO invite_use (hash, user, at, joined, revision, asking) VALUES (?1, ?2, ?3, 0, ?4, 1)
         ON CONFLICT DO UPDATE SET at = ?3, joined = 0, revision = ?4, asking = 1",
        params![hash, user.bytes(), now_ms, looked_at],
    )?;
    Ok(Taken::Place)
}

#[async_trait]
impl Invites for SqliteGroups {
    async fn invite(&self, invite: Kept, under: Option<(String, Asked)>, now_ms: i64) -> Result<Invited, Error> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let (c, most) = (*invite.conversation.bytes(), i64::try_from(INVITES).unwrap_or(i64::MAX));
            let count = || -> Result<i64, Error> {
                let select = "SELECT count(*) FROM invite WHERE conversation = ?1";
                Ok(transaction.query_row(select, [c], |row| row.get(0))?)
            };
            if count()? >= most {
                let useless =
                    "conversation = ?1 AND (max_uses > 0 AND uses >= max_uses OR expires_at BETWEEN 1 AND ?2)";
                drop_all(&transaction, useless, params![c, now_ms])?;
                if count()? >= most {
                    return Ok(Invited::Full);
                }
            }
            if let Some((key, asked)) = under
                && !done(&transaction, invite.by, &key, asked)?
            {
                return Ok(Invited::Before);
            }
            transaction.execute(
                "INSERT INTO invite VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)",
                params![
                    hash(&invite.code),
                    invite.code,
                    c,
                    invite.by.bytes(),
                    invite.expires_at,
                    invite.max_uses,
                    now_ms
                ],
            )?;
            transaction.commit()?;
            Ok(Invited::Made)
        })
        .await
    }

    async fn invites(&self, conversation: ConversationId) -> Result<Vec<Kept>, Error> {
        self.run(move |connection| {
            let select = "SELECT * FROM invite WHERE conversation = ?1 ORDER BY created_at DESC, hash";
            let mut select = connection.prepare_cached(select)?;
            Ok(select.query_map([conversation.bytes()], kept)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn find_invite(&self, hash: Hash) -> Result<Option<Kept>, Error> {
        self.run(move |connection| find(connection, hash)).await
    }

    async fn take_back(&self, conversation: ConversationId, hash: Hash) -> Result<bool, Error> {
        self.run(move |connection| {
            let values = params![conversation.bytes(), hash];
            Ok(drop_all(connection, "conversation = ?1 AND hash = ?2", values)? > 0)
        })
        .await
    }

    async fn take_place(&self, hash: Hash, user: UserId, now_ms: i64, looked_at: u64) -> Result<Taken, Error> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let taken = take_place(&transaction, hash, user, now_ms, number(looked_at))?;
            transaction.commit()?;
            Ok(taken)
        })
        .await
    }

    async fn settle(&self, hash: Hash, user: UserId, joined: Option<u64>) -> Result<(), Error> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let values = params![hash, user.bytes()];
            if let Some(revision) = joined {
                let came =
                    "UPDATE invite_use SET joined = 1, revision = ?3 WHERE hash = ?1 AND user = ?2 AND revision < ?3";
                transaction.execute(came, params![hash, user.bytes(), number(revision)])?;
                return Ok(transaction.commit()?);
            }
            let refused = "UPDATE invite_use SET asking = asking - 1 WHERE hash = ?1 AND user = ?2 AND joined = 0";
            transaction.execute(refused, values)?;
            let over = "DELETE FROM invite_use WHERE hash = ?1 AND user = ?2 AND joined = 0 AND asking <= 0";
            if transaction.execute(over, values)? > 0 {
                transaction.execute("UPDATE invite SET uses = uses - 1 WHERE hash = ?1", [hash])?;
            }
            Ok(transaction.commit()?)
        })
        .await
    }
}
