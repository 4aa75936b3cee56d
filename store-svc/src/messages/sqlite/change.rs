//! Changes of messages, in SQLite: applied once each, in the order of their events, since the file's one writer reads the
//! log in order and whatever comes again has been applied before.

use super::body;
use crate::messages::{Change, Changes, Error, Loaded, Since, number};
use madang_proto::{client::v1::Message, id::ConversationId, store::v1::ClientIdUse};
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use std::collections::{BTreeMap, HashSet};

/// Does to a message what its event says, unless that was done.
pub(super) fn apply(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    used: &ClientIdUse,
    change: &Change,
) -> Result<(), Error> {
    let (id, seq, revision) = (conversation.bytes(), number(used.seq), number(used.revision));
    transaction.prepare_cached("INSERT OR REPLACE INTO change VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        id,
        revision,
        used.at_micros,
        used.encode_to_vec()
    ])?;
    let select = "SELECT body FROM message WHERE conversation = ?1 AND seq = ?2 AND revision < ?3";
    let row = transaction.prepare_cached(select)?.query_row(params![id, seq, revision], body).optional()?;
    let Some(row) = row else { return Ok(()) };
    let mut message = Message::decode(&row[..])?;
    change.apply(&mut message, used);
    transaction
        .prepare_cached(
            "UPDATE message SET revision = ?3, changed_micros = ?4, body = ?5 WHERE conversation = ?1 AND seq = ?2",
        )?
        .execute(params![id, seq, revision, used.at_micros, message.encode_to_vec()])?;
    match change {
        Change::Edited(_) => {}
        Change::Deleted => {
            transaction
                .prepare_cached("DELETE FROM reaction WHERE conversation = ?1 AND seq = ?2")?
                .execute(params![id, seq])?;
        }
        Change::Reacted { key, user, removed: true, .. } => {
            transaction
                .prepare_cached(
                    "DELETE FROM reaction WHERE conversation = ?1 AND seq = ?2 AND user = ?3 AND emoji = ?4",
                )?
                .execute(params![id, seq, user, key])?;
        }
        Change::Reacted { key, user, began, .. } => {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO reaction VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![id, seq, user, key, number(*began)])?;
        }
    }
    Ok(())
}

/// What has changed since.
pub(super) fn since(
    connection: &Connection,
    conversation: ConversationId,
    since: Since,
) -> Result<Option<Changes>, Error> {
    let after = number(since.revision);
    let oldest: Option<i64> = connection
        .prepare_cached(
            "SELECT coalesce(changed_micros, at_micros) FROM message INDEXED BY message_revision
             WHERE conversation = ?1 AND revision > ?2 ORDER BY revision LIMIT 1",
        )?
        .query_row(params![conversation.bytes(), after], |row| row.get(0))
        .optional()?;
    if oldest.is_some_and(|at| at < since.oldest_micros) {
        return Ok(None);
    }
    let (until, first) = (number(since.until), number(since.first_seq));
    let limit = i64::try_from(since.limit).unwrap_or(i64::MAX);
    let bodies: Vec<Vec<u8>> = connection
        .prepare_cached(
            "SELECT body FROM message INDEXED BY message_revision WHERE conversation = ?1 AND revision > ?2
             AND revision <= ?3 AND seq >= ?4 ORDER BY revision LIMIT ?5",
        )?
        .query_map(params![conversation.bytes(), after, until, first, limit], body)?
        .collect::<Result<_, _>>()?;
    let messages = bodies.iter().map(|body| Message::decode(&body[..])).collect::<Result<Vec<_>, _>>()?;
    let more = messages.last().filter(|_| messages.len() >= since.limit);
    let revision = more.map_or(since.until, |last| last.revision);
    let bodies: Vec<Vec<u8>> = connection
        .prepare_cached(
            "SELECT body FROM message INDEXED BY message_revision WHERE conversation = ?1 AND revision > ?2
             AND seq BETWEEN ?3 AND ?4 ORDER BY revision DESC LIMIT ?5",
        )?
        .query_map(params![conversation.bytes(), until, first, number(since.last_seq), limit], body)?
        .collect::<Result<_, _>>()?;
    let again = bodies.iter().map(|body| Message::decode(&body[..])).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Changes { messages, revision, again }))
}

/// A message with all who reacted to it.
pub(super) fn load(connection: &Connection, conversation: ConversationId, seq: u64) -> Result<Option<Loaded>, Error> {
    let of = params![conversation.bytes(), number(seq)];
    let select = "SELECT body, coalesce(changed_micros, at_micros) FROM message WHERE conversation = ?1 AND seq = ?2";
    let row = connection
        .prepare_cached(select)?
        .query_row(of, |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    let Some((body, changed_micros)) = row else { return Ok(None) };
    let mut reactors = BTreeMap::new();
    let mut select =
        connection.prepare_cached("SELECT emoji, began, user FROM reaction WHERE conversation = ?1 AND seq = ?2")?;
    let mut rows = select.query(of)?;
    while let Some(row) = rows.next()? {
        let began = row.get::<_, i64>(1)?.unsigned_abs();
        let (_, users): &mut (u64, Vec<u8>) = reactors.entry(row.get(0)?).or_insert((began, Vec::new()));
        users.extend(row.get::<_, Vec<u8>>(2)?);
    }
    Ok(Some(Loaded { message: Message::decode(&body[..])?, reactors, changed_micros }))
}

/// What a user has put under these messages.
pub(super) fn reacted(
    connection: &Connection,
    conversation: ConversationId,
    user: &[u8],
    seqs: &[u64],
) -> Result<HashSet<(u64, String)>, Error> {
    let select = "SELECT emoji FROM reaction WHERE conversation = ?1 AND seq = ?2 AND user = ?3";
    let mut select = connection.prepare_cached(select)?;
    let mut found = HashSet::new();
    for seq in seqs {
        let emoji = select.query_map(params![conversation.bytes(), number(*seq), user], |row| row.get(0))?;
        for each in emoji {
            found.insert((*seq, each?));
        }
    }
    Ok(found)
}
