//! The form of what is registered: judged once, here; what is kept can be sent to.

use crate::{address::is_public, store::Target};
use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::Uri;
use madang_proto::{
    notify::v1::{Provider, WebPush, set_subscription_request::Target as Wanted},
    reason::{Reason, Refusal},
};
use ring::{
    agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral},
    rand::SystemRandom,
};
use std::net::IpAddr;

/// The longest endpoint, URL or token, in bytes.
const ADDRESS: usize = 2048;
/// Browsers give base64url without padding; some libraries pad.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A field is wrong: how it must be.
fn invalid(field: &str, must: &str) -> Refusal {
    Refusal::new(Reason::InvalidField, format!("{field} {must}")).of(field)
}

/// Where a device is to be notified. `loopback`: also this machine may be called, for tests.
pub fn target(wanted: Option<Wanted>, loopback: bool) -> Result<Target, Refusal> {
    match wanted {
        Some(Wanted::WebPush(WebPush { endpoint, p256dh, auth })) => {
            url(&endpoint, loopback).map_err(|why| invalid("webPush.endpoint", why))?;
            let mut secret = key(&p256dh)?;
            let auth = BASE64.decode(&auth).ok().filter(|auth| auth.len() == 16);
            secret.extend(auth.ok_or_else(|| invalid("webPush.keys.auth", "must be 16 bytes in base64url"))?);
            Ok(Target { provider: Provider::WebPush, address: endpoint, secret })
        }
        Some(Wanted::Fcm(fcm)) => {
            let good =
                (1..=ADDRESS).contains(&fcm.token.len()) && fcm.token.bytes().all(|byte| byte.is_ascii_graphic());
            if !good {
                return Err(invalid("fcm.token", "must be a registration token of Firebase, as it was given"));
            }
            Ok(Target { provider: Provider::Fcm, address: fcm.token, secret: Vec::new() })
        }
        Some(Wanted::Apns(apns)) => {
            let token = apns.token.to_ascii_lowercase();
            if !(32..=200).contains(&token.len()) || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(invalid("apns.token", "must be a device token of Apple, in hexadecimal"));
            }
            Ok(Target { provider: Provider::Apns, address: token, secret: vec![u8::from(apns.sandbox)] })
        }
        Some(Wanted::Webhook(webhook)) => {
            url(&webhook.url, loopback).map_err(|why| invalid("webhook.url", why))?;
            if !(16..=256).contains(&webhook.secret.len()) {
                return Err(invalid("webhook.secret", "must have 16 to 256 bytes"));
            }
            Ok(Target { provider: Provider::Webhook, address: webhook.url, secret: webhook.secret.into_bytes() })
        }
        None => {
            let message = "say where to notify: give webPush, fcm, apns or webhook";
            Err(Refusal::new(Reason::InvalidField, message).of("target"))
        }
    }
}

/// A browser's public key, which is a point of the curve.
fn key(text: &str) -> Result<Vec<u8>, Refusal> {
    let none = || invalid("webPush.keys.p256dh", "must be an uncompressed point of P-256 in base64url");
    let key = BASE64.decode(text).map_err(|_| none())?;
    let own = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).map_err(|_| none())?;
    agree_ephemeral(own, &UnparsedPublicKey::new(&ECDH_P256, &key), |_| ()).map_err(|_| none())?;
    Ok(key)
}

/// An address that may be called: https, and none that names a place within.
fn url(text: &str, loopback: bool) -> Result<(), &'static str> {
    if text.len() > ADDRESS || !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('#') {
        return Err("must be a URL of at most 2,048 characters of ASCII, without a fragment");
    }
    let uri: Uri = text.parse().map_err(|_| "must be a URL")?;
    let https = uri.scheme_str() == Some("https");
    let authority = uri.authority().filter(|_| https).ok_or("must begin with https://")?;
    if authority.as_str().contains('@') {
        return Err("must not name a user");
    }
    let host = authority.host();
    let address: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    match address {
        Some(address) if is_public(address) || (loopback && address.is_loopback()) => Ok(()),
        Some(_) => Err("must not name an address that is not public"),
        // RFC 6761, 6.3. Other names are looked at when they are resolved.
        None if !loopback && is_local(host) => Err("must not name this machine"),
        None if host.is_empty() => Err("must name a host"),
        None => Ok(()),
    }
}

/// Whether a name is one of those that mean this machine.
fn is_local(host: &str) -> bool {
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next().unwrap_or_default();
    last.eq_ignore_ascii_case("localhost")
}

/// The language of texts.
pub fn locale(text: String) -> Result<String, Refusal> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if text.len() > 35 || !text.chars().all(good) {
        return Err(invalid("locale", "must be a language tag, such as ko or en-GB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::notify::v1::{Apns, Fcm, Webhook};

    // Of RFC 8291, section 5.
    const KEY: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";

    fn web(endpoint: &str, p256dh: &str, auth: &str) -> Result<Target, Refusal> {
        let web = WebPush { endpoint: endpoint.into(), p256dh: p256dh.into(), auth: auth.into() };
        target(Some(Wanted::WebPush(web)), false)
    }

    #[test]
    fn what_can_be_sent_to_is_taken_and_nothing_else() {
        let good = "https://push.example.com/send/abc?x=1";
        let auth = "BTBZMqHH6r4Tts7J_aSIgg";
        let taken = web(good, KEY, auth).unwrap();
        assert_eq!((taken.address.as_str(), taken.secret.len()), (good, 81));
        assert_eq!(web(good, &format!("{KEY}="), &format!("{auth}==")).unwrap(), taken, "padded");
        for endpoint in [
            "",
            "http://push.example.com/",
            "https://",
            "https:///x",
            "https://a@push.example.com/",
            "ftp://a/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://localhost/",
            "https://push.LocalHost.:8443/",
            "https://169.254.169.254/latest",
            "https://10.0.0.1:443/",
            "https://a/ b",
            "https://a/\r\nx",
            "https://a/#x",
        ] {
            assert!(web(endpoint, KEY, auth).is_err(), "{endpoint}");
        }
        let off_the_curve = URL_SAFE_NO_PAD.encode([4; 65]);
        for (key, auth) in [("", auth), ("AAAA", auth), (&off_the_curve, auth), (KEY, ""), (KEY, "AAAA"), (KEY, "한")]
        {
            let refused = web(good, key, auth).unwrap_err();
            assert_eq!(refused.reason, Reason::InvalidField);
            assert!(refused.field.starts_with("webPush.keys.") && refused.message.starts_with(&refused.field));
        }
        let hook = |url: &str, secret: &str| {
            target(Some(Wanted::Webhook(Webhook { url: url.into(), secret: secret.into() })), true).is_ok()
        };
        assert!(hook("https://127.0.0.1:1/x", "0123456789abcdef") && !hook("https://10.0.0.1/x", "0123456789abcdef"));
        assert!(!hook("https://example.com/x", "short"));
        let apns = |token: &str| target(Some(Wanted::Apns(Apns { token: token.into(), sandbox: true })), false);
        assert_eq!(apns(&"AB".repeat(32)).unwrap().address, "ab".repeat(32));
        assert!(apns("xy").is_err() && apns("../..").is_err());
        let fcm = |token: &str| target(Some(Wanted::Fcm(Fcm { token: token.into() })), false).is_ok();
        assert!(fcm("abc:APA91b_x-y") && !fcm("") && !fcm("a b") && !fcm(&"a".repeat(2049)));
        assert!(target(None, true).is_err());
        assert!(locale("en-GB".into()).is_ok() && locale(String::new()).is_ok() && locale("한국어".into()).is_err());
    }

    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
}
