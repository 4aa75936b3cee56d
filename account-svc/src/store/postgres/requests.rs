//! What was asked for under an `Idempotency-Key`, in Postgres.

use super::{PostgresAccounts, person, schema::request};
use crate::store::{
    Error,
    requests::{Claim, DAY_MS, Request, RequestStore},
};
use async_trait::async_trait;
use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, result::Error as DieselError};
use diesel_async::{AsyncConnection, RunQueryDsl};
use madang_mesh::postgres::Connection;

#[async_trait]
impl RequestStore for PostgresAccounts {
    async fn claim_request(&self, asked: Request, now: i64, until: i64) -> Result<Claim, Error> {
        let user = person(asked.user);
        let values = (
            request::asked.eq(asked.asked.to_vec()),
            request::answer.eq(Vec::new()),
            request::busy_until.eq(until),
            request::at.eq(now),
        );
        let transaction = async |connection: &mut Connection| {
            // Of those who come at once one has it; a row of another day is as good as none.
            let row = (request::user.eq(user), request::key.eq(&asked.key), values.clone());
            let new = diesel::insert_into(request::table).values(row).on_conflict_do_nothing();
            if new.execute(connection).await? == 1 {
                return Ok(Claim::New);
            }
            let one = request::table.find((user, &asked.key));
            let columns = (request::asked, request::answer, request::busy_until, request::at);
            let kept = one.select(columns).for_update().first::<(Vec<u8>, Vec<u8>, i64, i64)>(connection);
            let claim = match kept.await.optional()? {
                Some((known, answer, busy_until, at)) if at > now - DAY_MS => {
                    Claim::of(&asked, &known, answer, busy_until, now)
                }
                Some(_) => Claim::New,
                // It was given up at this very moment.
                None => Claim::Busy,
            };
            if claim == Claim::New {
                diesel::update(one).set(values.clone()).execute(connection).await?;
            }
            Ok::<_, DieselError>(claim)
        };
        Ok(self.connection().await?.transaction(transaction).await?)
    }

    async fn settle_request(&self, asked: Request, answer: Option<Vec<u8>>) -> Result<(), Error> {
        let mut connection = self.connection().await?;
        let one = request::table.find((person(asked.user), asked.key)).filter(request::asked.eq(asked.asked.to_vec()));
        match answer {
            Some(answer) => {
                let set = (request::answer.eq(answer), request::busy_until.eq(0));
                diesel::update(one).set(set).execute(&mut connection).await?;
            }
            None => {
                diesel::delete(one.filter(request::busy_until.ne(0))).execute(&mut connection).await?;
            }
        }
        Ok(())
    }

    async fn forget_requests(&self, before: i64) -> Result<(), Error> {
        let old = request::table.filter(request::at.lt(before));
        diesel::delete(old).execute(&mut self.connection().await?).await?;
        Ok(())
    }
}
