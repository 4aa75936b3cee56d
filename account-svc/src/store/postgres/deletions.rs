//! The ends of accounts, in Postgres.

use super::{
    PostgresAccounts, note_end, person,
    schema::{account, deletion, session},
};
use crate::store::{
    Error,
    deletions::{DeletionStore, Job},
};
use async_trait::async_trait;
use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, result::Error as DieselError};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use madang_mesh::postgres::Connection;
use madang_proto::id::UserId;
use uuid::Uuid;

type Row = (Uuid, bool, String, i32, Option<Uuid>);

/// Ends all sessions of a user.
async fn end_all(connection: &mut AsyncPgConnection, user: Uuid, now: i64) -> Result<(), DieselError> {
    let all = diesel::delete(session::table.filter(session::user.eq(user)));
    let gone: Vec<Uuid> = all.returning(session::id).get_results(connection).await?;
    note_end(connection, &gone, now).await
}

#[async_trait]
impl DeletionStore for PostgresAccounts {
    async fn delete(&self, user: UserId, was: String, erase: bool, now: i64) -> Result<bool, Error> {
        let user = person(user);
        let transaction = async |connection: &mut Connection| {
            let there = account::table.find(user).filter(account::deleted_at.eq(0)).filter(account::password.eq(&was));
            let picture = there.select(account::picture).for_update();
            let Some(picture) = picture.first::<String>(connection).await.optional()? else { return Ok(false) };
            let nothing = (
                account::name.eq(""),
                account::status_message.eq(""),
                account::password.eq(""),
                account::picture.eq(""),
                account::deleted_at.eq(now),
            );
            diesel::update(account::table.find(user)).set(nothing).execute(connection).await?;
            let job = (
                deletion::user.eq(user),
                deletion::erase.eq(erase),
                deletion::picture.eq(picture),
                deletion::round.eq(0),
                deletion::due_at.eq(now),
            );
            diesel::insert_into(deletion::table).values(job).execute(connection).await?;
            end_all(connection, user, now).await?;
            Ok::<_, DieselError>(true)
        };
        Ok(self.connection().await?.transaction(transaction).await?)
    }

    async fn take_deletion(&self, now: i64, until: i64) -> Result<Option<Job>, Error> {
        let transaction = async |connection: &mut Connection| {
            let due = deletion::table
                .filter(deletion::due_at.le(now))
                .order(deletion::due_at)
                .limit(1)
                .select((deletion::user, deletion::erase, deletion::picture, deletion::round, deletion::place))
                .for_update()
                .skip_locked();
            let Some(row) = due.first::<Row>(connection).await.optional()? else { return Ok(None) };
            let take = diesel::update(deletion::table.find(row.0)).set(deletion::due_at.eq(until));
            take.execute(connection).await?;
            Ok::<_, DieselError>(Some(row))
        };
        let found: Option<Row> = self.connection().await?.transaction(transaction).await?;
        Ok(found.map(|(user, erase, picture, round, place)| Job {
            user: user.into(),
            erase,
            picture,
            round,
            place: place.map(Into::into),
        }))
    }

    async fn keep_deletion(&self, job: Job, due_at: i64) -> Result<(), Error> {
        let place = job.place.map(|place| Uuid::from_bytes(*place.bytes()));
        let set = (deletion::round.eq(job.round), deletion::place.eq(place), deletion::due_at.eq(due_at));
        let one = diesel::update(deletion::table.find(person(job.user)));
        one.set(set).execute(&mut self.connection().await?).await?;
        Ok(())
    }

    async fn finish_deletion(&self, user: UserId) -> Result<(), Error> {
        diesel::delete(deletion::table.find(person(user))).execute(&mut self.connection().await?).await?;
        Ok(())
    }

    async fn suspend(&self, user: UserId, suspended: bool, now: i64) -> Result<bool, Error> {
        let user = person(user);
        let transaction = async |connection: &mut Connection| {
            let there = account::table.find(user).filter(account::deleted_at.eq(0));
            let set = diesel::update(there).set(account::suspended.eq(suspended)).execute(connection).await?;
            if set > 0 && suspended {
                end_all(connection, user, now).await?;
            }
            Ok::<_, DieselError>(set > 0)
        };
        Ok(self.connection().await?.transaction(transaction).await?)
    }
}
