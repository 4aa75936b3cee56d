//! Apple and Google when they are slow, hang up, are gone without a word, refuse connections or have too much to do: what they did not take is
//! told again, once, and is reported.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_proto::{
    id::ClientId,
    notify::v1::{Outcome, Provider},
};
use madang_solo::serve::Running;
use madang_tests::{
    client::{Person, call, sign_up, text},
    notify::Notify,
    proxy::Proxy,
    push::{Answer, PushServer, Taken},
    start_with,
};
use rcgen::KeyPair;
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A key for these tests alone.
const RSA: &str = include_str!("../fixtures/service-account-key.pem");

/// How long a provider that has too much to do wants to be left alone; longer than it is waited for without a word.
const WAIT: Duration = Duration::from_secs(3);

/// What stands for a provider, and the way to it.
struct Stage {
    folder: TempDir,
    push: PushServer,
    proxy: Proxy,
    /// https://HOST of the way.
    url: String,
}

impl Stage {
    async fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let push = PushServer::start(folder.path()).await;
        let proxy = Proxy::before(push.url.strip_prefix("https://").unwrap()).await;
        let url = format!("https://{}", proxy.address);
        Self { folder, push, proxy, url }
    }

    async fn start(&self, flags: &[&str]) -> Running {
        let usual = ["--push-ca", self.push.ca.to_str().unwrap(), "--push-wait-ms", "50"];
        start_with(self.folder.path(), &[&usual[..], flags].concat()).await
    }

    fn file(&self, name: &str, text: &str) -> String {
        let file = self.folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    }
}

async fn say(server: &Running, from: &Person, to: &Person, seq: u64) {
    let body = json!({"user": to.id, "clientId": ClientId::now().to_string(), "text": "?"});
    let (status, ack) = call(server, "POST", "/v1/messages", &from.token, body).await;
    assert_eq!((status, &ack["seq"]), (200, &json!(seq.to_string())));
}

/// `answer`: as a provider that is well answers; `seq`: which message a request is about, if it is a push.
async fn misbehave(
    stage: &Stage,
    server: &Running,
    (provider, registration): (Provider, Value),
    answer: fn(&Taken) -> Answer,
    seq: fn(&Taken) -> Value,
) {
    let (push, proxy) = (&stage.push, &stage.proxy);
    let reports = Notify::of(server, stage.folder.path());
    let (ann, bob) = (sign_up(server, "ann").await, sign_up(server, "bob").await);
    let path = format!("/v1/devices/{}/push", bob.device);
    assert_eq!(call(server, "PUT", &path, &bob.token, registration).await.0, 204);
    push.answer(answer);
    // Once its answer has come back as well: what follows is of the next.
    let told = async |number: u64| {
        push.next(move |taken| seq(taken) == *number.to_string()).await;
        let report = reports.wait(&bob.id, number, Outcome::Sent).await;
        assert_eq!((report.provider(), report.status, &report.device), (provider, 200, &bob.device));
        assert!(report.tries > 1 || number <= 2, "{report:?}");
        assert!(report.took_ms >= 50, "from the message on: {report:?}");
    };
    say(server, &ann, &bob, 1).await;
    told(1).await;
    // GOAWAY.
    push.hang_up();
    say(server, &ann, &bob, 2).await;
    told(2).await;
    push.answer(move |taken| Answer { after: Duration::from_secs(3600), ..answer(taken) });
    say(server, &ann, &bob, 3).await;
    assert_eq!(reports.wait(&bob.id, 3, Outcome::Later).await.status, 0, "nothing was answered in time");
    push.answer(answer);
    told(3).await;
    proxy.silence();
    say(server, &ann, &bob, 4).await;
    reports.wait(&bob.id, 4, Outcome::Later).await;
    proxy.mend();
    told(4).await;
    proxy.cut();
    say(server, &ann, &bob, 5).await;
    reports.wait(&bob.id, 5, Outcome::Later).await;
    proxy.mend();
    told(5).await;
    let (mut refusals, came) = (vec![500, 429], Arc::new(Mutex::new(Vec::new())));
    let times = came.clone();
    push.answer(move |taken| {
        if seq(taken) == Value::Null {
            return answer(taken);
        }
        times.lock().unwrap().push((Instant::now(), seq(taken)));
        let Some(status) = refusals.pop() else { return answer(taken) };
        Answer { headers: vec![("retry-after", WAIT.as_secs().to_string())], ..Answer::status(status) }
    });
    say(server, &ann, &bob, 6).await;
    for _ in ["429", "500"] {
        push.next(move |taken| seq(taken) == "6").await;
    }
    told(6).await;
    let came = came.lock().unwrap().clone();
    // Once more where this machine holds up the last answer for longer than is waited for it.
    assert!(came.len() >= 3, "{came:?}");
    assert!(came[..3].windows(2).all(|two| two[1].0 - two[0].0 >= WAIT), "it said when to come again: {came:?}");

    let all = reports.deliveries(&bob.id).await;
    assert_eq!(all.iter().filter(|each| each.outcome() == Outcome::Sent).count(), 6, "each once: {all:?}");
    assert_eq!(push.paths().iter().filter(|path| *path != "/token").count(), 0, "nothing else came");
}

#[tokio::test(flavor = "multi_thread")]
async fn apple_may_be_slow_hang_up_or_be_gone() {
    let stage = Stage::set().await;
    let key = stage.file("key.p8", &KeyPair::generate().unwrap().serialize_pem());
    let flags = ["--apns-key", &key, "--apns-key-id", "KEY1234567", "--apns-team", "TEAM123456"];
    let to = ["--apns-topic", "com.example.chat", "--apns-url", &stage.url];
    let server = stage.start(&[&flags[..], &to].concat()).await;
    let registration = json!({"apns": {"token": "ab".repeat(32)}});
    let seq = |taken: &Taken| taken.json()["seq"].clone();
    misbehave(&stage, &server, (Provider::Apns, registration), |_| Answer::status(200), seq).await;
    let metrics = text(server.admin, "/metrics").await;
    assert!(metrics.contains("madang_notify_push_seconds_count{provider=\"apns\"} 6"), "{metrics}");
    assert!(metrics.contains("madang_notify_pushes_total{outcome=\"sent\",provider=\"apns\"} 6"), "{metrics}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn google_may_be_slow_hang_up_or_be_gone() {
    let stage = Stage::set().await;
    let account = json!({
        "type": "service_account", "project_id": "madang-test", "private_key_id": "kid-1", "private_key": RSA,
        "client_email": "push@madang-test.iam.gserviceaccount.com", "token_uri": format!("{}/token", stage.url),
    });
    let account = stage.file("account.json", &account.to_string());
    let server = stage.start(&["--fcm-account", &account, "--fcm-url", &stage.url]).await;
    let answer = |taken: &Taken| {
        let token = json!({"access_token": "ya29.1", "expires_in": 3599, "token_type": "Bearer"});
        let body = if taken.path == "/token" { token } else { json!({"name": "projects/madang-test/messages/1"}) };
        Answer { body: body.to_string(), ..Answer::status(200) }
    };
    let seq = |taken: &Taken| match taken.path.as_str() {
        "/token" => Value::Null,
        _ => taken.json()["message"]["data"]["seq"].clone(),
    };
    let registration = json!({"fcm": {"token": "bob:APA91b"}});
    misbehave(&stage, &server, (Provider::Fcm, registration), answer, seq).await;
    let metrics = text(server.admin, "/metrics").await;
    assert!(metrics.contains("madang_notify_push_seconds_count{provider=\"fcm\"} 6"), "{metrics}");
    server.stop().await;
}
