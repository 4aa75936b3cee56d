//! To which cluster a service's tables belong, read before anything is made there, and noted once.

use super::{PATIENCE, Unavailable, connect, unavailable};
use crate::{data::Data, secret::Secret};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Bool, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

/// Where a service's tables say to which cluster they belong.
#[derive(Debug, Clone, Copy)]
pub struct Belongs {
    /// A table of one row.
    pub table: &'static str,
    /// One that has been there since the first version.
    pub oldest: &'static str,
}

#[derive(QueryableByName)]
struct There {
    #[diesel(sql_type = Bool)]
    oldest: bool,
    #[diesel(sql_type = Bool)]
    noted: bool,
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = Text)]
    id: String,
}

async fn connected(url: &Secret) -> Result<AsyncPgConnection, Unavailable> {
    tokio::time::timeout(2 * PATIENCE, connect(url.reveal())).await.map_err(unavailable)?
}

impl Belongs {
    /// What a database says; nothing is changed.
    pub async fn read(self, url: &Secret) -> Result<Data, Unavailable> {
        let mut connection = connected(url).await?;
        let there = sql_query("SELECT to_regclass($1) IS NOT NULL AS oldest, to_regclass($2) IS NOT NULL AS noted");
        let there = there.bind::<Text, _>(self.oldest).bind::<Text, _>(self.table);
        let There { oldest, noted } = there.get_result(&mut connection).await.map_err(unavailable)?;
        if !oldest {
            return Ok(Data::Empty);
        }
        if !noted {
            return Ok(Data::Unknown);
        }
        let rows = sql_query(format!("SELECT id FROM {}", self.table));
        let rows: Vec<Id> = rows.load(&mut connection).await.map_err(unavailable)?;
        Ok(rows.into_iter().next().map_or(Data::Unknown, |row| Data::Of(row.id)))
    }

    /// Notes it where nothing is noted yet. The table has to be there.
    pub async fn write(self, url: &Secret, id: &str) -> Result<(), Unavailable> {
        let mut connection = connected(url).await?;
        let insert = sql_query(format!("INSERT INTO {} VALUES (TRUE, $1) ON CONFLICT DO NOTHING", self.table));
        insert.bind::<Text, _>(id).execute(&mut connection).await.map(drop).map_err(unavailable)
    }
}
