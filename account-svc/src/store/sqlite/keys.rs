//! Signing keys, in SQLite.

use super::SqliteAccounts;
use crate::store::{
    Error,
    keys::{self, Key, KeyStore, Rotation},
};
use async_trait::async_trait;
use rusqlite::{Connection, params};

/// The table, as of version 4 of the file.
pub(super) const TABLES: &str = "
    CREATE TABLE token_key (kid TEXT PRIMARY KEY, seed BLOB NOT NULL, signs_from INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO token_key SELECT kid, seed, strftime('%s', 'now') * 1000 FROM signing_key;
    DROP TABLE signing_key;";

fn all(connection: &Connection) -> rusqlite::Result<Vec<Key>> {
    let mut select = connection.prepare("SELECT kid, seed, signs_from FROM token_key ORDER BY signs_from, kid")?;
    let one = |row: &rusqlite::Row<'_>| Ok(Key { kid: row.get(0)?, seed: row.get(1)?, signs_from: row.get(2)? });
    select.query_map([], one)?.collect()
}

#[async_trait]
impl KeyStore for SqliteAccounts {
    async fn keys(&self, rotation: Rotation, now: i64) -> Result<Vec<Key>, Error> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let due = rotation.due(&all(&transaction)?, now);
            for kid in due.drop {
                transaction.execute("DELETE FROM token_key WHERE kid = ?1", [kid])?;
            }
            if let Some(key) = due.make.map(keys::new) {
                let insert = "INSERT INTO token_key VALUES (?1, ?2, ?3)";
                transaction.execute(insert, params![key.kid, key.seed, key.signs_from])?;
            }
            let keys = all(&transaction)?;
            transaction.commit()?;
            Ok(keys)
        })
        .await
    }
}
