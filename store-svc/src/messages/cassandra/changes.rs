//! Messages as they are now, and what changed them. A change overwrites cells of its message, at the time that its home
//! gave it, so that the newest wins in whatever order and however often they come; and it adds a row by its revision.

use super::{
    BUCKET_BITS, CassandraMessages, HOLES, READS, bucket, id,
    rows::{ChangeRows, MessageRows, WAYMARK},
};
use crate::messages::{Changes, Error, Head, Loaded, Since, number, whole};
use cdrs_tokio::{TryFromRow, consistency::Consistency, query_values, types::blob::Blob};
use futures_util::{StreamExt, TryStreamExt, stream};
use madang_proto::{
    client::v1::Message,
    id::{ClientId, ConversationId, UserId},
    store::v1::ClientIdUse,
};
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Of how many conversations it is read at once how far they have come.
const HEADS: usize = 48;
/// How many changes are looked at in one step.
const STEP: usize = 256;
/// How many steps one answer takes at most; what it has not come to is for the next.
const STEPS: usize = 16;
/// The most people of a room times the most emoji of a message.
const REACTORS: usize = 20_000;

#[derive(TryFromRow)]
struct MessageRow {
    used: Option<Blob>,
    body: Option<Blob>,
    reactions: Option<Blob>,
    changed: Option<i64>,
    changed_micros: Option<i64>,
}

#[derive(TryFromRow)]
struct ManyHeadsRow {
    conversation: Blob,
    revision: i64,
    last_seq: i64,
}

#[derive(TryFromRow)]
struct ChangeRow {
    revision: i64,
    seq: i64,
}

#[derive(TryFromRow)]
struct ChangeUseRow {
    revision: i64,
    at_micros: i64,
    used: Blob,
}

#[derive(TryFromRow)]
struct ReactionRow {
    user: Blob,
    emoji: String,
    began: i64,
}

#[derive(TryFromRow)]
struct OwnRow {
    seq: i64,
    emoji: String,
}

/// A message as it is now.
pub(super) struct Stored {
    pub message: Message,
    /// The event that it was sent with.
    sent: u64,
    changed_micros: i64,
}

impl MessageRow {
    /// None if it has not (yet) been written: only a change of it was.
    fn stored(self) -> Result<Option<Stored>, Error> {
        let (Some(used), Some(body)) = (self.used, self.body) else { return Ok(None) };
        let (used, mut message) = (ClientIdUse::decode(&used.into_vec()[..])?, Message::decode(&body.into_vec()[..])?);
        message.seq = used.seq;
        message.at = used.at_micros / 1000;
        message.sender = UserId::from_slice(&used.sender).map(|id| id.to_string()).unwrap_or_default();
        message.client_id = ClientId::from_slice(&used.client_id).map(|id| id.to_string()).unwrap_or_default();
        message.revision = self.changed.map_or(used.revision, i64::unsigned_abs);
        if let Some(reactions) = self.reactions {
            message.reactions = Message::decode(&reactions.into_vec()[..])?.reactions;
        }
        let changed_micros = self.changed_micros.unwrap_or(used.at_micros);
        Ok(Some(Stored { message, sent: used.revision, changed_micros }))
    }
}

/// The bucket of a change.
pub(super) fn change_bucket(revision: i64) -> i32 {
    i32::try_from(revision >> BUCKET_BITS).unwrap_or(i32::MAX)
}

impl CassandraMessages {
    /// Exactly the messages from a number to another, which all are there: one range scan, two across a border.
    async fn range(
        &self,
        consistency: Consistency,
        conversation: ConversationId,
        low: i64,
        high: i64,
    ) -> Result<Vec<Stored>, Error> {
        let mut found = Vec::new();
        for bucket in bucket(low)..=bucket(high) {
            let limit = usize::try_from(high - low + 1).unwrap_or(0);
            let rows = i32::try_from(limit).unwrap_or(i32::MAX);
            let values = query_values!(id(conversation), bucket, low, high, rows);
            for row in self.select_at::<MessageRow>(consistency, &self.statements.range, values, limit).await? {
                found.extend(row.stored()?);
            }
        }
        found.sort_unstable_by_key(|stored| stored.message.seq);
        let (first, wanted) = (low.unsigned_abs(), usize::try_from(high - low + 1).unwrap_or(0));
        whole(conversation, found.iter().map(|stored| &stored.message), first)?;
        if found.len() < wanted {
            return Err(Error::Hole { conversation, seq: first + found.len() as u64 });
        }
        Ok(found)
    }

    /// The same; what is not there at quorum is asked of all replicas, since one of them may have lost it with its disk.
    pub(super) async fn all_of(&self, conversation: ConversationId, low: i64, high: i64) -> Result<Vec<Stored>, Error> {
        match self.range(Consistency::LocalQuorum, conversation, low, high).await {
            Err(hole @ Error::Hole { .. }) => {
                HOLES.inc();
                tracing::error!(error = %hole, "history has a hole at quorum; it is read again from all replicas");
                self.range(Consistency::All, conversation, low, high).await
            }
            other => other,
        }
    }

    /// One message.
    pub(super) async fn one(&self, conversation: ConversationId, seq: i64) -> Result<Option<Stored>, Error> {
        let values = query_values!(id(conversation), bucket(seq), seq);
        match self.select::<MessageRow>(&self.statements.one, values, 1).await?.pop() {
            Some(row) => row.stored(),
            None => Ok(None),
        }
    }

    /// How far many conversations have come: a few dozen with one request, which costs less than one each.
    pub(super) async fn heads_of(&self, conversations: Vec<ConversationId>) -> Result<Vec<Head>, Error> {
        let some: Vec<Vec<Blob>> =
            conversations.chunks(HEADS).map(|some| some.iter().map(|each| id(*each)).collect()).collect();
        let reads = stream::iter(some)
            .map(|some| self.select::<ManyHeadsRow>(&self.statements.heads, query_values!(some), HEADS));
        let mut found = HashMap::new();
        for row in reads.buffer_unordered(READS).try_concat().await? {
            let head = Head { revision: row.revision.unsigned_abs(), last_seq: row.last_seq.unsigned_abs() };
            found.insert(row.conversation.into_vec(), head);
        }
        let of = |conversation: &ConversationId| found.get(&conversation.bytes()[..]).copied().unwrap_or_default();
        Ok(conversations.iter().map(of).collect())
    }

    /// Events by which messages were changed, after one and up to another; at most so many.
    async fn changed(&self, conversation: ConversationId, after: i64, upto: i64) -> Result<Vec<ChangeRow>, Error> {
        let mut found: Vec<ChangeRow> = Vec::new();
        for bucket in change_bucket(after + 1)..=change_bucket(upto) {
            let limit = i32::try_from(STEP - found.len()).unwrap_or(0);
            let values = query_values!(id(conversation), bucket, after, upto, limit);
            found.extend(self.select::<ChangeRow>(&self.statements.changes, values, STEP).await?);
            if found.len() >= STEP {
                break;
            }
        }
        Ok(found)
    }

    pub(super) async fn changes_since(
        &self,
        conversation: ConversationId,
        since: Since,
    ) -> Result<Option<Changes>, Error> {
        let nothing = Changes { revision: since.until, ..Changes::default() };
        let Some(head) = self.head_row(conversation).await? else { return Ok(Some(nothing)) };
        let (before, after) = self.waymarks(conversation, since.revision).await?;
        if after.is_some_and(|mark| mark.at_micros < since.oldest_micros) {
            return Ok(None);
        }
        // There are no more messages after a revision than events; and all that a waymark counts are before it.
        let (mut from, until) = (number(since.revision), number(since.until));
        let events = head.revision.saturating_sub(from).max(0);
        let low = (head.last_seq - events + 1).max(before.map_or(0, |mark| mark.last_seq) + 1);
        let (mut next, mut found) = (low.max(number(since.first_seq)), Vec::new());
        let mut again = BTreeMap::new();
        // The first of them may have been sent before: as many as there are between two waymarks.
        let most = i64::try_from(since.limit).unwrap_or(i64::MAX).clamp(number(WAYMARK), number(u64::MAX >> 8));
        for _ in 0..STEPS {
            if from >= until {
                break;
            }
            let high = head.last_seq.min(next.saturating_add(most - 1));
            let sent = if next <= high { self.all_of(conversation, next, high).await? } else { Vec::new() };
            let last = sent.last().filter(|_| high < head.last_seq);
            let mut upto = last.map_or(until, |last| number(last.sent).clamp(from, until));
            let changed = self.changed(conversation, from, upto).await?;
            if changed.len() >= STEP {
                upto = changed.last().map_or(upto, |last| last.revision);
            }
            next = sent.iter().find(|each| number(each.sent) > upto).map_or(high + 1, |each| number(each.message.seq));
            let mut others: BTreeSet<i64> = changed.iter().map(|row| row.seq).collect();
            let asked_for =
                |seq: &i64| *seq >= number(since.first_seq) && sent.iter().all(|each| number(each.message.seq) != *seq);
            others.retain(asked_for);

            let reads = stream::iter(others).map(|seq| self.one(conversation, seq));
            let others: Vec<_> = reads.buffered(READS).try_collect().await?;
            let all = sent.into_iter().chain(others.into_iter().flatten()).map(|stored| stored.message);
            let all: Vec<_> = all.collect();
            let left_out = all.iter().filter(|each| number(each.revision) > until && each.seq <= since.last_seq);
            for each in left_out {
                again.insert(each.seq, each.clone());
            }
            // What an event after these changes again comes with that one.
            let in_range = |each: &Message| (from + 1..=upto).contains(&number(each.revision));
            let mut round: Vec<_> = all.into_iter().filter(in_range).collect();
            round.sort_unstable_by_key(|message| message.revision);
            found.extend(round);
            from = upto;
            if found.len() >= since.limit {
                found.truncate(since.limit);
                from = found.last().map_or(from, |last| number(last.revision));
                break;
            }
        }
        let revision = from.max(number(since.revision)).unsigned_abs();
        let mut again: Vec<Message> = again.into_values().collect();
        again.sort_unstable_by_key(|message| std::cmp::Reverse(message.revision));
        again.truncate(since.limit);
        Ok(Some(Changes { messages: found, revision, again }))
    }

    pub(super) async fn load_message(&self, conversation: ConversationId, seq: u64) -> Result<Option<Loaded>, Error> {
        let seq = number(seq);
        let Some(stored) = self.one(conversation, seq).await? else { return Ok(None) };
        let mut reactors = BTreeMap::new();
        if !stored.message.reactions.is_empty() {
            let values = query_values!(id(conversation), bucket(seq), seq);
            for row in self.select::<ReactionRow>(&self.statements.reactions, values, REACTORS).await? {
                let (_, users): &mut (u64, Vec<u8>) =
                    reactors.entry(row.emoji).or_insert((row.began.unsigned_abs(), Vec::new()));
                users.extend(row.user.into_vec());
            }
        }
        Ok(Some(Loaded { message: stored.message, reactors, changed_micros: stored.changed_micros }))
    }

    /// One read for each partition.
    pub(super) async fn reacted_by(
        &self,
        conversation: ConversationId,
        user: Vec<u8>,
        seqs: Vec<u64>,
    ) -> Result<HashSet<(u64, String)>, Error> {
        let mut buckets: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
        seqs.into_iter().map(number).for_each(|seq| buckets.entry(bucket(seq)).or_default().push(seq));
        let mut found = HashSet::new();
        for (bucket, seqs) in buckets {
            let limit = seqs.len() * 20;
            let values = query_values!(id(conversation), bucket, seqs, Blob::from(user.clone()));
            for row in self.select::<OwnRow>(&self.statements.own_reactions, values, limit).await? {
                found.insert((row.seq.unsigned_abs(), row.emoji));
            }
        }
        Ok(found)
    }

    /// The client ids of changes between two events and since a time, newest first.
    pub(super) async fn uses_of_changes(
        &self,
        conversation: ConversationId,
        (after, upto): (i64, i64),
        since_micros: i64,
        limit: usize,
        uses: &mut Vec<ClientIdUse>,
    ) -> Result<(), Error> {
        for bucket in (change_bucket(after + 1)..=change_bucket(upto)).rev() {
            let mut upto = upto;
            loop {
                let rows = i32::try_from(STEP).unwrap_or(i32::MAX);
                let values = query_values!(id(conversation), bucket, after, upto, rows);
                let rows = self.select::<ChangeUseRow>(&self.statements.change_uses, values, STEP).await?;
                let full = rows.len() >= STEP;
                for row in rows {
                    if row.at_micros < since_micros || uses.len() >= limit {
                        return Ok(());
                    }
                    upto = row.revision - 1;
                    uses.push(ClientIdUse::decode(&row.used.into_vec()[..])?);
                }
                if !full {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Writes changes. Whose an emoji is comes before how many there are: who reads between the two is told of the
    /// change again by its event, as of a revision that the message does not have yet.
    pub(super) async fn write_changes(&self, mut rows: ChangeRows) -> Result<(), Error> {
        let MessageRows { edited, counted, both, deleted } = rows.messages();
        let ChangeRows { reacted, unreacted, forgotten, by_revision, .. } = rows;
        let of = &self.statements;
        for (statement, rows) in [
            (&of.insert_reaction, reacted),
            (&of.delete_reaction, unreacted),
            (&of.delete_reactions, forgotten),
            (&of.edit_message, edited),
            (&of.count_reactions, counted),
            (&of.amend_message, both),
            (&of.delete_message, deleted),
            (&of.insert_change, by_revision),
        ] {
            self.write_all(statement, rows).await?;
        }
        Ok(())
    }
}
