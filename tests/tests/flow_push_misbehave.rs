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
    start_with, vendors,
};
use rcgen::KeyPair;
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tempfile::TempDir;

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

    async fn start(&self, flags: &[String]) -> Running {
        let usual = ["--push-ca", self.push.ca.to_str().unwrap(), "--push-wait-ms", "50"];
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        start_with(self.folder.path(), &[&usual[..], &flags].concat()).await
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
    let key = KeyPair::generate().unwrap();
    let server = stage.start(&vendors::apple(stage.folder.path(), &key, &stage.url)).await;
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
    let server = stage.start(&vendors::google(stage.folder.path(), &stage.url)).await;
    let answer = |taken: &Taken| vendors::well(taken, "ya29.1");
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
