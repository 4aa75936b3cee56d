//! Who shares a conversation with whom: asked before somebody is shown another one's presence.

use crate::store::Error;
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use madang_proto::id::UserId;
use uuid::Uuid;

/// $1 is the user, $2 the others. One look into the primary key for each of the user's conversations until the first
/// that both are in.
pub const ACQUAINTED: &str = r#"
SELECT other FROM unnest($2) AS other WHERE EXISTS (
    SELECT 1 FROM member a JOIN member b ON b.conversation = a.conversation AND b."user" = other
    WHERE a."user" = $1 AND a.left_revision = 0 AND b.left_revision = 0)"#;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    other: Uuid,
}

pub(super) async fn select(
    connection: &mut AsyncPgConnection,
    user: UserId,
    users: Vec<UserId>,
) -> Result<Vec<UserId>, Error> {
    let others: Vec<Uuid> = users.iter().map(|user| Uuid::from_bytes(*user.bytes())).collect();
    let rows: Vec<Row> = sql_query(ACQUAINTED)
        .bind::<SqlUuid, _>(Uuid::from_bytes(*user.bytes()))
        .bind::<Array<SqlUuid>, _>(others)
        .load(connection)
        .await?;
    Ok(rows.into_iter().map(|row| row.other.into()).collect())
}
