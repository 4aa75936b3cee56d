//! Who is about to come into conversations, in Postgres: who announces somebody holds their row until it is done, so that all come
//! one after the other.

use super::{COUNTS, CountRow, PostgresGroups, of};
use crate::store::{
    Error,
    comings::{Comings, KEEP_MS, SPARE},
};
use async_trait::async_trait;
use diesel::{
    sql_query,
    sql_types::{Array, BigInt, Uuid as SqlUuid},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use madang_proto::id::{ConversationId, UserId};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// Those of before a time, $1, go; not those that somebody is at.
pub const FORGET: &str = "DELETE FROM coming WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM coming WHERE at < $1 ORDER BY at LIMIT 1000 FOR UPDATE SKIP LOCKED))";
/// Whose turn it is among those who announce users, $1, at a time, $2.
pub const TURN: &str = r#"INSERT INTO coming SELECT u, '00000000-0000-0000-0000-000000000000', $2, 0, 0 FROM UNNEST($1) AS new (u)
    ON CONFLICT ("user", conversation) DO UPDATE SET at = $2"#;
/// In how many conversations beside one, $2, users, $1, are or are about to be, announced since a time, $3.
pub const CLOSE: &str = r#"SELECT u AS "user",
    (SELECT count(*) FROM member m WHERE m."user" = u AND m.left_revision = 0 AND m.conversation <> $2)
    + (SELECT count(*) FROM coming c WHERE c."user" = u AND c.at >= $3 AND c.conversation <> $2
       AND c.conversation <> '00000000-0000-0000-0000-000000000000' AND NOT EXISTS (
           SELECT 1 FROM member m WHERE m.conversation = c.conversation AND m."user" = u
           AND (m.left_revision = 0 OR m.joined_revision > c.revision))) AS count
FROM UNNEST($1) AS asked (u)"#;
/// Users, $1, are about to come into a conversation, $2, at a time, $3.
pub const ANNOUNCED: &str = r#"INSERT INTO coming
    SELECT u, $2, $3, coalesce((SELECT revision FROM conversation WHERE conversation = $2), 0), 1 FROM UNNEST($1) AS new (u)
    ON CONFLICT ("user", conversation) DO UPDATE SET at = $3, revision = excluded.revision, asking = coming.asking + 1"#;
/// One of those who ask for users, $1, in a conversation, $2, does so no more.
pub const CALLED_OFF: &str = r#"UPDATE coming SET asking = asking - 1 WHERE "user" = ANY($1) AND conversation = $2"#;
/// Those of them go for whom nobody asks any more.
pub const GONE: &str = r#"DELETE FROM coming WHERE "user" = ANY($1) AND conversation = $2 AND asking <= 0"#;

fn uuid(user: &UserId) -> Uuid {
    Uuid::from_bytes(*user.bytes())
}

async fn announce(
    connection: &mut AsyncPgConnection,
    conversation: Uuid,
    users: Vec<Uuid>,
    most: usize,
    now_ms: i64,
) -> Result<HashSet<UserId>, Error> {
    sql_query(TURN).bind::<Array<SqlUuid>, _>(&users).bind::<BigInt, _>(now_ms).execute(connection).await?;
    let counts: Vec<CountRow> = sql_query(CLOSE)
        .bind::<Array<SqlUuid>, _>(&users)
        .bind::<SqlUuid, _>(conversation)
        .bind::<BigInt, _>(now_ms - KEEP_MS)
        .load(connection)
        .await?;
    let full: HashSet<Uuid> = counts
        .into_iter()
        .filter(|row| usize::try_from(row.count).unwrap_or(usize::MAX) >= most)
        .map(|row| row.user)
        .collect();
    let come: Vec<Uuid> = users.into_iter().filter(|user| !full.contains(user)).collect();
    sql_query(ANNOUNCED)
        .bind::<Array<SqlUuid>, _>(come)
        .bind::<SqlUuid, _>(conversation)
        .bind::<BigInt, _>(now_ms)
        .execute(connection)
        .await?;
    Ok(full.into_iter().map(Into::into).collect())
}

#[async_trait]
impl Comings for PostgresGroups {
    async fn announce(
        &self,
        conversation: ConversationId,
        users: Vec<UserId>,
        most: usize,
        now_ms: i64,
    ) -> Result<HashSet<UserId>, Error> {
        let mut connection = self.connection().await?;
        let mut users: Vec<Uuid> = users.iter().map(uuid).collect();
        let counts: Vec<CountRow> = sql_query(COUNTS).bind::<Array<SqlUuid>, _>(&users).load(&mut connection).await?;
        let counts: HashMap<Uuid, i64> = counts.into_iter().map(|row| (row.user, row.count)).collect();
        let count = |user: &Uuid| usize::try_from(counts.get(user).copied().unwrap_or(0)).unwrap_or(usize::MAX);
        users.retain(|user| count(user).saturating_add(SPARE) >= most);
        if users.is_empty() {
            return Ok(HashSet::new());
        }
        // In one order for all, so that no two wait for each other.
        users.sort_unstable();
        users.dedup();
        let before = sql_query(FORGET).bind::<BigInt, _>(now_ms - KEEP_MS);
        before.execute(&mut connection).await?;
        let conversation = of(conversation);
        connection.transaction(async |connection| announce(connection, conversation, users, most, now_ms).await).await
    }

    async fn call_off(&self, conversation: ConversationId, users: Vec<UserId>) -> Result<(), Error> {
        let mut users: Vec<Uuid> = users.iter().map(uuid).collect();
        users.sort_unstable();
        let mut connection = self.connection().await?;
        for statement in [CALLED_OFF, GONE] {
            sql_query(statement)
                .bind::<Array<SqlUuid>, _>(&users)
                .bind::<SqlUuid, _>(of(conversation))
                .execute(&mut connection)
                .await?;
        }
        Ok(())
    }
}
