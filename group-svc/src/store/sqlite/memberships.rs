//! Where a user is or was, in SQLite.

use crate::store::{Error, Membership};
use madang_proto::id::{ConversationId, UserId};
use rusqlite::{Connection, params};

/// One page of them, by the conversations' ids.
pub(super) fn page(
    connection: &Connection,
    user: UserId,
    after: Option<ConversationId>,
    limit: usize,
) -> Result<Vec<Membership>, Error> {
    // Each half by an index of its own.
    let mut select = connection.prepare_cached(
        "SELECT m.conversation, c.kind, m.present FROM (
             SELECT conversation, TRUE AS present FROM member WHERE user = ?1 AND left_revision = 0
             UNION ALL SELECT conversation, FALSE FROM member WHERE user = ?1 AND left_revision > 0) m
         JOIN conversation c ON c.conversation = m.conversation
         WHERE m.conversation > ?2 ORDER BY m.conversation LIMIT ?3",
    )?;
    let after = after.map(|after| after.bytes().to_vec()).unwrap_or_default();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = select.query_map(params![user.bytes(), after, limit], |row| {
        let id: [u8; 16] = row.get(0)?;
        let conversation = uuid::Uuid::from_bytes(id).into();
        Ok(Membership { conversation, kind: row.get(1)?, present: row.get(2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
