//! Signing keys, in Postgres.

use super::{PostgresAccounts, schema::token_key, unavailable};
use crate::store::{
    Error,
    keys::{self, Key, KeyStore, Rotation},
};
use async_trait::async_trait;
use diesel::{ExpressionMethods, QueryDsl, result::Error as DieselError, sql_query, sql_types::BigInt};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use madang_mesh::postgres::Connection;

/// Only one process makes a key at a time: the number is any, the same for all.
const LOCK: i64 = 0x6d61_6461_6e6b;

type Row = (String, Vec<u8>, i64);

async fn all(connection: &mut AsyncPgConnection) -> Result<Vec<Row>, DieselError> {
    let ordered = token_key::table.order((token_key::signs_from, token_key::kid));
    ordered.select((token_key::kid, token_key::seed, token_key::signs_from)).load(connection).await
}

fn read(rows: Vec<Row>) -> Result<Vec<Key>, Error> {
    let one = |(kid, seed, signs_from): Row| {
        let seed = seed.try_into().map_err(|_| unavailable("a signing key is not 32 bytes long"))?;
        Ok(Key { kid, seed, signs_from })
    };
    rows.into_iter().map(one).collect()
}

#[async_trait]
impl KeyStore for PostgresAccounts {
    async fn keys(&self, rotation: Rotation, now: i64) -> Result<Vec<Key>, Error> {
        let mut connection = self.connection().await?;
        let there = read(all(&mut connection).await?)?;
        let due = rotation.due(&there, now);
        if due.make.is_none() && due.drop.is_empty() {
            return Ok(there);
        }
        let transaction = async |connection: &mut Connection| {
            sql_query("SELECT pg_advisory_xact_lock($1)").bind::<BigInt, _>(LOCK).execute(connection).await?;
            // Another may just have done it.
            let due = rotation.due(&read(all(connection).await?).unwrap_or_default(), now);
            let gone = token_key::table.filter(token_key::kid.eq_any(&due.drop));
            diesel::delete(gone).execute(connection).await?;
            if let Some(key) = due.make.map(keys::new) {
                let row = (
                    token_key::kid.eq(key.kid),
                    token_key::seed.eq(key.seed.to_vec()),
                    token_key::signs_from.eq(key.signs_from),
                );
                diesel::insert_into(token_key::table).values(row).execute(connection).await?;
            }
            all(connection).await
        };
        read(connection.transaction(transaction).await?)
    }
}
