//! Messages in Cassandra. A partition holds 16,384 numbers of a conversation (`seq >> 14`), so that partitions are
//! bounded by construction, none is empty, and a page is one range scan. Every row's write timestamp is the time that
//! the home gave its event: replays change nothing, and no skewed clock undoes a later change.

mod guard;
mod statements;

use super::{Entry, Error, Messages, NOTICES, number};
use async_trait::async_trait;
use cdrs_tokio::{
    TryFromRow,
    authenticators::{NoneAuthenticatorProvider, SaslAuthenticatorProvider, StaticPasswordAuthenticatorProvider},
    cluster::{
        NodeAddress, connect_generic,
        session::{NodeDistanceEvaluatorWrapper, ReconnectionPolicyWrapper, RetryPolicyWrapper, Session},
    },
    consistency::Consistency,
    frame::{Envelope, TryFromRow, message_batch::BatchType},
    load_balancing::{TopologyAwareLoadBalancingStrategy, node_distance_evaluator::TopologyAwareNodeDistanceEvaluator},
    query::{BatchQueryBuilder, PreparedQuery, QueryValues},
    query_values,
    retry::{ConstantReconnectionPolicy, FallthroughRetryPolicy},
    statement::StatementParamsBuilder,
    types::{blob::Blob, prelude::Value},
};
use futures_util::{StreamExt, TryStreamExt, stream::FuturesUnordered};
use guard::{CONNECT, Cluster, Guarded, Manager};
use madang_mesh::{log::Position, secret::Secret, shard::Shard};
use madang_proto::{
    client::v1::{Event, Message},
    id::ConversationId,
    store::v1::ClientIdUse,
};
use prost::Message as _;
use statements::{Statements, prepare_keyspace};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, time::timeout};

type CassandraSession = Session<Guarded, Manager, Balancing>;
type Balancing = TopologyAwareLoadBalancingStrategy<Guarded, Manager>;

/// How many numbers of a conversation share a partition: 2 to the power of this.
const BUCKET_BITS: u32 = 14;
/// How long a statement may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many statements are on their way at once, from this process.
const IN_FLIGHT: usize = 1024;
/// How many of them write one batch of the log.
const WRITES: usize = 64;
/// How many bytes of rows go into one batch of a partition; Cassandra refuses 50 KiB and warns at 5.
const BATCH_BYTES: usize = 24 << 10;
/// How many rows are fetched at once while a conversation's client ids are read.
const USES: i32 = 1000;
/// An acknowledged write may still be lost with a node for so long: `commitlog_sync_period` is 10 s by default.
const UNSYNCED: Duration = Duration::from_secs(60);

/// How to reach Cassandra.
#[derive(Clone, Default)]
pub struct Options {
    /// Some of its nodes, `HOST:PORT`.
    pub nodes: Vec<String>,
    /// The data centre of this process; its nodes alone are asked.
    pub datacenter: String,
    /// The keyspace; made if it is not there.
    pub keyspace: String,
    /// How many replicas a new keyspace has.
    pub replicas: u32,
    /// A user and a password, where the cluster wants them.
    pub credentials: Option<(String, Secret)>,
}

/// The messages, in Cassandra.
pub struct CassandraMessages {
    session: CassandraSession,
    statements: Statements,
    gate: Semaphore,
    /// Of each shard, positions and when they were written; the oldest is safe on disk.
    written: Mutex<HashMap<Shard, VecDeque<(Instant, Position)>>>,
}

#[derive(TryFromRow)]
struct BodyRow {
    body: Blob,
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
    at_micros: i64,
    used: Blob,
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
    /// Connects, and makes what is missing.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        let mut addresses = Vec::new();
        for node in &options.nodes {
            addresses.extend(NodeAddress::from(node.as_str()).resolve_address().await?);
        }
        let authenticator: Arc<dyn SaslAuthenticatorProvider + Send + Sync> = match &options.credentials {
            None => Arc::new(NoneAuthenticatorProvider),
            Some((user, password)) => {
                Arc::new(StaticPasswordAuthenticatorProvider::new(user.as_str(), password.reveal()))
            }
        };
        let cluster = Cluster { authenticator };
        let connecting = connect_generic(
            &cluster,
            addresses,
            Balancing::new(None, false),
            // Retries are ours: the log comes again.
            RetryPolicyWrapper(Box::new(FallthroughRetryPolicy)),
            ReconnectionPolicyWrapper(Arc::new(ConstantReconnectionPolicy::new(Duration::from_secs(2)))),
            NodeDistanceEvaluatorWrapper(Box::new(TopologyAwareNodeDistanceEvaluator::new(options.datacenter.clone()))),
            None,
        );
        // Without a node that answers it would try for ever.
        let session = timeout(2 * CONNECT, connecting).await.map_err(late)??;
        prepare_keyspace(&session, options).await?;
        let statements = Statements::prepare(&session, &options.keyspace).await?;
        Ok(Self { session, statements, gate: Semaphore::new(IN_FLIGHT), written: Mutex::default() })
    }

    async fn execute(&self, statement: &PreparedQuery, values: QueryValues, size: i32) -> Result<Envelope, Error> {
        let params = StatementParamsBuilder::new()
            .with_consistency(Consistency::LocalQuorum)
            .with_values(values)
            .with_page_size(size)
            .build();
        let _permit = self.gate.acquire().await.map_err(late)?;
        Ok(timeout(PATIENCE, self.session.exec_with_params(statement, &params)).await.map_err(late)??)
    }

    async fn select<R: TryFromRow>(
        &self,
        statement: &PreparedQuery,
        values: QueryValues,
        limit: usize,
    ) -> Result<Vec<R>, Error> {
        // The statement has the same limit: one page is all of it.
        let size = i32::try_from(limit).unwrap_or(i32::MAX);
        let rows = self.execute(statement, values, size).await?.response_body()?.into_rows();
        let rows = rows.ok_or_else(|| Error::Unavailable("an answer without rows".into()))?;
        Ok(rows.into_iter().map(R::try_from_row).collect::<Result<_, _>>()?)
    }

    async fn head(&self, conversation: ConversationId) -> Result<Option<HeadRow>, Error> {
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
    async fn write_all(&self, statement: &PreparedQuery, rows: BTreeMap<Partition, Rows>) -> Result<(), Error> {
        let mut writes = FuturesUnordered::new();
        for batch in rows.into_values().flat_map(|rows| rows.batches) {
            if writes.len() >= WRITES {
                writes.next().await.transpose()?;
            }
            writes.push(self.write(statement, batch));
        }
        writes.try_collect().await
    }

    /// The newest position whose rows are on disk for certain.
    fn synced(&self, shard: Shard, position: Position) -> Option<Position> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let positions = written.entry(shard).or_default();
        // One entry a second is enough.
        if positions.back().is_none_or(|(at, _)| at.elapsed() >= Duration::from_secs(1)) {
            positions.push_back((Instant::now(), position));
        }
        let mut synced = None;
        while let Some((at, position)) = positions.front()
            && at.elapsed() >= UNSYNCED
        {
            synced = Some(*position);
            positions.pop_front();
        }
        synced
    }
}

/// Rows that wait for one partition, cut into batches.
#[derive(Default)]
struct Rows {
    batches: Vec<Vec<QueryValues>>,
    bytes: usize,
}

impl Rows {
    fn push(&mut self, row: QueryValues, bytes: usize) {
        if self.batches.is_empty() || self.bytes + bytes > BATCH_BYTES {
            self.batches.push(Vec::new());
            self.bytes = 0;
        }
        self.bytes += bytes;
        if let Some(batch) = self.batches.last_mut() {
            batch.push(row);
        }
    }
}

type Partition = (ConversationId, i32);

#[derive(Default)]
struct Work {
    messages: BTreeMap<Partition, Rows>,
    notices: BTreeMap<Partition, Rows>,
    heads: HashMap<ConversationId, (u64, u64)>,
}

impl Work {
    fn of(entries: Vec<Entry>) -> Self {
        let mut work = Self::default();
        for entry in entries {
            let (conversation, revision, last_seq) = match entry {
                Entry::Message { conversation, message, used } => {
                    let (seq, at) = (number(message.seq), used.at_micros);
                    let (used, body) = (used.encode_to_vec(), message.encode_to_vec());
                    let bytes = used.len() + body.len() + 64;
                    let partition = (conversation, bucket(seq));
                    let row =
                        query_values!(id(conversation), partition.1, seq, at, Blob::from(used), Blob::from(body), at);
                    work.messages.entry(partition).or_default().push(row, bytes);
                    (conversation, message.revision, message.seq)
                }
                Entry::Notice { conversation, event } => {
                    let (last_seq, body) = (number(event.last_seq), event.encode_to_vec());
                    let (bytes, partition) = (body.len() + 64, (conversation, bucket(last_seq)));
                    let row = query_values!(
                        id(conversation),
                        partition.1,
                        last_seq,
                        number(event.revision),
                        Blob::from(body),
                        event.at * 1000
                    );
                    work.notices.entry(partition).or_default().push(row, bytes);
                    (conversation, event.revision, event.last_seq)
                }
                Entry::Other { conversation, revision, last_seq } => (conversation, revision, last_seq),
            };
            work.heads.insert(conversation, (revision, last_seq));
        }
        work
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
        self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(&shard);
        Ok(row.and_then(|row| row.synced).map_or(0, i64::unsigned_abs))
    }

    async fn apply(&self, shard: Shard, entries: Vec<Entry>, position: Position) -> Result<(), Error> {
        let Work { messages, notices, heads } = Work::of(entries);
        self.write_all(&self.statements.insert_message, messages).await?;
        self.write_all(&self.statements.insert_notice, notices).await?;
        // Who sees the head sees the rows. The revision is the timestamp: a head can only grow.
        let heads = heads.into_iter().map(|(conversation, (revision, last_seq))| {
            let (revision, mut rows) = (number(revision), Rows::default());
            rows.push(query_values!(id(conversation), revision, number(last_seq), revision), 0);
            ((conversation, 0), rows)
        });
        self.write_all(&self.statements.insert_head, heads.collect()).await?;
        let at = number(position);
        let synced = self.synced(shard, position).map_or(Value::NotSet, |synced| Value::from(number(synced)));
        let shard = i32::try_from(shard).unwrap_or(i32::MAX);
        self.write(&self.statements.insert_cursor, vec![query_values!(shard, at, synced, at)]).await
    }

    async fn revision(&self, conversation: ConversationId) -> Result<u64, Error> {
        Ok(self.head(conversation).await?.map_or(0, |head| head.revision.unsigned_abs()))
    }

    async fn page(
        &self,
        conversation: ConversationId,
        low: u64,
        high: u64,
        limit: usize,
        newest: bool,
    ) -> Result<Vec<Message>, Error> {
        let Some(head) = self.head(conversation).await? else { return Ok(Vec::new()) };
        let (low, high) = (number(low).max(1), number(high).min(head.last_seq));
        let (first, last) = (bucket(low), bucket(high));
        let mut messages = Vec::new();
        for step in 0..=last.saturating_sub(first) {
            if messages.len() >= limit || low > high {
                break;
            }
            let (bucket, statement) =
                if newest { (last - step, &self.statements.newest) } else { (first + step, &self.statements.oldest) };
            let wanted = limit - messages.len();
            let rows = i32::try_from(wanted).unwrap_or(i32::MAX);
            let values = query_values!(id(conversation), bucket, low, high, rows);
            for row in self.select::<BodyRow>(statement, values, wanted).await? {
                messages.push(Message::decode(&row.body.into_vec()[..])?);
            }
        }
        if newest {
            messages.reverse();
        }
        Ok(messages)
    }

    async fn notices(
        &self,
        conversation: ConversationId,
        seqs: (u64, u64),
        revisions: (u64, u64),
    ) -> Result<Vec<Event>, Error> {
        let Some(head) = self.head(conversation).await? else { return Ok(Vec::new()) };
        let (low, high) = (number(seqs.0), number(seqs.1).min(head.last_seq));
        let mut events = Vec::new();
        for bucket in bucket(low)..=bucket(high) {
            let limit = i32::try_from(NOTICES).unwrap_or(i32::MAX);
            let values = query_values!(id(conversation), bucket, low, high, limit);
            for row in self.select::<BodyRow>(&self.statements.notices, values, NOTICES).await? {
                let event = Event::decode(&row.body.into_vec()[..])?;
                if (revisions.0..=revisions.1).contains(&event.revision) && events.len() < NOTICES {
                    events.push(event);
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
        let Some(head) = self.head(conversation).await? else { return Ok(Vec::new()) };
        let mut next = head.last_seq;
        let mut uses = Vec::new();
        while next > 0 && uses.len() < limit {
            let values = query_values!(id(conversation), bucket(next), next, USES);
            let rows = self.select::<UseRow>(&self.statements.uses, values, USES.unsigned_abs() as usize).await?;
            // The rest of the bucket is empty: on with the one before it.
            next = rows.last().map_or((next >> BUCKET_BITS) << BUCKET_BITS, |row| row.seq) - 1;
            for row in rows {
                if row.at_micros < since_micros || uses.len() >= limit {
                    return Ok(uses);
                }
                uses.push(ClientIdUse::decode(&row.used.into_vec()[..])?);
            }
        }
        Ok(uses)
    }
}
