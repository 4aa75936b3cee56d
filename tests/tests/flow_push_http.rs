//! How push services are called: over TLS, where may be called and nowhere else, in bounded time, for a bounded answer,
//! and again after they hang up.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use http::{HeaderMap, Uri};
use madang_notify::http::{Failed, Http, Reach, trust};
use madang_tests::{
    PATIENCE,
    push::{Answer, PushServer},
};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

fn http(push: &PushServer, reach: Reach, patience: Duration) -> Http {
    Http::new(trust(Some(&push.ca)).unwrap(), reach, patience)
}

async fn post(http: &Http, url: &str) -> Result<(u16, usize), Failed> {
    let answer = http.post(url.parse::<Uri>().unwrap(), HeaderMap::new(), b"x".to_vec()).await?;
    Ok((answer.status.as_u16(), answer.body.len()))
}

fn refused(result: Result<(u16, usize), Failed>) -> String {
    match result {
        Err(Failed::Connection(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_may_be_called_is_and_only_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let port = push.url.rsplit_once(':').unwrap().1;
    let public = http(&push, Reach::Public, PATIENCE);
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "169.254.169.254",
        "10.0.0.1",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "2130706433",
    ] {
        let why = refused(post(&public, &format!("https://{host}:{port}/x")).await);
        // A number is no name, and is not looked up at all.
        assert!(why.contains("not public") || why.contains("invalid dns name"), "{host}: {why}");
    }
    let near = http(&push, Reach::PublicOrLoopback, PATIENCE);
    assert!(refused(post(&near, "https://10.0.0.1/x").await).contains("not public"));
    assert!(post(&near, &format!("http://127.0.0.1:{port}/x")).await.is_err(), "not without TLS");
    assert_eq!(post(&near, &format!("{}/x", push.url)).await.unwrap(), (201, 0));
    assert_eq!(
        post(&near, &format!("https://localhost:{port}/y")).await.unwrap(),
        (201, 0),
        "a name, by what it resolves to"
    );
    let stranger = Http::new(trust(None).unwrap(), Reach::PublicOrLoopback, PATIENCE);
    assert!(refused(post(&stranger, &format!("{}/z", push.url)).await).contains("certificate"), "who it is is checked");
    push.answer(|_| Answer { headers: vec![("location", "https://127.0.0.1:1/".into())], ..Answer::status(302) });
    assert_eq!(
        post(&near, &format!("{}/x", push.url)).await.unwrap(),
        (302, 0),
        "where somebody else says is not called"
    );
    let mut paths = push.paths();
    paths.sort();
    assert_eq!(paths, ["/x", "/x", "/y"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_slow_nor_an_endless_nor_a_silent_one_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let hasty = http(&push, Reach::PublicOrLoopback, Duration::from_millis(500));
    push.answer(|taken| Answer {
        after: if taken.path == "/slow" { Duration::from_secs(3600) } else { Duration::ZERO },
        body: "x".repeat(1 << 20),
        ..Answer::status(200)
    });
    assert!(matches!(post(&hasty, &format!("{}/slow", push.url)).await, Err(Failed::Late)));
    let calm = http(&push, Reach::PublicOrLoopback, PATIENCE);
    assert_eq!(post(&calm, &format!("{}/long", push.url)).await.unwrap(), (200, 0), "a megabyte is not kept");

    // Takes a connection and says nothing, ever.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = silent.local_addr().unwrap();
    let held = tokio::spawn(async move { silent.accept().await });
    assert!(matches!(post(&hasty, &format!("https://{at}/")).await, Err(Failed::Late)));
    // Speaks something else.
    let odd = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = odd.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = odd.accept().await.unwrap();
        let _ = stream.read(&mut [0; 100]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
    });
    assert!(matches!(post(&calm, &format!("https://{at}/")).await, Err(Failed::Connection(_))));
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_up_is_called_again() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let http = http(&push, Reach::PublicOrLoopback, PATIENCE);
    for n in 0..5 {
        assert_eq!(post(&http, &format!("{}/{n}", push.url)).await.unwrap(), (201, 0), "after {n} times");
        // GOAWAY on HTTP/2: what is on its way is answered, and nothing more is taken.
        push.hang_up();
        tokio::time::timeout(PATIENCE, push.quiet()).await.unwrap();
    }
    assert_eq!(push.paths().len(), 5);
}
