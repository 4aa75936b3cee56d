//! What happened while a client was away: of one conversation, or of all that are behind, in one call.

use crate::{
    Shared,
    auth::Caller,
    conversations::{Page, id},
    newness::within,
    problem::{Body, Params, Path, Problem, number, wrong},
};
use axum::{Json, extract::State};
use madang_proto::{
    reason::{Reason, Refusal},
    store::v1::{BatchListChangesRequest, ConversationRevision, ListChangesRequest},
};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// How many conversations are asked about at once, at most.
const CONVERSATIONS: usize = 100;

pub(crate) async fn of_one(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Path(c): Path<String>,
    Params(asked): Params<Page>,
) -> Result<Json<Value>, Problem> {
    let Page { since, limit, at_least, .. } = asked;
    let message = "since must be a revision, of which on changes are wanted: a number, 0 for all there is";
    let since = since.and_then(|since| since.parse().ok()).ok_or_else(|| wrong("since", message))?;
    let (user, conversation) = (me.user.to_string(), id(&c)?);
    let request = ListChangesRequest { conversation, user, since, limit, at_least };
    let answer = within(shared.waits.clone(), (me.user, at_least), async {
        Ok(shared.store.list_changes(request).await?.into_inner())
    })
    .await?;
    Ok(Json(json!({
        "messages": answer.messages, "notices": answer.notices, "revision": answer.revision.to_string(),
        "more": answer.more,
    })))
}

/// Since when, of which conversations.
#[derive(Deserialize)]
pub struct Many {
    since: Vec<Since>,
}

#[derive(Deserialize)]
struct Since {
    conversation: String,
    #[serde(deserialize_with = "revision")]
    revision: u64,
}

/// A revision in either form of a number.
fn revision<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    number(from, "revision must be a number from 0 on")
}

pub(crate) async fn of_many(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Body(Many { since }): Body<Many>,
) -> Result<Json<Value>, Problem> {
    if since.len() > CONVERSATIONS {
        let message = format!("since names {} conversations: ask for at most {CONVERSATIONS} at once", since.len());
        return Err(Refusal::new(Reason::TooLarge, message).of("since").into());
    }
    let since = since
        .into_iter()
        .map(|each| Ok(ConversationRevision { conversation: id(&each.conversation)?, revision: each.revision }))
        .collect::<Result<_, Problem>>()?;
    let request = BatchListChangesRequest { user: me.user.to_string(), since };
    let changes = shared.store.batch_list_changes(request).await?.into_inner().changes;
    let changes: Vec<_> = changes
        .into_iter()
        .map(|each| {
            json!({
                "conversation": each.conversation, "messages": each.messages, "notices": each.notices,
                "revision": each.revision.to_string(), "more": each.more, "tooOld": each.too_old,
            })
        })
        .collect();
    Ok(Json(json!({ "changes": changes })))
}
