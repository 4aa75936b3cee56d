//! What the databases have read so far, by their own counters: whether clients cost them anything is for them to say.

use anyhow::Context as _;
use cdrs_tokio::{
    cluster::{
        NodeTcpConfigBuilder,
        session::{SessionBuilder, TcpSessionBuilder},
    },
    load_balancing::RoundRobinLoadBalancingStrategy,
    types::IntoRustByName,
};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{BigInt, Text},
};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _};
use std::collections::BTreeMap;

/// Cassandra's tables about reads: of a partition, and over several.
const CASSANDRA: [&str; 2] = ["local_read_latency", "local_scan_latency"];
/// Scans by index and of whole tables. A write looks for its row by an index as well. What a connection did shows within
/// 10 s.
const POSTGRES: &str = "SELECT relname::text AS name, (coalesce(seq_scan, 0) + coalesce(idx_scan, 0))::bigint AS scans \
     FROM pg_stat_user_tables";

#[derive(QueryableByName)]
struct Scans {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = BigInt)]
    scans: i64,
}

/// How often each table was read: `postgres TABLE` and `cassandra KEYSPACE.TABLE`. Cassandra's own tables are left out.
pub async fn count(cassandra: &str, postgres: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut connection = AsyncPgConnection::establish(postgres).await.context("can't reach Postgres")?;
    let tables: Vec<Scans> = sql_query(POSTGRES).load(&mut connection).await?;
    let number = |count: i64| u64::try_from(count).unwrap_or(0);
    let mut all: BTreeMap<String, u64> =
        tables.into_iter().map(|table| (format!("postgres {}", table.name), number(table.scans))).collect();
    let config = NodeTcpConfigBuilder::new().with_contact_point(cassandra.into()).build().await?;
    let session = TcpSessionBuilder::new(RoundRobinLoadBalancingStrategy::new(), config).build().await?;
    for view in CASSANDRA {
        let query = format!("SELECT keyspace_name, table_name, count FROM system_views.{view}");
        let rows = session.query(query).await?.response_body()?.into_rows().unwrap_or_default();
        for row in rows {
            let keyspace: String = row.get_r_by_name("keyspace_name")?;
            let table: String = row.get_r_by_name("table_name")?;
            let count: i64 = row.get_r_by_name("count")?;
            if !keyspace.starts_with("system") {
                *all.entry(format!("cassandra {keyspace}.{table}")).or_default() += number(count);
            }
        }
    }
    Ok(all)
}
