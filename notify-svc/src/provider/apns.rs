//! Apple Push Notification service: HTTP/2, with a provider token (ES256) that is made anew every 40 minutes: Apple takes
//! none over an hour old, and none that change more often than every 20 minutes.

use super::{Clock, Provider, Told, Verdict, jwt::Key};
use crate::{
    http::{Answer, Http},
    notice::{Notice, TTL},
    store::Subscription,
};
use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Uri};
use madang_proto::notify::v1::Provider as Name;
use serde_json::{Value, json};
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// How long a token is used, in seconds.
const USED: i64 = 40 * 60;
/// How soon another may be made though one was refused, in seconds.
const SOONEST: i64 = 20 * 60;
/// The longest payload, in bytes.
const MOST: usize = 4096;

/// An account with Apple.
pub struct Apns {
    /// The way out.
    pub http: Http,
    /// The key.
    pub key: Key,
    /// The key's id.
    pub key_id: String,
    /// The team's id.
    pub team: String,
    /// The app's bundle id.
    pub topic: String,
    /// https://HOST, of builds for people and of those for development.
    pub bases: [String; 2],
    /// The token, and when it was made, seconds since 1970.
    pub token: Mutex<Option<(String, i64)>>,
    /// Of each of the bases, that it has taken a push since the start.
    pub taken: [AtomicBool; 2],
    /// The time.
    pub clock: Clock,
}

fn payload(notice: &Notice) -> Vec<u8> {
    let mut fields = notice.fields();
    fields.remove("title");
    fields.remove("body");
    let aps = if notice.is_message() {
        let alert = match &notice.preview {
            Some((title, body)) => json!({"title": title, "body": body}),
            None => json!({"body": notice.language.message()}),
        };
        let thread = notice.conversation.to_string();
        json!({"alert": alert, "badge": notice.badge, "sound": "default", "thread-id": thread, "mutable-content": 1})
    } else {
        // In the background nothing else may be in it; the app finds the badge among the fields.
        json!({"content-available": 1})
    };
    fields.insert("aps".into(), aps);
    Value::Object(fields).to_string().into_bytes()
}

impl Apns {
    /// The token; another than the one that was refused, unless that is too new.
    fn token(&self, refused: Option<&str>) -> Option<String> {
        let now = (self.clock)();
        let mut kept = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((token, at)) = kept.as_ref() {
            let age = now - at;
            // Not one either of a clock that was ahead.
            if (0..if refused == Some(token) { SOONEST } else { USED }).contains(&age) {
                return Some(token.clone());
            }
        }
        let token = self.key.sign(&self.key_id, &json!({"iss": self.team, "iat": now})).ok()?;
        *kept = Some((token.clone(), now));
        Some(token)
    }

    fn headers(&self, token: &str, notice: &Notice) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        let mut bearer: HeaderValue = format!("bearer {token}").parse().ok()?;
        bearer.set_sensitive(true);
        headers.insert("authorization", bearer);
        headers.insert("apns-topic", self.topic.parse().ok()?);
        let (kind, priority) = if notice.is_message() { ("alert", "10") } else { ("background", "5") };
        headers.insert("apns-push-type", HeaderValue::from_static(kind));
        headers.insert("apns-priority", HeaderValue::from_static(priority));
        headers.insert("apns-expiration", ((self.clock)() + i64::from(TTL)).into());
        headers.insert("apns-collapse-id", notice.conversation.to_string().parse().ok()?);
        Some(headers)
    }
}

/// What Apple means by an answer; `is_right`: where it was asked, it has taken pushes to devices.
fn judge(answer: &Answer, to: &Subscription, is_right: bool) -> Told {
    let Some(said) = answer.said() else { return Told::unexplained(answer) };
    let told = Told::of(answer);
    let verdict = match (told.status, said["reason"].as_str().unwrap_or_default()) {
        // It was registered again since the device was last seen without the app.
        (410, _) if said["timestamp"].as_i64().is_some_and(|gone| gone < to.created_at) => Verdict::Refused,
        (410, _) => Verdict::Gone,
        // Every device's, where --apns-url is the other environment's: so only once there was one that was taken.
        (400, "BadDeviceToken") if is_right => Verdict::Gone,
        // Every device's, where --apns-topic is another app's; and if that is the one which testers have, theirs are taken
        // meanwhile. So that others are says nothing of this one.
        (400, "BadDeviceToken" | "DeviceTokenNotForTopic") => Verdict::Mismatch,
        // Our token, the path, the topic: the operator's to mend, or a clock's, and none of the device's.
        (403 | 404, _)
        | (400, "BadTopic" | "MissingTopic" | "TopicDisallowed")
        | (429, "TooManyProviderTokenUpdates") => Verdict::Later(None),
        _ => told.verdict,
    };
    Told { verdict, ..told }
}

impl Apns {
    async fn tell(&self, uri: &Uri, to: &Subscription, notice: &Notice) -> Told {
        let taken = &self.taken[usize::from(is_development(to))];
        let mut refused = None;
        loop {
            let Some(token) = self.token(refused.as_deref()) else { return Told::never() };
            if refused.as_ref() == Some(&token) {
                return Told { verdict: Verdict::Later(None), status: 403 };
            }
            let Some(headers) = self.headers(&token, notice) else { return Told::never() };
            let Some(body) = notice.fitting(MOST, payload) else { return Told::never() };
            let answer = match self.http.post(uri.clone(), headers, body).await {
                Ok(answer) => answer,
                Err(why) => return Told::failed(Name::Apns, uri, why),
            };
            // Once more with another token.
            if answer.status.as_u16() == 403 && refused.is_none() {
                refused = Some(token);
                continue;
            }
            let told = judge(&answer, to, taken.load(Ordering::Relaxed));
            if told.verdict == Verdict::Sent {
                taken.store(true, Ordering::Relaxed);
            }
            return told;
        }
    }
}

fn is_development(to: &Subscription) -> bool {
    to.target.secret == [1]
}

#[async_trait]
impl Provider for Apns {
    fn host(&self, to: &Subscription) -> String {
        if is_development(to) { "apns (development)".into() } else { "apns".into() }
    }

    async fn send(&self, to: &Subscription, notice: &Notice) -> Told {
        let base = &self.bases[usize::from(is_development(to))];
        let Ok(uri) = format!("{base}/3/device/{}", to.target.address).parse::<Uri>() else { return Told::never() };
        let told = self.http.within(self.tell(&uri, to, notice)).await;
        told.map_or_else(|why| Told::failed(Name::Apns, &uri, why), |told| told.said(Name::Apns))
    }
}
