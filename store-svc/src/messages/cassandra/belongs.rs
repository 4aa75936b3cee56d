//! To which cluster a keyspace belongs, read before anything is made there, and noted once.

use super::{CassandraMessages, CassandraSession, Error, Options, PATIENCE, Safe, connect::connect, late};
use cdrs_tokio::{
    TryFromRow, consistency::Consistency, frame::TryFromRow, query::QueryValues, query_values,
    statement::StatementParamsBuilder,
};
use madang_mesh::data::Data;
use std::sync::Arc;
use tokio::time::timeout;

/// The row that says it.
const NAME: &str = "data";

#[derive(TryFromRow)]
struct Table {
    table_name: String,
}

#[derive(TryFromRow)]
struct Value {
    value: Option<String>,
}

/// The rows of an answer.
async fn rows<R: TryFromRow>(session: &CassandraSession, query: String, values: QueryValues) -> Result<Vec<R>, Error> {
    let params = StatementParamsBuilder::new().with_consistency(Consistency::LocalQuorum).with_values(values).build();
    let answer = timeout(PATIENCE, session.query_with_params(query, params)).await.map_err(late)??;
    let rows = answer.response_body()?.into_rows().unwrap_or_default();
    Ok(rows.into_iter().map(R::try_from_row).collect::<Result<_, _>>()?)
}

/// What the keyspace says; nothing is changed.
pub async fn read(options: &Options) -> Result<Data, Error> {
    let session = connect(options, &Arc::new(Safe::new())).await?;
    let tables = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?".to_owned();
    let tables: Vec<Table> = rows(&session, tables, query_values!(options.keyspace.as_str())).await?;
    if tables.is_empty() {
        return Ok(Data::Empty);
    }
    if !tables.iter().any(|table| table.table_name == "layout") {
        return Ok(Data::Unknown);
    }
    let value = format!("SELECT value FROM \"{}\".layout WHERE name = ?", options.keyspace);
    let mut value: Vec<Value> = rows(&session, value, query_values!(NAME)).await?;
    Ok(value.pop().and_then(|row| row.value).map_or(Data::Unknown, Data::Of))
}

/// Notes it where nothing is noted yet; makes what is missing before.
pub async fn write(options: &Options, id: &str) -> Result<(), Error> {
    let session = CassandraMessages::open(options).await?.session;
    let insert = format!("INSERT INTO \"{}\".layout (name, value) VALUES (?, ?) IF NOT EXISTS", options.keyspace);
    let params = StatementParamsBuilder::new().with_consistency(Consistency::LocalQuorum);
    let params = params.with_values(query_values!(NAME, id)).build();
    timeout(PATIENCE, session.query_with_params(insert, params)).await.map_err(late)??;
    Ok(())
}
