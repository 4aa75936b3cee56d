//! Messages in Cassandra. A partition holds 16,384 numbers of a conversation (`seq >> 14`), so that partitions are
//! bounded by construction, none is empty, and a page is one range scan. Every row's write timestamp is the time that
//! the home gave its event: replays change nothing, and no skewed clock undoes a later change.

mod balancing;
pub mod belongs;
mod changes;
mod connect;
mod feed;
mod guard;
mod rows;
mod safe;
mod statements;

use super::{Changes, Entry, Error, Head, Loaded, Messages, NOTICES, Since, number};
use async_trait::async_trait;
use balancing::Balancing;
use cdrs_tokio::{
    TryFromRow,
    cluster::session::Session,
    consistency::Consistency,
    frame::{Envelope, TryFromRow, message_batch::BatchType},
    query::{BatchQueryBuilder, PreparedQuery, QueryValues},
    query_values,
    statement::StatementParamsBuilder,
    types::{blob::Blob, prelude::Value},
};
pub use connect::{Options, Tls};
use futures_util::{StreamExt, TryStreamExt, stream, stream::FuturesUnordered};
use guard::{Guarded, Manager};
use madang_mesh::{again, log::Position, metrics, shard::Shard};
use madang_proto::{
    client::v1::{Event, Message},
    id::ConversationId,
    store::v1::ClientIdUse,
};
use prometheus::IntCounter;
use prost::Message as _;
use rows::{Rows, WAYMARK, Work, waymark_bucket};
use safe::Safe;
use statements::{Statements, prepare_keyspace};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

type CassandraSession = Session<Guarded, Manager, Balancing>;

/// How many numbers of a conversation share a partition: 2 to the power of this.
const BUCKET_BITS: u32 = 14;
/// How long a statement may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take at first: then it is tried once more, likely by way of another node. All are idempotent.
const FIRST: Duration = Duration::from_secs(2);
/// How many statements are on their way at once, from this process.
const IN_FLIGHT: usize = 1024;
/// How many of them write one batch of the log.
const WRITES: usize = 64;
/// How many bytes of rows go into one batch of a partition; Cassandra refuses 50 KiB and warns at 5.
const BATCH_BYTES: usize = 24 << 10;
/// How many rows are fetched at once while a conversation's client ids are read.
const USES: i32 = 1000;
/// How many messages of different conversations are read at once for one request.
const READS: usize = 32;

static HOLES: LazyLock<IntCounter> = LazyLock::new(|| {
    let help = "Pages that lacked a message at quorum and were read again from all replicas.";
    metrics::counter("madang_store_holes_total", help)
});

/// The messages, in Cassandra.
pub struct CassandraMessages {
    session: CassandraSession,
    statements: Statements,
    gate: Semaphore,
    safe: Arc<Safe>,
    /// Shards of which it is noted where what is kept of their logs begins.
    kept: Mutex<HashSet<Shard>>,
}

#[derive(TryFromRow)]
struct NoticeRow {
    last_seq: i64,
    revision: i64,
    body: Blob,
}

#[derive(TryFromRow, Clone, Copy)]
struct WaymarkRow {
    revision: i64,
    last_seq: i64,
    at_micros: i64,
}

#[derive(TryFromRow)]
struct HeadRow {
    revision: i64,
    last_seq: i64,
}

#[derive(TryFromRow)]
struct CursorRow {
    position: i64,
    synced: Option<i64>,
}

#[derive(TryFromRow)]
struct UseRow {
    seq: i64,
    at_micros: Option<i64>,
    used: Option<Blob>,
}

impl From<cdrs_tokio::error::Error> for Error {
    fn from(error: cdrs_tokio::error::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

fn late<E>(_: E) -> Error {
    Error::Unavailable("Cassandra did not answer in time".into())
}

fn bucket(seq: i64) -> i32 {
    i32::try_from(seq >> BUCKET_BITS).unwrap_or(i32::MAX)
}

fn id(conversation: ConversationId) -> Blob {
    conversation.bytes().to_vec().into()
}

impl CassandraMessages {
    /// The same, trying until then, for a service that begins before its database is there; also where it is not let in: it
    /// may be told of a new password after this process is.
    pub async fn reach(options: &Options, until: Instant) -> Result<Self, Error> {
        // Files that can't be read do not pass.
        options.tls.clone().map(Tls::open).transpose()?;
        again::until(until, "Cassandra (--cassandra)", |_| true, || Self::open(options)).await
    }

    /// Connects, and makes what is missing.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        let safe = Arc::new(Safe::new());
        let session = connect::connect(options, &safe).await?;
        prepare_keyspace(&session, options).await?;
        let statements = Statements::prepare(&session, &options.keyspace).await?;
        Ok(Self { session, statements, gate: Semaphore::new(IN_FLIGHT), safe, kept: Mutex::default() })
    }

    async fn execute(&self, statement: &PreparedQuery, values: QueryValues, size: i32) -> Result<Envelope, Error> {
        self.execute_at(Consistency::LocalQuorum, statement, values, size).await
    }

    async fn execute_at(
        &self,
        consistency: Consistency,
        statement: &PreparedQuery,
        values: QueryValues,
        size: i32,
    ) -> Result<Envelope, Error> {
        let params = StatementParamsBuilder::new()
            .with_consistency(consistency)
            .with_values(values)
            .with_page_size(size)
            .build();
        let _permit = self.gate.acquire().await.map_err(late)?;
        match timeout(FIRST, self.session.exec_with_params(statement, &params)).await {
            Ok(Ok(answer)) => Ok(answer),
            first => {
                tracing::debug!(failed = ?first.map(|answer| answer.err()), "a statement is tried again");
                let again = self.session.exec_with_params(statement, &params);
                Ok(timeout(PATIENCE - FIRST, again).await.map_err(late)??)
            }
        }
    }

    async fn select<R: TryFromRow>(
        &self,
        statement: &PreparedQuery,
        values: QueryValues,
        limit: usize,
    ) -> Result<Vec<R>, Error> {
        self.select_at(Consistency::LocalQuorum, statement, values, limit).await
    }

    async fn select_at<R: TryFromRow>(
        &self,
        consistency: Consistency,
        statement: &PreparedQuery,
        values: QueryValues,
        limit: usize,
    ) -> Result<Vec<R>, Error> {
        // The statement has the same limit: one page is all of it.
        let size = i32::try_from(limit).unwrap_or(i32::MAX);
        let rows = self.execute_at(consistency, statement, values, size).await?.response_body()?.into_rows();
        let rows = rows.ok_or_else(|| Error::Unavailable("an answer without rows".into()))?;
        Ok(rows.into_iter().map(R::try_from_row).collect::<Result<_, _>>()?)
    }

    async fn head_row(&self, conversation: ConversationId) -> Result<Option<HeadRow>, Error> {
        Ok(self.select(&self.statements.head, query_values!(id(conversation)), 1).await?.pop())
    }

    /// Writes rows of one partition: together, since that costs Cassandra little more than one.
    async fn write(&self, statement: &PreparedQuery, mut rows: Vec<QueryValues>) -> Result<(), Error> {
        if rows.len() == 1
            && let Some(row) = rows.pop()
        {
            return self.execute(statement, row, 1).await.map(drop);
        }
        let mut batch =
            BatchQueryBuilder::new().with_batch_type(BatchType::Unlogged).with_consistency(Consistency::LocalQuorum);
        for row in rows {
            batch = batch.add_query_prepared(statement, row);
        }
        let _permit = self.gate.acquire().await.map_err(late)?;
        timeout(PATIENCE, self.session.batch(batch.build()?)).await.map_err(late)??;
        Ok(())
    }

    /// Writes all rows, many partitions at once.
    async fn write_all<P>(&self, statement: &PreparedQuery, rows: BTreeMap<P, Rows>) -> Result<(), Error> {
        let mut writes = FuturesUnordered::new();
        for batch in rows.into_values().flat_map(|rows| rows.batches) {
            if writes.len() >= WRITES {
                writes.next().await.transpose()?;
            }
            writes.push(self.write(statement, batch));
        }
        writes.try_collect().await
    }

    /// The waymark at or before a revision, and the next one, as far as they are there.
    async fn waymarks(
        &self,
        conversation: ConversationId,
        revision: u64,
    ) -> Result<(Option<WaymarkRow>, Option<WaymarkRow>), Error> {
        let low = number(revision / WAYMARK * WAYMARK);
        let high = low.saturating_add(number(WAYMARK));
        let values = query_values!(id(conversation), waymark_bucket(low), low, high, 2);
        let rows = self.select::<WaymarkRow>(&self.statements.waymarks, values, 2).await?;
        let at = |revision| rows.iter().find(|row| row.revision == revision).copied();
        Ok((at(low), at(high)))
    }
}

#[async_trait]
impl Messages for CassandraMessages {
    async fn cursor(&self, shard: Shard) -> Result<Position, Error> {
        let values = query_values!(i32::try_from(shard).unwrap_or(i32::MAX));
        let row = self.select::<CursorRow>(&self.statements.cursor, values, 1).await?.pop();
        Ok(row.map_or(0, |row| row.position.unsigned_abs()))
    }

    async fn again_from(&self, shard: Shard) -> Result<Position, Error> {
        let values = query_values!(i32::try_from(shard).unwrap_or(i32::MAX));
        let row = self.select::<CursorRow>(&self.statements.cursor, values, 1).await?.pop();
        Ok(self.safe.read_from(shard, row.and_then(|row| row.synced).map_or(0, i64::unsigned_abs)))
    }

    async fn lost(&self, shard: Shard) {
        self.safe.lost(shard).await;
    }

    fn released(&self, shard: Shard) {
        self.safe.released(shard);
    }

    async fn apply(&self, shard: Shard, entries: Vec<Entry>, position: Position) -> Result<(), Error> {
        let Work { messages, notices, waymarks, changes, heads, first_record, records } = Work::of(shard, entries);
        let said = async {
            self.write_all(&self.statements.insert_message, messages).await?;
            self.write_changes(changes).await
        };
        let kept = async {
            match first_record {
                Some(first) => self.keep(shard, first, records).await,
                None => Ok(()),
            }
        };
        let notices = self.write_all(&self.statements.insert_notice, notices);
        let waymarks = self.write_all(&self.statements.insert_waymark, waymarks);
        tokio::try_join!(said, kept, notices, waymarks)?;
        // Who sees the head sees the rows. The revision is the timestamp: a head can only grow.
        let heads = heads.into_iter().map(|(conversation, (revision, last_seq))| {
            let (revision, mut rows) = (number(revision), Rows::default());
            rows.push(query_values!(id(conversation), revision, number(last_seq), revision), 0);
            ((conversation, 0), rows)
        });
        self.write_all(&self.statements.insert_head, heads.collect()).await?;
        let at = number(position);
        let synced = self.safe.written(shard, position).map_or(Value::NotSet, |synced| Value::from(number(synced)));
        let shard = i32::try_from(shard).unwrap_or(i32::MAX);
        self.write(&self.statements.insert_cursor, vec![query_values!(shard, at, synced, at)]).await
    }

    async fn head(&self, conversation: ConversationId) -> Result<Head, Error> {
        let head = self.head_row(conversation).await?;
        let of =
            |head: HeadRow| Head { revision: head.revision.unsigned_abs(), last_seq: head.last_seq.unsigned_abs() };
        Ok(head.map_or_else(Head::default, of))
    }

    async fn heads(&self, conversations: Vec<ConversationId>) -> Result<Vec<Head>, Error> {
        self.heads_of(conversations).await
    }

    async fn page(
        &self,
        conversation: ConversationId,
        low: u64,
        high: u64,
        limit: usize,
        newest: bool,
    ) -> Result<Vec<Message>, Error> {
        let Some(head) = self.head_row(conversation).await? else { return Ok(Vec::new()) };
        let (low, high) = (number(low).max(1), number(high).min(head.last_seq));
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        if low > high || most == 0 {
            return Ok(Vec::new());
        }
        // Who sees the head sees the rows, so it is known which ones there must be.
        let (low, high) = if newest {
            (low.max(high.saturating_sub(most - 1)), high)
        } else {
            (low, high.min(low.saturating_add(most - 1)))
        };
        Ok(self.all_of(conversation, low, high).await?.into_iter().map(|stored| stored.message).collect())
    }

    async fn changes(&self, conversation: ConversationId, since: Since) -> Result<Option<Changes>, Error> {
        self.changes_since(conversation, since).await
    }

    async fn load(&self, conversation: ConversationId, seq: u64) -> Result<Option<Loaded>, Error> {
        self.load_message(conversation, seq).await
    }

    async fn reacted(
        &self,
        conversation: ConversationId,
        user: Vec<u8>,
        seqs: Vec<u64>,
    ) -> Result<HashSet<(u64, String)>, Error> {
        self.reacted_by(conversation, user, seqs).await
    }

    async fn messages(&self, wanted: Vec<(ConversationId, u64)>) -> Result<Vec<(ConversationId, Message)>, Error> {
        let reads = stream::iter(wanted).map(async |(conversation, seq)| {
            Ok::<_, Error>((conversation, self.one(conversation, number(seq)).await?))
        });
        let found: Vec<_> = reads.buffered(READS).try_collect().await?;
        Ok(found.into_iter().filter_map(|(id, stored)| Some((id, stored?.message))).collect())
    }

    async fn notices(
        &self,
        conversation: ConversationId,
        seqs: (u64, u64),
        revisions: (u64, u64),
    ) -> Result<Vec<Event>, Error> {
        let Some(head) = self.head_row(conversation).await? else { return Ok(Vec::new()) };
        let (mut low, mut high) = (number(seqs.0), number(seqs.1).min(head.last_seq));
        if low == 0 && revisions.0 > WAYMARK {
            low = self.waymarks(conversation, revisions.0 - 1).await?.0.map_or(0, |mark| mark.last_seq);
        }
        if bucket(high) > bucket(low) {
            high = self.waymarks(conversation, revisions.1).await?.1.map_or(high, |mark| high.min(mark.last_seq));
        }
        let (mut events, limit) = (Vec::new(), i32::try_from(NOTICES).unwrap_or(i32::MAX));
        for bucket in bucket(low)..=bucket(high) {
            let mut after = (low, number(revisions.0) - 1);
            loop {
                let values = query_values!(id(conversation), bucket, after.0, after.1, high, limit);
                let rows = self.select::<NoticeRow>(&self.statements.notices, values, NOTICES).await?;
                let full = rows.len() == NOTICES;
                for row in rows {
                    after = (row.last_seq, row.revision);
                    if number(revisions.1) < row.revision || events.len() >= NOTICES {
                        return Ok(events);
                    }
                    if number(revisions.0) <= row.revision {
                        events.push(Event::decode(&row.body.into_vec()[..])?);
                    }
                }
                if !full {
                    break;
                }
            }
        }
        Ok(events)
    }

    async fn uses(
        &self,
        conversation: ConversationId,
        since_micros: i64,
        limit: usize,
    ) -> Result<Vec<ClientIdUse>, Error> {
        let Some(head) = self.head_row(conversation).await? else { return Ok(Vec::new()) };
        let mut next = head.last_seq;
        // The newest event that is too old, as far as messages tell.
        let mut until = 0;
        let mut uses = Vec::new();
        'messages: while next > 0 && uses.len() < limit {
            let values = query_values!(id(conversation), bucket(next), next, USES);
            let rows = self.select::<UseRow>(&self.statements.uses, values, USES.unsigned_abs() as usize).await?;
            // The rest of the bucket is empty: on with the one before it.
            next = rows.last().map_or((next >> BUCKET_BITS) << BUCKET_BITS, |row| row.seq) - 1;
            for row in rows {
                // A row of which only a change has arrived says nothing of its sending.
                let (Some(at), Some(used)) = (row.at_micros, row.used) else { continue };
                let used = ClientIdUse::decode(&used.into_vec()[..])?;
                if at < since_micros {
                    until = used.revision;
                    break 'messages;
                }
                if uses.len() >= limit {
                    return Ok(uses);
                }
                uses.push(used);
            }
        }
        self.uses_of_changes(conversation, (number(until), head.revision), since_micros, limit, &mut uses).await?;
        Ok(uses)
    }
}
