//! Firebase Cloud Messaging, HTTP v1: `data` messages, which the app shows and clears by itself. Who we are is an OAuth
//! token, got with a service account's key and used until shortly before it ends.
//!
//! They have no `collapse_key`. Of a device that is off, Firebase keeps four keys, any four, so that whoever writes in a
//! fifth conversation would be dropped without a word; and of a key it lets one message through in three minutes once
//! there were twenty. Without one it keeps a hundred messages, and tells the app where there were more
//! (`onDeletedMessages`). That one notification is shown of each conversation is the app's doing, by the `conversation`
//! and `seq` in the data: with `android.notification.tag` the system would show it, and nobody clear it.

mod token;

use super::{Clock, Provider, Told, Verdict, jwt::Key};
use crate::{
    http::{Answer, Http},
    notice::{Notice, TTL},
    store::Subscription,
};
use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Uri};
use madang_proto::notify::v1::Provider as Name;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use token::Tokens;

/// The longest payload of data, in bytes, with room for what is around it.
const MOST: usize = 4096;

/// A service account, as Google gives it: a JSON file.
#[derive(Deserialize)]
pub struct Account {
    project_id: String,
    client_email: String,
    private_key: String,
    private_key_id: String,
    token_uri: String,
}

/// An account with Firebase.
pub struct Fcm {
    http: Http,
    /// Where pushes are sent to.
    to: String,
    tokens: Arc<Tokens>,
}

/// The service account can't be used. Says nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a service account of Google, as JSON, with an RSA key")]
pub struct BadAccount;

fn payload(notice: &Notice) -> Vec<u8> {
    Value::Object(notice.fields()).to_string().into_bytes()
}

impl Fcm {
    /// With a service account; `base`: https://HOST of the API.
    pub fn new(clock: Clock, http: Http, account: &str, base: &str) -> Result<Self, BadAccount> {
        let account: Account = serde_json::from_str(account).map_err(|_| BadAccount)?;
        let key = Key::rsa(&account.private_key).map_err(|_| BadAccount)?;
        let to = format!("{base}/v1/projects/{}/messages:send", account.project_id);
        Ok(Self { tokens: Arc::new(Tokens::new(clock, http.clone(), account, key)), http, to })
    }
}

fn body(to: &Subscription, notice: &Notice) -> Option<Vec<u8>> {
    let data: Value = serde_json::from_slice(&notice.fitting(MOST - 512, payload)?).ok()?;
    let priority = if notice.is_message() { "HIGH" } else { "NORMAL" };
    let android = json!({"priority": priority, "ttl": format!("{TTL}s")});
    let message = json!({"token": to.target.address, "data": data, "android": android});
    Some(json!({"message": message}).to_string().into_bytes())
}

/// What Firebase means by an answer.
fn judge(answer: &Answer) -> Told {
    let Some(said) = answer.said() else { return Told::unexplained(answer) };
    let details = said["error"]["details"].as_array().cloned().unwrap_or_default();
    let code = details.iter().find_map(|detail| detail["errorCode"].as_str()).unwrap_or_default();
    let told = Told::of(answer);
    let verdict = match (told.status, code) {
        (_, "UNREGISTERED") => Verdict::Gone,
        // Every device's, where the service account is of another project; or one's alone, whose app is. The other: it
        // is of Apple's or a browser's, for which the project has no key.
        (_, "SENDER_ID_MISMATCH" | "THIRD_PARTY_AUTH_ERROR") => Verdict::Mismatch,
        // The account, what it may do, the project: the operator's to mend, and none of the device's.
        (401 | 403 | 404, _) => Verdict::Later(None),
        _ => told.verdict,
    };
    Told { verdict, ..told }
}

impl Fcm {
    async fn tell(&self, uri: &Uri, body: &[u8]) -> Told {
        let mut refused = None;
        loop {
            let token = match self.tokens.get(refused.as_deref()).await {
                Ok(token) => token,
                Err(told) => return told,
            };
            let Ok(mut bearer) = format!("Bearer {token}").parse::<HeaderValue>() else { return Told::never() };
            bearer.set_sensitive(true);
            let mut headers = HeaderMap::new();
            headers.insert("authorization", bearer);
            headers.insert("content-type", HeaderValue::from_static("application/json"));
            let answer = match self.http.post(uri.clone(), headers, body.to_vec()).await {
                Ok(answer) => answer,
                Err(why) => return Told::failed(Name::Fcm, uri, why),
            };
            let told = judge(&answer);
            // It may have been withdrawn: once with another.
            if told.status != 401 || told.verdict == Verdict::Mismatch || refused.is_some() {
                return told;
            }
            refused = Some(token);
        }
    }
}

#[async_trait]
impl Provider for Fcm {
    fn host(&self, _: &Subscription) -> String {
        "fcm".into()
    }

    async fn ready(&self) -> Result<(), Told> {
        self.tokens.get(None).await.map(drop)
    }

    async fn send(&self, to: &Subscription, notice: &Notice) -> Told {
        let (Ok(uri), Some(body)) = (self.to.parse::<Uri>(), body(to, notice)) else { return Told::never() };
        let told = self.http.within(self.tell(&uri, &body)).await;
        told.map_or_else(|why| Told::failed(Name::Fcm, &uri, why), |told| told.said(Name::Fcm))
    }
}
