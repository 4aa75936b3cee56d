//! Who may call whom: by certificates over the network, by tokens at `madang serve`, by their place within one process.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use http::Request as Call;
use madang_mesh::{
    channel::{Channel, Channels},
    grants::Grants,
    serve::{self, Entrance, Peers},
    tls::{Args, Tls},
};
use madang_proto::access::{Access, Service, rule, table};
use madang_solo::{
    certs::{self, Authority},
    token::Tokens,
};
use madang_tests::{
    secure::{self, files, outsider},
    start_with,
};
use std::{
    collections::BTreeSet,
    error::Error,
    fs,
    path::Path,
    time::{Duration, SystemTime},
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, body::Body, client::GrpcService, service::Routes};

const HOUR: Duration = Duration::from_secs(3600);
const WATCH: &str = "/madang.chat.v1.HomeService/WatchShards";
const TAKE_OVER: &str = "/madang.chat.v1.HomeService/TakeOver";
const SEND: &str = "/madang.chat.v1.ChatService/SendMessage";

/// Certificates of all services and of a bot.
fn certificates() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    renew(folder.path());
    folder
}

fn renew(folder: &Path) {
    let (folder, service) = (folder.to_owned(), vec!["bot".to_owned(), "other".to_owned()]);
    certs::run(&certs::Args { folder, trust_domain: "example.test".into(), service, days: 1, renew: true }).unwrap();
}

async fn tls(folder: &Path, service: Service) -> Tls {
    Tls::open(&files(folder, service.name()), service).await.unwrap().unwrap()
}

/// A service without methods: whoever is let in is told so.
async fn serve(folder: &Path, service: Service, grants: &[&str]) -> String {
    let grants = Grants::new(grants.iter().map(|grant| grant.parse().unwrap()).collect());
    let listener = serve::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let entrance = Entrance::secured(listener, Some(tls(folder, service).await), grants);
    tokio::spawn(serve::grpc(Routes::default(), Some(entrance), None, CancellationToken::new()));
    address
}

/// A channel to what is said to be the store at an address.
fn to_store(tls: Tls, address: &str) -> Channel {
    let peers = Peers { store: address.to_owned(), ..Peers::default() };
    Channels::secured(Some(tls), &peers).get(address).unwrap()
}

/// A channel to what is said to be a home.
fn to_home(tls: Tls, address: &str) -> Channel {
    Channels::secured(Some(tls), &Peers::default()).get(address).unwrap()
}

/// What comes of a call. Who can't be reached is called again: a machine that is busy with other things may be the reason.
async fn call<C>(channel: &C, path: &str, token: Option<&str>) -> Code
where
    C: GrpcService<Body, Error: Into<Box<dyn Error + Send + Sync>>> + Clone,
{
    for _ in 0..3 {
        let code = call_once(channel, path, token).await;
        if code != Code::Unavailable {
            return code;
        }
    }
    Code::Unavailable
}

async fn call_once<C>(channel: &C, path: &str, token: Option<&str>) -> Code
where
    C: GrpcService<Body, Error: Into<Box<dyn Error + Send + Sync>>> + Clone,
{
    let mut call = Call::post(path).header("content-type", "application/grpc").header("te", "trailers");
    if let Some(token) = token {
        call = call.header("authorization", format!("Bearer {token}"));
    }
    let mut channel = channel.clone();
    if let Err(error) = std::future::poll_fn(|context| channel.poll_ready(context)).await {
        return Status::from_error(error.into()).code();
    }
    match channel.call(call.body(Body::empty()).unwrap()).await {
        Ok(answer) => Status::from_header_map(answer.headers()).map_or(Code::Ok, |status| status.code()),
        Err(error) => Status::from_error(error.into()).code(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_who_its_certificate_says() {
    let folder = certificates();
    let home = serve(folder.path(), Service::Chat, &[]).await;
    let gateway = tls(folder.path(), Service::Gateway).await;
    let as_gateway = to_home(gateway.clone(), &home);
    assert_eq!(call(&as_gateway, WATCH, None).await, Code::Unimplemented, "it is let in");
    assert_eq!(call(&as_gateway, TAKE_OVER, None).await, Code::PermissionDenied, "homes alone may");
    let as_chat = to_home(tls(folder.path(), Service::Chat).await, &home);
    assert_eq!(call(&as_chat, TAKE_OVER, None).await, Code::Unimplemented);
    // Who answers at an address must be who was meant, whatever the address says.
    assert_eq!(call(&to_store(gateway.clone(), &home), WATCH, None).await, Code::Unavailable);
    let plain = Channels::new();
    assert!(plain.get(&home).is_err(), "without certificates there is no way to https://");
    let plain = plain.get(&home.replace("https", "http")).unwrap();
    assert!(
        matches!(call(&plain, WATCH, None).await, Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal),
        "and none to what speaks TLS"
    );
    // A certificate of one service is none of another.
    assert!(Tls::open(&files(folder.path(), "gateway"), Service::Chat).await.is_err());
    let half = Args { tls_key: None, ..files(folder.path(), "chat") };
    assert!(Tls::open(&half, Service::Chat).await.is_err());
}

/// The same files, but the certificate and key of somebody else under a service's name.
fn impostor(of: &Path, authority: Option<&Authority>, path: &str, ends: SystemTime) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(of.join(certs::CA), folder.path().join(certs::CA)).unwrap();
    let strange = Authority::new("example.test").unwrap().0;
    authority.unwrap_or(&strange).certify(path, ends).unwrap().write(folder.path(), "gateway").unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_certificate_is_no_good_is_not_let_in() {
    let (authority, ca) = Authority::new("example.test").unwrap();
    let folder = tempfile::tempdir().unwrap();
    ca.write(folder.path(), "ca").unwrap();
    let later = SystemTime::now() + HOUR;
    for name in ["chat", "gateway"] {
        authority.certify(&format!("madang/{name}"), later).unwrap().write(folder.path(), name).unwrap();
    }
    let home = serve(folder.path(), Service::Chat, &[]).await;
    let good = tls(folder.path(), Service::Gateway).await;
    assert_eq!(call(&to_home(good, &home), WATCH, None).await, Code::Unimplemented);
    let past = SystemTime::now() - HOUR;
    for (authority, path, ends, why) in [
        (None, "madang/gateway", later, "another authority"),
        (Some(&authority), "madang/gateway", past, "expired"),
        (None, "madang/gateway", past, "both"),
    ] {
        let theirs = impostor(folder.path(), authority, path, ends);
        let theirs = tls(theirs.path(), Service::Gateway).await;
        let code = call(&to_home(theirs, &home), WATCH, None).await;
        assert!(
            matches!(code, Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal),
            "{why}: {code:?}"
        );
    }
    // And nobody calls one whose certificate has expired.
    let expired = impostor(folder.path(), Some(&authority), "madang/chat", past);
    for kind in ["crt", "key"] {
        let file = |name: &str| expired.path().join(format!("{name}.{kind}"));
        fs::rename(file("gateway"), file("chat")).unwrap();
    }
    let home = serve(expired.path(), Service::Chat, &[]).await;
    let good = tls(folder.path(), Service::Gateway).await;
    assert_eq!(call(&to_home(good, &home), WATCH, None).await, Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_no_certificate_is_not_let_in() {
    let folder = certificates();
    let home = serve(folder.path(), Service::Chat, &[]).await;
    let address = home.strip_prefix("https://").unwrap();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    // In TLS 1.3 the client is told after it has finished: by the first that it reads.
    let refused = async {
        let mut stream = secure::connect(&secure::anybody(&[b"h2"]), stream).await?;
        tokio::io::AsyncReadExt::read_u8(&mut stream).await
    };
    let error = refused.await.unwrap_err().to_string();
    assert!(error.contains("CertificateRequired"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_certificates_are_used_without_a_restart() {
    let folder = certificates();
    let home = serve(folder.path(), Service::Chat, &[]).await;
    let gateway = tls(folder.path(), Service::Gateway).await;
    assert_eq!(call(&to_home(gateway.clone(), &home), WATCH, None).await, Code::Unimplemented);
    // Everything anew, the authority as well: nothing of before is good any more.
    fs::remove_file(folder.path().join(certs::CA)).unwrap();
    fs::remove_file(folder.path().join("ca.key")).unwrap();
    renew(folder.path());
    let newcomer = tls(folder.path(), Service::Gateway).await;
    for tls in [newcomer, gateway] {
        // Each a new connection, until the home, and then the gateway, have seen the files.
        while call(&to_home(tls.clone(), &home), WATCH, None).await != Code::Unimplemented {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_is_open_to_those_alone_whom_its_rule_names() {
    let folder = certificates();
    let home = serve(folder.path(), Service::Chat, &["bot:SendMessage", "bot:ListMessages"]).await;
    let mut let_in = BTreeSet::new();
    for caller in Service::ALL {
        let channel = to_home(tls(folder.path(), caller).await, &home);
        for path in table() {
            let code = call(&channel, &path, None).await;
            let expected = if rule(&path).unwrap().callers.contains(&caller) {
                let_in.insert(path.clone());
                Code::Unimplemented
            } else {
                Code::PermissionDenied
            };
            assert_eq!(code, expected, "{} {path}", caller.name());
        }
    }
    // What none of them calls is there for others.
    assert!(table().all(|path| let_in.contains(&path) || rule(&path).unwrap().access == Access::Outside));
    for name in ["bot", "other"] {
        let channel = outsider(folder.path(), name, &home);
        for path in table() {
            let granted = name == "bot" && (path.ends_with("/SendMessage") || path.ends_with("/ListMessages"));
            let expected = if granted { Code::Unimplemented } else { Code::PermissionDenied };
            assert_eq!(call(&channel, &path, None).await, expected, "{name} {path}");
        }
        assert_eq!(call(&channel, "/madang.chat.v1.ChatService/Nonsense", None).await, Code::Unimplemented);
        assert_eq!(call(&channel, "/grpc.health.v1.Health/Check", None).await, Code::Unimplemented, "open to all");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_madang_serve_a_token_says_who_calls() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with(folder.path(), &["--grants", "bot:SendMessage,bot:GetUsers,audit:*"]).await;
    let tokens = Tokens::open(folder.path()).unwrap();
    let channel = Channels::new().get(&format!("http://{}", server.grpc)).unwrap();
    let (bot, audit) = (tokens.make("bot"), tokens.make("audit"));
    for path in table() {
        assert_eq!(call(&channel, &path, None).await, Code::Unauthenticated, "{path}");
        assert_eq!(call(&channel, &path, Some("bot.0000")).await, Code::Unauthenticated, "{path}");
        let granted = path.ends_with("/SendMessage") || path.ends_with("/GetUsers");
        let denied = call(&channel, &path, Some(&bot)).await == Code::PermissionDenied;
        assert_eq!(denied, !granted, "{path}");
    }
    assert_eq!(call(&channel, TAKE_OVER, Some(&audit)).await, Code::PermissionDenied);
    assert_ne!(call(&channel, SEND, Some(&audit)).await, Code::PermissionDenied);
    server.stop().await;
}
