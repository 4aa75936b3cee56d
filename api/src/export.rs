//! All that is kept of somebody, as one JSON object that is written while it is read: profile, sessions, blocks, and each
//! conversation with what they said there. However much that is, a page of it is in memory; few are written at once, and
//! one that nobody reads is given up. An export that breaks off is not the whole of it: the connection then ends without
//! the body's end.

use crate::{
    Shared,
    accounts::{find, sessions_of},
    auth::Caller,
    conversations::with_profiles,
    problem::Problem,
};
use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use madang_mesh::{
    status::from_status,
    token::{Claims, bad_token},
};
use madang_proto::{
    account::v1::ListBlocksRequest,
    client::v1::{Conversation, Message},
    group::v1::ListConversationsRequest,
    id::UserId,
    reason::{Reason, Refusal},
    store::v1::ListMessagesRequest,
};
use serde::Serialize;
use serde_json::json;
use std::{
    collections::HashSet,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// How many are written at once, each for another user.
const AT_ONCE: usize = 4;
/// How many parts wait for their reader.
const PARTS: usize = 4;
/// About how large a part is, in bytes.
const PART: usize = 64 << 10;
/// How long a reader may take for a part.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much is asked for at once.
const PAGE: u32 = 200;
/// How often what is not available at the moment is asked for again, and after how long.
const TRIES: u32 = 20;
const AGAIN: Duration = Duration::from_millis(500);

/// For whom exports are written at the moment.
#[derive(Debug, Default)]
pub(crate) struct Exports(Mutex<HashSet<UserId>>);

/// A user's place among them, until it goes.
struct Place(Arc<Exports>, UserId);

impl Exports {
    fn users(&self) -> MutexGuard<'_, HashSet<UserId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One for each user, so that who reads slowly keeps no more than that from others.
    fn take(self: Arc<Self>, user: UserId) -> Result<Place, Refusal> {
        let busy = |message| Refusal::new(Reason::Overloaded, message).after(10_000);
        let mut users = self.users();
        if users.contains(&user) {
            return Err(busy("an export of yours is under way: read it to its end, or try again a little later"));
        }
        if users.len() >= AT_ONCE {
            return Err(busy("others export at the moment: try again a little later"));
        }
        users.insert(user);
        drop(users);
        Ok(Place(self, user))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.users().remove(&self.1);
    }
}

pub(crate) async fn export(State(shared): State<Shared>, Caller(me): Caller) -> Result<Response, Problem> {
    let place = shared.exports.clone().take(me.user)?;
    let (sender, parts) = mpsc::channel(PARTS);
    let mut writer = Writer { shared, me, sender, part: Vec::new() };
    // What fails before anything was written is answered as a problem.
    writer.begin().await?;
    tokio::spawn(async move {
        let _place = place;
        if let Err(end) = writer.write().await {
            match end {
                End::Gone => {}
                End::Failed(refusal) => {
                    tracing::warn!(reason = refusal.reason.word(), why = refusal.message, "an export breaks off");
                    drop(writer.sender.send(Err(io::Error::other("it can't be read to its end"))).await);
                }
            }
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"madang.json\""),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(ReceiverStream::new(parts))).into_response())
}

/// Why one is not written to its end.
enum End {
    /// Nobody reads it.
    Gone,
    Failed(Refusal),
}

impl From<tonic::Status> for End {
    fn from(status: tonic::Status) -> Self {
        Self::Failed(from_status(&status))
    }
}

struct Writer {
    shared: Shared,
    me: Claims,
    sender: mpsc::Sender<io::Result<Bytes>>,
    part: Vec<u8>,
}

/// What comes, or why it does not; again where it is not available at the moment.
macro_rules! persist {
    ($call:expr) => {{
        let mut tries = 0;
        loop {
            match $call.await {
                Ok(answer) => break Ok(answer.into_inner()),
                Err(status) if tries < TRIES && from_status(&status).reason.retryable() => {
                    tries += 1;
                    tokio::time::sleep(AGAIN).await;
                }
                Err(status) => break Err(status),
            }
        }
    }};
}

impl Writer {
    fn put(&mut self, value: &impl Serialize) -> Result<(), End> {
        let failed = |error: serde_json::Error| End::Failed(Refusal::new(Reason::Internal, error.to_string()));
        serde_json::to_writer(&mut self.part, value).map_err(failed)
    }

    async fn flush(&mut self, least: usize) -> Result<(), End> {
        if self.part.len() < least.max(1) {
            return Ok(());
        }
        // Whoever it was made for may have been logged out since, as a thief is.
        if self.shared.verifier.has_ended(self.me.session) {
            return Err(End::Failed(bad_token()));
        }
        let part = std::mem::take(&mut self.part).into();
        let sent = tokio::time::timeout(PATIENCE, self.sender.send(Ok(part))).await;
        sent.map_err(|_| End::Gone)?.map_err(|_| End::Gone)
    }

    /// Everything but conversations.
    async fn begin(&mut self) -> Result<(), Problem> {
        let user = find(&mut self.shared, vec![self.me.user.to_string()]).await?.pop();
        let sessions = sessions_of(&mut self.shared, self.me).await?;
        self.part = format!("{{\"user\":{},\"sessions\":{}", json!(user), json!(sessions)).into_bytes();
        Ok(())
    }

    async fn write(&mut self) -> Result<(), End> {
        self.blocks().await?;
        self.part.extend_from_slice(b",\"conversations\":[");
        let (user, mut page_token, mut first) = (self.me.user.to_string(), String::new(), true);
        loop {
            let request = ListConversationsRequest {
                user: user.clone(),
                page_size: PAGE,
                page_token: page_token.clone(),
                since: String::new(),
            };
            let mut page = persist!(self.shared.group.clone().list_conversations(request.clone()))?;
            let failed = |_| End::Failed(Refusal::new(Reason::Unavailable, "profiles can't be read"));
            with_profiles(&mut self.shared, &mut page.conversations).await.map_err(failed)?;
            for conversation in page.conversations {
                if !std::mem::take(&mut first) {
                    self.part.push(b',');
                }
                self.conversation(&conversation).await?;
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        self.part.extend_from_slice(b"]}");
        self.flush(0).await
    }

    async fn blocks(&mut self) -> Result<(), End> {
        self.part.extend_from_slice(b",\"blocks\":[");
        let (user, mut page_token, mut first) = (self.me.user.to_string(), String::new(), true);
        loop {
            let request = ListBlocksRequest { user: user.clone(), page_size: PAGE, page_token: page_token.clone() };
            let page = persist!(self.shared.account.clone().list_blocks(request.clone()))?;
            for user in page.users {
                if !std::mem::take(&mut first) {
                    self.part.push(b',');
                }
                self.put(&user)?;
            }
            self.flush(PART).await?;
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        self.part.push(b']');
        Ok(())
    }

    /// A conversation, and what the user said there and may still see.
    async fn conversation(&mut self, conversation: &Conversation) -> Result<(), End> {
        self.part.extend_from_slice(b"{\"conversation\":");
        self.put(conversation)?;
        self.part.extend_from_slice(b",\"messages\":[");
        let user = self.me.user.to_string();
        let (mut after, mut first) = (conversation.first_seq.saturating_sub(1), true);
        loop {
            let request = ListMessagesRequest {
                conversation: conversation.conversation.clone(),
                user: user.clone(),
                after: Some(after),
                limit: PAGE,
                ..ListMessagesRequest::default()
            };
            let page = match persist!(self.shared.store.clone().list_messages(request.clone())) {
                Ok(page) => page,
                // Who has left it, or was put out, since the list was read sees no more of it: the others go on.
                Err(status) if from_status(&status).reason == Reason::ConversationNotFound => break,
                Err(status) => return Err(status.into()),
            };
            after = page.messages.last().map_or(after, |last| last.seq);
            let own = |message: &&Message| message.sender == user && !message.deleted;
            for message in page.messages.iter().filter(own) {
                if !std::mem::take(&mut first) {
                    self.part.push(b',');
                }
                self.put(message)?;
            }
            self.flush(PART).await?;
            if !page.has_after || page.messages.is_empty() {
                break;
            }
        }
        self.part.extend_from_slice(b"]}");
        Ok(())
    }
}
