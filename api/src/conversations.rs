//! Conversations and messages.

use crate::{
    Shared,
    accounts::find,
    auth::Caller,
    newness::within,
    problem::{Body, Params, Path, Problem, invalid, limit, number, place, wrong},
};
use axum::{Json, extract::State};
use madang_proto::{
    chat::v1::{MarkReadRequest, SendMessageRequest},
    client::v1::{Ack, Conversation, Message, Read, Send, User},
    group::v1::*,
    id::{ConversationId, UserId},
    store::v1::{BatchGetMessagesRequest, ListMessagesRequest, MessageNumber},
};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// Where the text of a list's last message is cut, in bytes.
const PREVIEW: usize = 1024;

/// The most bytes of a list's page; one conversation may exceed it, and what is beside them.
const PAGE_BYTES: usize = 1 << 20;
/// How often a page is asked for at most until it fits.
const PAGE_TRIES: u32 = 4;

/// What a list or a page is asked for.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Page {
    pub(crate) page_token: String,
    #[serde(deserialize_with = "limit")]
    pub(crate) limit: u32,
    #[serde(deserialize_with = "place")]
    before: u64,
    after: Option<u64>,
    #[serde(deserialize_with = "place")]
    around: u64,
    pub(crate) at_least: u64,
    pub(crate) since: Option<String>,
}

pub(crate) fn id(text: &str) -> Result<String, Problem> {
    let message = "the conversation must be named by its id: a UUID in lower-case canonical text";
    text.parse::<ConversationId>().map(|id| id.to_string()).map_err(|_| wrong("conversation", message))
}

/// Puts profiles in the place of ids.
pub(crate) async fn with_profiles(shared: &mut Shared, conversations: &mut [Conversation]) -> Result<(), Problem> {
    let people = conversations.iter().flat_map(|each| each.peer.iter().chain(&each.first_members));
    let ids: HashSet<String> = people.map(|user| user.user.clone()).collect();
    let profiles = profiles(shared, ids.into_iter().collect()).await?;
    for conversation in conversations {
        for user in conversation.peer.iter_mut().chain(&mut conversation.first_members) {
            if let Some(profile) = profiles.get(&user.user) {
                user.clone_from(profile);
            }
        }
    }
    Ok(())
}

async fn profiles(shared: &mut Shared, ids: Vec<String>) -> Result<HashMap<String, User>, Problem> {
    let mut profiles = HashMap::new();
    for some in ids.chunks(1000) {
        profiles.extend(find(shared, some.to_vec()).await?.into_iter().map(|user| (user.user.clone(), user)));
    }
    Ok(profiles)
}

/// Puts in each conversation's last message: one call for all of them.
pub(crate) async fn with_last_messages(
    shared: &mut Shared,
    user: &str,
    conversations: &mut [Conversation],
) -> Result<(), Problem> {
    let has_one = |conversation: &&Conversation| conversation.last_seq >= conversation.first_seq;
    let wanted: Vec<_> = conversations
        .iter()
        .filter(has_one)
        .map(|each| MessageNumber { conversation: each.conversation.clone(), seq: each.last_seq })
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let request = BatchGetMessagesRequest { user: user.to_owned(), wanted };
    let found = shared.store.batch_get_messages(request).await?.into_inner().found;
    let mut found: HashMap<String, Option<Message>> =
        found.into_iter().map(|each| (each.conversation, each.message)).collect();
    for conversation in conversations {
        conversation.last_message = found.remove(&conversation.conversation).flatten();
        if let Some(message) = &mut conversation.last_message
            && message.text.len() > PREVIEW
        {
            let end = (0..=PREVIEW).rev().find(|end| message.text.is_char_boundary(*end)).unwrap_or(0);
            message.text.truncate(end);
        }
    }
    Ok(())
}

/// How many of a page fit into its bytes, at least one.
fn fitting(conversations: &[Conversation]) -> Result<usize, Problem> {
    let mut bytes = 0;
    for (at, conversation) in conversations.iter().enumerate() {
        bytes += serde_json::to_vec(conversation).map_err(|error| invalid(error.to_string()))?.len() + 1;
        if bytes > PAGE_BYTES {
            return Ok(at.max(1));
        }
    }
    Ok(conversations.len())
}

pub(crate) async fn list(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Params(asked): Params<Page>,
) -> Result<Json<Value>, Problem> {
    let Page { page_token, limit, since, .. } = asked;
    let user = me.user.to_string();
    let since = match since {
        Some(since) if since.is_empty() => {
            let message = "since must be the `sync` of an earlier list; leave it out for all conversations";
            return Err(wrong("since", message));
        }
        since => since.unwrap_or_default(),
    };
    let mut request = ListConversationsRequest { user: user.clone(), page_size: limit, page_token, since };
    let mut answer;
    let mut tries = PAGE_TRIES;
    loop {
        answer = shared.group.list_conversations(request.clone()).await?.into_inner();
        with_profiles(&mut shared, &mut answer.conversations).await?;
        with_last_messages(&mut shared, &user, &mut answer.conversations).await?;
        let fits = fitting(&answer.conversations)?;
        tries -= 1;
        if fits == answer.conversations.len() || tries == 0 {
            break;
        }
        // A page that is shorter has another end, which only group-svc can name. What moves meanwhile may make it larger.
        request.page_size = u32::try_from(fits).unwrap_or(1);
    }
    Ok(Json(json!({
        "conversations": answer.conversations, "removed": answer.removed, "badge": answer.badge.to_string(),
        "sync": answer.sync, "nextPageToken": answer.next_page_token,
    })))
}

pub(crate) async fn one(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Path(c): Path<String>,
    Params(asked): Params<Page>,
) -> Result<Json<Conversation>, Problem> {
    let (user, at_least) = (me.user.to_string(), asked.at_least);
    let conversation = id(&c)?;
    within(shared.waits.clone(), (me.user, at_least), async {
        Ok(Json(show(&mut shared, user, conversation, at_least).await?))
    })
    .await
}

/// A conversation as one sees it.
pub(crate) async fn show(
    shared: &mut Shared,
    user: String,
    conversation: String,
    at_least: u64,
) -> Result<Conversation, Problem> {
    let request = GetConversationRequest { user: user.clone(), conversation, at_least };
    let mut conversation = shared.group.get_conversation(request).await?.into_inner().conversation.unwrap_or_default();
    with_profiles(shared, std::slice::from_mut(&mut conversation)).await?;
    with_last_messages(shared, &user, std::slice::from_mut(&mut conversation)).await?;
    Ok(conversation)
}

pub(crate) async fn members(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Path(c): Path<String>,
    Params(asked): Params<Page>,
) -> Result<Json<Value>, Problem> {
    let (user, conversation, at_least) = (me.user.to_string(), id(&c)?, asked.at_least);
    let request = ListMembersRequest { user, conversation, at_least };
    let mut answer = within(shared.waits.clone(), (me.user, at_least), async {
        Ok(shared.group.list_members(request).await?.into_inner())
    })
    .await?;
    let ids =
        answer.members.iter().filter_map(|member| member.profile.as_ref()).map(|user| user.user.clone()).collect();
    let profiles = profiles(&mut shared, ids).await?;
    for user in answer.members.iter_mut().filter_map(|member| member.profile.as_mut()) {
        if let Some(profile) = profiles.get(&user.user) {
            user.clone_from(profile);
        }
    }
    Ok(Json(json!({ "members": answer.members, "revision": answer.revision.to_string() })))
}

pub(crate) async fn messages(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Path(c): Path<String>,
    Params(asked): Params<Page>,
) -> Result<Json<Value>, Problem> {
    let Page { before, after, around, limit, at_least, .. } = asked;
    let (user, conversation) = (me.user.to_string(), id(&c)?);
    let request = ListMessagesRequest { conversation, user, before, after, around, limit, at_least };
    let answer = within(shared.waits.clone(), (me.user, at_least), async {
        Ok(shared.store.list_messages(request).await?.into_inner())
    })
    .await?;
    let mut page = json!({
        "messages": answer.messages, "notices": answer.notices, "revision": answer.revision.to_string(),
        "hasBefore": answer.has_before, "hasAfter": answer.has_after,
    });
    if let Some(until) = answer.notices_until {
        page["noticesUntil"] = json!(until.to_string());
    }
    Ok(Json(page))
}

fn for_user<T>(user: UserId, message: T) -> Result<tonic::Request<T>, Problem> {
    let mut request = tonic::Request::new(message);
    let value = user.to_string().parse().map_err(|_| invalid("the user can't be named"))?;
    request.metadata_mut().insert("madang-user", value);
    Ok(request)
}

pub(crate) async fn send(
    State(shared): State<Shared>,
    Caller(me): Caller,
    Body(send): Body<Send>,
) -> Result<Json<Ack>, Problem> {
    shared.limits.send(me.user)?;
    let request = for_user(me.user, SendMessageRequest { send: Some(send) })?;
    Ok(Json(shared.home(me.user).await?.send_message(request).await?.into_inner().ack.unwrap_or_default()))
}

/// Up to which message one has read.
#[derive(Deserialize)]
pub struct Mark {
    #[serde(deserialize_with = "seq")]
    seq: u64,
}

/// A message's number in either form.
fn seq<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    number(from, "seq must be a message's number")
}

pub(crate) async fn read(
    State(shared): State<Shared>,
    Caller(me): Caller,
    Path(c): Path<String>,
    Body(Mark { seq }): Body<Mark>,
) -> Result<Json<Ack>, Problem> {
    let read = Read { conversation: id(&c)?, seq };
    let request = for_user(me.user, MarkReadRequest { read: Some(read) })?;
    Ok(Json(shared.home(me.user).await?.mark_read(request).await?.into_inner().ack.unwrap_or_default()))
}
