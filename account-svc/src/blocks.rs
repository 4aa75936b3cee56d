//! Who blocks whom. A block is in force when it is answered: it is kept, and the home of what the two say to each other
//! has been told, so that it asks anew. Where that can't be done now it is done later, and the client is told to try again.

use crate::{
    accounts::{Accounts, failed},
    store::blocks::{Change, Untold},
};
use madang_mesh::clock::now_ms;
use madang_proto::{
    account::v1::ListBlocksResponse,
    chat::v1::{BlocksChanged, Operation, operation::Body},
    client::v1::User,
    id::{ConversationId, UserId},
    reason::{Reason, Refusal},
};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How many people one may block.
pub const MOST: usize = 10_000;
/// How many are listed at once: where nothing is asked for, and at most.
const PAGE: (u32, u32) = (50, 200);
/// How long a change is left to who asked for it before it counts as forgotten, in ms.
const FORGOTTEN_MS: i64 = 10_000;
/// How often it is looked for what was forgotten.
const LOOK: Duration = Duration::from_secs(5);
/// How much of that at once.
const AT_ONCE: usize = 100;

impl Accounts {
    /// Blocks somebody, or ends that.
    pub async fn set_block(&self, user: UserId, other: UserId, blocked: bool) -> Result<(), Refusal> {
        if user == other {
            return Err(Refusal::new(Reason::InvalidField, "one can't block oneself").of("other"));
        }
        if blocked && self.store.by_ids(vec![other]).await.map_err(failed)?.iter().all(|found| found.deleted) {
            return Err(Refusal::new(Reason::UserNotFound, "no such user: check the id"));
        }
        match self.store.set_block(user, other, blocked, MOST, now_ms()).await.map_err(failed)? {
            Change::Nothing => Ok(()),
            Change::TooMany => {
                let message = format!("you block {MOST} people, as many as one may: end another block first");
                Err(Refusal::new(Reason::TooManyBlocks, message))
            }
            Change::Kept(version) => {
                self.tell(Untold { user, other, version }).await?;
                self.changed(user);
                Ok(())
            }
        }
    }

    /// Tells the home of what the two say to each other.
    async fn tell(&self, change: Untold) -> Result<(), Refusal> {
        let conversation = ConversationId::direct(change.user, change.other);
        let body = Some(Body::BlocksChanged(BlocksChanged { other: change.other.to_string() }));
        let operation = Operation {
            conversation: conversation.to_string(),
            actor: change.user.to_string(),
            body,
            ..Operation::default()
        };
        self.operations.operate(conversation, operation).await?;
        self.store.told(change).await.map_err(failed)
    }

    /// Tells of changes that were kept and not told: their account-svc has died in between, or there was no home.
    pub(crate) async fn tell_forgotten(&self, drain: CancellationToken) {
        loop {
            tokio::select! {
                () = drain.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let forgotten = match self.store.untold(now_ms() - FORGOTTEN_MS, AT_ONCE).await {
                Ok(forgotten) => forgotten,
                Err(error) => {
                    tracing::warn!(%error, "blocks that were not told can't be looked for; trying again");
                    continue;
                }
            };
            for change in forgotten {
                let told = tokio::select! {
                    () = drain.cancelled() => return,
                    told = self.tell(change) => told,
                };
                if let Err(refusal) = told {
                    tracing::warn!(reason = refusal.reason.word(), "a home can't be told of a block; trying again");
                    break;
                }
            }
        }
    }

    /// Whom a user blocks: a page, by their ids.
    pub async fn list_blocks(&self, user: UserId, size: u32, token: &str) -> Result<ListBlocksResponse, Refusal> {
        let message = "pageToken must be one that a page of this list gave";
        let bad = |_| Refusal::new(Reason::InvalidField, message).of("pageToken");
        let after = if token.is_empty() { None } else { Some(token.parse().map_err(bad)?) };
        let size = if size == 0 { PAGE.0 } else { size.min(PAGE.1) } as usize;
        let mut ids = self.store.blocks(user, after, size + 1).await.map_err(failed)?;
        let more = ids.len() > size;
        ids.truncate(size);
        let next_page_token = ids.last().filter(|_| more).map(ToString::to_string).unwrap_or_default();
        let mut found = self.store.by_ids(ids.clone()).await.map_err(failed)?.into_iter().peekable();
        let one = |id: UserId| {
            let id = id.to_string();
            let known = found.next_if(|user| user.user == id);
            known.unwrap_or_else(|| User { user: id, deleted: true, ..User::default() })
        };
        Ok(ListBlocksResponse { users: ids.into_iter().map(one).collect(), next_page_token })
    }
}
