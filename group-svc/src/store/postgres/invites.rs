//! Invites in Postgres: whoever takes a place holds the invite's row until it is taken, so that all come one after the other.
//!
//! Rows are held in one order by all: a group's, then its invites', then the places'.

use super::{PostgresGroups, done, number, of};
use crate::store::{
    Error,
    invites::{self, Hash, Invited, Invites, Kept, TAKEN_MS, Taken, hash},
    keys::Asked,
};
use async_trait::async_trait;
use diesel::{
    QueryableByName, sql_query,
    sql_types::{BigInt, Binary, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use madang_proto::id::{ConversationId, UserId};
use uuid::Uuid;

#[derive(QueryableByName)]
struct InviteRow {
    #[diesel(sql_type = Text)]
    code: String,
    #[diesel(sql_type = SqlUuid)]
    conversation: Uuid,
    #[diesel(sql_type = SqlUuid)]
    by: Uuid,
    #[diesel(sql_type = BigInt)]
    expires_at: i64,
    #[diesel(sql_type = BigInt)]
    max_uses: i64,
    #[diesel(sql_type = BigInt)]
    uses: i64,
}

#[derive(QueryableByName)]
struct CountRow {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

impl From<InviteRow> for Kept {
    fn from(row: InviteRow) -> Self {
        Self {
            code: row.code,
            conversation: row.conversation.into(),
            by: row.by.into(),
            expires_at: row.expires_at,
            max_uses: u32::try_from(row.max_uses).unwrap_or(u32::MAX),
            uses: u32::try_from(row.uses).unwrap_or(u32::MAX),
        }
    }
}

/// How many invites a group, $1, has.
pub const COUNT: &str = "SELECT count(*) AS count FROM invite WHERE conversation = $1";
/// Those of a group, $1.
pub const OF_GROUP: &str = "SELECT * FROM invite WHERE conversation = $1 ORDER BY created_at DESC, hash";
/// One, by its hash, $1.
pub const ONE: &str = "SELECT * FROM invite WHERE hash = $1";
/// Those of a group, $1, that are of no use at a time, $2, go.
pub const USELESS: &str = "DELETE FROM invite WHERE conversation = $1
    AND (max_uses > 0 AND uses >= max_uses OR expires_at BETWEEN 1 AND $2)";
/// Groups, $1, are held.
pub const GROUPS: &str =
    "SELECT FROM conversation WHERE conversation = ANY($1) ORDER BY conversation FOR NO KEY UPDATE";
/// The invites of groups, $1, are held.
pub const INVITES: &str = "SELECT FROM invite WHERE conversation = ANY($1) ORDER BY hash FOR UPDATE";
/// A group, $1, has ended.
pub const ENDED: &str = "DELETE FROM invite WHERE conversation = $1";
/// Somebody, $2, asks for the place of an invite, $1, that they hold, or have come by after the revision, $4, at which they
/// were looked for.
pub const HELD: &str = r#"UPDATE invite_use SET at = $3, asking = asking + 1
    WHERE hash = $1 AND "user" = $2 AND (NOT joined OR revision > $4)"#;
/// Somebody, $2, takes a place of an invite, $1, who was not in the group at a revision, $4.
pub const TAKEN: &str = r#"INSERT INTO invite_use (hash, "user", at, joined, revision, asking) VALUES ($1, $2, $3, false, $4, 1)
    ON CONFLICT (hash, "user") DO UPDATE SET at = $3, joined = false, revision = $4, asking = 1"#;
/// Somebody, $2, has come by an invite, $1, as of a revision, $3.
pub const SETTLED: &str =
    r#"UPDATE invite_use SET joined = true, revision = $3 WHERE hash = $1 AND "user" = $2 AND revision < $3"#;
/// One of those who ask for somebody, $2, with an invite, $1, was refused.
pub const REFUSED: &str = r#"UPDATE invite_use SET asking = asking - 1 WHERE hash = $1 AND "user" = $2 AND NOT joined"#;
/// The place that somebody, $2, has of an invite, $1, is given back once nobody asks for them any more.
pub const LEFT: &str = r#"DELETE FROM invite_use WHERE hash = $1 AND "user" = $2 AND NOT joined AND asking <= 0"#;
/// Of places of an invite, $1, that were taken before a time, $2, those are used whose takers are members.
pub const CAME: &str = r#"UPDATE invite_use SET joined = true WHERE hash = $1 AND NOT joined AND at < $2 AND EXISTS (
    SELECT 1 FROM member m JOIN invite i ON i.conversation = m.conversation
    WHERE i.hash = $1 AND m."user" = invite_use."user" AND m.left_revision = 0)"#;
/// Users, $2, came into a group, $1, at a revision, $3: whatever place they took before has been used, also where nobody was
/// there any more to say so.
pub const JOINED: &str = r#"UPDATE invite_use SET joined = true, revision = $3
    WHERE NOT joined AND "user" = ANY($2) AND revision < $3
    AND hash IN (SELECT hash FROM invite WHERE conversation = $1)"#;
/// The others are given back.
pub const GIVEN_BACK: &str = "DELETE FROM invite_use WHERE hash = $1 AND NOT joined AND at < $2";

fn user_of(user: UserId) -> Uuid {
    Uuid::from_bytes(*user.bytes())
}

async fn one(connection: &mut AsyncPgConnection, hash: Hash, lock: bool) -> Result<Option<Kept>, Error> {
    let statement = if lock { format!("{ONE} FOR UPDATE") } else { ONE.to_owned() };
    let rows: Vec<InviteRow> = sql_query(statement).bind::<Binary, _>(hash.to_vec()).load(connection).await?;
    Ok(rows.into_iter().next().map(Kept::from))
}

async fn add_uses(connection: &mut AsyncPgConnection, hash: Hash, more: i64) -> Result<(), Error> {
    sql_query("UPDATE invite SET uses = uses + $2 WHERE hash = $1")
        .bind::<Binary, _>(hash.to_vec())
        .bind::<BigInt, _>(more)
        .execute(connection)
        .await?;
    Ok(())
}

/// Gives places back of which nobody knows anything any more; how many.
async fn give_back(connection: &mut AsyncPgConnection, hash: Hash, now_ms: i64) -> Result<u32, Error> {
    let before = now_ms - TAKEN_MS;
    sql_query(CAME).bind::<Binary, _>(hash.to_vec()).bind::<BigInt, _>(before).execute(connection).await?;
    let given =
        sql_query(GIVEN_BACK).bind::<Binary, _>(hash.to_vec()).bind::<BigInt, _>(before).execute(connection).await?;
    add_uses(connection, hash, -i64::try_from(given).unwrap_or(0)).await?;
    Ok(u32::try_from(given).unwrap_or(0))
}

async fn take_place(
    connection: &mut AsyncPgConnection,
    (hash, user): (Hash, UserId),
    now_ms: i64,
    looked_at: i64,
) -> Result<Taken, Error> {
    let Some(mut invite) = one(connection, hash, true).await? else { return Ok(Taken::Gone) };
    let statement = |statement: &'static str| {
        sql_query(statement)
            .bind::<Binary, _>(hash.to_vec())
            .bind::<SqlUuid, _>(user_of(user))
            .bind::<BigInt, _>(now_ms)
            .bind::<BigInt, _>(looked_at)
    };
    if statement(HELD).execute(connection).await? > 0 {
        return Ok(Taken::Place);
    }
    if invite.expired(now_ms) {
        return Ok(Taken::Expired);
    }
    if invite.used_up() {
        invite.uses -= give_back(connection, hash, now_ms).await?;
    }
    if invite.used_up() {
        return Ok(Taken::UsedUp);
    }
    add_uses(connection, hash, 1).await?;
    statement(TAKEN).execute(connection).await?;
    Ok(Taken::Place)
}

async fn count(connection: &mut AsyncPgConnection, conversation: ConversationId) -> Result<usize, Error> {
    let rows: Vec<CountRow> = sql_query(COUNT).bind::<SqlUuid, _>(of(conversation)).load(connection).await?;
    Ok(rows.into_iter().next().map_or(0, |row| usize::try_from(row.count).unwrap_or(usize::MAX)))
}

#[async_trait]
impl Invites for PostgresGroups {
    async fn invite(&self, invite: Kept, under: Option<(String, Asked)>, now_ms: i64) -> Result<Invited, Error> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction(async |connection| {
            // Those who make invites of one group at once come one after the other.
            sql_query("SELECT FROM conversation WHERE conversation = $1 FOR NO KEY UPDATE")
                .bind::<SqlUuid, _>(of(invite.conversation))
                .execute(connection)
                .await?;
            if count(connection, invite.conversation).await? >= invites::INVITES {
                sql_query(USELESS)
                    .bind::<SqlUuid, _>(of(invite.conversation))
                    .bind::<BigInt, _>(now_ms)
                    .execute(connection)
                    .await?;
                if count(connection, invite.conversation).await? >= invites::INVITES {
                    return Ok(Invited::Full);
                }
            }
            // In the same transaction: whoever asks at the same time under the same key waits here, and then makes none.
            if let Some((key, asked)) = under
                && !done(connection, invite.by, key, asked).await?
            {
                return Ok(Invited::Before);
            }
            // A process of an earlier version, beside this one, may have made it under the key.
            sql_query("INSERT INTO invite VALUES ($1, $2, $3, $4, $5, $6, 0, $7) ON CONFLICT DO NOTHING")
                .bind::<Binary, _>(hash(&invite.code).to_vec())
                .bind::<Text, _>(invite.code)
                .bind::<SqlUuid, _>(of(invite.conversation))
                .bind::<SqlUuid, _>(user_of(invite.by))
                .bind::<BigInt, _>(invite.expires_at)
                .bind::<BigInt, _>(i64::from(invite.max_uses))
                .bind::<BigInt, _>(now_ms)
                .execute(connection)
                .await?;
            Ok::<_, Error>(Invited::Made)
        });
        transaction.await
    }

    async fn invites(&self, conversation: ConversationId) -> Result<Vec<Kept>, Error> {
        let mut connection = self.connection().await?;
        let rows: Vec<InviteRow> =
            sql_query(OF_GROUP).bind::<SqlUuid, _>(of(conversation)).load(&mut connection).await?;
        Ok(rows.into_iter().map(Kept::from).collect())
    }

    async fn find_invite(&self, hash: Hash) -> Result<Option<Kept>, Error> {
        let mut connection = self.connection().await?;
        one(&mut connection, hash, false).await
    }

    async fn take_back(&self, conversation: ConversationId, hash: Hash) -> Result<bool, Error> {
        let gone = sql_query("DELETE FROM invite WHERE hash = $1 AND conversation = $2")
            .bind::<Binary, _>(hash.to_vec())
            .bind::<SqlUuid, _>(of(conversation))
            .execute(&mut self.connection().await?)
            .await?;
        Ok(gone > 0)
    }

    async fn take_place(&self, hash: Hash, user: UserId, now_ms: i64, looked_at: u64) -> Result<Taken, Error> {
        let mut connection = self.connection().await?;
        let looked_at = number(looked_at);
        connection.transaction(async |connection| take_place(connection, (hash, user), now_ms, looked_at).await).await
    }

    async fn settle(&self, hash: Hash, user: UserId, joined: Option<u64>) -> Result<(), Error> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction(async |connection| {
            let statement = |statement: &'static str| {
                sql_query(statement).bind::<Binary, _>(hash.to_vec()).bind::<SqlUuid, _>(user_of(user))
            };
            // In the order in which places are taken, so that none waits for another who waits for it.
            one(connection, hash, true).await?;
            if let Some(revision) = joined {
                statement(SETTLED).bind::<BigInt, _>(number(revision)).execute(connection).await?;
                return Ok(());
            }
            statement(REFUSED).execute(connection).await?;
            if statement(LEFT).execute(connection).await? > 0 {
                add_uses(connection, hash, -1).await?;
            }
            Ok::<_, Error>(())
        });
        transaction.await
    }
}
