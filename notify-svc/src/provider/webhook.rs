//! Webhooks: a bot's own server is called, and knows by the signature who calls: `madang-signature: t=SECONDS,v1=HEX`,
//! HMAC-SHA-256 under its secret of `SECONDS.BODY`.

use super::{Provider, Told};
use crate::{http::Http, notice::Notice, store::Subscription};
use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Uri};
use madang_mesh::clock::now_ms;
use madang_proto::notify::v1::Provider as Name;
use ring::hmac;
use serde_json::Value;
use std::fmt::Write as _;

/// The header that the signature is in.
pub const SIGNATURE: &str = "madang-signature";

/// Webhooks.
pub struct Webhook {
    /// The way out.
    pub http: Http,
}

/// The signature of a body at a time.
#[must_use]
pub fn signature(secret: &[u8], seconds: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{seconds}.").as_bytes());
    context.update(body);
    let mut text = format!("t={seconds},v1=");
    for byte in context.sign().as_ref() {
        // Writing to a text can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[async_trait]
impl Provider for Webhook {
    fn host(&self, to: &Subscription) -> String {
        to.target.host()
    }

    async fn send(&self, to: &Subscription, notice: &Notice) -> Told {
        let Ok(uri) = to.target.address.parse::<Uri>() else { return Told::never() };
        let body = Value::Object(notice.fields()).to_string().into_bytes();
        let Ok(signature) = signature(&to.target.secret, now_ms() / 1000, &body).parse::<HeaderValue>() else {
            return Told::never();
        };
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert(SIGNATURE, signature);
        match self.http.post(uri.clone(), headers, body).await {
            Ok(answer) => Told::of(&answer),
            Err(why) => Told::failed(Name::Webhook, &uri, why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_the_secret_the_time_and_the_body() {
        let one = signature(b"0123456789abcdef", 7, b"{}");
        // openssl: printf '7.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
        assert!(one.starts_with("t=7,v1=") && one.len() == 7 + 64);
        assert_ne!(one[7..], signature(b"0123456789abcdeg", 7, b"{}")[7..]);
        assert_ne!(one[7..], signature(b"0123456789abcdef", 8, b"{}")[7..]);
        assert_ne!(one[7..], signature(b"0123456789abcdef", 7, b"{ }")[7..]);
    }
}
