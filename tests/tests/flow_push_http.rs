//! How push services are called: over TLS, where may be called and nowhere else, in bounded time, for a bounded answer,
//! and again after they hang up.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test: a panic is its failure

use futures_util::future::join_all;
use http::{HeaderMap, Uri};
use madang_notify::http::{Bounds, Failed, Http, Lookup, Reach, trust};
use madang_proto::notify::v1::Outcome;
use madang_tests::{
    PATIENCE,
    client::{call, sign_up},
    device::{Device, Doors},
    notify::Notify,
    push::{Answer, PushServer, Silent},
    start_with,
};
use serde_json::json;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

fn http(push: &PushServer, reach: Reach, patience: Duration) -> Http {
    Http::new(trust(Some(&push.ca)).unwrap(), reach, patience)
}

async fn post(http: &Http, url: &str) -> Result<(u16, usize), Failed> {
    let answer = http.post(url.parse::<Uri>().unwrap(), HeaderMap::new(), b"x".to_vec()).await?;
    Ok((answer.status.as_u16(), answer.body.map_or(0, |body| body.len())))
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
        let why = post(&public, &format!("https://{host}:{port}/x")).await.unwrap_err();
        // A number is no name, and is not looked up at all.
        assert_eq!(why, if host == "2130706433" { Failed::Name } else { Failed::Address }, "{host}");
    }
    let near = http(&push, Reach::PublicOrLoopback, PATIENCE);
    assert_eq!(post(&near, "https://10.0.0.1/x").await, Err(Failed::Address));
    assert_eq!(post(&near, "https://nobody.invalid/x").await, Err(Failed::Name));
    assert!(post(&near, &format!("http://127.0.0.1:{port}/x")).await.is_err(), "not without TLS");
    assert_eq!(post(&near, &format!("{}/x", push.url)).await.unwrap(), (201, 0));
    assert_eq!(
        post(&near, &format!("https://localhost:{port}/y")).await.unwrap(),
        (201, 0),
        "a name, by what it resolves to"
    );
    let stranger = Http::new(trust(None).unwrap(), Reach::PublicOrLoopback, PATIENCE);
    assert_eq!(post(&stranger, &format!("{}/z", push.url)).await, Err(Failed::Certificate), "who it is is checked");
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
    assert_eq!(post(&hasty, &format!("{}/slow", push.url)).await, Err(Failed::Late));
    let calm = http(&push, Reach::PublicOrLoopback, PATIENCE);
    assert_eq!(post(&calm, &format!("{}/long", push.url)).await.unwrap(), (200, 0), "a megabyte is not kept");

    // Takes a connection and says nothing, ever.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = silent.local_addr().unwrap();
    let held = tokio::spawn(async move { silent.accept().await });
    assert_eq!(post(&hasty, &format!("https://{at}/")).await, Err(Failed::Late));
    // Speaks something else.
    let odd = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = odd.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = odd.accept().await.unwrap();
        let _ = stream.read(&mut [0; 100]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        drop(odd);
    });
    assert_eq!(post(&calm, &format!("https://{at}/")).await, Err(Failed::Tls));
    assert_eq!(post(&calm, &format!("https://{at}/")).await, Err(Failed::Refused), "it has gone");
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

/// Calls this machine within some bounds.
fn bounded(push: &PushServer, patience: Duration, bounds: Bounds) -> Http {
    let lookup: Lookup = Arc::new(|_, port| Box::pin(async move { Ok(vec![([127, 0, 0, 1], port).into()]) }));
    Http::bounded(lookup, trust(Some(&push.ca)).unwrap(), Reach::PublicOrLoopback, patience, bounds)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_begun_and_not_needed_end_though_their_host_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let http = bounded(&push, PATIENCE, Bounds { connect: Duration::from_secs(1), ..Bounds::default() });
    // All begin to connect; all are sent by the first that is connected, HTTP/2, and answered.
    push.greet(1);
    let url = format!("{}/x", push.url);
    let all = join_all((0..20).map(|_| post(&http, &url))).await;
    let answered = all.iter().filter(|answer| **answer == Ok((201, 0))).count();
    let late = all.iter().filter(|answer| **answer == Err(Failed::Late)).count();
    // Where this machine is slow, some have not heard of that one in time.
    assert!(answered > 0 && answered + late == 20, "{all:?}");
    let unmet = tokio::time::timeout(PATIENCE, push.unmet()).await.expect("they end");
    assert!(unmet > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_more_connections_than_may_be_to_all_hosts_together() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let bounds = Bounds { connect: Duration::from_secs(1), most: 4, ..Bounds::default() };
    let http = bounded(&push, PATIENCE, bounds);
    push.greet(0);
    let other = push.url.replace("127.0.0.1", "localhost");
    let urls: Vec<_> = (0..32).map(|n| if n % 2 == 0 { push.url.clone() } else { other.clone() }).collect();
    let all = join_all(urls.iter().map(|url| post(&http, url))).await;
    assert!(all.iter().all(|answer| *answer == Err(Failed::Late)), "{all:?}");
    let unmet = tokio::time::timeout(PATIENCE, push.unmet()).await.unwrap();
    // Those whose turn comes as the first four are given up connect before the server sees that these are gone.
    assert!((1..=16).contains(&unmet), "{unmet} of 32");
    push.greet(usize::MAX);
    assert_eq!(post(&http, &other).await, Ok((201, 0)), "their places are free again");
    // One that is kept for the next request has a place, too, until it is closed.
    push.hang_up();
    tokio::time::timeout(PATIENCE, push.quiet()).await.unwrap();
    assert_eq!(post(&http, &push.url).await, Ok((201, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_says_nothing_once_tls_is_agreed_on_is_hung_up_on() {
    let folder = tempfile::tempdir().unwrap();
    let (silent, mut gone) = Silent::start(folder.path()).await;
    let bounds = Bounds { silent: Duration::from_secs(2), ..Bounds::default() };
    let lookup: Lookup = Arc::new(|_, port| Box::pin(async move { Ok(vec![([127, 0, 0, 1], port).into()]) }));
    let trust = trust(Some(&silent.ca)).unwrap();
    let http = Http::bounded(lookup, trust, Reach::PublicOrLoopback, Duration::from_secs(1), bounds);
    // Where this machine is slow it may be hung up on before the request is given up.
    let answer = post(&http, &silent.url).await;
    assert!(matches!(answer, Err(Failed::Late | Failed::Closed)), "{answer:?}");
    // Sooner than what is kept for the next request would be closed.
    let closed = tokio::time::timeout(Duration::from_secs(15), gone.wait_for(|gone| *gone == 1)).await;
    closed.expect("it is closed").unwrap();
}

/// A name is resolved to each of these in turn.
fn turns(turns: Vec<Vec<SocketAddr>>) -> (Lookup, Arc<Mutex<Vec<Vec<SocketAddr>>>>) {
    let left = Arc::new(Mutex::new(turns));
    let from = left.clone();
    let lookup: Lookup = Arc::new(move |_, _| {
        let mut left = from.lock().unwrap();
        let found = if left.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(left.remove(0)) };
        Box::pin(async { found })
    });
    (lookup, left)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_turns_inwards_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let good: SocketAddr = push.url.strip_prefix("https://").unwrap().parse().unwrap();
    // Within, as far as this test goes: reached by addresses that are of this machine, but that are no loopback's.
    let within = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    within.set_nonblocking(true).unwrap();
    let port = within.local_addr().unwrap().port();
    let inward: Vec<SocketAddr> =
        ["0.0.0.0", "::ffff:127.0.0.1", "::"].map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).to_vec();
    // What was looked at is connected to: who looked at one answer and connected by another would end within.
    let (lookup, left) = turns(vec![vec![good], inward.clone(), [&inward[..], &[good]].concat()]);
    let near =
        Http::bounded(lookup, trust(Some(&push.ca)).unwrap(), Reach::PublicOrLoopback, PATIENCE, Bounds::default());
    assert_eq!(post(&near, "https://localhost/1").await, Ok((201, 0)));
    assert_eq!(left.lock().unwrap().len(), 2, "once for a connection");
    push.hang_up();
    tokio::time::timeout(PATIENCE, push.quiet()).await.unwrap();
    assert_eq!(post(&near, "https://localhost/2").await, Err(Failed::Address), "it has turned");
    assert_eq!(post(&near, "https://localhost/3").await, Ok((201, 0)), "of several, the one that may be called");
    assert_eq!(push.paths(), ["/1", "/3"]);
    assert_eq!(within.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "nobody came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_a_tests_calls_nobody_on_its_machine() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let near = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    near.set_nonblocking(true).unwrap();
    let port = near.local_addr().unwrap().port();
    let flags = ["--push-ca", push.ca.to_str().unwrap(), "--push-wait-ms", "50"];
    let server = start_with(folder.path(), &[&flags[..], &["--push-loopback"]].concat()).await;
    let doors = Doors::of(&server);
    let (ann, bot) = (sign_up(&server, "ann").await, sign_up(&server, "bot").await);
    let (by_address, by_name) = (
        Device::sign_up(doors, "address", "DEVICE_KIND_MOBILE").await,
        Device::sign_up(doors, "name", "DEVICE_KIND_WEB").await,
    );
    for (device, host) in [(&by_address, "127.0.0.1"), (&by_name, "localhost")] {
        let subscription = device.browser.subscription(&format!("https://{host}:{port}/x"));
        device.register(json!({"webPush": subscription})).await;
    }
    let hook =
        |host: &str| json!({"webhook": {"url": format!("https://{host}:{port}/hook"), "secret": "0123456789abcdef"}});
    let path = format!("/v1/devices/{}/push", bot.device);
    assert_eq!(call(&server, "PUT", &path, &bot.token, hook("localhost")).await.0, 204);
    server.stop().await;

    // What was let in is looked at again where it is called.
    let server = start_with(folder.path(), &flags).await;
    let reports = Notify::of(&server, folder.path());
    for user in [&by_address.person.id, &by_name.person.id, &bot.id] {
        let body = json!({"user": user, "clientId": madang_proto::id::ClientId::now().to_string(), "text": "?"});
        assert_eq!(call(&server, "POST", "/v1/messages", &ann.token, body).await.0, 200);
        assert_eq!(reports.wait(user, 1, Outcome::Later).await.status, 0);
    }
    assert_eq!(near.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "nobody came");
    // And nothing such is let in.
    for host in ["127.0.0.1", "[::1]", "localhost", "LOCALHOST", "localhost.", "push.localhost"] {
        let (status, answer) = call(&server, "PUT", &path, &bot.token, hook(host)).await;
        assert_eq!((status, answer["code"].as_str()), (400, Some("INVALID_ARGUMENT")), "{host}: {answer}");
        let web = json!({"webPush": by_name.browser.subscription(&format!("https://{host}:{port}/x"))});
        assert_eq!(call(&server, "PUT", &path, &bot.token, web).await.0, 400, "{host}");
    }
    server.stop().await;
}

/// Who has no such device is told nothing of what this deployment can do, nor whether the rest was right.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_not_ones_own_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with(folder.path(), &[]).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    let fcm = json!({"fcm": {"token": "x"}});
    let nobodys = uuid::Uuid::new_v4().to_string();
    for (device, status, reason) in
        [(&bob.device, 404, "NOT_FOUND"), (&nobodys, 404, "NOT_FOUND"), (&ann.device, 409, "NOT_CONFIGURED")]
    {
        let answer = call(&server, "PUT", &format!("/v1/devices/{device}/push"), &ann.token, fcm.clone()).await;
        assert_eq!((answer.0, answer.1["reason"].as_str()), (status, Some(reason)));
    }
    server.stop().await;
}
