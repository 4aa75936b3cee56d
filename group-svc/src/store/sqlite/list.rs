//! A page of a list, all of it as of one moment: the caller's transaction.

use crate::store::{Access, AccessRow, After, Error, Page, REMOVED, Seen, Wanted, settings};
use madang_proto::{
    group::v1::{RoomMember, RoomState},
    id::{ConversationId, UserId},
};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// A page; ?2 and ?3 the place, ?4 positions since when as JSON, or an empty list, ?5 the limit.
const LIST: &str = "
SELECT * FROM (
    SELECT c.*, m.role, m.joined_revision, m.joined_seq, m.joined_at, m.read_seq, m.settings,
           CASE WHEN c.history = 2 AND c.message_at > 0 THEN c.message_at ELSE max(c.message_at, m.joined_at) END AS activity
    FROM member m JOIN conversation c USING (conversation)
    WHERE m.user = ?1 AND m.left_revision = 0
      AND (json_array_length(?4) = 0 OR max(c.position, m.settings_position) > coalesce(json_extract(?4, '$[' || c.shard || ']'), 0)))
WHERE PLACE ORDER BY ORDERED LIMIT ?5";
/// What was left since.
const REMOVED_SINCE: &str = "
SELECT m.conversation FROM member m JOIN conversation c USING (conversation)
WHERE m.user = ?1 AND m.left_revision > 0
  AND m.left_position > coalesce(json_extract(?2, '$[' || c.shard || ']'), 0) LIMIT ?3";
/// The badge of a user, ?1, at a time, ?2.
pub(super) const BADGE: &str = "
SELECT coalesce(sum(max(c.last_seq - max(m.read_seq, m.floor_seq), 0)) FILTER (WHERE m.muted_until <= ?2), 0)
FROM member m JOIN conversation c USING (conversation) WHERE m.user = ?1 AND m.left_revision = 0";
/// The members who are there.
const PRESENT: &str =
    "SELECT user FROM member WHERE conversation = ?1 AND left_revision = 0 ORDER BY joined_revision, user";

fn id(row: &Row<'_>) -> rusqlite::Result<ConversationId> {
    let id: [u8; 16] = row.get("conversation")?;
    Ok(uuid::Uuid::from_bytes(id).into())
}

fn seen(row: &Row<'_>, user: UserId) -> rusqlite::Result<Seen> {
    let of = |name: &str| row.get::<_, i64>(name).map(i64::unsigned_abs);
    let data: String = row.get("data")?;
    let room = RoomState {
        conversation: id(row)?.bytes().to_vec(),
        kind: row.get("kind")?,
        name: row.get("name")?,
        picture: row.get("picture")?,
        data: serde_json::from_str(&data).unwrap_or_default(),
        history: row.get("history")?,
        revision: of("revision")?,
        last_seq: of("last_seq")?,
        last_at_micros: row.get("last_at")?,
        message_at_micros: row.get("message_at")?,
        members: Vec::new(),
    };
    let me = RoomMember {
        user: user.bytes().to_vec(),
        role: row.get("role")?,
        joined_revision: of("joined_revision")?,
        joined_seq: of("joined_seq")?,
        joined_at_micros: row.get("joined_at")?,
        left_revision: 0,
        read_seq: of("read_seq")?,
        settings: settings::read(row.get("settings")?),
    };
    Ok(Seen { room, me, first: Vec::new(), count: 0, activity_micros: row.get("activity")? })
}

/// A page of a list.
pub(super) fn page(connection: &Connection, wanted: Wanted) -> Result<Page, Error> {
    let Wanted { user, since, after, limit, shards, now_ms } = wanted;
    let (place, ordered) = match &after {
        After::Moved(_) => ("?2 = ?2 AND conversation > ?3", "conversation"),
        After::Nothing | After::Place(..) => {
            ("(activity < ?2 OR (activity = ?2 AND conversation > ?3))", "activity DESC, conversation")
        }
    };
    let (at, from) = match &after {
        After::Nothing | After::Moved(None) => (i64::MAX, Vec::new()),
        After::Place(at, id) => (*at, id.bytes().to_vec()),
        After::Moved(Some(id)) => (0, id.bytes().to_vec()),
    };
    let json = serde_json::to_string(&since).unwrap_or_default();
    let mut page = Page { positions: vec![0; shards as usize], ..Page::default() };
    let mut select = connection.prepare_cached(&LIST.replace("PLACE", place).replace("ORDERED", ordered))?;
    let rows = select
        .query_map(params![user.bytes(), at, from, json, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            seen(row, user)
        })?;
    page.conversations = rows.collect::<Result<_, _>>()?;
    let mut present = connection.prepare_cached(PRESENT)?;
    for seen in &mut page.conversations {
        let users: Vec<Vec<u8>> =
            present.query_map([&seen.room.conversation], |row| row.get(0))?.collect::<Result<_, _>>()?;
        seen.count = users.len();
        seen.first = users.into_iter().take(4).collect();
    }
    if after == After::Nothing && !since.is_empty() {
        let limit = i64::try_from(REMOVED + 1).unwrap_or(i64::MAX);
        let mut select = connection.prepare_cached(REMOVED_SINCE)?;
        page.removed = select.query_map(params![user.bytes(), json, limit], id)?.collect::<Result<_, _>>()?;
    }
    page.badge = connection.query_row(BADGE, params![user.bytes(), now_ms], |row| row.get::<_, i64>(0))?.unsigned_abs();
    let mut cursors = connection.prepare_cached("SELECT shard, position FROM cursor")?;
    for row in cursors.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))? {
        let (shard, position) = row?;
        if let Some(place) = usize::try_from(shard).ok().and_then(|shard| page.positions.get_mut(shard)) {
            *place = position.unsigned_abs();
        }
    }
    Ok(page)
}

/// What somebody may see of conversations.
pub(super) fn access(connection: &Connection, user: UserId, ids: Vec<ConversationId>) -> Result<Vec<Access>, Error> {
    let mut select = connection.prepare_cached(
        "SELECT c.history, m.joined_revision, m.joined_seq, m.cleared_seq, c.revision, c.last_seq, m.left_revision
         FROM member m JOIN conversation c USING (conversation) WHERE m.conversation = ?1 AND m.user = ?2",
    )?;
    let mut found = Vec::with_capacity(ids.len());
    for conversation in ids {
        let row = select.query_row(params![conversation.bytes(), user.bytes()], |row| {
            let of = |place: usize| row.get::<_, i64>(place).map(i64::unsigned_abs);
            let row = AccessRow {
                history: row.get(0)?,
                joined_revision: of(1)?,
                joined_seq: of(2)?,
                cleared_seq: of(3)?,
                revision: of(4)?,
                last_seq: of(5)?,
                left_revision: of(6)?,
            };
            Ok(Access::new(conversation, &row))
        });
        found.extend(row.optional()?);
    }
    Ok(found)
}

/// Whether two share a conversation. CROSS JOIN: the other one's are looked through, which are few where somebody asks about
/// strangers, while one's own may be very many.
const ACQUAINTED: &str =
    "SELECT EXISTS (SELECT 1 FROM member b CROSS JOIN member a ON a.conversation = b.conversation AND a.user = ?1
                        WHERE b.user = ?2 AND a.left_revision = 0 AND b.left_revision = 0)";

pub(super) fn acquainted(connection: &Connection, user: UserId, users: Vec<UserId>) -> Result<Vec<UserId>, Error> {
    let mut select = connection.prepare_cached(ACQUAINTED)?;
    let mut found = Vec::with_capacity(users.len());
    for other in users {
        if select.query_row(params![user.bytes(), other.bytes()], |row| row.get(0))? {
            found.push(other);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::SqliteGroups;

    #[test]
    fn whoever_asks_about_strangers_is_not_looked_through_for_each() {
        let folder = tempfile::tempdir().unwrap();
        drop(SqliteGroups::open(folder.path()).unwrap());
        let connection = Connection::open(folder.path().join("groups.db")).unwrap();
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {ACQUAINTED}")).unwrap();
        let nobody = UserId::new();
        let steps = explain.query_map(params![nobody.bytes(), nobody.bytes()], |row| row.get::<_, String>(3)).unwrap();
        let steps: Vec<String> = steps.map(Result::unwrap).filter(|step| step.contains(" USING ")).collect();
        assert!(steps[0].starts_with("SEARCH b ") && steps[0].contains("(user=?)"), "{steps:?}");
        assert!(steps[1].starts_with("SEARCH a ") && steps[1].contains("conversation=?"), "{steps:?}");
    }
}
