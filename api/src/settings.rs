//! One's own settings of a conversation, changed by a JSON merge patch (RFC 7396): what is left out stays, null is as at
//! first.

use crate::{
    Shared,
    auth::Caller,
    conversations::id,
    problem::{Patch, Path, Problem, known, number_or_null, present},
};
use axum::{Json, extract::State};
use madang_proto::{
    client::v1::{Notify, Settings},
    group::v1::UpdateSettingsRequest,
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::HashMap;

/// What changes.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Changed {
    #[serde(deserialize_with = "time")]
    muted_until: Option<i64>,
    #[serde(deserialize_with = "word")]
    notify: Option<Option<Notify>>,
    #[serde(deserialize_with = "time")]
    pinned_at: Option<i64>,
    #[serde(deserialize_with = "present")]
    hidden: Option<Option<bool>>,
    #[serde(deserialize_with = "place")]
    cleared_seq: Option<u64>,
    #[serde(deserialize_with = "present")]
    data: Option<Option<HashMap<String, Option<String>>>>,
}

/// A time in either form of a number; null: 0.
fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    number_or_null(from, "a time must be a number of ms since 1970, or null").map(|number| Some(number.unwrap_or(0)))
}

/// A word for what is told; one that this server does not know changes nothing.
fn word<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<Notify>>, D::Error> {
    let value: Value = present(from)?.unwrap_or_default();
    if value.is_null() {
        return Ok(Some(None));
    }
    let notify: Notify = known(value).map_err(serde::de::Error::custom)?;
    Ok((notify != Notify::Unspecified).then_some(Some(notify)))
}

/// A message's number; null: 0.
fn place<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    number_or_null(from, "clearedSeq must be a message's number").map(|number| Some(number.unwrap_or(0)))
}

pub(crate) async fn update(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Path(c): Path<String>,
    Patch(changed): Patch<Changed>,
) -> Result<Json<Settings>, Problem> {
    let clear_data = changed.data == Some(None);
    let (put, drop): (Vec<_>, Vec<_>) =
        changed.data.flatten().unwrap_or_default().into_iter().partition(|(_, value)| value.is_some());
    let request = UpdateSettingsRequest {
        user: me.user.to_string(),
        conversation: id(&c)?,
        muted_until: changed.muted_until,
        notify: changed.notify.map(|notify| notify.unwrap_or(Notify::All).into()),
        pinned_at: changed.pinned_at,
        hidden: changed.hidden.map(Option::unwrap_or_default),
        cleared_seq: changed.cleared_seq,
        clear_data,
        data: put.into_iter().filter_map(|(key, value)| Some((key, value?))).collect(),
        drop_data: drop.into_iter().map(|(key, _)| key).collect(),
    };
    Ok(Json(shared.group.update_settings(request).await?.into_inner().settings.unwrap_or_default()))
}
