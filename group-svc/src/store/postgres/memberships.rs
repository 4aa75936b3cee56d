//! Where a user is or was, in Postgres.

use super::of;
use crate::store::{Error, Membership};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{BigInt, Bool, Integer, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use madang_proto::id::{ConversationId, UserId};
use uuid::Uuid;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    conversation: Uuid,
    #[diesel(sql_type = Integer)]
    kind: i32,
    #[diesel(sql_type = Bool)]
    present: bool,
}

/// One page of them, by the conversations' ids.
pub(super) async fn page(
    connection: &mut AsyncPgConnection,
    user: UserId,
    after: Option<ConversationId>,
    limit: usize,
) -> Result<Vec<Membership>, Error> {
    // Each half by an index of its own.
    let select = sql_query(
        r#"SELECT m.conversation, c.kind, m.present FROM (
               SELECT conversation, TRUE AS present FROM member WHERE "user" = $1 AND left_revision = 0
               UNION ALL SELECT conversation, FALSE FROM member WHERE "user" = $1 AND left_revision > 0) m
           JOIN conversation c ON c.conversation = m.conversation
           WHERE m.conversation > $2 ORDER BY m.conversation LIMIT $3"#,
    );
    let rows: Vec<Row> = select
        .bind::<SqlUuid, _>(Uuid::from_bytes(*user.bytes()))
        .bind::<SqlUuid, _>(after.map_or(Uuid::nil(), of))
        .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
        .load(connection)
        .await?;
    let one = |row: Row| Membership { conversation: row.conversation.into(), kind: row.kind, present: row.present };
    Ok(rows.into_iter().map(one).collect())
}
