//! Accounts with Apple and Google: how long their tokens are used, by a clock of the tests' own; what each answer means for
//! a device; and what becomes of pushes while Google gives no token.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use madang_notify::{
    http::{Http, Reach, trust},
    notice::Notice,
    provider::{Clock, Provider as _, Told, Verdict, apns::Apns, fcm::Fcm, jwt::Key},
    store::{Subscription, Target},
    words::Language,
};
use madang_proto::{
    client::v1::{DeviceKind, PushType},
    id::{ConversationId, DeviceId, SessionId, UserId},
    notify::v1::Provider,
};
use madang_tests::{
    PATIENCE,
    push::{Answer, PushServer, Taken},
    vendors,
};
use rcgen::KeyPair;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::sync::watch;
use uuid::Uuid;

const MINUTE: i64 = 60;

/// A provider's server, and a clock that stands still.
struct Stage {
    _folder: TempDir,
    push: PushServer,
    now: Arc<AtomicI64>,
    patience: Duration,
}

impl Stage {
    async fn set(patience: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let push = PushServer::start(folder.path()).await;
        Self { _folder: folder, push, now: Arc::new(AtomicI64::new(1_800_000_000)), patience }
    }

    fn clock(&self) -> Clock {
        let now = self.now.clone();
        Arc::new(move || now.load(Ordering::Relaxed))
    }

    fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }

    fn http(&self) -> Http {
        Http::new(trust(Some(&self.push.ca)).unwrap(), Reach::Anywhere, self.patience)
    }

    fn apple(&self) -> Apns {
        Apns {
            http: self.http(),
            key: Key::ecdsa(&KeyPair::generate().unwrap().serialize_pem()).unwrap(),
            key_id: "KEY1234567".into(),
            team: "TEAM123456".into(),
            topic: "com.example.chat".into(),
            bases: [self.push.url.clone(), self.push.url.clone()],
            token: Mutex::default(),
            taken: Default::default(),
            clock: self.clock(),
        }
    }

    fn google(&self) -> Fcm {
        let account = vendors::account(&self.push.url).to_string();
        Fcm::new(self.clock(), self.http(), &account, &self.push.url).unwrap()
    }

    /// Every push is answered so; Google's tokens are well.
    fn says(&self, status: u16, body: Value) {
        let said = Answer { body: body.to_string(), ..Answer::status(status) };
        self.push.answer(move |taken| if is_token(taken) { vendors::well(taken, "ya29.1") } else { said.clone() });
    }
}

fn is_token(taken: &Taken) -> bool {
    taken.path == "/token"
}

fn device(provider: Provider, secret: &[u8]) -> Subscription {
    Subscription {
        id: Uuid::new_v4(),
        user: UserId::new(),
        device: DeviceId::new(),
        session: SessionId::new(),
        kind: DeviceKind::Mobile,
        target: Target { provider, address: "ab".repeat(32), secret: secret.to_vec() },
        locale: String::new(),
        preview: false,
        created_at: 1000,
    }
}

fn notice() -> Notice {
    Notice {
        kind: PushType::Message,
        conversation: ConversationId::new(),
        seq: 1,
        sender: None,
        badge: 1,
        preview: None,
        language: Language::of("en"),
    }
}

fn told(verdict: Verdict, status: u16) -> Told {
    Told { verdict, status }
}

fn issued(taken: &Taken) -> i64 {
    let claims = taken.header("authorization").split('.').nth(1).unwrap();
    serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()["iat"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn apple_is_shown_a_token_for_forty_minutes_and_another_after_twenty_at_the_earliest() {
    let stage = Stage::set(PATIENCE).await;
    let (apple, phone) = (stage.apple(), device(Provider::Apns, &[]));
    let start = (stage.clock())();
    let sends = async |expected: Told, shown: &[i64]| {
        assert_eq!(apple.send(&phone, &notice()).await, expected);
        let mut came = Vec::new();
        for _ in stage.push.paths() {
            let taken = stage.push.next(|_| true).await;
            assert!(taken.http2);
            came.push(issued(&taken) - start);
        }
        assert_eq!(came, shown);
    };
    let well = told(Verdict::Sent, 200);
    stage.push.answer(|_| Answer::status(200));
    sends(well, &[0]).await;
    stage.pass(40 * MINUTE - 1);
    sends(well, &[0]).await;
    stage.pass(1);
    sends(well, &[40 * MINUTE]).await;

    // Apple's clock is another: it takes none that was made before now.
    let now = stage.now.clone();
    stage.push.answer(move |taken| {
        if issued(taken) == now.load(Ordering::Relaxed) {
            return Answer::status(200);
        }
        Answer { body: json!({"reason": "ExpiredProviderToken"}).to_string(), ..Answer::status(403) }
    });
    stage.pass(20 * MINUTE - 1);
    let later = told(Verdict::Later(None), 403);
    sends(later, &[40 * MINUTE]).await;
    stage.pass(1);
    sends(well, &[40 * MINUTE, 60 * MINUTE]).await;
    stage.pass(20 * MINUTE);
    stage.says(403, json!({"reason": "ExpiredProviderToken"}));
    sends(later, &[60 * MINUTE, 80 * MINUTE]).await;
    sends(later, &[80 * MINUTE]).await;
    stage.says(429, json!({"reason": "TooManyProviderTokenUpdates"}));
    sends(told(Verdict::Later(None), 429), &[80 * MINUTE]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_apples_refusals_a_device_is_gone_by_those_that_only_it_can_mean() {
    let stage = Stage::set(PATIENCE).await;
    let (apple, phone, sandbox) = (stage.apple(), device(Provider::Apns, &[]), device(Provider::Apns, &[1]));
    let says = async |to: &Subscription, status, body, verdict| {
        stage.says(status, body);
        assert_eq!(apple.send(to, &notice()).await, told(verdict, status));
    };
    let reason = |reason: &str| json!({ "reason": reason });
    let unregistered = |at: i64| json!({"reason": "Unregistered", "timestamp": at});
    says(&phone, 410, unregistered(phone.created_at - 1), Verdict::Refused).await;
    says(&phone, 410, unregistered(phone.created_at), Verdict::Gone).await;
    says(&phone, 410, reason("Unregistered"), Verdict::Gone).await;
    for _ in 0..2 {
        says(&phone, 400, reason("BadDeviceToken"), Verdict::Mismatch).await;
        // The other environment is none of this one's.
        says(&sandbox, 200, Value::Null, Verdict::Sent).await;
    }
    says(&device(Provider::Apns, &[]), 200, Value::Null, Verdict::Sent).await;
    says(&phone, 400, reason("BadDeviceToken"), Verdict::Gone).await;
    says(&phone, 400, reason("DeviceTokenNotForTopic"), Verdict::Mismatch).await;
    for (status, why) in [(400, "BadTopic"), (400, "TopicDisallowed"), (403, "InvalidProviderToken"), (404, "BadPath")]
    {
        says(&phone, status, reason(why), Verdict::Later(None)).await;
    }
    says(&phone, 400, reason("BadCollapseId"), Verdict::Refused).await;
    says(&phone, 429, reason("TooManyRequests"), Verdict::Less(None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_googles_refusals_a_device_is_gone_by_the_one_that_only_it_can_mean() {
    let stage = Stage::set(PATIENCE).await;
    let (google, phone) = (stage.google(), device(Provider::Fcm, &[]));
    for (status, code, verdict) in [
        (404, "UNREGISTERED", Verdict::Gone),
        (404, "NOT_FOUND", Verdict::Later(None)),
        (403, "SENDER_ID_MISMATCH", Verdict::Mismatch),
        (403, "PERMISSION_DENIED", Verdict::Later(None)),
        (403, "", Verdict::Later(None)),
        (401, "UNAUTHENTICATED", Verdict::Later(None)),
        (401, "THIRD_PARTY_AUTH_ERROR", Verdict::Mismatch),
        (400, "INVALID_ARGUMENT", Verdict::Refused),
        (429, "QUOTA_EXCEEDED", Verdict::Less(None)),
    ] {
        stage.says(status, json!({"error": {"code": status, "details": [{"errorCode": code}]}}));
        assert_eq!(google.send(&phone, &notice()).await, told(verdict, status), "{code}");
    }
    assert!(stage.push.next(|taken| !is_token(taken)).await.http2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_googles_is_used_until_five_minutes_before_its_end() {
    let stage = Stage::set(PATIENCE).await;
    let (google, phone) = (stage.google(), device(Provider::Fcm, &[]));
    stage.push.answer(|taken| vendors::well(taken, "ya29.1"));
    let asked = async || {
        assert_eq!(google.send(&phone, &notice()).await, told(Verdict::Sent, 200));
        let mut asked = 0;
        for _ in stage.push.paths() {
            asked += usize::from(is_token(&stage.push.next(|_| true).await));
        }
        asked
    };
    assert_eq!(asked().await, 1);
    stage.pass(3599 - 5 * MINUTE - 1);
    assert_eq!(asked().await, 0);
    stage.pass(1);
    assert_eq!(asked().await, 1);
}

/// How many are sent at once.
const CROWD: usize = 64;

async fn all(google: &Fcm, phone: &Subscription) -> Vec<Told> {
    join_all((0..CROWD).map(async |_| google.send(phone, &notice()).await)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_wait_for_a_token_share_what_comes_of_it_and_it_is_asked_for_anew_a_second_later() {
    let stage = Stage::set(Duration::from_secs(2)).await;
    let (google, phone) = (stage.google(), device(Provider::Fcm, &[]));
    let (asked, (_hung, held)) = (Arc::new(AtomicUsize::new(0)), watch::channel(false));
    let count = asked.clone();
    stage.push.answer(move |taken| {
        assert!(is_token(taken));
        count.fetch_add(1, Ordering::Relaxed);
        Answer { held: Some(held.clone()), ..Answer::default() }
    });
    let (start, nothing) = (Instant::now(), told(Verdict::Later(None), 0));
    assert_eq!(all(&google, &phone).await, [nothing; CROWD]);
    assert!(start.elapsed() < 10 * stage.patience, "not one after the other");
    assert_eq!(google.ready().await, Err(nothing), "nobody asks in that second");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    stage.pass(2);
    let count = asked.clone();
    stage.push.answer(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Answer { headers: vec![("retry-after", "7".into())], ..Answer::status(503) }
    });
    assert_eq!(all(&google, &phone).await, [told(Verdict::Later(Some(Duration::from_secs(7))), 503); CROWD]);
    assert!(google.ready().await.is_err(), "nor after an answer that gave none");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    stage.pass(2);
    stage.push.answer(|taken| vendors::well(taken, "ya29.1"));
    assert_eq!(all(&google, &phone).await, [told(Verdict::Sent, 200); CROWD], "it is well again");
    let tokens = stage.push.paths().iter().filter(|path| *path == "/token").count();
    assert!(tokens <= 2, "of what hung nothing is counted here: {tokens}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_it_takes_to_send_takes_no_longer_than_one_answer_may() {
    let stage = Stage::set(Duration::from_secs(2)).await;
    let slow = Duration::from_millis(1200);
    let nothing = told(Verdict::Later(None), 0);
    // A token, a refusal, another token: each in time.
    stage.push.answer(move |taken| {
        let said = if is_token(taken) { vendors::well(taken, "ya29.1") } else { Answer::status(401) };
        Answer { after: slow, ..said }
    });
    assert_eq!(stage.google().send(&device(Provider::Fcm, &[]), &notice()).await, nothing);
    let (apple, phone) = (stage.apple(), device(Provider::Apns, &[]));
    stage.push.answer(|_| Answer::status(200));
    assert_eq!(apple.send(&phone, &notice()).await, told(Verdict::Sent, 200));
    stage.pass(20 * MINUTE);
    stage.push.answer(move |_| Answer { after: slow, ..Answer::status(403) });
    assert_eq!(apple.send(&phone, &notice()).await, nothing);
}
