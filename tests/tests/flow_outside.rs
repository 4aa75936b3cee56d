//! An outside identity provider: whom it knows may chat, one log-in there is one session here, and no token that it did
//! not make opens anything; in one process and as a cluster.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use madang_proto::id::{ClientId, UserId};
use madang_tests::{
    client::{Person, Socket, call_at, call_once, send, sign_up_at},
    cluster::{Cluster, Plan},
    provider::{ISSUER, Key, Provider, claims},
    push::Answer,
    start_with,
};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tokio::net::TcpStream;

/// Both doors, and the provider behind them.
struct Doors {
    http: SocketAddr,
    sockets: SocketAddr,
}

impl Doors {
    async fn call(&self, method: &str, path: &str, token: &str, body: Value) -> (u16, Value) {
        call_at(self.http, method, path, token, body).await
    }

    async fn socket(&self) -> Socket {
        Socket::over(TcpStream::connect(self.sockets).await.unwrap()).await
    }

    /// Connects; the session.
    async fn connect(&self, person: &Person) -> (Socket, String) {
        let (socket, ready) = Socket::connect_at(self.sockets, person, "").await;
        assert_eq!(ready["user"], person.id.as_str());
        (socket, ready["session"].as_str().unwrap().to_owned())
    }

    /// What becomes of a hello that is refused: the reason, and the close code.
    async fn refused(&self, token: &str, device: &str) -> (String, u64) {
        let mut socket = self.socket().await;
        let device = json!({"id": device, "kind": "DEVICE_KIND_SERVICE"});
        socket.send(json!({"id": 1, "hello": {"token": token, "device": device}})).await;
        let error = socket.next().await["error"].clone();
        (error["reason"].as_str().unwrap_or_default().to_owned(), closed(&mut socket).await)
    }

    async fn sessions(&self, token: &str) -> Vec<Value> {
        let (status, answer) = self.call("GET", "/v1/sessions", token, Value::Null).await;
        assert_eq!(status, 200, "{answer}");
        answer["sessions"].as_array().unwrap().clone()
    }
}

async fn closed(socket: &mut Socket) -> u64 {
    loop {
        let frame = socket.next().await;
        if frame["close"].is_u64() {
            return frame["close"].as_u64().unwrap();
        }
    }
}

fn device() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn person(subject: &str, token: String) -> Person {
    Person { id: UserId::outside(ISSUER, subject).to_string(), token, device: device() }
}

/// A token with a claim changed.
fn with(key: &Key, claim: &str, value: Value) -> String {
    let mut claims = claims("mallory", Some("m"));
    claims[claim] = value;
    key.token(&claims)
}

/// Everything that only looks like a token is refused alike.
async fn forged(doors: &Doors, ed: &Key, rsa: &Key) {
    let now = madang_mesh::clock::now_ms() / 1000;
    let good = claims("mallory", Some("m"));
    let stranger = Key::ed_dsa(&ed.kid);
    let header = |key: &Key, alg: &str| json!({"alg": alg, "kid": key.kid});
    let token = ed.token(&good);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let other = ed.token(&claims("somebody", Some("m")));
    let mixed = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    for (what, token) in [
        ("nothing", String::new()),
        ("no signature", format!("{signed}.")),
        ("another's signature", mixed),
        ("alg none", format!("{none}.{}.", signed.split_once('.').unwrap().1)),
        ("HS256", rsa.sign(&header(rsa, "HS256"), &good)),
        ("an RSA key by ES256", rsa.sign(&header(rsa, "ES256"), &good)),
        ("an Ed25519 key by RS256", ed.sign(&header(ed, "RS256"), &good)),
        ("the id of another's key", ed.sign(&header(rsa, "RS256"), &good)),
        ("a stranger's key with a known id", stranger.token(&good)),
        ("an unknown id", Key::ed_dsa("unknown").token(&good)),
        ("no id", ed.sign(&json!({"alg": "EdDSA"}), &good)),
        ("a log-out's notice", ed.sign(&json!({"alg": "EdDSA", "kid": ed.kid, "typ": "logout+jwt"}), &good)),
        ("another audience", with(ed, "aud", json!("other"))),
        ("no audience", with(ed, "aud", Value::Null)),
        ("another issuer", with(ed, "iss", json!("https://id.example.org"))),
        ("our own issuer", with(ed, "iss", json!("madang"))),
        ("expired", with(ed, "exp", json!(now - 1))),
        ("exp as a text", with(ed, "exp", json!((now + 3600).to_string()))),
        ("no exp", with(ed, "exp", Value::Null)),
        ("not yet", with(ed, "nbf", json!(now + 3600))),
        ("no subject", with(ed, "sub", Value::Null)),
    ] {
        let (status, problem) = doors.call("GET", "/v1/me", &token, Value::Null).await;
        assert_eq!((status, problem["reason"].as_str()), (401, Some("BAD_TOKEN")), "{what}: {problem}");
        let text = "the token is missing, expired or not valid here: refresh it, or log in";
        assert_eq!(problem["detail"], text, "{what}");
        assert_eq!(doors.refused(&token, &device()).await, ("BAD_TOKEN".into(), 4500), "{what}");
    }
}

/// Accounts are made by their first use; people talk.
async fn talk(doors: &Doors, keys: [&Key; 3]) {
    let people: Vec<Person> = keys
        .iter()
        .map(|key| {
            let subject = key.algorithm();
            let mut claims = claims(subject, Some(subject));
            (claims["preferred_username"], claims["name"]) = (subject.into(), format!("{subject} 사람").into());
            person(subject, key.token(&claims))
        })
        .collect();
    let (mut ann, session) = doors.connect(&people[0]).await;
    let (mut bob, _) = doors.connect(&people[1]).await;
    let (status, me) = doors.call("GET", "/v1/me", &people[2].token, Value::Null).await;
    assert_eq!((status, me["handle"].as_str(), me["name"].as_str()), (200, Some("rs256"), Some("RS256 사람")), "{me}");
    assert_eq!(me["user"], people[2].id.as_str());
    ann.send(send(7, &people[1], "안녕", ClientId::now())).await;
    assert!(ann.answer(7).await["ack"].is_object());
    assert_eq!(bob.message().await["message"]["text"], "안녕");
    // With our own accounts, as with each other.
    let own = sign_up_at(doors.http, "own").await;
    ann.send(send(8, &own, "hi", ClientId::now())).await;
    assert!(ann.answer(8).await["ack"].is_object());
    // A newer token of the same log-in holds the socket open; another's doesn't.
    let newer = keys[0].token(&claims("EdDSA", Some("EdDSA")));
    ann.send(json!({"id": 9, "hello": {"token": newer}})).await;
    assert!(ann.answer(9).await["ack"].is_object());
    ann.send(json!({"id": 10, "hello": {"token": people[1].token}})).await;
    assert_eq!(ann.answer(10).await["error"]["reason"], "BAD_TOKEN");
    let there = doors.sessions(&newer).await;
    assert_eq!((there.len(), there[0]["session"].as_str()), (1, Some(session.as_str())));
    assert_eq!((&there[0]["device"]["id"], &there[0]["current"]), (&json!(people[0].device), &json!(true)));
    // There is no password, and nobody gets in by one.
    let change = json!({"old": "", "new": "correct horse"});
    let (status, problem) = doors.call("PUT", "/v1/me/password", &newer, change).await;
    assert_eq!((status, problem["reason"].as_str()), (409, Some("NO_PASSWORD")), "{problem}");
    assert_eq!(problem["code"], "FAILED_PRECONDITION");
    let device = json!({"id": device(), "kind": "DEVICE_KIND_WEB"});
    for password in ["", "correct horse"] {
        let body = json!({"handle": "eddsa", "password": password, "device": device});
        assert_eq!(doors.call("POST", "/v1/sessions", "", body).await.0, 401);
    }
}

/// Log-outs, with a `sid` and without.
async fn log_out(doors: &Doors, key: &Key) {
    let token = |sid| key.token(&claims("leaves", sid));
    let phone = person("leaves", token(Some("phone")));
    let (mut socket, _) = doors.connect(&phone).await;
    let desk = Person { token: token(Some("desk")), device: device(), ..person("leaves", String::new()) };
    let (mut other, session) = doors.connect(&desk).await;
    assert_eq!(doors.call("DELETE", "/v1/sessions/current", &phone.token, Value::Null).await.0, 204);
    assert_eq!(closed(&mut socket).await, 4503);
    // Also by another token of that log-in, at either door; the other device stays.
    let newer = token(Some("phone"));
    assert_eq!(doors.call("GET", "/v1/me", &newer, Value::Null).await.0, 401);
    assert_eq!(doors.refused(&newer, &phone.device).await, ("BAD_TOKEN".into(), 4503));
    other.send(json!({"id": 3, "ping": {}})).await;
    assert!(other.answer(3).await["pong"].is_object());
    // A new log-in on a device ends the one before.
    let again = Person { token: token(Some("desk 2")), device: desk.device.clone(), ..person("leaves", String::new()) };
    let (_socket, another) = doors.connect(&again).await;
    assert_ne!(session, another);
    // Whichever is first: the device's new socket, or the end of its session.
    let code = closed(&mut other).await;
    assert!([4503, 4506].contains(&code), "{code}");
    let refused = async {
        while doors.call("GET", "/v1/me", &desk.token, Value::Null).await.0 != 401 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), refused).await.unwrap();

    let loose = person("leaves", token(None));
    let (mut socket, session) = doors.connect(&loose).await;
    let there = doors.sessions(&loose.token).await;
    assert!(there.iter().any(|each| each["session"] == session.as_str() && each["current"] == true), "{there:?}");
    let newer = token(None);
    socket.send(json!({"id": 4, "hello": {"token": newer}})).await;
    assert!(socket.answer(4).await["ack"].is_object(), "the next token of that device");
    assert_eq!(doors.call("DELETE", "/v1/sessions/current", &newer, Value::Null).await.0, 204);
    assert_eq!(closed(&mut socket).await, 4503);
    for token in [&newer, &loose.token] {
        assert_eq!(doors.refused(token, &loose.device).await, ("BAD_TOKEN".into(), 4503));
    }
}

/// The account's end: nobody comes back by any token of it.
async fn delete(doors: &Doors, key: &Key) {
    let gone = person("gone", key.token(&claims("gone", Some("g"))));
    let (mut socket, _) = doors.connect(&gone).await;
    assert_eq!(doors.call("POST", "/v1/me/deletion", &gone.token, json!({})).await.0, 204);
    assert_eq!(closed(&mut socket).await, 4503);
    let newer = key.token(&claims("gone", Some("another")));
    for token in [&gone.token, &newer] {
        assert_eq!(doors.call("GET", "/v1/me", token, Value::Null).await.0, 401);
        assert_eq!(doors.refused(token, &gone.device).await, ("BAD_TOKEN".into(), 4503));
    }
}

/// Seventeen devices.
async fn crowd(doors: &Doors, key: &Key) {
    let first = person("many", key.token(&claims("many", Some("0"))));
    let (mut socket, _) = doors.connect(&first).await;
    for n in 1..=16 {
        let one = person("many", key.token(&claims("many", Some(&n.to_string()))));
        doors.connect(&one).await;
    }
    assert_eq!(closed(&mut socket).await, 4503);
    assert_eq!(doors.refused(&first.token, &first.device).await, ("BAD_TOKEN".into(), 4503));
}

/// The provider's keys come and go; and it may be away.
async fn rotate(doors: &Doors, provider: &Provider, old: &Key) {
    let (new, subject) = (Key::es256("new"), "rotates");
    let fresh = |key: &Key| key.token(&claims(subject, Some("r")));
    let asked = provider.asked();
    for _ in 0..20 {
        let unknown = Key::ed_dsa(&device());
        assert_eq!(doors.call("GET", "/v1/me", &fresh(&unknown), Value::Null).await.0, 401);
    }
    assert!(provider.asked() <= asked + 5, "unknown ids don't make everybody ask: {}", provider.asked() - asked);
    provider.publish(&[&new]);
    // Known once it is asked for again; what follows is known by then, too: the old one was taken back.
    let deadline = async {
        while doors.call("GET", "/v1/me", &fresh(&new), Value::Null).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), deadline).await.unwrap();
    assert_eq!(doors.call("GET", "/v1/me", &fresh(old), Value::Null).await.0, 401, "a key that was taken back");
    for nonsense in [
        Answer::status(500),
        Answer { status: 200, body: "<html>".into(), ..Answer::default() },
        Answer {
            status: 200,
            body: format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300 << 10)),
            ..Answer::default()
        },
        Answer { status: 302, headers: vec![("location", "/other".into())], ..Answer::default() },
    ] {
        provider.answer(nonsense);
        let asked = provider.asked();
        let unknown = Key::ed_dsa("nobody's");
        let asks = async {
            while provider.asked() == asked {
                doors.call("GET", "/v1/me", &fresh(&unknown), Value::Null).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), asks).await.unwrap();
        assert_eq!(doors.call("GET", "/v1/me", &fresh(&new), Value::Null).await.0, 200, "what is known stays");
    }
}

async fn all(doors: &Doors, provider: &Provider, keys: [&Key; 3]) {
    talk(doors, keys).await;
    forged(doors, keys[0], keys[2]).await;
    log_out(doors, keys[0]).await;
    delete(doors, keys[1]).await;
    crowd(doors, keys[1]).await;
    rotate(doors, provider, keys[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let keys = [Key::ed_dsa("ed"), Key::es256("es"), Key::rs256("rs")];
    let keys = [&keys[0], &keys[1], &keys[2]];
    let provider = Provider::start(folder.path(), &keys).await;
    let flags = provider.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = start_with(folder.path(), &flags).await;
    all(&Doors { http: server.http, sockets: server.http }, &provider, keys).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_a_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let keys = [Key::ed_dsa("ed"), Key::es256("es"), Key::rs256("rs")];
    let keys = [&keys[0], &keys[1], &keys[2]];
    let provider = Provider::start(folder.path(), &keys).await;
    let cluster = Cluster::with(Plan { account: provider.flags(), ..Plan::default() }).await;
    let at = |url: &str| url.strip_prefix("http://").unwrap().parse().unwrap();
    let doors = Doors { http: at(&cluster.api), sockets: at(&cluster.gateways[0]) };
    all(&doors, &provider, keys).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_keys_its_tokens_are_not_bad() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::ed_dsa("ed");
    let provider = Provider::start(folder.path(), &[&key]).await;
    provider.answer(Answer::status(503));
    let flags = provider.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = start_with(folder.path(), &flags).await;
    let doors = Doors { http: server.http, sockets: server.http };
    let token = key.token(&claims("waits", Some("w")));
    let (status, problem) = call_once(doors.http, "GET", "/v1/me", &token, "", Value::Null).await.unwrap();
    assert_eq!((status, &problem["retryable"]), (503, &json!(true)), "{problem}");
    assert_eq!(doors.refused(&token, &device()).await, ("UNAVAILABLE".into(), 4000));
    // Our own accounts are not concerned.
    let own = sign_up_at(doors.http, "own").await;
    doors.connect(&own).await;
    provider.publish(&[&key]);
    let there = async {
        while doors.call("GET", "/v1/me", &token, Value::Null).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), there).await.unwrap();
    server.stop().await;
}
