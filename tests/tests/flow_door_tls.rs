//! A public door with a certificate: HTTP/1.1, WebSockets and HTTP/2 over TLS, and a certificate that is renewed.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use madang_tests::{PATIENCE, program::program, secure, start_with, until};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

async fn connect(door: SocketAddr, protocol: &[u8]) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(door).await.unwrap();
    let stream = secure::connect(&secure::anybody(&[protocol]), stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
    stream
}

fn keys() -> Request<Empty<&'static [u8]>> {
    let request = Request::get("https://localhost/.well-known/jwks.json").header("host", "localhost");
    request.body(Empty::new()).unwrap()
}

/// The certificate that the door shows now.
async fn shown(door: SocketAddr) -> Vec<u8> {
    let stream = connect(door, b"http/1.1").await;
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_with_a_certificate_speaks_all_three_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = secure::door(folder.path());
    let server = start_with(&folder.path().join("data"), &["--http-cert", &cert, "--http-key", &key]).await;

    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(connect(server.http, b"h2").await)).await.unwrap();
    tokio::spawn(connection);
    let answer = sender.send_request(keys()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(answer.starts_with(b"{\"keys\":"), "{answer:?}");

    let (mut sender, connection) =
        http1::handshake(TokioIo::new(connect(server.http, b"http/1.1").await)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(sender.send_request(keys()).await.unwrap().into_body().collect().await.unwrap().to_bytes(), answer);

    let mut socket = connect(server.http, b"http/1.1").await;
    let upgrade = "GET /v1/connect HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: madang.v1.json\r\n\r\n";
    socket.write_all(upgrade.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    socket.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");

    let mut plain = TcpStream::connect(server.http).await.unwrap();
    plain.write_all(b"GET /v1/me HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "nothing is answered without TLS");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_to_who_comes_and_breaks_off_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = secure::door(folder.path());
    let server = start_with(&folder.path().join("data"), &["--http-cert", &cert, "--http-key", &key]).await;
    let before = shown(server.http).await;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(connect(server.http, b"http/1.1").await)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(sender.send_request(keys()).await.unwrap().status(), 200);
    // A key that does not fit: the door goes on with what it has.
    let other = tempfile::tempdir().unwrap();
    let (_, wrong) = secure::door(other.path());
    std::fs::copy(wrong, &key).unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(shown(server.http).await, before);
    let _ = secure::door(folder.path());
    until("the new one is shown", async || (shown(server.http).await != before).then_some(())).await;
    sender.ready().await.unwrap();
    assert_eq!(sender.send_request(keys()).await.unwrap().status(), 200, "who was there stays");
    server.stop().await;
}

/// The program as a client of a server; what it says where it fails.
async fn talk(server: &str, authority: &str) -> Result<(), String> {
    let mut command = tokio::process::Command::new(program("madang"));
    command.args([
        "bench",
        "pairs",
        "--pairs",
        "2",
        "--rate",
        "8",
        "--seconds",
        "1",
        "--server",
        server,
        "--gateways",
        server,
    ]);
    let done = command.env("SSL_CERT_FILE", authority).env_remove("SSL_CERT_DIR").kill_on_drop(true).output();
    let done = tokio::time::timeout(PATIENCE, done).await.unwrap().unwrap();
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_talk_over_tls_with_whom_they_believe_and_with_nobody_else() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (cert, key) = secure::door(folders[0].path());
    let (stranger, _) = secure::door(folders[1].path());
    let server = start_with(&folders[0].path().join("data"), &["--http-cert", &cert, "--http-key", &key]).await;
    let at = format!("https://localhost:{}", server.http.port());
    assert_eq!(talk(&at, &cert).await, Ok(()));
    for (server, authority, why) in [
        (at.clone(), &stranger, "invalid peer certificate"),
        (format!("https://{}", server.http), &cert, "certificate not valid for name"),
        (at, &folders[0].path().join("none").display().to_string(), "this machine has no authorities"),
    ] {
        let said = talk(&server, authority).await.unwrap_err();
        assert!(said.contains("no TLS with the server") && said.contains(why), "{why}: {said}");
    }
    server.stop().await;
    // What speaks no TLS is none of them.
    let plain = start_with(&folders[1].path().join("data"), &[]).await;
    let said = talk(&format!("https://localhost:{}", plain.http.port()), &stranger).await.unwrap_err();
    assert!(said.contains("no TLS with the server"), "{said}");
    plain.stop().await;
}
