//! Web Push: encrypted for the browser (RFC 8291), signed for its push service (RFC 8292), sent to whichever endpoint the
//! browser has given (RFC 8030).

use super::{Provider, Told, Verdict};
use crate::{
    encryption::{self, encrypt},
    http::Http,
    notice::{Notice, TTL},
    store::Subscription,
    vapid::Vapid,
};
use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Uri};
use madang_proto::notify::v1::Provider as Name;
use ring::rand::SystemRandom;
use serde_json::Value;
use std::sync::Arc;

/// Web Push.
pub struct Web {
    /// The way out.
    pub http: Http,
    /// Who signs.
    pub vapid: Arc<Vapid>,
    /// Where salts and keys come from.
    pub random: SystemRandom,
}

fn payload(notice: &Notice) -> Vec<u8> {
    Value::Object(notice.fields()).to_string().into_bytes()
}

impl Web {
    fn headers(&self, origin: &str, notice: &Notice) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        let mut token: HeaderValue = self.vapid.header(origin).ok()?.parse().ok()?;
        token.set_sensitive(true);
        headers.insert("authorization", token);
        headers.insert("content-encoding", HeaderValue::from_static("aes128gcm"));
        headers.insert("content-type", HeaderValue::from_static("application/octet-stream"));
        headers.insert("ttl", TTL.into());
        let urgency = if notice.is_message() { "high" } else { "low" };
        headers.insert("urgency", HeaderValue::from_static(urgency));
        headers.insert("topic", notice.topic().parse().ok()?);
        Some(headers)
    }
}

#[async_trait]
impl Provider for Web {
    fn host(&self, to: &Subscription) -> String {
        to.target.host()
    }

    async fn send(&self, to: &Subscription, notice: &Notice) -> Told {
        let Ok(uri) = to.target.address.parse::<Uri>() else { return Told::never() };
        let Some(origin) = uri.authority().map(|authority| format!("https://{authority}")) else {
            return Told::never();
        };
        let Some(headers) = self.headers(&origin, notice) else { return Told::never() };
        let text = notice.fitting(encryption::MOST, payload);
        let body = text.and_then(|text| encrypt(&self.random, &to.target.secret, &text).ok());
        let Some(body) = body else { return Told::never() };
        let signed = headers.get("authorization").cloned();
        let told = match self.http.post(uri.clone(), headers, body).await {
            Ok(answer) => Told::of(&answer),
            Err(why) => return Told::failed(Name::WebPush, &uri, why),
        };
        match told.status {
            401 | 403
                if signed.as_ref().is_some_and(|by| self.vapid.forget(&origin, by.to_str().unwrap_or_default())) =>
            {
                Told { verdict: Verdict::Later(None), ..told }
            }
            // It does not know our key: another subscription would be needed.
            _ => told,
        }
    }
}
