//! Log-ins at the outside identity provider, in SQLite.

use super::{SqliteAccounts, end, open, session};
use crate::store::{
    Error, Session,
    outside::{Admission, LogIn, OutsideStore, Step},
};
use async_trait::async_trait;
use madang_proto::id::SessionId;
use rusqlite::{Connection, OptionalExtension, params};

/// The table, as of version 5 of the file.
pub(super) const TABLES: &str = "
    CREATE TABLE outside (
        user BLOB NOT NULL, log_in BLOB NOT NULL, session BLOB NOT NULL, ended_at INTEGER NOT NULL,
        until INTEGER NOT NULL, PRIMARY KEY (user, log_in)) WITHOUT ROWID;
    CREATE INDEX outside_session ON outside (session);
    CREATE INDEX outside_until ON outside (until);";

/// What is kept of a log-in, and the session that it is of by now.
fn look(connection: &Connection, log_in: &LogIn) -> rusqlite::Result<(Step, bool, Option<Session>)> {
    let kept = "SELECT session, ended_at FROM outside WHERE user = ?1 AND log_in = ?2";
    let read = |row: &rusqlite::Row<'_>| Ok((uuid::Uuid::from_bytes(row.get(0)?).into(), row.get(1)?));
    let kept: Option<(SessionId, i64)> =
        connection.query_row(kept, params![log_in.user.bytes(), log_in.key], read).optional()?;
    let step = log_in.step(kept);
    let select = |which: &str, value: &dyn rusqlite::ToSql| {
        let select = format!("SELECT * FROM session WHERE user = ?1 AND {which} = ?2");
        connection.query_row(&select, params![log_in.user.bytes(), value], session).optional()
    };
    let found = match &step {
        Step::Known(id) => select("session", id.bytes())?,
        Step::OfDevice(device) => select("device", device)?,
        Step::Refuse(_) | Step::New => None,
    };
    let same = kept.is_some_and(|(id, _)| found.as_ref().is_some_and(|found| found.id == id));
    Ok((step, same, found))
}

#[async_trait]
impl OutsideStore for SqliteAccounts {
    async fn admit(&self, log_in: LogIn, most: usize, now: i64) -> Result<Admission, Error> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let user = log_in.user.bytes();
            let account = "SELECT suspended, deleted_at FROM account WHERE user = ?1";
            let account = transaction.query_row(account, [user], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)));
            match account.optional()? {
                None => return Ok(Admission::Unknown),
                Some((_, deleted_at)) if deleted_at != 0 => return Ok(Admission::Deleted),
                Some((true, _)) => return Ok(Admission::Suspended),
                Some((false, _)) => {}
            }
            let (step, same, found) = look(&transaction, &log_in)?;
            let (id, changed) = match (step, found) {
                (Step::Refuse(session), _) => return Ok(Admission::Ended(session)),
                (_, Some(found)) if same && log_in.is_settled(&found, now) => {
                    return Ok(Admission::Yes(found.id, false));
                }
                (_, Some(found)) => {
                    let device = log_in.device.as_ref().unwrap_or(&found.device);
                    let (id, changed) = (found.id, *device != found.device);
                    let others = "user = ?1 AND device = ?2 AND session != ?3";
                    end(&transaction, others, params![user, device.id, id.bytes()], now)?;
                    transaction.execute(
                        "UPDATE session SET device = ?2, kind = ?3, name = ?4, app = ?5, used_at = ?6 WHERE session = ?1",
                        params![id.bytes(), device.id, device.kind, device.name, device.app, now],
                    )?;
                    (id, changed)
                }
                (_, None) => {
                    let new = log_in.session(now);
                    (new.id, open(&transaction, &new, most)?)
                }
            };
            let keep = "INSERT INTO outside VALUES (?1, ?2, ?3, 0, ?4) ON CONFLICT (user, log_in) DO UPDATE
                        SET session = ?3, ended_at = 0, until = ?4";
            transaction.execute(keep, params![user, log_in.key, id.bytes(), log_in.until])?;
            transaction.commit()?;
            Ok(Admission::Yes(id, changed))
        })
        .await
    }

    async fn forget_log_ins(&self, now: i64) -> Result<(), Error> {
        self.run(move |connection| connection.execute("DELETE FROM outside WHERE until < ?1", [now]).map(drop)).await
    }
}
