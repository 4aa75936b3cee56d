//! Refreshes in Postgres: one statement each, on one connection, since everybody comes at once when a gateway or the whole
//! cluster was away for longer than a token lives.

use super::Renewed;
use crate::store::{KEPT_TOKENS, Session, tidies};
use diesel::{
    OptionalExtension, QueryableByName,
    result::Error as DieselError,
    sql_query,
    sql_types::{BigInt, Binary, Bool, Integer, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use madang_proto::{
    client::v1::{Device, User},
    id::UserId,
};
use uuid::Uuid;

/// $1: the token that is used, $2: the next one, $3: now, $4: done with since before then, a token is good no more. The
/// lock makes those that come at once of one session come one after the other; done with is what is neither the newest
/// nor `used`, and was not before.
const RENEW: &str = r#"
    WITH used AS (
        SELECT refresh.session, refresh.current OR next_used_at = 0 OR next_used_at >= $4 AS good
        FROM refresh JOIN session ON session.id = refresh.session WHERE hash = $1 FOR UPDATE OF session
    ), before AS (
        UPDATE refresh SET current = FALSE,
            next_used_at = CASE WHEN hash <> $1 AND NOT current AND next_used_at = 0 THEN $3 ELSE next_used_at END
        WHERE session IN (SELECT session FROM used WHERE good) AND (current OR next_used_at = 0)
    ), next AS (
        INSERT INTO refresh (hash, session, current, next_used_at) SELECT $2, session, TRUE, 0 FROM used WHERE good
    ), touched AS (
        UPDATE session SET used_at = $3 WHERE id IN (SELECT session FROM used WHERE good)
    )
    SELECT good, session.id, session."user", device, kind, session.name AS device_name, app, session.created_at,
        handle, account.name, status_message, picture, user_kind
    FROM used JOIN session ON session.id = used.session JOIN account ON account."user" = session."user""#;

/// $1: a session; $2: done with since before then, a token is good no more; $3: how many of these stay. Bounded, where an
/// older version has left very many.
const TIDY: &str = "
    DELETE FROM refresh WHERE hash IN (
        SELECT hash FROM refresh WHERE session = $1 AND next_used_at > 0 AND next_used_at < $2
        ORDER BY next_used_at DESC OFFSET $3 LIMIT 10000)";

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Bool)]
    good: bool,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    user: Uuid,
    #[diesel(sql_type = Text)]
    device: String,
    #[diesel(sql_type = Integer)]
    kind: i32,
    #[diesel(sql_type = Text)]
    device_name: String,
    #[diesel(sql_type = Text)]
    app: String,
    #[diesel(sql_type = BigInt)]
    created_at: i64,
    #[diesel(sql_type = Text)]
    handle: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    status_message: String,
    #[diesel(sql_type = Text)]
    picture: String,
    #[diesel(sql_type = Integer)]
    user_kind: i32,
}

pub(super) async fn renew(
    connection: &mut AsyncPgConnection,
    used: [u8; 32],
    next: [u8; 32],
    grace: i64,
    now: i64,
) -> Result<Renewed, DieselError> {
    let query = sql_query(RENEW).bind::<Binary, _>(&used[..]).bind::<Binary, _>(&next[..]);
    let query = query.bind::<BigInt, _>(now).bind::<BigInt, _>(now - grace);
    let Some(row) = query.get_result::<Row>(connection).await.optional()? else { return Ok(Renewed::Unknown) };
    let session = Session {
        id: row.id.into(),
        user: row.user.into(),
        device: Device { id: row.device, kind: row.kind, name: row.device_name, app: row.app },
        created_at: row.created_at,
        used_at: now,
    };
    if !row.good {
        return Ok(Renewed::Late(session));
    }
    if tidies(next) {
        let query =
            sql_query(TIDY).bind::<SqlUuid, _>(row.id).bind::<BigInt, _>(now - grace).bind::<BigInt, _>(KEPT_TOKENS);
        // The new token is there, whatever becomes of the old ones: another one after it looks for them.
        if let Err(error) = query.execute(connection).await {
            tracing::warn!(%error, "old refresh tokens of a session could not be forgotten");
        }
    }
    // A session that there is is of an account that was not deleted.
    let user = User {
        user: UserId::from(row.user).to_string(),
        handle: row.handle,
        name: row.name,
        status_message: row.status_message,
        picture: row.picture,
        kind: row.user_kind,
        deleted: false,
    };
    Ok(Renewed::Next(session, user))
}
