//! Firebase Cloud Messaging, HTTP v1: `data` messages, which the app shows and clears by itself. Who we are is an OAuth
//! token, got with a service account's key and used until shortly before it ends.
//!
//! They have no `collapse_key`. Of a device that is off, Firebase keeps four keys, any four, so that whoever writes in a
//! fifth conversation would be dropped without a word; and of a key it lets one message through in three minutes once
//! there were twenty. Without one it keeps a hundred messages, and tells the app where there were more
//! (`onDeletedMessages`). That one notification is shown of each conversation is the app's doing, by the `conversation`
//! and `seq` in the data: with `android.notification.tag` the system would show it, and nobody clear it.

use super::{Provider, Told, Verdict, jwt::Key};
use crate::{
    http::{Answer, Http},
    notice::{Notice, TTL},
    store::Subscription,
};
use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Uri};
use madang_mesh::clock::now_ms;
use madang_proto::notify::v1::Provider as Name;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// What the token is for.
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// How long before its end a token is not used any more, in seconds.
const EARLY: i64 = 5 * 60;
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
    account: Account,
    key: Key,
    base: String,
    /// The token, and until when it is used, seconds since 1970. Held while one is asked for: all wait for the same.
    token: Mutex<Option<(String, i64)>>,
}

/// The service account can't be used. Says nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a service account of Google, as JSON, with an RSA key")]
pub struct BadAccount;

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: i64,
}

fn payload(notice: &Notice) -> Vec<u8> {
    Value::Object(notice.fields()).to_string().into_bytes()
}

impl Fcm {
    /// With a service account; `base`: https://HOST of the API.
    pub fn new(http: Http, account: &str, base: String) -> Result<Self, BadAccount> {
        let account: Account = serde_json::from_str(account).map_err(|_| BadAccount)?;
        let key = Key::rsa(&account.private_key).map_err(|_| BadAccount)?;
        Ok(Self { http, account, key, base, token: Mutex::default() })
    }

    /// The token; another than the one that was refused. Otherwise why not.
    async fn token(&self, refused: Option<&str>) -> Result<String, Told> {
        let mut kept = self.token.lock().await;
        let now = now_ms() / 1000;
        if let Some((token, until)) = kept.as_ref()
            && now < *until
            && refused != Some(token)
        {
            return Ok(token.clone());
        }
        let claims = json!({
            "iss": self.account.client_email, "scope": SCOPE, "aud": self.account.token_uri, "iat": now, "exp": now + 3600,
        });
        let never = |_| Told::never();
        let assertion = self.key.sign(&self.account.private_key_id, &claims).map_err(|_| Told::never())?;
        let body = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
        let uri: Uri = self.account.token_uri.parse().map_err(never)?;
        let answer = self.http.post(uri.clone(), headers, body.into_bytes()).await;
        let answer = answer.map_err(|why| Told::failed(Name::Fcm, &uri, why))?;
        let later = Told { verdict: Verdict::Later(answer.retry_after), status: answer.status.as_u16() };
        if !answer.status.is_success() {
            tracing::warn!(status = later.status, "Google gives no token for the service account");
            return Err(later);
        }
        let granted: Granted = serde_json::from_slice(&answer.body.unwrap_or_default()).map_err(|_| later)?;
        *kept = Some((granted.access_token.clone(), now + granted.expires_in - EARLY));
        Ok(granted.access_token)
    }

    fn body(&self, to: &Subscription, notice: &Notice) -> Option<Vec<u8>> {
        let data: Value = serde_json::from_slice(&notice.fitting(MOST - 512, payload)?).ok()?;
        let priority = if notice.is_message() { "HIGH" } else { "NORMAL" };
        let android = json!({"priority": priority, "ttl": format!("{TTL}s")});
        let message = json!({"token": to.target.address, "data": data, "android": android});
        Some(json!({"message": message}).to_string().into_bytes())
    }
}

/// What Firebase means by an answer.
fn judge(answer: &Answer) -> Told {
    let Some(said) = answer.said() else { return Told::unexplained(answer) };
    let details = said["error"]["details"].as_array().cloned().unwrap_or_default();
    let code = details.iter().find_map(|detail| detail["errorCode"].as_str()).unwrap_or_default();
    let told = Told::of(answer);
    let verdict = match (told.status, code) {
        (_, "UNREGISTERED" | "SENDER_ID_MISMATCH") => Verdict::Gone,
        // The project, the path: ours to mend, and none of the device's.
        (404, _) => Verdict::Refused,
        (401, _) => Verdict::Later(None),
        _ => told.verdict,
    };
    Told { verdict, ..told }
}

#[async_trait]
impl Provider for Fcm {
    fn host(&self, _: &Subscription) -> String {
        "fcm".into()
    }

    async fn send(&self, to: &Subscription, notice: &Notice) -> Told {
        let uri = format!("{}/v1/projects/{}/messages:send", self.base, self.account.project_id).parse::<Uri>();
        let (Ok(uri), Some(body)) = (uri, self.body(to, notice)) else { return Told::never() };
        let mut refused = None;
        loop {
            let token = match self.token(refused.as_deref()).await {
                Ok(token) => token,
                Err(told) => return told,
            };
            let Ok(mut bearer) = format!("Bearer {token}").parse::<HeaderValue>() else { return Told::never() };
            bearer.set_sensitive(true);
            let mut headers = HeaderMap::new();
            headers.insert("authorization", bearer);
            headers.insert("content-type", HeaderValue::from_static("application/json"));
            let answer = match self.http.post(uri.clone(), headers, body.clone()).await {
                Ok(answer) => answer,
                Err(why) => return Told::failed(Name::Fcm, &uri, why),
            };
            // It may have been withdrawn: once with another.
            if answer.status.as_u16() == 401 && refused.is_none() {
                refused = Some(token);
                continue;
            }
            return judge(&answer);
        }
    }
}
