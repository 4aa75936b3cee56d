//! Where one's devices are notified.

use crate::{
    Shared,
    auth::Caller,
    problem::{Body, Path, Problem, invalid},
};
use axum::{Json, extract::State, http::StatusCode};
use madang_proto::notify::v1::{
    Apns, DeleteSubscriptionRequest, Fcm, GetKeyRequest, SetSubscriptionRequest, WebPush, Webhook,
    set_subscription_request::Target,
};
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) async fn key(State(mut shared): State<Shared>, _: Caller) -> Result<Json<Value>, Problem> {
    let key = shared.notify.get_key(GetKeyRequest {}).await?.into_inner().key;
    Ok(Json(json!({ "key": key })))
}

/// Where a device is to be notified: exactly one of the four.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    web_push: Option<Browser>,
    fcm: Option<Firebase>,
    apns: Option<Apple>,
    webhook: Option<Server>,
    #[serde(default)]
    locale: String,
    #[serde(default)]
    preview: bool,
}

/// A browser's `PushSubscription`, as its `toJSON()` gives it.
#[derive(Deserialize)]
struct Browser {
    endpoint: String,
    keys: Keys,
}

#[derive(Deserialize)]
struct Keys {
    p256dh: String,
    auth: String,
}

#[derive(Deserialize)]
struct Firebase {
    token: String,
}

#[derive(Deserialize)]
struct Apple {
    token: String,
    #[serde(default)]
    sandbox: bool,
}

#[derive(Deserialize)]
struct Server {
    url: String,
    secret: String,
}

pub(crate) async fn put(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Path(device): Path<String>,
    Body(body): Body<Subscription>,
) -> Result<StatusCode, Problem> {
    let Subscription { web_push, fcm, apns, webhook, locale, preview } = body;
    let web_push = web_push
        .map(|Browser { endpoint, keys: Keys { p256dh, auth } }| Target::WebPush(WebPush { endpoint, p256dh, auth }));
    let fcm = fcm.map(|Firebase { token }| Target::Fcm(Fcm { token }));
    let apns = apns.map(|Apple { token, sandbox }| Target::Apns(Apns { token, sandbox }));
    let webhook = webhook.map(|Server { url, secret }| Target::Webhook(Webhook { url, secret }));
    let mut targets = [web_push, fcm, apns, webhook].into_iter().flatten();
    let (Some(target), None) = (targets.next(), targets.next()) else {
        return Err(invalid("give exactly one of webPush, fcm, apns and webhook"));
    };
    let user = me.user.to_string();
    let request = SetSubscriptionRequest { user, device, target: Some(target), locale, preview };
    shared.notify.set_subscription(request).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn delete(
    State(mut shared): State<Shared>,
    Caller(me): Caller,
    Path(device): Path<String>,
) -> Result<StatusCode, Problem> {
    shared.notify.delete_subscription(DeleteSubscriptionRequest { user: me.user.to_string(), device }).await?;
    Ok(StatusCode::NO_CONTENT)
}
