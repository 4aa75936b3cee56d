//! The embedded store: one SQLite file, which may fall back after a power cut because the log replays it.

use super::{Error, GroupStore};
use async_trait::async_trait;
use madang_mesh::{log::Position, shard::Shard};
use madang_proto::{
    group::v1::{RoomMember, RoomState},
    log::v1::{LoggedEvent, logged_event::Body},
};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// Conversations and members in `groups.db`.
#[derive(Clone)]
pub struct SqliteStore(Arc<Mutex<Connection>>);

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|e| Error(e.to_string()))
}

impl SqliteStore {
    /// Opens `groups.db` in a folder, and makes it if it is not there.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let connection = Connection::open(folder.join("groups.db"))?;
        connection.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=5000;")?;
        connection.execute_batch(include_str!("../../migrations/sqlite/0001_groups.sql"))?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let connection = self.0.clone();
        tokio::task::spawn_blocking(move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner)))
            .await
            .map_err(|e| Error(e.to_string()))?
    }
}

/// What moves with every message, gathered so that a batch writes each row once.
#[derive(Default)]
struct Gathered {
    heads: HashMap<Vec<u8>, Head>,
    marks: HashMap<(Vec<u8>, Vec<u8>), u64>,
}

#[derive(Clone, Copy, Default)]
struct Head {
    revision: u64,
    last_seq: u64,
    at: i64,
    message_at: i64,
}

impl Gathered {
    fn apply(&mut self, tx: &Transaction<'_>, shard: Shard, event: LoggedEvent) -> Result<(), Error> {
        let id = event.conversation.to_vec();
        let mut head = match self.heads.get(&id) {
            Some(head) => *head,
            None => tx
                .prepare_cached(
                    "SELECT revision, last_seq, last_at_micros, last_message_at FROM conversation WHERE id = ?1",
                )?
                .query_row([&id], |row| {
                    let (revision, last_seq) = (unsigned(row.get(0)?), unsigned(row.get(1)?));
                    Ok(Head { revision, last_seq, at: row.get(2)?, message_at: row.get(3)? })
                })
                .optional()?
                .unwrap_or_default(),
        };
        if event.revision <= head.revision {
            return Ok(());
        }
        (head.revision, head.last_seq, head.at) = (event.revision, event.last_seq, event.at_micros);
        let (revision, last_seq, at) = (signed(event.revision), signed(event.last_seq), event.at_micros);
        let join = |user: &[u8], role: i32| {
            tx.prepare_cached("INSERT INTO member VALUES (?1,?2,?3,?4,?5,?6,0,?5) ON CONFLICT DO UPDATE SET role=?3, joined_revision=?4, joined_seq=?5, joined_at=?6, left_revision=0, read_seq=?5")?
                .execute(params![id, user, role, revision, last_seq, at])
        };
        match event.body {
            Some(Body::Message(_)) => {
                head.message_at = at;
                self.mark(&id, event.actor.to_vec(), event.last_seq);
            }
            Some(Body::Created(created)) => {
                tx.execute(
                    "INSERT INTO conversation VALUES (?1,?2,?3,?4,'',?5,?6,0,0,?7,0,0)",
                    params![id, shard, created.kind, created.name, json(&created.data)?, created.history, at],
                )?;
                for member in created.members {
                    join(&member.user, member.role)?;
                }
            }
            Some(Body::Joined(joined)) => {
                for member in joined.members {
                    join(&member.user, member.role)?;
                }
            }
            Some(Body::Left(left)) => {
                for user in left.users {
                    tx.prepare_cached("UPDATE member SET left_revision=?3 WHERE conversation=?1 AND user=?2")?
                        .execute(params![id, user.as_ref() as &[u8], revision])?;
                }
                if left.ended {
                    tx.execute("UPDATE conversation SET ended=1 WHERE id=?1", [&id])?;
                }
            }
            Some(Body::Role(set)) => {
                tx.execute(
                    "UPDATE member SET role=?3 WHERE conversation=?1 AND user=?2",
                    params![id, set.user.as_ref() as &[u8], set.role],
                )?;
            }
            Some(Body::Changed(to)) => {
                tx.execute(
                    "UPDATE conversation SET name=?2, picture=?3, data=?4 WHERE id=?1",
                    params![id, to.name, to.picture, json(&to.data)?],
                )?;
            }
            Some(Body::Read(moved)) => {
                moved.marks.into_iter().for_each(|mark| self.mark(&id, mark.user.to_vec(), mark.seq))
            }
            _ => {}
        }
        self.heads.insert(id, head);
        Ok(())
    }

    fn mark(&mut self, conversation: &[u8], user: Vec<u8>, seq: u64) {
        let mark = self.marks.entry((conversation.to_vec(), user)).or_default();
        *mark = seq.max(*mark);
    }

    fn flush(self, tx: &Transaction<'_>) -> Result<(), Error> {
        let mut head = tx.prepare_cached(
            "UPDATE conversation SET revision=?2, last_seq=?3, last_at_micros=?4, last_message_at=?5 WHERE id=?1",
        )?;
        for (id, to) in self.heads {
            head.execute(params![id, signed(to.revision), signed(to.last_seq), to.at, to.message_at])?;
        }
        let mut mark =
            tx.prepare_cached("UPDATE member SET read_seq=?3 WHERE conversation=?1 AND user=?2 AND read_seq<?3")?;
        for ((conversation, user), seq) in self.marks {
            mark.execute(params![conversation, user, signed(seq)])?;
        }
        Ok(())
    }
}

fn room(tx: &Transaction<'_>, id: [u8; 16]) -> Result<Option<RoomState>, Error> {
    let found = tx
        .prepare_cached(
            "SELECT kind,name,picture,data,history,revision,last_seq,last_at_micros FROM conversation WHERE id=?1",
        )?
        .query_row([&id[..]], |row| {
            let data: String = row.get(3)?;
            let room = RoomState {
                conversation: id.to_vec(),
                kind: row.get(0)?,
                name: row.get(1)?,
                picture: row.get(2)?,
                history: row.get(4)?,
                revision: unsigned(row.get(5)?),
                last_seq: unsigned(row.get(6)?),
                last_at_micros: row.get(7)?,
                ..RoomState::default()
            };
            Ok((room, data))
        })
        .optional()?;
    let Some((mut room, data)) = found else { return Ok(None) };
    room.data = serde_json::from_str(&data).map_err(|e| Error(e.to_string()))?;
    let mut members = tx.prepare_cached("SELECT user,role,joined_revision,joined_seq,joined_at,left_revision,read_seq FROM member WHERE conversation=?1 ORDER BY joined_revision, user")?;
    let members = members.query_map([&id[..]], |row| {
        Ok(RoomMember {
            user: row.get(0)?,
            role: row.get(1)?,
            joined_revision: unsigned(row.get(2)?),
            joined_seq: unsigned(row.get(3)?),
            joined_at_micros: row.get(4)?,
            left_revision: unsigned(row.get(5)?),
            read_seq: unsigned(row.get(6)?),
        })
    })?;
    room.members = members.collect::<Result<_, _>>()?;
    Ok(Some(room))
}

#[async_trait]
impl GroupStore for SqliteStore {
    async fn apply(&self, shard: Shard, events: Vec<LoggedEvent>, position: Position) -> Result<(), Error> {
        self.with(move |connection| {
            let tx = connection.transaction()?;
            let mut gathered = Gathered::default();
            for event in events {
                gathered.apply(&tx, shard, event)?;
            }
            gathered.flush(&tx)?;
            tx.execute(
                "INSERT INTO cursor VALUES (?1,?2) ON CONFLICT DO UPDATE SET position=max(position,?2)",
                params![shard, signed(position)],
            )?;
            Ok(tx.commit()?)
        })
        .await
    }

    async fn cursor(&self, shard: Shard) -> Result<Position, Error> {
        self.with(move |connection| {
            let found = connection.query_row("SELECT position FROM cursor WHERE shard=?1", [shard], |row| row.get(0));
            Ok(unsigned(found.optional()?.unwrap_or(0)))
        })
        .await
    }

    async fn load_rooms(&self, conversations: Vec<[u8; 16]>) -> Result<Vec<RoomState>, Error> {
        self.with(move |connection| {
            let tx = connection.transaction()?;
            conversations.into_iter().filter_map(|id| room(&tx, id).transpose()).collect()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::log::v1::{Created, JoinedUser, MarksMoved, MembersJoined, MembersLeft, MovedMark};

    fn event(revision: u64, last_seq: u64, actor: u8, body: Body) -> LoggedEvent {
        LoggedEvent {
            conversation: vec![9; 16].into(),
            revision,
            last_seq,
            at_micros: 1_000_000 + signed(revision),
            actor: vec![actor; 16].into(),
            body: Some(body),
            ..LoggedEvent::default()
        }
    }

    fn joined(user: u8) -> JoinedUser {
        JoinedUser { user: vec![user; 16].into(), role: 3 }
    }

    #[tokio::test]
    async fn events_become_rooms_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path()).unwrap();
        let events = vec![
            event(
                1,
                0,
                1,
                Body::Created(Created { kind: 2, members: vec![joined(1), joined(2)], ..Created::default() }),
            ),
            event(2, 1, 1, Body::Message(Default::default())),
            event(3, 1, 2, Body::Left(MembersLeft { users: vec![vec![2; 16].into()], ended: false })),
            event(4, 2, 1, Body::Message(Default::default())),
        ];
        store.apply(7, events.clone(), 4).await.unwrap();
        let first = store.load_rooms(vec![[9; 16], [8; 16]]).await.unwrap();
        assert_eq!(first.len(), 1);
        let room = &first[0];
        assert_eq!((room.revision, room.last_seq, room.last_at_micros), (4, 2, 1_000_004));
        assert_eq!((room.members[0].read_seq, room.members[0].left_revision), (2, 0));
        assert_eq!((room.members[1].read_seq, room.members[1].left_revision), (0, 3));

        // Again the same, as after a crash; and the cursor never goes back.
        store.apply(7, events, 3).await.unwrap();
        assert_eq!(store.load_rooms(vec![[9; 16]]).await.unwrap(), first);
        assert_eq!(store.cursor(7).await.unwrap(), 4);

        let mark = MovedMark { user: vec![2; 16].into(), seq: 1 };
        let events = vec![
            event(5, 2, 1, Body::Joined(MembersJoined { members: vec![joined(2)] })),
            event(6, 2, 2, Body::Read(MarksMoved { marks: vec![mark] })),
        ];
        store.apply(7, events, 5).await.unwrap();
        let room = store.load_rooms(vec![[9; 16]]).await.unwrap().remove(0);
        let again = room.members.iter().find(|member| member.user == [2; 16]).unwrap();
        assert_eq!((again.joined_revision, again.joined_seq, again.left_revision, again.read_seq), (5, 2, 0, 2));
    }
}
