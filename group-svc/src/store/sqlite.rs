//! Conversations and members in one SQLite file, in the transaction of the cursor that says how much of the log they
//! hold. Every write is idempotent: an event that a row has is skipped.

mod comings;
mod invites;
mod list;
mod memberships;

use super::{
    Access, Error, Gone, GroupStore, Head, Membership, Page, Wanted,
    keys::{Asked, KEY_MS, Made},
    number,
    settings::{self, Set},
};
use async_trait::async_trait;
use madang_mesh::{log::Position, shard::Shard};
use madang_proto::{
    group::v1::{RoomMember, RoomState},
    id::{ConversationId, UserId},
    log::v1::{JoinedUser, LoggedEvent, MemberSettings, logged_event::Body},
};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use std::{
    collections::{
        HashMap,
        hash_map::Entry::{Occupied, Vacant},
    },
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

const NUMBER: &str = "INTEGER NOT NULL DEFAULT 0";
/// Columns that came later.
const LATER: [(&str, &str, &str); 12] = [
    ("conversation", "shard", NUMBER),
    ("conversation", "position", NUMBER),
    ("member", "left_position", NUMBER),
    ("member", "settings", "BLOB"),
    ("member", "muted_until", NUMBER),
    ("member", "cleared_seq", NUMBER),
    ("member", "floor_seq", NUMBER),
    ("member", "settings_at", NUMBER),
    ("member", "settings_position", NUMBER),
    // What is there already was made.
    ("made", "asked", "BLOB DEFAULT x''"),
    ("invite_use", "revision", NUMBER),
    ("invite_use", "asking", "INTEGER NOT NULL DEFAULT 1"),
];

/// Conversations, in SQLite.
#[derive(Clone)]
pub struct SqliteGroups {
    connection: Arc<Mutex<Connection>>,
}

impl SqliteGroups {
    /// Opens the file in a folder.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let connection = Connection::open(folder.join("groups.db"))?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE IF NOT EXISTS conversation (
                 conversation BLOB PRIMARY KEY, kind INTEGER NOT NULL, name TEXT NOT NULL, picture TEXT NOT NULL,
                 data TEXT NOT NULL, history INTEGER NOT NULL, revision INTEGER NOT NULL, last_seq INTEGER NOT NULL,
                 last_at INTEGER NOT NULL, message_at INTEGER NOT NULL) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS member (
                 conversation BLOB, user BLOB, role INTEGER NOT NULL, joined_revision INTEGER NOT NULL,
                 joined_seq INTEGER NOT NULL, joined_at INTEGER NOT NULL, left_revision INTEGER NOT NULL,
                 read_seq INTEGER NOT NULL, PRIMARY KEY (conversation, user)) WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS member_user ON member (user) WHERE left_revision = 0;
             CREATE TABLE IF NOT EXISTS cursor (shard INTEGER PRIMARY KEY, position INTEGER NOT NULL);
             CREATE TABLE IF NOT EXISTS made (
                 user BLOB, key TEXT, conversation BLOB NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (user, key)) WITHOUT ROWID;",
        )?;
        connection.execute_batch(invites::TABLES)?;
        connection.execute_batch(comings::TABLE)?;
        // Files of earlier versions lack these.
        for (table, column, form) in LATER {
            let known = format!("SELECT count(*) FROM pragma_table_info('{table}') WHERE name = '{column}'");
            if connection.query_row(&known, [], |row| row.get::<_, i64>(0))? == 0 {
                connection.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {column} {form}"))?;
            }
        }
        connection.execute_batch(
            "CREATE INDEX IF NOT EXISTS member_left ON member (user, left_position) WHERE left_revision > 0;
             CREATE INDEX IF NOT EXISTS made_at ON made (at);",
        )?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let connection = self.connection.clone();
        let run = move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(run).await.map_err(|_| Error::Unavailable("the store's task ended".into()))?
    }
}

#[async_trait]
impl GroupStore for SqliteGroups {
    async fn cursor(&self, shard: Shard) -> Result<Position, Error> {
        self.run(move |connection| {
            let select = "SELECT position FROM cursor WHERE shard = ?1";
            let position: Option<i64> = connection.query_row(select, [shard], |row| row.get(0)).optional()?;
            Ok(position.unwrap_or(0).unsigned_abs())
        })
        .await
    }

    async fn apply(&self, shard: Shard, events: Vec<LoggedEvent>, position: Position) -> Result<(), Error> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let (mut heads, mut marks) = (HashMap::new(), HashMap::new());
            let place = (shard, number(position));
            for event in &events {
                apply(&transaction, event, place, &mut heads, &mut marks)?;
            }
            write_heads(&transaction, heads, place)?;
            write_marks(&transaction, marks)?;
            transaction.execute(
                "INSERT INTO cursor VALUES (?1, ?2) ON CONFLICT DO UPDATE SET position = max(position, ?2)",
                params![shard, number(position)],
            )?;
            Ok(transaction.commit()?)
        })
        .await
    }

    async fn rooms(&self, ids: Vec<ConversationId>, gone: Gone) -> Result<Vec<RoomState>, Error> {
        self.run(move |connection| {
            let mut rooms = Vec::with_capacity(ids.len());
            for id in ids {
                rooms.extend(room(connection, id, gone)?);
            }
            Ok(rooms)
        })
        .await
    }

    async fn list(&self, wanted: Wanted) -> Result<Page, Error> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            list::page(&transaction, wanted)
        })
        .await
    }

    async fn access(&self, user: UserId, ids: Vec<ConversationId>) -> Result<Vec<Access>, Error> {
        self.run(move |connection| list::access(connection, user, ids)).await
    }

    async fn acquainted(&self, user: UserId, users: Vec<UserId>) -> Result<Vec<UserId>, Error> {
        self.run(move |connection| list::acquainted(connection, user, users)).await
    }

    async fn badges(&self, users: Vec<UserId>, now_ms: i64) -> Result<HashMap<UserId, u64>, Error> {
        self.run(move |connection| {
            let mut select = connection.prepare_cached(list::BADGE)?;
            let badge = |user: UserId| {
                let unread: i64 = select.query_row(params![user.bytes(), now_ms], |row| row.get(0))?;
                Ok((user, unread.unsigned_abs()))
            };
            users.into_iter().map(badge).collect()
        })
        .await
    }

    async fn settings(&self, user: UserId, id: ConversationId) -> Result<Option<(Option<MemberSettings>, u64)>, Error> {
        self.run(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT m.settings, c.last_seq FROM member m JOIN conversation c USING (conversation)
                 WHERE m.conversation = ?1 AND m.user = ?2",
            )?;
            let row = select.query_row(params![id.bytes(), user.bytes()], |row| Ok((row.get(0)?, row.get(1)?)));
            let found: Option<(Option<Vec<u8>>, i64)> = row.optional()?;
            Ok(found.map(|(set, last_seq)| (settings::read(set), last_seq.unsigned_abs())))
        })
        .await
    }

    async fn counts(&self, users: Vec<UserId>) -> Result<HashMap<UserId, usize>, Error> {
        self.run(move |connection| {
            let select = "SELECT count(*) FROM member WHERE user = ?1 AND left_revision = 0";
            let mut select = connection.prepare_cached(select)?;
            let mut counts = HashMap::new();
            for user in users {
                let count: i64 = select.query_row([user.bytes()], |row| row.get(0))?;
                if count > 0 {
                    counts.insert(user, usize::try_from(count).unwrap_or(usize::MAX));
                }
            }
            Ok(counts)
        })
        .await
    }

    async fn memberships(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<Membership>, Error> {
        self.run(move |connection| memberships::page(connection, user, after, limit)).await
    }

    async fn made(&self, user: UserId, key: String, new: ConversationId, now_ms: i64) -> Result<Made, Error> {
        self.run(move |connection| {
            connection.execute("DELETE FROM made WHERE at < ?1", [now_ms - KEY_MS])?;
            connection.execute(
                "INSERT OR IGNORE INTO made (user, key, conversation, at, asked) VALUES (?1, ?2, ?3, ?4, NULL)",
                params![user.bytes(), key, new.bytes(), now_ms],
            )?;
            let select = "SELECT conversation, asked FROM made WHERE user = ?1 AND key = ?2";
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let (id, asked): ([u8; 16], _) = connection.query_row(select, params![user.bytes(), key], row)?;
            Ok(Made { id: uuid::Uuid::from_bytes(id).into(), asked })
        })
        .await
    }

    async fn done(&self, user: UserId, key: String, asked: Asked) -> Result<(), Error> {
        self.run(move |connection| done(connection, user, &key, asked).map(drop)).await
    }
}

/// What a key stands for is made; false: it was before, or the key is gone.
fn done(connection: &Connection, user: UserId, key: &str, asked: Asked) -> Result<bool, Error> {
    let update = "UPDATE made SET asked = ?3 WHERE user = ?1 AND key = ?2 AND asked IS NULL";
    Ok(connection.execute(update, params![user.bytes(), key, asked])? > 0)
}

type Heads = HashMap<ConversationId, Head>;
type Marks = HashMap<(ConversationId, Vec<u8>), u64>;

fn head(transaction: &Transaction<'_>, id: ConversationId) -> Result<Option<Head>, Error> {
    let mut select = transaction
        .prepare_cached("SELECT revision, last_seq, last_at, message_at FROM conversation WHERE conversation = ?1")?;
    let head = select.query_row([id.bytes()], |row| {
        let (revision, last_seq): (i64, i64) = (row.get(0)?, row.get(1)?);
        let (last_at, message_at) = (row.get(2)?, row.get(3)?);
        Ok(Head { revision: revision.unsigned_abs(), last_seq: last_seq.unsigned_abs(), last_at, message_at })
    });
    Ok(head.optional()?)
}

fn apply(
    transaction: &Transaction<'_>,
    event: &LoggedEvent,
    place: (Shard, i64),
    heads: &mut Heads,
    marks: &mut Marks,
) -> Result<(), Error> {
    let Ok(id) = ConversationId::from_slice(&event.conversation) else {
        return Err(Error::Event("it names no conversation"));
    };
    if let Some(Body::Settings(settings)) = &event.body {
        return set(transaction, &Set::of(event, settings)?, place.1);
    }
    let head = match heads.entry(id) {
        Occupied(known) => known.into_mut(),
        Vacant(place) => place.insert(head(transaction, id)?.unwrap_or_default()),
    };
    if !head.take(id, event)? {
        return Ok(());
    }
    let c = id.bytes();
    match &event.body {
        Some(Body::Message(_)) => {
            head.message_at = event.at_micros;
            marks.insert((id, event.actor.to_vec()), event.last_seq);
        }
        Some(Body::Created(created)) => {
            let data = serde_json::to_string(&created.data).unwrap_or_default();
            let (revision, at) = (number(event.revision), event.at_micros);
            transaction
                .prepare_cached(
                    "INSERT INTO conversation (conversation, kind, name, picture, data, history, revision, last_seq, last_at,
                     message_at) VALUES (?1, ?2, ?3, '', ?4, ?5, ?6, 0, ?7, 0)",
                )?
                .execute(params![c, created.kind, created.name, data, created.history, revision, at])?;
            join(transaction, id, event, &created.members)?;
        }
        Some(Body::Joined(joined)) => join(transaction, id, event, &joined.members)?,
        Some(Body::Left(left)) => {
            for user in &left.users {
                transaction
                    .prepare_cached(
                        "UPDATE member SET left_revision = ?3, left_position = ?4 WHERE conversation = ?1 AND user = ?2",
                    )?
                    .execute(params![c, &user[..], number(event.revision), place.1])?;
            }
            if left.ended {
                invites::end(transaction, id)?;
            }
        }
        Some(Body::Role(set)) => {
            transaction
                .prepare_cached("UPDATE member SET role = ?3 WHERE conversation = ?1 AND user = ?2")?
                .execute(params![c, &set.user[..], set.role])?;
        }
        Some(Body::Changed(changed)) => {
            let data = serde_json::to_string(&changed.data).unwrap_or_default();
            transaction
                .prepare_cached("UPDATE conversation SET name = ?2, picture = ?3, data = ?4 WHERE conversation = ?1")?
                .execute(params![c, changed.name, changed.picture, data])?;
        }
        Some(Body::Read(read)) => {
            for mark in &read.marks {
                let known = marks.entry((id, mark.user.to_vec())).or_default();
                *known = mark.seq.max(*known);
            }
        }
        Some(Body::Edited(_) | Body::Deleted(_) | Body::Reacted(_) | Body::Settings(_)) | None => {}
    }
    Ok(())
}

fn set(transaction: &Transaction<'_>, set: &Set, position: i64) -> Result<(), Error> {
    let mut update = transaction.prepare_cached(
        "UPDATE member SET settings = ?3, muted_until = ?4, cleared_seq = ?5, floor_seq = ?6, settings_at = ?7,
         settings_position = ?8 WHERE conversation = ?1 AND user = ?2 AND settings_at < ?7",
    )?;
    update.execute(params![
        set.conversation.bytes(),
        set.user.bytes(),
        set.encoded,
        set.muted_until,
        set.cleared_seq,
        set.floor_seq,
        set.at,
        position
    ])?;
    Ok(())
}

fn join(
    transaction: &Transaction<'_>,
    id: ConversationId,
    event: &LoggedEvent,
    members: &[JoinedUser],
) -> Result<(), Error> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO member (conversation, user, role, joined_revision, joined_seq, joined_at, left_revision, read_seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?5) ON CONFLICT DO UPDATE SET role = ?3,
         joined_revision = ?4, joined_seq = ?5, joined_at = ?6, left_revision = 0, read_seq = max(read_seq, ?5)",
    )?;
    for member in members {
        let (revision, seq) = (number(event.revision), number(event.last_seq));
        insert.execute(params![
            &event.conversation[..],
            &member.user[..],
            member.role,
            revision,
            seq,
            event.at_micros
        ])?;
        invites::joined(transaction, id, &member.user, revision)?;
    }
    Ok(())
}

fn write_heads(transaction: &Transaction<'_>, heads: Heads, place: (Shard, i64)) -> Result<(), Error> {
    let mut update = transaction.prepare_cached(
        "UPDATE conversation SET revision = ?2, last_seq = ?3, last_at = ?4, message_at = ?5, shard = ?6,
         position = max(position, ?7) WHERE conversation = ?1",
    )?;
    for (id, head) in heads {
        update.execute(params![
            id.bytes(),
            number(head.revision),
            number(head.last_seq),
            head.last_at,
            head.message_at,
            place.0,
            place.1
        ])?;
    }
    Ok(())
}

fn write_marks(transaction: &Transaction<'_>, marks: Marks) -> Result<(), Error> {
    let mut update = transaction
        .prepare_cached("UPDATE member SET read_seq = max(read_seq, ?3) WHERE conversation = ?1 AND user = ?2")?;
    for ((id, user), seq) in marks {
        update.execute(params![id.bytes(), user, number(seq)])?;
    }
    Ok(())
}

fn room(connection: &Connection, id: ConversationId, gone: Gone) -> Result<Option<RoomState>, Error> {
    let mut select = connection.prepare_cached("SELECT * FROM conversation WHERE conversation = ?1")?;
    let row = select.query_row([id.bytes()], |row| {
        let (revision, last_seq): (i64, i64) = (row.get("revision")?, row.get("last_seq")?);
        let data: String = row.get("data")?;
        Ok(RoomState {
            conversation: id.bytes().to_vec(),
            kind: row.get("kind")?,
            name: row.get("name")?,
            picture: row.get("picture")?,
            data: serde_json::from_str(&data).unwrap_or_default(),
            history: row.get("history")?,
            revision: revision.unsigned_abs(),
            last_seq: last_seq.unsigned_abs(),
            last_at_micros: row.get("last_at")?,
            message_at_micros: row.get("message_at")?,
            members: Vec::new(),
        })
    });
    let Some(mut room) = row.optional()? else { return Ok(None) };
    let mut members = connection.prepare_cached(
        "SELECT user, role, joined_revision, joined_seq, joined_at, left_revision, read_seq,
         CASE WHEN left_revision = 0 OR ?3 THEN settings END AS settings FROM member
         WHERE conversation = ?1 AND (left_revision = 0 OR left_position >= ?2) ORDER BY joined_revision, user",
    )?;
    let (left_from, whole) = gone.parts();
    let rows = members.query_map(params![id.bytes(), left_from, whole], |row| {
        let of = |name: &str| row.get::<_, i64>(name).map(i64::unsigned_abs);
        Ok(RoomMember {
            user: row.get("user")?,
            role: row.get("role")?,
            joined_revision: of("joined_revision")?,
            joined_seq: of("joined_seq")?,
            joined_at_micros: row.get("joined_at")?,
            left_revision: of("left_revision")?,
            read_seq: of("read_seq")?,
            settings: settings::read(row.get("settings")?),
        })
    })?;
    room.members = rows.collect::<Result<_, _>>()?;
    Ok(Some(room))
}
