//! What was sent or changed since a revision, of one conversation and of many; and one message of each of many. Who asks
//! for many is shown nothing of what they are not in, and nothing that could be had by asking for one alone is different.

use super::{Access, History, PAGE_BYTES, PATIENCE, behind, conversation, failed, near::Near, still::Known};
use crate::messages::{Changes, NOTICES, Since};
use futures_util::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use madang_mesh::{clock, status::to_status};
use madang_proto::{
    client::v1::Event,
    group::v1::ConversationAccess,
    id::ConversationId,
    reason::{Reason, Refusal},
    store::v1::*,
};
use prost::Message as _;
use std::collections::HashMap;
use tonic::{Code, Status};

/// How many conversations are asked about at once, at most.
const CONVERSATIONS: usize = 100;
/// How many messages are given of each of them.
const MESSAGES: usize = 100;
/// The most bytes of an answer about many; the first conversation has its own bound.
const BYTES: usize = 4 << 20;
/// How many messages of different conversations are asked for at once, at most.
const WANTED: usize = 1000;
/// How many conversations are read at once for one request.
const READS: usize = 16;
/// A day, in microseconds.
const DAY: i64 = 24 * 3600 * 1_000_000;

/// Since when, and what came since then.
type Read = (u64, ConversationChanges);

fn too_old() -> Status {
    let message = "this revision is too old for its changes to be known: page the conversation anew";
    to_status(&Refusal::new(Reason::TooOld, message))
}

fn too_many(field: &str, what: &str, most: usize) -> Status {
    to_status(&Refusal::new(Reason::TooLarge, format!("at most {most} {what} are asked for at once")).of(field))
}

/// Cuts notices at a page's bytes; whether any went.
pub(super) fn cut_notices(notices: &mut Vec<Event>) -> bool {
    let mut bytes = 0;
    let fits = |event: &&Event| {
        bytes += event.encoded_len();
        bytes <= PAGE_BYTES
    };
    let count = notices.iter().take_while(fits).count().max(1);
    let goes = count < notices.len();
    notices.truncate(count);
    goes
}

impl History {
    pub(super) async fn changes(&self, request: ListChangesRequest) -> Result<ListChangesResponse, Status> {
        let ListChangesRequest { conversation: id, user, since, limit, at_least } = request;
        let id = conversation(&id)?;
        self.fresh(id).await?;
        let (access, revision) = self.access(id, &user, at_least).await?;
        self.since(id, &user, access, revision, since, self.settings.page(limit)).await?.ok_or_else(too_old)
    }

    /// What came after `since`, as of `revision`; none if that is too old. A message that was changed again after `revision` does
    /// not come with what follows, which is but how it was changed: it is told as it is, to who may still see it as of that.
    pub(super) async fn since(
        &self,
        id: ConversationId,
        user: &str,
        access: Access,
        revision: u64,
        since: u64,
        limit: usize,
    ) -> Result<Option<ListChangesResponse>, Status> {
        if since >= revision {
            return Ok(Some(ListChangesResponse { revision, ..ListChangesResponse::default() }));
        }
        let oldest_micros = clock::now_micros() - i64::from(self.changes_days) * DAY;
        let Access { first_seq, last_seq, first_revision } = access;
        // What was there before they came is no reason to page anew: they may see none of it.
        let since = since.max(first_revision.saturating_sub(1)).min(revision);
        let wanted = Since { revision: since, until: revision, first_seq, last_seq, limit: limit + 1, oldest_micros };
        let Some(changes) = self.store.changes(id, wanted).await.map_err(failed)? else { return Ok(None) };
        let mut answer = ListChangesResponse::default();
        let Changes { mut messages, revision: whole, mut again } = changes;
        let found = messages.len();
        Near::First.cut(&mut messages, PAGE_BYTES, limit);
        answer.revision = match messages.last() {
            Some(last) if messages.len() < found => last.revision,
            _ => whole.min(revision),
        };
        answer.more = answer.revision < revision;
        let revisions = (since.saturating_add(1), answer.revision);
        let mut notices = self.store.notices(id, (0, u64::MAX >> 1), revisions).await.map_err(failed)?;
        let full = notices.len() >= NOTICES;
        if cut_notices(&mut notices) || full {
            answer.more = true;
            answer.revision = notices.last().map_or(answer.revision, |last| last.revision);
            messages.retain(|message| message.revision <= answer.revision);
        }
        if !again.is_empty() {
            // group-svc has come to the newest of them then: those that do not come now come with what is asked for next, as of
            // that or later.
            self.still(id, user, revision, &mut again).await?;
            if !answer.more {
                again.sort_unstable_by_key(|message| message.revision);
                let room = limit.saturating_sub(messages.len()).max(1);
                let found = again.len();
                Near::First.cut(&mut again, PAGE_BYTES, room);
                answer.more = again.len() < found;
                messages.append(&mut again);
            }
        }
        self.mark_mine(id, user, messages.iter_mut()).await?;
        (answer.messages, answer.notices) = (messages, notices);
        Ok(Some(answer))
    }

    pub(super) async fn many_changes(
        &self,
        request: BatchListChangesRequest,
    ) -> Result<BatchListChangesResponse, Status> {
        let BatchListChangesRequest { user, since } = request;
        if since.len() > CONVERSATIONS {
            return Err(too_many("since", "conversations", CONVERSATIONS));
        }
        let mut asked = Vec::with_capacity(since.len());
        for each in &since {
            asked.push((conversation(&each.conversation)?, each.revision));
        }
        let access = self.accesses(&user, since.into_iter().map(|each| each.conversation).collect()).await?;
        let access: HashMap<String, ConversationAccess> =
            access.into_iter().map(|access| (access.conversation.clone(), access)).collect();
        let reads = asked.into_iter().filter_map(|(id, since)| {
            let access = access.get(&id.to_string())?.clone();
            let user = &user;
            let read = async move {
                match self.one_of_many(id, user, access, since).await {
                    Ok(one) => Ok(Some((since, one))),
                    // They have left meanwhile.
                    Err(status) if status.code() == Code::NotFound => Ok(None),
                    Err(status) => Err(status),
                }
            };
            Some(read.boxed())
        });
        // Made before they run, in a type of their own: the compiler can't tell that they may move between threads else.
        let reads: Vec<BoxFuture<'_, Result<Option<Read>, Status>>> = reads.collect();
        let mut reads = stream::iter(reads).buffered(READS);
        let (mut changes, mut bytes) = (Vec::new(), 0);
        while let Some(read) = reads.try_next().await? {
            let Some((since, mut one)) = read else { continue };
            let size = one.encoded_len();
            if bytes + size > BYTES && !changes.is_empty() && !(one.messages.is_empty() && one.notices.is_empty()) {
                // Asked for again, it comes.
                let ConversationChanges { conversation, .. } = one;
                one = ConversationChanges { conversation, revision: since, more: true, ..Default::default() };
            } else {
                bytes += size;
            }
            changes.push(one);
        }
        Ok(BatchListChangesResponse { changes })
    }

    async fn one_of_many(
        &self,
        id: ConversationId,
        user: &str,
        access: ConversationAccess,
        since: u64,
    ) -> Result<ConversationChanges, Status> {
        let ConversationAccess { conversation, first_seq, first_revision, revision, last_seq } = access;
        self.fresh(id).await?;
        if since == revision {
            // As new as the list is: nothing is read.
            return Ok(ConversationChanges { conversation, revision, ..Default::default() });
        }
        self.reach(id, revision).await?;
        let access = Access { first_seq, first_revision, last_seq };
        let Some(found) = self.since(id, user, access, revision, since, MESSAGES).await? else {
            return Ok(ConversationChanges { conversation, revision: since, too_old: true, ..Default::default() });
        };
        let ListChangesResponse { messages, notices, revision, more } = found;
        Ok(ConversationChanges { conversation, messages, notices, revision, more, too_old: false })
    }

    pub(super) async fn many_messages(
        &self,
        request: BatchGetMessagesRequest,
    ) -> Result<BatchGetMessagesResponse, Status> {
        let BatchGetMessagesRequest { user, wanted } = request;
        if wanted.len() > WANTED {
            return Err(too_many("wanted", "messages", WANTED));
        }
        let mut asked = Vec::with_capacity(wanted.len());
        for each in &wanted {
            asked.push((conversation(&each.conversation)?, each.seq));
        }
        let access = self.accesses(&user, wanted.into_iter().map(|each| each.conversation).collect()).await?;
        let (mut seqs, mut known) = (HashMap::new(), Known::new());
        for ConversationAccess { conversation: id, first_seq, last_seq, revision, .. } in access {
            let id = conversation(&id)?;
            seqs.insert(id, first_seq..=last_seq);
            known.insert(id, revision);
        }
        asked.retain(|(id, seq)| seqs.get(id).is_some_and(|seqs| seqs.contains(seq)));
        // group-svc knows of what this store may not have yet: no message is shown as it was before.
        let wanted: HashMap<ConversationId, u64> =
            asked.iter().filter_map(|(id, _)| Some((*id, *known.get(id)?))).collect();
        if !self.projection.wait_for_all(wanted.into_iter().collect(), PATIENCE).await.map_err(failed)? {
            return Err(behind());
        }
        let mut found = self.store.messages(asked).await.map_err(failed)?;
        self.still_of(&user, known, &mut found).await?;
        let own = stream::iter(found).map(|(id, mut message)| {
            let user = &user;
            async move {
                self.mark_mine(id, user, std::iter::once(&mut message)).await?;
                Ok::<_, Status>(FoundMessage { conversation: id.to_string(), message: Some(message) })
            }
        });
        Ok(BatchGetMessagesResponse { found: own.buffered(READS).try_collect().await? })
    }
}
