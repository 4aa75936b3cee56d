//! What is said stays as it was said, and is in no log: not the text, nor tokens, passwords, handles or addresses.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_proto::{id::ClientId, notify::v1::Outcome};
use madang_tests::{
    client::{Socket, call, send, sign_up},
    log::Log,
    notify::Notify,
    start_with,
};
use serde_json::{Value, json};

// A browser's secret, of RFC 8291, section 5.
const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_kept_verbatim_and_logs_hold_none_of_it() {
    let log = Log::keep(tracing_subscriber::EnvFilter::new("debug"));
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--send-rate", "1", "--send-burst", "5", "--max-in-flight", "4", "--trusted-proxies", "127.0.0.1"];
    let push = ["--push-loopback", "--push-wait-ms", "0"];
    let server = start_with(folder.path(), &[&flags[..], &push].concat()).await;
    let (alice, bob) = (sign_up(&server, "alice_secret").await, sign_up(&server, "bob_secret").await);
    let (mut at_alice, _) = Socket::connect(&server, &alice, "").await;
    // Nobody listens there: what can't be pushed is said in the log, and not where to.
    let keys = json!({"p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4", "auth": AUTH});
    let endpoint = json!({"webPush": {"endpoint": "https://127.0.0.1:1/send_secret", "keys": keys}, "preview": true});
    let path = format!("/v1/devices/{}/push", bob.device);
    assert_eq!(call(&server, "PUT", &path, &bob.token, endpoint).await.0, 204);
    let texts = ["verbatim1\r\n200 OK\r\n", "verbatim2 \u{1b}[31mred\u{1b}[0m", "verbatim3 \u{202e}\u{2066}x\u{2069}"];
    let mut conversation = String::new();
    for (n, text) in texts.iter().enumerate() {
        at_alice.send(send(n as u64 + 2, &bob, text, ClientId::now())).await;
        let ack = at_alice.answer(n as u64 + 2).await;
        ack["ack"]["conversation"].as_str().unwrap().clone_into(&mut conversation);
    }
    let path = format!("/v1/conversations/{conversation}/messages?atLeast=4");
    let (status, page) = call(&server, "GET", &path, &bob.token, Value::Null).await;
    assert_eq!(status, 200, "{page}");
    let read: Vec<_> = page["messages"].as_array().unwrap().iter().map(|each| each["text"].as_str().unwrap()).collect();
    assert_eq!(read, texts);
    // What goes wrong is said in the log, without what it was.
    for n in 10..40 {
        at_alice.send(send(n, &bob, "verbatim4", ClientId::now())).await;
    }
    let mut answers = 0;
    while answers < 30 {
        answers += u32::from(at_alice.next().await["id"] != 0);
    }
    at_alice.send(json!({"id": 50, "send": {"verbatim5": 1, "text": 7}})).await;
    at_alice.answer(50).await;
    let device = json!({"id": alice.device, "kind": "DEVICE_KIND_WEB"});
    let log_in = json!({"handle": "alice_secret", "password": "wrong verbatim6", "device": device});
    assert_eq!(call(&server, "POST", "/v1/sessions", "", log_in).await.0, 401);
    let mut forged = Socket::raw(&server).await;
    forged.send(json!({"id": 1, "hello": {"token": format!("{}x", bob.token), "device": device}})).await;
    forged.next().await;
    Notify::of(&server, folder.path()).wait(&bob.id, 1, Outcome::Later).await;
    server.stop().await;

    let log = log.text();
    assert!(log.contains("refused:") && log.contains("send_rate"), "what was refused is in the log: {log}");
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let mut secrets = ["verbatim", "correct horse", "_secret", "\u{1b}", "\u{202e}", AUTH].map(str::to_owned).to_vec();
    secrets.extend(parts(&alice.token));
    secrets.extend(parts(&bob.token).pop());
    for secret in secrets {
        let line = log.lines().find(|line| line.contains(&secret));
        assert_eq!(line, None, "{secret:?} is in the log");
    }
}
