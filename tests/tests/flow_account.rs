//! One's own account over HTTP: password, picture.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_solo::serve::Running;
use madang_tests::{
    client::{Socket, call, call_once, sign_up, sign_up_at},
    program::Server,
    start, until,
};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A request with a body of bytes; status, head, body.
async fn exchange(server: &Running, method: &str, path: &str, token: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    exchange_at(server.http, method, path, token, body).await
}

async fn exchange_at(at: SocketAddr, method: &str, path: &str, token: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses early may not read all of it.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head[9..12].parse().unwrap(), head.to_lowercase(), answer[end + 4..].to_vec())
}

async fn log_in(server: &Running, password: &str) -> (u16, Value) {
    let device = json!({"id": uuid::Uuid::new_v4().to_string(), "kind": "DEVICE_KIND_WEB"});
    call(server, "POST", "/v1/sessions", "", json!({"handle": "ann", "password": password, "device": device})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_the_other_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let ann = sign_up(&server, "ann").await;
    let (_, other) = log_in(&server, "correct horse").await;
    let token = other["accessToken"].as_str().unwrap();
    let (mut socket, _) = Socket::connect(&server, &ann, "").await;
    let change = async |old: &str, new: &str| {
        call(&server, "PUT", "/v1/me/password", token, json!({"old": old, "new": new})).await
    };
    let (status, answer) = change("wrong horse", "battery staple").await;
    assert_eq!(
        (status, &answer["reason"], &answer["code"]),
        (403, &json!("WRONG_PASSWORD"), &json!("PERMISSION_DENIED"))
    );
    assert_eq!(change("correct horse", "1234567").await.0, 400);
    assert_eq!(log_in(&server, "correct horse").await.0, 201, "nothing has changed");
    assert_eq!(change("correct horse", "battery staple").await.0, 204);
    while socket.next().await != json!({"close": 4503}) {}
    assert_eq!(call(&server, "GET", "/v1/me", token, Value::Null).await.0, 200, "this session stays");
    assert_eq!(log_in(&server, "correct horse").await.0, 401);
    assert_eq!(log_in(&server, "battery staple").await.0, 201);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_logged_in_guesses_a_password_a_few_times_alone() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let ann = sign_up(&server, "ann").await;
    let guess = async |n: usize| {
        let (method, path, body) = if n.is_multiple_of(2) {
            ("PUT", "/v1/me/password", json!({"old": "wrong horse", "new": "battery staple"}))
        } else {
            ("POST", "/v1/me/deletion", json!({"password": "wrong horse"}))
        };
        call_once(server.http, method, path, &ann.token, "", body).await.unwrap()
    };
    let guesses = futures_util::future::join_all((0..60).map(guess)).await;
    let refused = |(status, answer): &&(u16, Value)| *status == 429 && answer["reason"] == "RATE_LIMITED";
    let wrong = |(status, answer): &&(u16, Value)| *status == 403 && answer["reason"] == "WRONG_PASSWORD";
    let (refused, wrong) = (guesses.iter().filter(refused).count(), guesses.iter().filter(wrong).count());
    assert!(refused > 30 && wrong >= 10 && refused + wrong == 60, "{guesses:?}");
    assert_eq!(log_in(&server, "correct horse").await.0, 201);
    server.stop().await;
}

/// A PNG of one grey pixel.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\x0aIDATx\xdach\0\0\0\x82\0\x81\xdaE\x08;\0\0\0\0IEND\xaeB`\x82";

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_shown_to_everybody_until_there_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    let put = async |bytes: &[u8]| exchange(&server, "PUT", "/v1/me/picture", &ann.token, bytes).await;
    let picture = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["picture"].as_str().unwrap().to_owned();
    let shown = async || {
        let (_, ann) = call(&server, "GET", &format!("/v1/users/{}", ann.id), &bob.token, Value::Null).await;
        ann["picture"].as_str().unwrap().to_owned()
    };
    let get = async |picture: &str, query: &str| {
        exchange(&server, "GET", &format!("/v1/pictures/{picture}{query}"), "", b"").await
    };
    assert_eq!(shown().await, "");
    assert_eq!(put(b"").await.0, 400);
    assert_eq!(put(b"GIF89a").await.0, 400);
    let (status, _, answer) = put(&vec![0; (5 << 20) + 1]).await;
    assert_eq!(
        (status, serde_json::from_slice::<Value>(&answer).unwrap()["reason"].as_str()),
        (400, Some("TOO_LARGE"))
    );
    let (status, _, body) = put(PNG).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let first = picture(&body);
    assert_eq!(shown().await, first);
    let (status, head, jpeg) = get(&first, "?size=64").await;
    assert_eq!((status, &jpeg[..2]), (200, &[0xff, 0xd8][..]));
    assert!(head.contains("immutable") && head.contains("image/jpeg"), "{head}");
    assert_eq!(get(&first, "?size=65").await.0, 400);
    assert_eq!(get(&first, "?size=big").await.0, 400);
    assert_eq!(get("..%2Flog.db", "").await.0, 404);
    let second = picture(&put(PNG).await.2);
    assert_eq!((shown().await, get(&first, "").await.0, get(&second, "").await.0), (second.clone(), 404, 200));
    assert_eq!(exchange(&server, "DELETE", "/v1/me/picture", &ann.token, b"").await.0, 204);
    assert_eq!((shown().await.as_str(), get(&second, "").await.0), ("", 404));
    assert_eq!(exchange(&server, "PUT", "/v1/me/picture", "", PNG).await.0, 401);
    // A group's goes with the group.
    let (_, group) = call(&server, "POST", "/v1/groups", &ann.token, json!({"name": "yard"})).await;
    let path = format!("/v1/groups/{}", group["conversation"].as_str().unwrap());
    let third = picture(&exchange(&server, "PUT", &format!("{path}/picture"), &ann.token, PNG).await.2);
    assert_eq!(get(&third, "").await.0, 200);
    assert_eq!(call(&server, "DELETE", &path, &bob.token, Value::Null).await.0, 404);
    assert_eq!(get(&third, "").await.0, 200);
    assert_eq!(call(&server, "DELETE", &path, &ann.token, Value::Null).await.0, 204);
    assert_eq!(get(&third, "").await.0, 404);
    server.stop().await;
}

/// Of a group that ends since its last member goes, by leaving or with their account, nothing is kept; nor of what was set by
/// who did not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_group_that_nobody_is_in_no_picture_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let ann = sign_up(&server, "ann").await;
    let files = || walk(&folder.path().join("pictures"));
    let group = async || {
        let (_, group) = call(&server, "POST", "/v1/groups", &ann.token, json!({"name": "yard"})).await;
        let path = format!("/v1/groups/{}", group["conversation"].as_str().unwrap());
        assert_eq!(exchange(&server, "PUT", &format!("{path}/picture"), &ann.token, PNG).await.0, 200);
        path
    };
    let left = format!("{}/members/{}", group().await, ann.id);
    assert_eq!(files().len(), 3);
    assert_eq!(call(&server, "DELETE", &left, &ann.token, Value::Null).await.0, 200);
    assert_eq!(files(), Vec::<std::path::PathBuf>::new());

    let path = format!("{}/picture", group().await);
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.http).await.unwrap();
        let head = format!(
            "PUT {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
            ann.token,
            PNG.len()
        );
        stream.write_all(&[head.as_bytes(), PNG].concat()).await.unwrap();
        drop(stream);
    }
    // One that is waited for, and then what is still under way.
    assert_eq!(exchange(&server, "PUT", &path, &ann.token, PNG).await.0, 200);
    until("only what is shown is kept", async || (files().len() == 3).then_some(())).await;
    let end = json!({"password": "correct horse"});
    assert_eq!(call(&server, "POST", "/v1/me/deletion", &ann.token, end).await.0, 204);
    until("nothing is kept", async || files().is_empty().then_some(())).await;
    server.stop().await;
}

/// Whatever is set at once, of oneself and of a group: what is not shown is not kept.
#[tokio::test(flavor = "multi_thread")]
async fn of_pictures_that_are_set_at_once_one_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let ann = sign_up(&server, "ann").await;
    let (_, group) = call(&server, "POST", "/v1/groups", &ann.token, json!({"name": "yard"})).await;
    let group = group["conversation"].as_str().unwrap().to_owned();
    for (path, look) in [
        ("/v1/me/picture".to_owned(), "/v1/me".to_owned()),
        (format!("/v1/groups/{group}/picture"), format!("/v1/conversations/{group}")),
    ] {
        let set = || exchange(&server, "PUT", &path, &ann.token, PNG);
        let answers = futures_util::future::join_all((0..6).map(|_| set())).await;
        assert!(answers.iter().all(|(status, ..)| *status == 200), "{answers:?}");
        let (_, shown) = call(&server, "GET", &look, &ann.token, Value::Null).await;
        let shown = shown["picture"].as_str().unwrap().to_owned();
        let files = walk(&folder.path().join("pictures"));
        let of_it = |file: &std::path::PathBuf| file.to_string_lossy().contains(&shown);
        assert!(files.len() == 3 && files.iter().all(of_it), "{shown}: {files:?}");
        assert_eq!(exchange(&server, "DELETE", &path, &ann.token, b"").await.0, 204);
        assert_eq!(walk(&folder.path().join("pictures")), Vec::<std::path::PathBuf>::new());
    }
    server.stop().await;
}

/// What nobody shows any more is deleted once that can be done.
#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_could_not_be_deleted_is_deleted_later() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let ann = sign_up(&server, "ann").await;
    let (status, _, body) = exchange(&server, "PUT", "/v1/me/picture", &ann.token, PNG).await;
    assert_eq!(status, 200);
    let picture = serde_json::from_slice::<Value>(&body).unwrap()["picture"].as_str().unwrap().to_owned();
    let kept = |folder: &std::path::Path| {
        let parts = walk(&folder.join("pictures"));
        parts.into_iter().filter(|path| path.to_string_lossy().contains(&picture)).collect::<Vec<_>>()
    };
    let files = kept(folder.path());
    assert_eq!(files.len(), 3, "{files:?}");
    // A folder that is not empty can't be deleted as a file, whoever tries.
    for file in &files {
        std::fs::remove_file(file).unwrap();
        std::fs::create_dir(file).unwrap();
        std::fs::write(file.join("in the way"), "").unwrap();
    }
    assert_eq!(exchange(&server, "DELETE", "/v1/me/picture", &ann.token, b"").await.0, 204);
    server.stop().await;
    for file in &files {
        std::fs::remove_dir_all(file).unwrap();
        std::fs::write(file, PNG).unwrap();
    }
    let server = start(folder.path()).await;
    until("the picture is gone", async || kept(folder.path()).is_empty().then_some(())).await;
    let path = format!("/v1/pictures/{picture}");
    assert_eq!(exchange(&server, "GET", &path, "", b"").await.0, 404);
    server.stop().await;
}

/// In a store that speaks S3 and checks each signature; with another key nothing is kept, and the operator is told.
#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_kept_in_an_s3_store_on_the_real_backends() {
    let store = std::env::var("MADANG_TEST_S3").unwrap();
    let at_store = |secret| {
        let key = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", secret)];
        [("AWS_ENDPOINT", store.as_str()), ("AWS_ALLOW_HTTP", "true"), ("AWS_REGION", "eu-north-1")]
            .into_iter()
            .chain(key)
    };
    let folder = tempfile::tempdir().unwrap();
    let start = async |secret| {
        let variables: Vec<_> = at_store(secret).collect();
        Server::start(folder.path(), &["--pictures", "s3://pictures"], &variables).await
    };
    let server = start("its-secret").await;
    let ann = sign_up_at(server.http, "ann").await;
    let put = async |at| {
        let (status, _, body) = exchange_at(at, "PUT", "/v1/me/picture", &ann.token, PNG).await;
        (status, serde_json::from_slice::<Value>(&body).unwrap())
    };
    let get = async |at, picture: &Value, size: u32| {
        let path = format!("/v1/pictures/{}?size={size}", picture.as_str().unwrap());
        let (status, _, jpeg) = exchange_at(at, "GET", &path, "", b"").await;
        (status, jpeg.starts_with(&[0xff, 0xd8]))
    };
    let (status, first) = put(server.http).await;
    assert_eq!(status, 200, "{first}");
    for size in [64, 256, 1024] {
        assert_eq!(get(server.http, &first["picture"], size).await, (200, true));
    }
    let (status, second) = put(server.http).await;
    assert_eq!(status, 200, "{second}");
    assert_eq!(get(server.http, &first["picture"], 64).await, (404, false), "nothing shows it any more");
    let (_, said) = server.stop().await;
    assert!(!said.contains("its-secret"), "{said}");

    let server = start("another-secret").await;
    let (status, refused) = put(server.http).await;
    assert_eq!((status, &refused["reason"], &refused["retryable"]), (503, &json!("UNAVAILABLE"), &json!(true)));
    assert_eq!(get(server.http, &second["picture"], 64).await.0, 503, "it may be there");
    let (_, said) = server.stop().await;
    assert!(said.contains("SignatureDoesNotMatch") && !said.contains("another-secret"), "{said}");

    let server = start("its-secret").await;
    assert_eq!(get(server.http, &second["picture"], 64).await, (200, true));
    assert_eq!(exchange_at(server.http, "DELETE", "/v1/me/picture", &ann.token, b"").await.0, 204);
    assert_eq!(get(server.http, &second["picture"], 64).await, (404, false));
    server.stop().await;
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
