//! Log-ins at the outside identity provider, in Postgres.

use super::{
    PostgresAccounts, SessionRow, end_same, log_in as session_id, note_end, open, person,
    schema::{account, outside, session},
};
use crate::store::{
    Error, Session,
    outside::{Admission, LogIn, OutsideStore, Step},
};
use async_trait::async_trait;
use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, SelectableHelper, result::Error as DieselError};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use madang_mesh::postgres::Connection;
use madang_proto::id::SessionId;
use uuid::Uuid;

/// What is kept of a log-in, whether that is the session that it is of by now, and this.
async fn look(
    connection: &mut AsyncPgConnection,
    log_in: &LogIn,
) -> Result<(Step, bool, Option<Session>), DieselError> {
    let user = person(log_in.user);
    let kept = outside::table.find((user, &log_in.key[..])).select((outside::session, outside::ended_at));
    let kept: Option<(Uuid, i64)> = kept.first(connection).await.optional()?;
    let kept = kept.map(|(id, ended_at)| (SessionId::from(id), ended_at));
    let step = log_in.step(kept);
    let mine = session::table.filter(session::user.eq(user)).select(SessionRow::as_select());
    let found: Option<SessionRow> = match &step {
        Step::Known(id) => mine.filter(session::id.eq(session_id(*id))).first(connection).await.optional()?,
        Step::OfDevice(device) => mine.filter(session::device.eq(device)).first(connection).await.optional()?,
        Step::Refuse(_) | Step::New => None,
    };
    let same = kept.is_some_and(|(id, _)| found.as_ref().is_some_and(|found| found.id == session_id(id)));
    Ok((step, same, found.map(Session::from)))
}

/// Into which session, and whether the user's sessions are others than before.
async fn enter(
    connection: &mut AsyncPgConnection,
    log_in: &LogIn,
    found: Option<Session>,
    most: usize,
    now: i64,
) -> Result<(Uuid, bool), DieselError> {
    let Some(found) = found else {
        let new = SessionRow::from(log_in.session(now));
        return Ok((new.id, open(connection, &new, most).await?));
    };
    let (id, user) = (session_id(found.id), person(log_in.user));
    let device = log_in.device.as_ref().unwrap_or(&found.device);
    let gone = end_same(connection, user, &device.id, id).await?;
    note_end(connection, &gone, now).await?;
    let set = (
        session::device.eq(&device.id),
        session::kind.eq(device.kind),
        session::name.eq(&device.name),
        session::app.eq(&device.app),
        session::used_at.eq(now),
    );
    diesel::update(session::table.find(id)).set(set).execute(connection).await?;
    Ok((id, *device != found.device))
}

#[async_trait]
impl OutsideStore for PostgresAccounts {
    async fn admit(&self, log_in: LogIn, most: usize, now: i64) -> Result<Admission, Error> {
        let mut connection = self.connection().await?;
        // Mostly there is nothing to write: a session that is there is of an account that may have one.
        if let (_, true, Some(found)) = look(&mut connection, &log_in).await?
            && log_in.is_settled(&found, now)
        {
            return Ok(Admission::Yes(found.id, false));
        }
        let user = person(log_in.user);
        let transaction = async |connection: &mut Connection| {
            // What comes at once of one user comes one after the other.
            let account = account::table.find(user).select((account::suspended, account::deleted_at)).for_update();
            match account.first::<(bool, i64)>(connection).await.optional()? {
                None => return Ok(Admission::Unknown),
                Some((_, deleted_at)) if deleted_at != 0 => return Ok(Admission::Deleted),
                Some((true, _)) => return Ok(Admission::Suspended),
                Some((false, _)) => {}
            }
            let (step, _, found) = look(connection, &log_in).await?;
            if let Step::Refuse(session) = step {
                return Ok(Admission::Ended(session));
            }
            let (id, changed) = enter(connection, &log_in, found, most, now).await?;
            let set = (outside::session.eq(id), outside::ended_at.eq(0), outside::until.eq(log_in.until));
            let row = (outside::user.eq(user), outside::log_in.eq(&log_in.key[..]), set);
            let keep = diesel::insert_into(outside::table).values(row).on_conflict((outside::user, outside::log_in));
            keep.do_update().set(set).execute(connection).await?;
            Ok::<_, DieselError>(Admission::Yes(id.into(), changed))
        };
        Ok(connection.transaction(transaction).await?)
    }

    async fn forget_log_ins(&self, now: i64) -> Result<(), Error> {
        let over = outside::table.filter(outside::until.lt(now));
        diesel::delete(over).execute(&mut self.connection().await?).await?;
        Ok(())
    }
}
