//! What a batch of the log leaves in Cassandra, as rows by their partitions: the same batch gives the same rows, with the
//! same write timestamps.

use super::{BATCH_BYTES, bucket, changes::change_bucket, feed, id};
use crate::messages::{Change, Entry, number};
use cdrs_tokio::{query::QueryValues, query_values, types::blob::Blob};
use madang_mesh::{log::Position, shard::Shard};
use madang_proto::{client::v1::Message, id::ConversationId, store::v1::ClientIdUse};
use prost::Message as _;
use std::collections::{BTreeMap, HashMap};

/// Every so many revisions it is noted how many messages there were, so that a revision leads to a message at once.
pub(super) const WAYMARK: u64 = 64;
/// How many revisions' waymarks share a partition: 2 to the power of this.
const WAYMARK_BITS: u32 = 20;

/// The partition of a waymark.
pub(super) fn waymark_bucket(revision: i64) -> i32 {
    i32::try_from(revision >> WAYMARK_BITS).unwrap_or(i32::MAX)
}

/// Rows that wait for one partition, cut into batches.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) batches: Vec<Vec<QueryValues>>,
    bytes: usize,
}

impl Rows {
    /// One more row, of so many bytes.
    pub(super) fn push(&mut self, row: QueryValues, bytes: usize) {
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

/// A conversation's bucket.
pub(super) type Partition = (ConversationId, i32);

/// What all changes of a message leave of its own row. That is written as one, so that whoever reads the message as of an event
/// reads all that was before that event.
#[derive(Default)]
struct Amended {
    body: Option<Vec<u8>>,
    reactions: Option<Vec<u8>>,
    deleted: bool,
    revision: i64,
    at: i64,
}

/// What changes of messages leave, each kind for a statement of its own.
#[derive(Default)]
pub(super) struct ChangeRows {
    pub(super) reacted: BTreeMap<Partition, Rows>,
    pub(super) unreacted: BTreeMap<Partition, Rows>,
    pub(super) forgotten: BTreeMap<Partition, Rows>,
    messages: BTreeMap<(Partition, i64), Amended>,
    pub(super) by_revision: BTreeMap<Partition, Rows>,
}

/// Messages' own rows, by what is written of them: each is in one of these.
#[derive(Default)]
pub(super) struct MessageRows {
    pub(super) edited: BTreeMap<Partition, Rows>,
    pub(super) counted: BTreeMap<Partition, Rows>,
    pub(super) both: BTreeMap<Partition, Rows>,
    pub(super) deleted: BTreeMap<Partition, Rows>,
}

impl ChangeRows {
    fn push(&mut self, conversation: ConversationId, used: &ClientIdUse, change: &Change) {
        let (seq, revision, at) = (number(used.seq), number(used.revision), used.at_micros);
        let place = (conversation, bucket(seq));
        let c = || id(conversation);
        let mut message = Message::default();
        change.apply(&mut message, used);
        let amended = self.messages.entry((place, seq)).or_default();
        (amended.revision, amended.at) = (revision, at);
        match change {
            Change::Edited(_) => amended.body = Some(message.encode_to_vec()),
            Change::Deleted => {
                let row = query_values!(at, c(), place.1, seq);
                self.forgotten.entry(place).or_default().push(row, 64);
                (amended.body, amended.deleted) = (Some(message.encode_to_vec()), true);
            }
            Change::Reacted { key, user, removed, began, .. } => {
                let user = Blob::from(user.clone());
                if *removed {
                    let row = query_values!(at, c(), place.1, seq, user, key.as_str());
                    self.unreacted.entry(place).or_default().push(row, 128);
                } else {
                    let row = query_values!(c(), place.1, seq, user, key.as_str(), number(*began), at);
                    self.reacted.entry(place).or_default().push(row, 128);
                }
                amended.reactions = Some(message.encode_to_vec());
            }
        }
        let place = (conversation, change_bucket(revision));
        let row = query_values!(c(), place.1, revision, seq, at, Blob::from(used.encode_to_vec()), at);
        self.by_revision.entry(place).or_default().push(row, 128);
    }

    /// Takes what is written of messages' own rows.
    pub(super) fn messages(&mut self) -> MessageRows {
        let mut rows = MessageRows::default();
        for ((place, seq), amended) in std::mem::take(&mut self.messages) {
            let Amended { body, reactions, deleted, revision, at } = amended;
            let bytes = [&body, &reactions].into_iter().flatten().map(Vec::len).sum::<usize>() + 96;
            let (c, bucket) = (id(place.0), place.1);
            let (kind, row) = match (body.map(Blob::from), reactions.map(Blob::from)) {
                (Some(body), _) if deleted => {
                    (&mut rows.deleted, query_values!(at, body, revision, at, c, bucket, seq))
                }
                (Some(body), Some(reactions)) => {
                    (&mut rows.both, query_values!(at, body, reactions, revision, at, c, bucket, seq))
                }
                (Some(body), None) => (&mut rows.edited, query_values!(at, body, revision, at, c, bucket, seq)),
                (None, Some(reactions)) => {
                    (&mut rows.counted, query_values!(at, reactions, revision, at, c, bucket, seq))
                }
                (None, None) => continue,
            };
            kind.entry(place).or_default().push(row, bytes);
        }
        rows
    }
}

/// A batch of the log, as rows.
#[derive(Default)]
pub(super) struct Work {
    pub(super) messages: BTreeMap<Partition, Rows>,
    pub(super) notices: BTreeMap<Partition, Rows>,
    pub(super) waymarks: BTreeMap<Partition, Rows>,
    pub(super) changes: ChangeRows,
    /// Of each conversation the newest revision and seq.
    pub(super) heads: HashMap<ConversationId, (u64, u64)>,
    /// The position of the first record.
    pub(super) first_record: Option<Position>,
    /// Records, by their partitions.
    pub(super) records: BTreeMap<i32, Rows>,
}

impl Work {
    /// Of these entries of a shard.
    pub(super) fn of(shard: Shard, entries: Vec<Entry>) -> Self {
        let mut work = Self::default();
        for entry in entries {
            let (conversation, revision, last_seq, at) = match entry {
                Entry::Message { conversation, message, used } => {
                    let (seq, at) = (number(message.seq), used.at_micros);
                    let (used, body) = (used.encode_to_vec(), message.encode_to_vec());
                    let bytes = used.len() + body.len() + 64;
                    let partition = (conversation, bucket(seq));
                    let row =
                        query_values!(id(conversation), partition.1, seq, at, Blob::from(used), Blob::from(body), at);
                    work.messages.entry(partition).or_default().push(row, bytes);
                    (conversation, message.revision, message.seq, at)
                }
                Entry::Notice { conversation, event } => {
                    let (last_seq, body, at) = (number(event.last_seq), event.encode_to_vec(), event.at * 1000);
                    let (bytes, partition) = (body.len() + 64, (conversation, bucket(last_seq)));
                    let row = query_values!(
                        id(conversation),
                        partition.1,
                        last_seq,
                        number(event.revision),
                        Blob::from(body),
                        at
                    );
                    work.notices.entry(partition).or_default().push(row, bytes);
                    (conversation, event.revision, event.last_seq, at)
                }
                Entry::Change { conversation, last_seq, used, change } => {
                    work.changes.push(conversation, &used, &change);
                    (conversation, used.revision, last_seq, used.at_micros)
                }
                Entry::Record(kept) => {
                    work.first_record.get_or_insert(kept.position);
                    let (bucket, row, bytes) = feed::row(shard, kept);
                    work.records.entry(bucket).or_default().push(row, bytes);
                    continue;
                }
                Entry::Other { conversation, revision, last_seq, at_micros } => {
                    (conversation, revision, last_seq, at_micros)
                }
            };
            if revision.is_multiple_of(WAYMARK) {
                let (revision, partition) = (number(revision), (conversation, waymark_bucket(number(revision))));
                let row = query_values!(id(conversation), partition.1, revision, number(last_seq), at, at);
                work.waymarks.entry(partition).or_default().push(row, 64);
            }
            work.heads.insert(conversation, (revision, last_seq));
        }
        work
    }
}
