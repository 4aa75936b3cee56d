//! Who blocks whom, in Postgres.

use super::{
    PostgresAccounts, person,
    schema::{account, block},
};
use crate::store::{
    Error,
    blocks::{BlockStore, Change, Untold},
};
use async_trait::async_trait;
use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, QueryableByName,
    dsl::not,
    result::Error as DieselError,
    sql_query,
    sql_types::{Array, Uuid as SqlUuid},
};
use diesel_async::{AsyncConnection, RunQueryDsl};
use madang_mesh::postgres::Connection;
use madang_proto::id::UserId;
use std::collections::HashSet;
use uuid::Uuid;

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = SqlUuid)]
    user: Uuid,
    #[diesel(sql_type = SqlUuid)]
    other: Uuid,
}

#[async_trait]
impl BlockStore for PostgresAccounts {
    async fn set_block(
        &self,
        user: UserId,
        other: UserId,
        blocked: bool,
        most: usize,
        now: i64,
    ) -> Result<Change, Error> {
        let (user, other) = (person(user), person(other));
        let transaction = async |connection: &mut Connection| {
            // Changes of one user come one after the other, so that they are counted.
            let lock = account::table.find(user).select(account::user).for_update();
            lock.first::<Uuid>(connection).await.optional()?;
            let one = block::table.find((user, other)).select((block::blocked, block::told));
            let before: Option<(bool, bool)> = one.first(connection).await.optional()?;
            let (was, told) = before.unwrap_or((false, true));
            if was == blocked && told {
                return Ok(Change::Nothing);
            }
            if blocked && !was {
                let all = block::table.filter(block::user.eq(user)).filter(block::blocked);
                let count: i64 = all.count().get_result(connection).await?;
                if count >= i64::try_from(most).unwrap_or(i64::MAX) {
                    return Ok(Change::TooMany);
                }
            }
            let new = (
                block::user.eq(user),
                block::other.eq(other),
                block::blocked.eq(blocked),
                block::version.eq(now),
                block::changed_at.eq(now),
                block::told.eq(false),
            );
            let again = (
                block::blocked.eq(blocked),
                block::version.eq(block::version + 1),
                block::changed_at.eq(now),
                block::told.eq(false),
            );
            let insert = diesel::insert_into(block::table).values(new);
            let upsert = insert.on_conflict((block::user, block::other)).do_update().set(again);
            let version = upsert.returning(block::version).get_result(connection).await?;
            Ok::<_, DieselError>(Change::Kept(version))
        };
        Ok(self.connection().await?.transaction(transaction).await?)
    }

    async fn told(&self, Untold { user, other, version }: Untold) -> Result<(), Error> {
        let mut connection = self.connection().await?;
        let this = || block::table.find((person(user), person(other))).filter(block::version.eq(version));
        diesel::delete(this().filter(not(block::blocked))).execute(&mut connection).await?;
        diesel::update(this()).set(block::told.eq(true)).execute(&mut connection).await?;
        Ok(())
    }

    async fn untold(&self, before: i64, limit: usize) -> Result<Vec<Untold>, Error> {
        let select = block::table
            .filter(not(block::told).and(block::changed_at.lt(before)))
            .order(block::changed_at)
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .select((block::user, block::other, block::version));
        let rows: Vec<(Uuid, Uuid, i64)> = select.load(&mut self.connection().await?).await?;
        let one =
            |(user, other, version): (Uuid, Uuid, i64)| Untold { user: user.into(), other: other.into(), version };
        Ok(rows.into_iter().map(one).collect())
    }

    async fn blocks(&self, user: UserId, after: Option<UserId>, limit: usize) -> Result<Vec<UserId>, Error> {
        let after = after.map_or(Uuid::nil(), person);
        let select = block::table
            .filter(block::user.eq(person(user)).and(block::blocked).and(block::other.gt(after)))
            .order(block::other)
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .select(block::other);
        let rows: Vec<Uuid> = select.load(&mut self.connection().await?).await?;
        Ok(rows.into_iter().map(UserId::from).collect())
    }

    async fn blocked(&self, pairs: Vec<(UserId, UserId)>) -> Result<Vec<bool>, Error> {
        if pairs.is_empty() {
            return Ok(Vec::new());
        }
        let both = || pairs.iter().flat_map(|(one, other)| [(one, other), (other, one)]);
        let users: Vec<Uuid> = both().map(|(user, _)| person(*user)).collect();
        let others: Vec<Uuid> = both().map(|(_, other)| person(*other)).collect();
        // Pair by pair, by the primary key.
        let select = sql_query(
            r#"SELECT b."user", b.other FROM unnest($1, $2) AS asked ("user", other)
               JOIN block b ON b."user" = asked."user" AND b.other = asked.other WHERE b.blocked"#,
        );
        let select = select.bind::<Array<SqlUuid>, _>(users).bind::<Array<SqlUuid>, _>(others);
        let rows: Vec<Found> = select.load(&mut self.connection().await?).await?;
        let found: HashSet<(Uuid, Uuid)> = rows.into_iter().map(|row| (row.user, row.other)).collect();
        let is = |one: &UserId, other: &UserId| found.contains(&(person(*one), person(*other)));
        Ok(pairs.iter().map(|(one, other)| is(one, other) || is(other, one)).collect())
    }
}
