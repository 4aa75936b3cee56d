//! What a process tells a collector, and what becomes of it when the collector is a stranger, or never answers: nobody
//! waits for it, what waits for it is bounded, and what was dropped is counted.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_proto::id::ClientId;
use madang_tests::{
    PATIENCE,
    client::{Person, Socket, send, sign_up_at, text},
    collector::Collector,
    program::Server,
    rotel::Rotel,
    secure,
};
use serde_json::json;
use std::time::Duration;
use tokio::{net::TcpListener, sync::watch, time::timeout};

async fn socket(server: &Server, person: &Person) -> Socket {
    Socket::connect_at(server.http, person, "").await.0
}

/// What a metric says now.
async fn number(server: &Server, metric: &str) -> u64 {
    let text = text(server.admin, "/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.map_or(0, |number| number.trim().parse().unwrap())
}

/// Somebody says something to somebody; who, and the trace that it belongs to.
async fn say_traced(server: &Server, text: &str) -> (Person, u128) {
    let (ann, bob) = (sign_up_at(server.http, "ann").await, sign_up_at(server.http, "bob").await);
    let mut at_ann = socket(server, &ann).await;
    let (trace, span): (u128, u64) = (rand::random(), rand::random());
    let mut frame = send(2, &bob, text, ClientId::now());
    frame["traceparent"] = json!(format!("00-{trace:032x}-{span:016x}-01"));
    at_ann.send(frame).await;
    assert_eq!(at_ann.answer(2).await["ack"]["seq"], "1");
    (ann, trace)
}

/// The process is asked to end as soon as there is something to tell: what it tells, it tells while it ends. What a machine
/// that is busy with other things did not get to tell by then is lost, and it says so: then once more.
async fn say_and_end(flags: &[&str], variables: &[(&str, &str)], text: &str) -> (Person, u128) {
    let mut logs = Vec::new();
    for _ in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path(), flags, variables).await;
        let said = say_traced(&server, text).await;
        let (ended, log) = server.stop().await;
        assert!(ended.success(), "{log}");
        if !log.contains("did not take") {
            return said;
        }
        logs.push(log);
    }
    panic!("{logs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_untold_at_the_end_is_told_over_tls_to_who_has_the_right_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = secure::door(folder.path());
    let (collector, port) = Collector::start(Some(&certificate), Some("Bearer of telemetry"));
    let otlp = format!("https://localhost:{port}");
    let flags = ["--otlp", &otlp, "--otlp-ca", &certificate.0, "--trace-ratio", "1"];
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20of%20telemetry");
    let (_, trace) = say_and_end(&flags, &[headers], "hello").await;
    collector.trace(trace, &["gateway send", "chat accept", "chat number", "chat append"]).await;
    // The report before was made when it started.
    assert!(collector.metric("madang_rpc_server_calls_total").await.sum > 0.0);
    collector.lines().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_operators_run_understands_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let rotel = Rotel::start(folder.path()).await;
    let otlp = format!("http://127.0.0.1:{}", rotel.port);
    let (ann, trace) = say_and_end(&["--otlp", &otlp, "--trace-ratio", "1"], &[], "between us").await;
    let trace = format!("{trace:032x}");
    for name in ["send", "accept", "number", "append"] {
        rotel.understands("Span #", &[&trace, &format!("Name           : {name}\n")]).await;
    }
    rotel.understands("Metric #", &["madang_rpc_server_calls_total"]).await;
    let text = rotel.understands("LogRecord #", &["Body: Str(home)", "shard: Int"]).await;
    assert!(!text.contains("between us") && !text.contains(&ann.token), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_another_certificate_is_told_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, other) = (secure::door(folder.path()), tempfile::tempdir().unwrap());
    let (other, _) = secure::door(other.path());
    let (collector, port) = Collector::start(Some(&certificate), None);
    let otlp = format!("https://localhost:{port}");
    for more in [&["--otlp-ca", &other][..], &[]] {
        let server = Server::start(folder.path(), &[&["--otlp", &otlp], more].concat(), &[]).await;
        while number(&server, "madang_otlp_total{kind=\"metrics\",outcome=\"lost\"}").await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (ended, log) = server.stop().await;
        assert!(ended.success(), "{log}");
    }
    // Another name: its certificate is of localhost.
    let otlp = format!("https://127.0.0.1:{port}");
    let server = Server::start(folder.path(), &["--otlp", &otlp, "--otlp-ca", &certificate.0], &[]).await;
    while number(&server, "madang_otlp_total{kind=\"metrics\",outcome=\"lost\"}").await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(server.stop().await.0.success());
    assert_eq!(collector.text(), "");
}

/// A collector that takes connections and says nothing is worse than none: whoever waited for it would wait for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_costs_what_was_meant_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let otlp = format!("http://{}", listener.local_addr().unwrap());
    let silent = tokio::spawn(async move {
        let mut taken = Vec::new();
        loop {
            taken.push(listener.accept().await.unwrap());
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--otlp", &otlp, "--trace-ratio", "1"];
    let server = Server::start(folder.path(), &flags, &[]).await;
    let (ann, bob) = (sign_up_at(server.http, "ann").await, sign_up_at(server.http, "bob").await);
    let (mut at_ann, mut at_bob) = (socket(&server, &ann).await, socket(&server, &bob).await);
    // He reads all the while: who answers no ping is closed.
    let (heard, mut seen) = watch::channel(0);
    let hearing = tokio::spawn(async move {
        loop {
            let seq: u64 = at_bob.message().await["message"]["seq"].as_str().unwrap().parse().unwrap();
            assert_eq!(seq, *heard.borrow() + 1);
            heard.send_replace(seq);
        }
    });
    let mut sent = 0;
    while number(&server, "madang_otlp_total{kind=\"spans\",outcome=\"dropped\"}").await == 0 {
        for id in sent + 2..sent + 52 {
            at_ann.send(send(id, &bob, "hello", ClientId::now())).await;
        }
        for id in sent + 2..sent + 52 {
            assert!(at_ann.answer(id).await["ack"].is_object());
        }
        sent += 50;
        assert!(sent < 100_000, "nothing is dropped");
    }
    timeout(PATIENCE, seen.wait_for(|seen| *seen == sent)).await.unwrap().unwrap();
    hearing.abort();
    let waiting = number(&server, "madang_otlp_waiting{kind=\"spans\"}").await;
    assert!((1..=8200).contains(&waiting), "{waiting} wait");
    let (ended, log) = server.stop().await;
    assert!(ended.success() && log.contains("did not take the last"), "{ended}");
    silent.abort();
}
