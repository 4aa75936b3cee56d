//! One batch of the log on its way into Postgres, within one transaction.

use super::{
    invites::{ENDED, GROUPS, INVITES, JOINED},
    of, uuid,
};
use crate::store::{Error, Head, number, settings::Set};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Binary, Integer, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use madang_proto::{
    id::ConversationId,
    log::v1::{JoinedUser, LoggedEvent, logged_event::Body},
};
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;

#[derive(QueryableByName)]
struct HeadRow {
    #[diesel(sql_type = SqlUuid)]
    conversation: Uuid,
    #[diesel(sql_type = BigInt)]
    revision: i64,
    #[diesel(sql_type = BigInt)]
    last_seq: i64,
    #[diesel(sql_type = BigInt)]
    last_at: i64,
    #[diesel(sql_type = BigInt)]
    message_at: i64,
}

/// One batch at work.
pub(super) struct Apply<'a> {
    pub(super) connection: &'a mut AsyncPgConnection,
    pub(super) shard: i32,
    pub(super) position: i64,
    pub(super) heads: HashMap<ConversationId, Head>,
    pub(super) marks: HashMap<(Uuid, Uuid), u64>,
}

impl Apply<'_> {
    pub(super) async fn load_heads(&mut self, events: &[LoggedEvent]) -> Result<(), Error> {
        let mut ids = Vec::new();
        // What has no revision moves no head.
        for event in events.iter().filter(|event| event.revision > 0) {
            let id = ConversationId::from_slice(&event.conversation);
            let id = id.map_err(|_| Error::Event("it names no conversation"))?;
            if self.heads.insert(id, Head::default()).is_none() {
                ids.push(of(id));
            }
        }
        let rows: Vec<HeadRow> = sql_query(
            "SELECT conversation, revision, last_seq, last_at, message_at FROM conversation WHERE conversation = ANY($1)",
        )
        .bind::<Array<SqlUuid>, _>(ids)
        .load(self.connection)
        .await?;
        for row in rows {
            let head = Head {
                revision: row.revision.unsigned_abs(),
                last_seq: row.last_seq.unsigned_abs(),
                last_at: row.last_at,
                message_at: row.message_at,
            };
            self.heads.insert(row.conversation.into(), head);
        }
        Ok(())
    }

    /// Holds what is held in another order by who makes invites and takes places, in theirs: the groups into which somebody comes
    /// or which end, then their invites, before anything is written that follows from these. Or each would wait for the other.
    pub(super) async fn hold_invites(&mut self, events: &[LoggedEvent]) -> Result<(), Error> {
        let touches = |event: &&LoggedEvent| match &event.body {
            Some(Body::Joined(_)) => true,
            Some(Body::Left(left)) => left.ended,
            _ => false,
        };
        let groups: BTreeSet<&[u8]> = events.iter().filter(touches).map(|event| &event.conversation[..]).collect();
        if groups.is_empty() {
            return Ok(());
        }
        let groups = groups.into_iter().map(uuid).collect::<Result<Vec<_>, _>>()?;
        for statement in [GROUPS, INVITES] {
            sql_query(statement).bind::<Array<SqlUuid>, _>(&groups).execute(self.connection).await?;
        }
        Ok(())
    }

    pub(super) async fn event(&mut self, event: &LoggedEvent) -> Result<(), Error> {
        let id = ConversationId::from_slice(&event.conversation);
        let id = id.map_err(|_| Error::Event("it names no conversation"))?;
        if let Some(Body::Settings(settings)) = &event.body {
            return self.set(Set::of(event, settings)?).await;
        }
        let head = self.heads.entry(id).or_default();
        if !head.take(id, event)? {
            return Ok(());
        }
        let c = of(id);
        match &event.body {
            Some(Body::Message(_)) => {
                head.message_at = event.at_micros;
                self.marks.insert((c, uuid(&event.actor)?), event.last_seq);
            }
            Some(Body::Created(created)) => {
                let data = serde_json::to_string(&created.data).unwrap_or_default();
                sql_query("INSERT INTO conversation VALUES ($1, $2, $3, $4, '', $5, $6, $7, 0, $8, 0)")
                    .bind::<SqlUuid, _>(c)
                    .bind::<Integer, _>(self.shard)
                    .bind::<Integer, _>(created.kind)
                    .bind::<Text, _>(&created.name)
                    .bind::<Text, _>(data)
                    .bind::<Integer, _>(created.history)
                    .bind::<BigInt, _>(number(event.revision))
                    .bind::<BigInt, _>(event.at_micros)
                    .execute(self.connection)
                    .await?;
                self.join(c, event, &created.members).await?;
            }
            Some(Body::Joined(joined)) => self.join(c, event, &joined.members).await?,
            Some(Body::Left(left)) => {
                let users = left.users.iter().map(|user| uuid(user)).collect::<Result<Vec<_>, _>>()?;
                sql_query(
                    r#"UPDATE member SET left_revision = $3, left_position = $4
                       WHERE conversation = $1 AND "user" = ANY($2)"#,
                )
                .bind::<SqlUuid, _>(c)
                .bind::<Array<SqlUuid>, _>(users)
                .bind::<BigInt, _>(number(event.revision))
                .bind::<BigInt, _>(self.position)
                .execute(self.connection)
                .await?;
                if left.ended {
                    sql_query(ENDED).bind::<SqlUuid, _>(c).execute(self.connection).await?;
                }
            }
            Some(Body::Role(set)) => {
                sql_query(r#"UPDATE member SET role = $3 WHERE conversation = $1 AND "user" = $2"#)
                    .bind::<SqlUuid, _>(c)
                    .bind::<SqlUuid, _>(uuid(&set.user)?)
                    .bind::<Integer, _>(set.role)
                    .execute(self.connection)
                    .await?;
            }
            Some(Body::Changed(changed)) => {
                let data = serde_json::to_string(&changed.data).unwrap_or_default();
                sql_query("UPDATE conversation SET name = $2, picture = $3, data = $4 WHERE conversation = $1")
                    .bind::<SqlUuid, _>(c)
                    .bind::<Text, _>(&changed.name)
                    .bind::<Text, _>(&changed.picture)
                    .bind::<Text, _>(data)
                    .execute(self.connection)
                    .await?;
            }
            Some(Body::Read(read)) => {
                for mark in &read.marks {
                    let known = self.marks.entry((c, uuid(&mark.user)?)).or_default();
                    *known = mark.seq.max(*known);
                }
            }
            Some(Body::Edited(_) | Body::Deleted(_) | Body::Reacted(_) | Body::Settings(_)) | None => {}
        }
        Ok(())
    }

    async fn set(&mut self, set: Set) -> Result<(), Error> {
        sql_query(
            r#"UPDATE member SET settings = $3, muted_until = $4, cleared_seq = $5, floor_seq = $6, settings_at = $7,
               settings_position = $8 WHERE conversation = $1 AND "user" = $2 AND coalesce(settings_at, 0) < $7"#,
        )
        .bind::<SqlUuid, _>(of(set.conversation))
        .bind::<SqlUuid, _>(Uuid::from_bytes(*set.user.bytes()))
        .bind::<Binary, _>(set.encoded)
        .bind::<BigInt, _>(set.muted_until)
        .bind::<BigInt, _>(set.cleared_seq)
        .bind::<BigInt, _>(set.floor_seq)
        .bind::<BigInt, _>(set.at)
        .bind::<BigInt, _>(self.position)
        .execute(self.connection)
        .await?;
        Ok(())
    }

    async fn join(&mut self, c: Uuid, event: &LoggedEvent, members: &[JoinedUser]) -> Result<(), Error> {
        let users = members.iter().map(|member| uuid(&member.user)).collect::<Result<Vec<_>, _>>()?;
        let roles: Vec<i32> = members.iter().map(|member| member.role).collect();
        sql_query(
            r#"INSERT INTO member SELECT $1, u, r, $4, $5, $6, 0, $5 FROM UNNEST($2, $3) AS new (u, r)
               ON CONFLICT (conversation, "user") DO UPDATE SET role = excluded.role, joined_revision = $4,
               joined_seq = $5, joined_at = $6, left_revision = 0, read_seq = greatest(member.read_seq, $5)"#,
        )
        .bind::<SqlUuid, _>(c)
        .bind::<Array<SqlUuid>, _>(&users)
        .bind::<Array<Integer>, _>(roles)
        .bind::<BigInt, _>(number(event.revision))
        .bind::<BigInt, _>(number(event.last_seq))
        .bind::<BigInt, _>(event.at_micros)
        .execute(self.connection)
        .await?;
        sql_query(JOINED)
            .bind::<SqlUuid, _>(c)
            .bind::<Array<SqlUuid>, _>(&users)
            .bind::<BigInt, _>(number(event.revision))
            .execute(self.connection)
            .await?;
        Ok(())
    }

    pub(super) async fn finish(self) -> Result<(), Error> {
        let Self { connection, shard, position, heads, marks } = self;
        let column = |of: fn(&Head) -> i64| heads.values().map(of).collect::<Vec<_>>();
        sql_query(
            "UPDATE conversation SET revision = h.r, last_seq = h.s, last_at = h.a, message_at = h.m, position = $6
             FROM UNNEST($1, $2, $3, $4, $5) AS h (c, r, s, a, m) WHERE conversation = h.c",
        )
        .bind::<Array<SqlUuid>, _>(heads.keys().map(|id| of(*id)).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(column(|head| number(head.revision)))
        .bind::<Array<BigInt>, _>(column(|head| number(head.last_seq)))
        .bind::<Array<BigInt>, _>(column(|head| head.last_at))
        .bind::<Array<BigInt>, _>(column(|head| head.message_at))
        .bind::<BigInt, _>(position)
        .execute(connection)
        .await?;
        if !marks.is_empty() {
            sql_query(
                r#"UPDATE member SET read_seq = m.s FROM UNNEST($1, $2, $3) AS m (c, u, s)
                   WHERE conversation = m.c AND "user" = m.u AND read_seq < m.s"#,
            )
            .bind::<Array<SqlUuid>, _>(marks.keys().map(|(c, _)| *c).collect::<Vec<_>>())
            .bind::<Array<SqlUuid>, _>(marks.keys().map(|(_, user)| *user).collect::<Vec<_>>())
            .bind::<Array<BigInt>, _>(marks.values().map(|seq| number(*seq)).collect::<Vec<_>>())
            .execute(connection)
            .await?;
        }
        sql_query("UPDATE group_cursor SET position = $2 WHERE shard = $1 AND position < $2")
            .bind::<Integer, _>(shard)
            .bind::<BigInt, _>(position)
            .execute(connection)
            .await?;
        Ok(())
    }
}
