//! gRPC: who may see what of a conversation is asked of group-svc for every read on behalf of a user.

mod changes;
mod erase;
mod load;
mod near;
mod notices;
mod pages;
mod place;
mod still;
pub(crate) mod stream;

use crate::{
    messages::{self, Head, Messages},
    projection::Projection,
};
use futures_util::stream::BoxStream;
use madang_mesh::{
    channel::Channel,
    log::Log,
    operations::Operations,
    settings,
    shard::shard_of,
    status::{from_status, to_status},
    subscription::Lag,
};
use madang_proto::{
    group::v1::{
        ConversationAccess, GetAccessRequest, GetAccessResponse, ListAccessRequest,
        group_service_client::GroupServiceClient,
    },
    id::ConversationId,
    reason::{Reason, Refusal},
    store::v1::{store_service_server::StoreService, *},
};
use pages::Page;
pub use pages::Pages;
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// The most bytes of a page.
const PAGE_BYTES: usize = 1 << 20;
/// The most client ids that are listed.
const IDS: usize = 100_000;
/// How long `at_least` waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// History, for those who may see it.
pub struct History {
    pub(crate) store: Arc<dyn Messages>,
    pub(crate) projection: Arc<Projection>,
    pub(crate) group: GroupServiceClient<Channel>,
    pub(crate) operations: Operations,
    pub(crate) settings: settings::Settings,
    /// To tell a cursor that is ahead of it.
    pub(crate) log: Arc<dyn Log>,
    /// Who may read all conversations at once.
    pub(crate) consumers: Arc<Semaphore>,
    /// Cancelled when this process stops.
    pub(crate) ending: CancellationToken,
    pub(crate) lag: Lag,
    /// What was read of late.
    pub(crate) pages: Pages,
    /// How far back `changes` reaches, in days.
    pub(crate) changes_days: u32,
}

/// What a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Access {
    first_seq: u64,
    first_revision: u64,
    last_seq: u64,
}

fn failed(error: messages::Error) -> Status {
    tracing::error!(%error, "the message store failed");
    let message = "history can't be read at the moment: ask again a little later";
    to_status(&Refusal::new(Reason::Unavailable, message).after(1000))
}

fn stale() -> Status {
    let message = "history is being caught up with, and what it shows would be old: ask again a little later";
    to_status(&Refusal::new(Reason::Lagging, message).after(1000))
}

fn behind() -> Status {
    let message = "history does not have this revision yet: ask again a little later";
    to_status(&Refusal::new(Reason::Lagging, message).after(500))
}

fn conversation(text: &str) -> Result<ConversationId, Status> {
    let message = "conversation must be a conversation's id: a UUID in lower-case canonical text";
    text.parse().map_err(|_| to_status(&Refusal::new(Reason::InvalidField, message).of("conversation")))
}

impl History {
    /// Refuses to show what is older than [`madang_mesh::subscription::STALE`]: who comes back after long must not be
    /// shown less than what lies before the events that follow.
    async fn fresh(&self, id: ConversationId) -> Result<(), Status> {
        let shard = shard_of(id.bytes(), self.settings.shards);
        if self.lag.fresh(shard, PATIENCE).await { Ok(()) } else { Err(stale()) }
    }

    /// What the user may see of each of many conversations; those that they are not in are left out.
    async fn accesses(&self, user: &str, ids: Vec<String>) -> Result<Vec<ConversationAccess>, Status> {
        let request = ListAccessRequest { user: user.to_owned(), conversations: ids };
        let answer = self.group.clone().list_access(request).await;
        Ok(answer.map_err(|status| to_status(&from_status(&status)))?.into_inner().access)
    }

    /// What the user may see and as of which event, waited for in this store as well. They are shown nothing newer: by
    /// then they may have been put out ([`still`] has what was changed since). For no user: all.
    async fn access(&self, id: ConversationId, user: &str, at_least: u64) -> Result<(Access, u64), Status> {
        let (access, revision) = self.sees(id, user, at_least).await?;
        if !user.is_empty() {
            self.reach(id, revision).await?;
        }
        Ok((access, revision))
    }

    /// The same, but for a user the store is not waited for.
    async fn sees(&self, id: ConversationId, user: &str, at_least: u64) -> Result<(Access, u64), Status> {
        if user.is_empty() {
            let Head { revision, last_seq } = self.reach(id, at_least).await?;
            return Ok((Access { first_seq: 1, first_revision: 1, last_seq }, revision));
        }
        let request = GetAccessRequest { user: user.to_owned(), conversation: id.to_string(), at_least };
        let access = self
            .group
            .clone()
            .get_access(request)
            .await
            .map_err(|status| to_status(&from_status(&status)))?
            .into_inner();
        let GetAccessResponse { first_seq, first_revision, revision, last_seq } = access;
        Ok((Access { first_seq, first_revision, last_seq }, revision))
    }

    /// Waits until the store has a revision.
    async fn reach(&self, id: ConversationId, revision: u64) -> Result<Head, Status> {
        self.projection.wait_for(id, revision, PATIENCE).await.map_err(failed)?.ok_or_else(behind)
    }
}

#[tonic::async_trait]
impl StoreService for History {
    type StreamEventsStream = BoxStream<'static, Result<StreamEventsResponse, Status>>;

    async fn list_messages(
        &self,
        request: Request<ListMessagesRequest>,
    ) -> Result<Response<ListMessagesResponse>, Status> {
        let ListMessagesRequest { conversation: id, user, before, after, around, limit: asked, at_least } =
            request.into_inner();
        let id = conversation(&id)?;
        if usize::from(before > 0) + usize::from(after.is_some()) + usize::from(around > 0) > 1 {
            let message = "before, after and around exclude each other: give one of them";
            let second = if before > 0 && after.is_some() { "after" } else { "around" };
            return Err(to_status(&Refusal::new(Reason::InvalidField, message).of(second)));
        }
        if before == 0 {
            self.fresh(id).await?;
        }
        let (access, revision) = self.sees(id, &user, at_least).await?;
        let limit = self.settings.page(asked);
        let page = Page { id, access, revision, before, after, around, limit };
        let mut answer = self.pages.get(page, self.read(page)).await?;
        self.still(id, &user, revision, &mut answer.messages).await?;
        self.mark_mine(id, &user, answer.messages.iter_mut()).await?;
        Ok(Response::new(answer))
    }

    async fn get_messages(
        &self,
        request: Request<GetMessagesRequest>,
    ) -> Result<Response<GetMessagesResponse>, Status> {
        let GetMessagesRequest { conversation: id, user, mut seqs } = request.into_inner();
        let id = conversation(&id)?;
        let most = self.settings.max_page_size as usize;
        if seqs.len() > most {
            let message = format!("at most {most} messages are asked for at once");
            return Err(to_status(&Refusal::new(Reason::TooLarge, message).of("seqs")));
        }
        let (access, revision) = self.access(id, &user, 0).await?;
        seqs.sort_unstable();
        seqs.dedup();
        let wanted = seqs
            .into_iter()
            .filter(|seq| (access.first_seq..=access.last_seq).contains(seq))
            .map(|seq| (id, seq))
            .collect();
        let found = self.store.messages(wanted).await.map_err(failed)?;
        let mut messages: Vec<_> = found.into_iter().map(|(_, message)| message).collect();
        self.still(id, &user, revision, &mut messages).await?;
        self.mark_mine(id, &user, messages.iter_mut()).await?;
        Ok(Response::new(GetMessagesResponse { messages }))
    }

    async fn batch_get_messages(
        &self,
        request: Request<BatchGetMessagesRequest>,
    ) -> Result<Response<BatchGetMessagesResponse>, Status> {
        self.many_messages(request.into_inner()).await.map(Response::new)
    }

    async fn load_message(
        &self,
        request: Request<LoadMessageRequest>,
    ) -> Result<Response<LoadMessageResponse>, Status> {
        self.load(request.into_inner()).await.map(Response::new)
    }

    async fn list_client_ids(
        &self,
        request: Request<ListClientIdsRequest>,
    ) -> Result<Response<ListClientIdsResponse>, Status> {
        let ListClientIdsRequest { conversation: id, since_micros, at_least } = request.into_inner();
        let id = conversation(&id)?;
        self.reach(id, at_least).await?;
        let uses = self.store.uses(id, since_micros, IDS + 1).await.map_err(failed)?;
        if uses.len() > IDS {
            let message = "too many messages since then: the id counts as expired";
            return Err(to_status(&Refusal::new(Reason::ClientIdExpired, message)));
        }
        Ok(Response::new(ListClientIdsResponse { uses }))
    }

    async fn list_changes(
        &self,
        request: Request<ListChangesRequest>,
    ) -> Result<Response<ListChangesResponse>, Status> {
        self.changes(request.into_inner()).await.map(Response::new)
    }

    async fn batch_list_changes(
        &self,
        request: Request<BatchListChangesRequest>,
    ) -> Result<Response<BatchListChangesResponse>, Status> {
        self.many_changes(request.into_inner()).await.map(Response::new)
    }

    async fn get_cursor(&self, request: Request<GetCursorRequest>) -> Result<Response<GetCursorResponse>, Status> {
        let position = self.store.cursor(request.into_inner().shard).await.map_err(failed)?;
        Ok(Response::new(GetCursorResponse { position }))
    }

    async fn stream_events(
        &self,
        request: Request<StreamEventsRequest>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        self.stream(request.into_inner()).await.map(Response::new)
    }

    async fn erase(&self, request: Request<EraseRequest>) -> Result<Response<EraseResponse>, Status> {
        self.erase_some(request.into_inner()).await.map(Response::new)
    }
}
