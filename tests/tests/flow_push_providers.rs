//! Apple, Google and webhooks, as they document what they take: stand-ins that check tokens, headers and payloads, refuse
//! what is wrong with them, and misbehave.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use madang_proto::notify::v1::Outcome;
use madang_tests::{
    client::{call, sign_up},
    device::{Device, Doors},
    notify::Notify,
    push::{Answer, PushServer, Taken},
    vendors::{self, register, say, start},
};
use rcgen::{KeyPair, PublicKeyData as _};
use ring::{
    hmac,
    signature::{
        ECDSA_P256_SHA256_FIXED, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey,
        VerificationAlgorithm,
    },
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};

/// A token's head and claims, if its signature is good.
fn verified(token: &str, algorithm: &'static dyn VerificationAlgorithm, key: &[u8]) -> (Value, Value) {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    UnparsedPublicKey::new(algorithm, key).verify(signed.as_bytes(), &bytes(signature)).unwrap();
    let (head, claims) = signed.split_once('.').unwrap();
    (serde_json::from_slice(&bytes(head)).unwrap(), serde_json::from_slice(&bytes(claims)).unwrap())
}

fn is_token(taken: &Taken) -> bool {
    taken.path == "/token"
}

#[tokio::test(flavor = "multi_thread")]
async fn apple_is_told_as_it_documents_it() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let key = KeyPair::generate().unwrap();
    let flags = vendors::apple(folder.path(), &key, &push.url);
    let server = start(folder.path(), &push.ca, &flags).await;
    let (ann, bob, gone) =
        (sign_up(&server, "ann").await, sign_up(&server, "bob").await, sign_up(&server, "gone").await);
    let (token, other) = ("ab".repeat(32), "cd".repeat(32));
    assert_eq!(register(&server, &bob, json!({"apns": {"token": token}, "locale": "ko", "preview": true})).await, 204);
    assert_eq!(register(&server, &gone, json!({"apns": {"token": other, "sandbox": true}})).await, 204);
    let at_gone = format!("/3/device/{other}");
    let mut slow_down = 2;
    push.answer(move |taken| {
        if taken.path == at_gone {
            let body = json!({"reason": "Unregistered", "timestamp": 99_999_999_999_999_i64}).to_string();
            return Answer { body, ..Answer::status(410) };
        }
        slow_down -= 1;
        match slow_down {
            1 => Answer { body: json!({"reason": "TooManyRequests"}).to_string(), ..Answer::status(429) },
            0 => Answer { body: json!({"reason": "InternalServerError"}).to_string(), ..Answer::status(500) },
            _ => Answer::status(200),
        }
    });
    let ack = say(&server, &ann, &bob.id, "안녕").await;
    let path = format!("/3/device/{token}");
    for _ in 0..3 {
        let taken = push.at(&path).await;
        assert!(taken.http2, "Apple speaks nothing else");
        let bearer = taken.header("authorization").strip_prefix("bearer ").unwrap();
        let (head, claims) = verified(bearer, &ECDSA_P256_SHA256_FIXED, key.der_bytes());
        assert_eq!(
            (&head["alg"], &head["kid"], &claims["iss"]),
            (&json!("ES256"), &json!("KEY1234567"), &json!("TEAM123456"))
        );
        assert!(claims["iat"].is_i64());
        let headers =
            ["apns-topic", "apns-push-type", "apns-priority", "apns-collapse-id"].map(|name| taken.header(name));
        assert_eq!(headers, ["com.example.chat", "alert", "10", ack["conversation"].as_str().unwrap()]);
        assert!(taken.header("apns-expiration").parse::<i64>().unwrap() > 1_700_000_000);
        let body = taken.json();
        assert!(taken.body.len() <= 4096);
        assert_eq!(body["aps"]["alert"], json!({"title": "ann", "body": "안녕"}));
        assert_eq!(
            (&body["aps"]["badge"], &body["seq"], &body["type"]),
            (&json!(1), &json!("1"), &json!("PUSH_TYPE_MESSAGE"))
        );
        assert_eq!(body["conversation"], ack["conversation"]);
        assert!(body.get("title").is_none());
    }
    // What was shown is taken back: that it was is known once the answer has come.
    let reports = Notify::of(&server, folder.path());
    reports.wait(&bob.id, 1, Outcome::Sent).await;
    let path = format!("/v1/conversations/{}/read", ack["conversation"].as_str().unwrap());
    assert_eq!(call(&server, "PUT", &path, &bob.token, json!({"seq": "1"})).await.0, 200);
    let taken = push.next(|taken| taken.header("apns-push-type") == "background").await;
    assert_eq!((&taken.json()["aps"], &taken.json()["badge"]), (&json!({"content-available": 1}), &json!("0")));
    assert_eq!(taken.header("apns-priority"), "5");

    say(&server, &ann, &gone.id, "비밀").await;
    let taken = push.at(&format!("/3/device/{other}")).await;
    assert_eq!(taken.json()["aps"]["alert"], json!({"body": "New message"}), "without preview");
    reports.wait(&gone.id, 1, Outcome::Gone).await;
    say(&server, &ann, &gone.id, "2").await;
    say(&server, &ann, &bob.id, "2").await;
    push.next(|taken| taken.path.ends_with(&token) && taken.json()["seq"] == "2").await;
    assert_eq!(push.paths(), [""; 0], "who is gone is gone");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn google_is_told_as_it_documents_it() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let account = vendors::account(&push.url);
    let server = start(folder.path(), &push.ca, &vendors::google(folder.path(), &push.url)).await;
    let (ann, bob, gone) =
        (sign_up(&server, "ann").await, sign_up(&server, "bob").await, sign_up(&server, "gone").await);
    assert_eq!(
        register(&server, &bob, json!({"fcm": {"token": "bob:APA91b"}, "locale": "ko", "preview": true})).await,
        204
    );
    assert_eq!(register(&server, &gone, json!({"fcm": {"token": "gone:APA91b"}})).await, 204);
    // The first token is withdrawn before it is used.
    let granted = Arc::new(Mutex::new(0));
    let good = granted.clone();
    push.answer(move |taken| {
        let mut granted = good.lock().unwrap();
        if is_token(taken) {
            *granted += 1;
            let body = json!({"access_token": format!("ya29.{granted}"), "expires_in": 3599, "token_type": "Bearer"});
            return Answer { body: body.to_string(), ..Answer::status(200) };
        }
        if taken.header("authorization") != "Bearer ya29.2" {
            return Answer::status(401);
        }
        if taken.json()["message"]["token"] == "gone:APA91b" {
            let detail =
                json!({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED"});
            let body = json!({"error": {"code": 404, "status": "NOT_FOUND", "details": [detail]}}).to_string();
            return Answer { body, ..Answer::status(404) };
        }
        Answer { body: json!({"name": "projects/madang-test/messages/1"}).to_string(), ..Answer::status(200) }
    });
    let ack = say(&server, &ann, &bob.id, "안녕").await;
    let asked = push.next(is_token).await;
    let form = String::from_utf8(asked.body.to_vec()).unwrap();
    let assertion =
        form.strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=").unwrap();
    let key = PrivatePkcs8KeyDer::from_pem_slice(vendors::RSA.as_bytes()).unwrap();
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
    let (head, claims) = verified(assertion, &RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
    assert_eq!((&head["alg"], &head["kid"]), (&json!("RS256"), &json!("kid-1")));
    assert_eq!((&claims["iss"], &claims["aud"]), (&account["client_email"], &account["token_uri"]));
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/firebase.messaging");
    let sent = |taken: &Taken| taken.path == "/v1/projects/madang-test/messages:send";
    push.next(|taken| sent(taken) && taken.header("authorization") == "Bearer ya29.1").await;
    push.next(is_token).await;
    let taken = push.next(sent).await;
    assert!(taken.http2);
    let message = taken.json()["message"].clone();
    assert_eq!((&message["token"], taken.header("content-type")), (&json!("bob:APA91b"), "application/json"));
    assert_eq!(
        message["data"],
        json!({"type": "PUSH_TYPE_MESSAGE", "conversation": ack["conversation"], "seq": "1",
        "sender": ann.id, "badge": "1", "title": "ann", "body": "안녕"})
    );
    assert_eq!(message["android"], json!({"priority": "HIGH", "ttl": "86400s"}));
    say(&server, &ann, &gone.id, "1").await;
    let taken = push.next(sent).await;
    assert_eq!(taken.json()["message"]["token"], "gone:APA91b");
    Notify::of(&server, folder.path()).wait(&gone.id, 1, Outcome::Gone).await;
    say(&server, &ann, &gone.id, "2").await;
    say(&server, &ann, &bob.id, "2").await;
    let taken = push.next(sent).await;
    assert_eq!(
        (&taken.json()["message"]["token"], &taken.json()["message"]["data"]["seq"]),
        (&json!("bob:APA91b"), &json!("2"))
    );
    assert_eq!(push.paths(), [""; 0], "who is gone is gone, and a token is used again");
    assert_eq!(*granted.lock().unwrap(), 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_is_called_and_knows_who_calls() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let server = start(folder.path(), &push.ca, &[]).await;
    let (ann, bot) = (sign_up(&server, "ann").await, sign_up(&server, "bot").await);
    let (url, secret) = (format!("{}/hook", push.url), "0123456789abcdef");
    assert_eq!(
        register(&server, &ann, json!({"fcm": {"token": "x"}})).await,
        409,
        "there is no account with Google here"
    );
    assert_eq!(register(&server, &bot, json!({"webhook": {"url": url, "secret": secret}, "preview": true})).await, 204);
    let mut tries = 0;
    push.answer(move |_| {
        tries += 1;
        Answer::status(if tries == 1 { 503 } else { 204 })
    });
    say(&server, &ann, &bot.id, "/help").await;
    for _ in 0..2 {
        let taken = push.at("/hook").await;
        let (time, signature) = taken.header("madang-signature").split_once(",v1=").unwrap();
        let signed = [time.strip_prefix("t=").unwrap().as_bytes(), b".", &taken.body].concat();
        let bytes: Vec<u8> =
            (0..64).step_by(2).map(|at| u8::from_str_radix(&signature[at..at + 2], 16).unwrap()).collect();
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), &signed, &bytes).unwrap();
        assert_eq!((&taken.json()["body"], &taken.json()["seq"]), (&json!("/help"), &json!("1")));
    }
    server.stop().await;
}

/// What Firebase keeps of a device that is off: of a key the newest, of four keys at most; of what has none, a hundred
/// messages, and of more than that nothing but that there were more.
#[derive(Default)]
struct Kept(Vec<Value>);

impl Kept {
    fn take(&mut self, message: Value) {
        let key = |message: &Value| message["android"]["collapse_key"].as_str().map(str::to_owned);
        let of = key(&message);
        if of.is_some() {
            self.0.retain(|kept| key(kept) != of);
            let others = self.0.iter().filter(|kept| key(kept).is_some());
            if others.count() == 4 {
                let first = self.0.iter().position(|kept| key(kept).is_some()).unwrap();
                self.0.remove(first);
            }
        }
        self.0.push(message);
        if self.0.iter().filter(|kept| key(kept).is_none()).count() > 100 {
            self.0.retain(|kept| key(kept).is_some());
        }
    }

    /// What the app shows when the device is on again, in whichever order it comes: of each conversation the newest.
    fn shown(&self) -> BTreeMap<String, u64> {
        let mut shown = BTreeMap::new();
        for data in self.0.iter().rev().map(|message| &message["data"]) {
            let newest = shown.entry(data["conversation"].as_str().unwrap().to_owned()).or_default();
            *newest = data["seq"].as_str().unwrap().parse().unwrap_or(0).max(*newest);
        }
        shown
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_was_off_shows_each_conversation_once_however_many_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let server = start(folder.path(), &push.ca, &vendors::google(folder.path(), &push.url)).await;
    let bob = sign_up(&server, "bob").await;
    assert_eq!(register(&server, &bob, json!({"fcm": {"token": "bob:APA91b"}})).await, 204);
    push.answer(|taken| vendors::well(taken, "ya29.1"));
    let reports = Notify::of(&server, folder.path());
    let (mut kept, mut said) = (Kept::default(), BTreeMap::new());
    for n in 0..7 {
        let writer = sign_up(&server, &format!("writer{n}")).await;
        for seq in 1..=3 {
            let ack = say(&server, &writer, &bob.id, "?").await;
            let conversation = ack["conversation"].as_str().unwrap().to_owned();
            let of = |taken: &Taken| {
                taken.path.ends_with(":send") && taken.json()["message"]["data"]["conversation"] == conversation
            };
            kept.take(push.next(of).await.json()["message"].clone());
            // Its answer has come: what follows is not told in its place.
            reports.wait(&bob.id, seq, Outcome::Sent).await;
            said.insert(conversation, seq);
        }
    }
    assert_eq!(kept.shown(), said);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_set_korean_is_told_in_korean_by_whoever_carries_it() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let apple = vendors::apple(folder.path(), &KeyPair::generate().unwrap(), &push.url);
    let server = start(folder.path(), &push.ca, &[apple, vendors::google(folder.path(), &push.url)].concat()).await;
    push.answer(|taken| vendors::well(taken, "ya29.1"));
    let doors = Doors::of(&server);
    let ann = Device::sign_up(doors, "ann", "DEVICE_KIND_MOBILE").await;
    let mut members = Vec::new();
    for (name, preview) in [("shown", true), ("hidden", false)] {
        for provider in ["webPush", "apns", "fcm"] {
            let device =
                Device::sign_up(doors, &format!("{name}_{provider}").to_lowercase(), "DEVICE_KIND_MOBILE").await;
            // Of each its own, by which what it is told is found.
            let path = match provider {
                "webPush" => device.path.clone(),
                "apns" => format!("/3/device/{}", device.person.id.replace('-', "")),
                _ => format!("{}:APA91b", device.person.id),
            };
            let target = match provider {
                "webPush" => device.subscription(&push),
                "apns" => json!({"token": device.person.id.replace('-', "")}),
                _ => json!({"token": path}),
            };
            device.register(json!({provider: target, "locale": "ko-KR", "preview": preview})).await;
            members.push((device, provider, preview, path));
        }
    }
    let group = ann.group("마당 🏡", &members.iter().map(|(device, ..)| device).collect::<Vec<_>>()).await;
    let picture = json!({"conversation": group, "attachments": [
        {"url": "https://example.com/1", "name": "사진.webp", "mediaType": "image/webp", "size": "1"}]});
    let long = "가나다라마바사아자차👩‍👩‍👧".repeat(30);
    let cut: String = long.chars().take(199).chain(['…']).collect();
    for (seq, (to, text, shown)) in (1..).zip([
        (json!({"conversation": group}), "안녕하세요 👋🏽 \"여러분\"", "안녕하세요 👋🏽 \"여러분\""),
        (picture, "", "사진을 보냈습니다."),
        (json!({"conversation": group}), &long, &cut),
    ]) {
        ann.say(to, text).await;
        for (device, provider, preview, path) in &members {
            let of = |taken: &Taken| match *provider {
                "fcm" => taken.path.ends_with(":send") && taken.json()["message"]["token"] == *path,
                _ => taken.path == *path,
            };
            let taken = push.next(of).await;
            let (data, alert) = match *provider {
                "webPush" => (device.browser.decrypt(&taken.body), None),
                "apns" => (taken.json(), Some(taken.json()["aps"]["alert"].clone())),
                _ => (taken.json()["message"]["data"].clone(), None),
            };
            assert_eq!((&data["seq"], &data["conversation"]), (&json!(seq.to_string()), &json!(group)), "{provider}");
            let said = alert.clone().unwrap_or_else(|| data.clone());
            let expected = match (*preview, alert.is_some()) {
                (true, _) => (json!("마당 🏡"), json!(format!("ann 이름: {shown}"))),
                // The system shows it by itself, so it must say something.
                (false, true) => (Value::Null, json!("새 메시지")),
                (false, false) => (Value::Null, Value::Null),
            };
            assert_eq!((said["title"].clone(), said["body"].clone()), expected, "{provider}");
            let whole =
                if *provider == "webPush" { data.to_string() } else { String::from_utf8(taken.body.to_vec()).unwrap() };
            for secret in ["이름", "마당", "안녕", "사진", "가나다"] {
                assert!(*preview || !whole.contains(secret), "{provider}: {whole}");
            }
        }
    }
    server.stop().await;
}
