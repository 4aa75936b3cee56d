//! Internal services: the bot that is the example answers once whatever breaks, and what `docs/grpc.md` shows works as it
//! stands.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)] // a test: a panic is its failure

#[path = "../../proto/examples/echo.rs"]
#[allow(clippy::print_stderr)]
mod echo;

use http_body_util::{BodyExt, Full};
use madang_mesh::{channel::Channels, status::from_status};
use madang_proto::{
    access::table,
    account::v1::{SignUpRequest, TokenSet, account_service_client::AccountServiceClient},
    client::v1::{Device, DeviceKind, UserKind},
    id::ClientId,
    reason::{Reason, Refusal},
};
use madang_solo::{serve::Running, token::Tokens};
use madang_tests::{
    client::{Socket, call, sign_up},
    start,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, path::Path, process::Command};
use tonic::{Code, Status, body::Body, client::GrpcService};

const HANDLE: &str = "echo_bot";

fn token(data: &Path) -> String {
    Tokens::open(data).unwrap().make("test")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bot_answers_each_message_once_also_when_it_hears_them_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let token = token(folder.path());
    let at = format!("http://{}", server.grpc);
    let ann = sign_up(&server, "ann").await;
    let bot = echo::Bot::open(&at, &token, HANDLE).await.unwrap();
    let (status, found) = call(&server, "GET", &format!("/v1/users?handle={HANDLE}"), &ann.token, Value::Null).await;
    assert_eq!(status, 200, "{found}");
    assert_eq!(found["users"][0]["kind"], "USER_KIND_BOT");
    let user = found["users"][0]["user"].as_str().unwrap().to_owned();
    let (mut socket, _) = Socket::connect(&server, &ann, "").await;

    let mut conversation = String::new();
    for round in 0..3 {
        // Each bot is a new one, as after a crash: without a cursor it hears again what was said in the last 30 s.
        let same = echo::Bot::open(&at, &token, HANDLE).await.unwrap();
        let running = tokio::spawn(async move { same.run().await });
        let text = format!("round {round}");
        let to = json!({"user": user, "clientId": ClientId::new().to_string(), "text": text});
        socket.send(json!({"id": 7, "send": to})).await;
        loop {
            let event = socket.message().await;
            if event["message"]["sender"] == user.as_str() {
                assert_eq!(event["message"]["text"], text.as_str());
                conversation = event["conversation"].as_str().unwrap().to_owned();
                break;
            }
        }
        running.abort();
    }
    drop(bot);
    let path = format!("/v1/conversations/{conversation}/messages?atLeast=6");
    let (_, page) = call(&server, "GET", &path, &ann.token, Value::Null).await;
    let messages = page["messages"].as_array().unwrap();
    let said: Vec<_> = messages.iter().map(|each| each["text"].as_str().unwrap()).collect();
    assert_eq!(said, ["round 0", "round 0", "round 1", "round 1", "round 2", "round 2"], "each is answered once");
    assert_eq!(messages[5]["replyTo"], messages[4]["seq"]);
    server.stop().await;
}

/// Signs up over gRPC, as an internal service.
async fn make(server: &Running, token: &str, new: SignUpRequest) -> Result<TokenSet, Refusal> {
    let channel = Channels::new().get(&format!("http://{}", server.grpc)).unwrap();
    let mut request = tonic::Request::new(new);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let made = AccountServiceClient::new(channel).sign_up(request).await;
    made.map(|made| made.into_inner().tokens.unwrap()).map_err(|status| from_status(&status))
}

#[tokio::test(flavor = "multi_thread")]
async fn bots_are_made_by_internal_services_alone() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let token = token(folder.path());
    let ann = sign_up(&server, "ann").await;
    let bot =
        |handle: &str| SignUpRequest { handle: handle.into(), kind: UserKind::Bot.into(), ..SignUpRequest::default() };
    let kind = async |user: &str| {
        let (status, found) = call(&server, "GET", &format!("/v1/users/{user}"), &ann.token, Value::Null).await;
        assert_eq!(status, 200, "{found}");
        found["kind"].as_str().unwrap().to_owned()
    };
    let device = |id: &str| json!({"id": id, "kind": "DEVICE_KIND_SERVICE"});
    let log_in = async |handle: &str, password: &str| {
        let body = json!({"handle": handle, "password": password, "device": device(&uuid::Uuid::new_v4().to_string())});
        call(&server, "POST", "/v1/sessions", "", body).await.0
    };

    // Without a password and a device nobody is logged in, and nobody can be.
    let made = make(&server, &token, bot("helper")).await.unwrap();
    let helper = made.user.unwrap();
    assert_eq!((helper.kind(), helper.name.as_str()), (UserKind::Bot, "helper"));
    assert_eq!((made.session.as_str(), made.access_token.as_str(), made.refresh_token.as_str()), ("", "", ""));
    assert_eq!(kind(&helper.user).await, "USER_KIND_BOT");
    assert_eq!([log_in("helper", "").await, log_in("helper", "correct horse").await], [401, 401]);

    // With both it is a program that uses the public doors.
    let own = Device { id: uuid::Uuid::new_v4().to_string(), kind: DeviceKind::Service.into(), ..Device::default() };
    let with = SignUpRequest { password: "correct horse".into(), device: Some(own), ..bot("outside") };
    let made = make(&server, &token, with).await.unwrap();
    let (status, me) = call(&server, "GET", "/v1/me", &made.access_token, Value::Null).await;
    assert_eq!((status, &me["kind"]), (200, &json!("USER_KIND_BOT")));
    assert_eq!(log_in("outside", "correct horse").await, 201);

    // Among members it is known as what it is; whoever counts readers leaves it out.
    let group = json!({"name": "마당", "members": [helper.user]});
    let (status, group) = call(&server, "POST", "/v1/groups", &ann.token, group).await;
    assert_eq!(status, 201, "{group}");
    let path = format!("/v1/conversations/{}/members?atLeast=1", group["conversation"].as_str().unwrap());
    let (_, members) = call(&server, "GET", &path, &ann.token, Value::Null).await;
    let mut kinds: Vec<_> =
        members["members"].as_array().unwrap().iter().map(|member| member["profile"]["kind"].clone()).collect();
    kinds.sort_by_key(Value::to_string);
    assert_eq!(kinds, ["USER_KIND_BOT", "USER_KIND_PERSON"]);

    // A person needs both, whoever makes them; and over HTTP everybody is one.
    for (new, field) in [
        (SignUpRequest { handle: "somebody".into(), ..SignUpRequest::default() }, "password"),
        (
            SignUpRequest { handle: "somebody".into(), password: "12345678".into(), ..SignUpRequest::default() },
            "device",
        ),
        (SignUpRequest { password: "1234567".into(), ..bot("somebody") }, "password"),
        (SignUpRequest { kind: 3, ..bot("somebody") }, "kind"),
    ] {
        let refused = make(&server, &token, new).await.unwrap_err();
        assert_eq!((refused.reason, refused.field.as_str()), (Reason::InvalidField, field));
    }
    let id = uuid::Uuid::new_v4().to_string();
    let body =
        json!({"handle": "pretends", "password": "correct horse", "kind": "USER_KIND_BOT", "device": device(&id)});
    let (status, made) = call(&server, "POST", "/v1/accounts", "", body).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(kind(made["user"].as_str().unwrap()).await, "USER_KIND_PERSON");
    server.stop().await;
}

/// What stands in the page's shell blocks, in order.
fn script() -> String {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/grpc.md")).unwrap();
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_page_shows_works_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let shown = script();
    let address = "SERVER=http://127.0.0.1:8081";
    assert!(shown.contains(address), "the page says where the server is");
    let script = format!("set -euo pipefail\n{}", shown.replace(address, &format!("SERVER=http://{}", server.grpc)));
    let mut command = Command::new("bash");
    command.args(["-c", &script]).env("MADANG_TOKEN", token(folder.path()));
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (said, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "buf must be on the path (tests/backends/run.py): {said}\n{complained}");
    for word in ["USER_KIND_BOT", "\"duplicate\": true", "\"text\": \"hello\"", "\"unread\": \"1\"", "ROLE_OWNER"] {
        assert!(said.contains(word), "{word} is not in what it says: {said}");
    }
    server.stop().await;
}

/// What `grpc.health.v1.Health/Check` says of a service, as its bytes; or the code of its refusal.
async fn health(server: &Running, service: &str) -> Result<Vec<u8>, Code> {
    let mut channel = Channels::new().get(&format!("http://{}", server.grpc)).unwrap();
    std::future::poll_fn(|context| GrpcService::<Body>::poll_ready(&mut channel, context)).await.unwrap();
    let length = u8::try_from(service.len()).unwrap();
    let message = [&[0, 0, 0, 0, length + 2, 0x0a, length], service.as_bytes()].concat();
    let call = http::Request::post("/grpc.health.v1.Health/Check").header("content-type", "application/grpc");
    let call = call.header("te", "trailers").body(Body::new(Full::from(message))).unwrap();
    let answer = GrpcService::<Body>::call(&mut channel, call).await.unwrap();
    match Status::from_header_map(answer.headers()).map(|status| status.code()) {
        Some(code) => Err(code),
        None => Ok(answer.into_body().collect().await.unwrap().to_bytes().into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_of_every_service_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let names: BTreeSet<String> =
        table().map(|path| path.rsplit_once('/').unwrap().0.trim_start_matches('/').to_owned()).collect();
    assert!(names.contains("madang.chat.v1.ChatService") && names.len() >= 6, "{names:?}");
    for name in names.iter().map(String::as_str).chain(["", "grpc.health.v1.Health"]) {
        // The only field: SERVING.
        assert_eq!(health(&server, name).await, Ok(vec![0, 0, 0, 0, 2, 8, 1]), "{name}");
    }
    assert_eq!(health(&server, "madang.chat.v2.ChatService").await, Err(Code::NotFound));
    server.stop().await;
}
