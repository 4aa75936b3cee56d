//! The end of an account, and what is told and given of one before.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_mesh::channel::Channels;
use madang_proto::{
    account::v1::{
        ListEndedSessionsRequest, SetPasswordRequest, SetSuspendedRequest, account_service_client::AccountServiceClient,
    },
    id::ClientId,
};
use madang_solo::{serve::Running, token::Tokens};
use madang_tests::{
    client::{Begun, Person, Socket, call, call_once, raw, send, sign_up},
    start,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

async fn log_in(server: &Running, handle: &str, password: &str) -> (u16, Value) {
    let device = json!({"id": uuid::Uuid::new_v4().to_string(), "kind": "DEVICE_KIND_WEB"});
    call(server, "POST", "/v1/sessions", "", json!({"handle": handle, "password": password, "device": device})).await
}

/// The code that it is closed with.
async fn closed(socket: &mut Socket) -> Value {
    loop {
        let frame = socket.next().await;
        if !frame["close"].is_null() {
            return frame["close"].clone();
        }
    }
}

/// Asks until it is so.
async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    madang_tests::until(what, async || is().await.then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_deletes_their_account_is_gone_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    let (mut at_ann, _) = Socket::connect(&server, &ann, "").await;
    at_ann.send(send(2, &bob, "안녕", ClientId::now())).await;
    assert!(at_ann.answer(2).await["ack"].is_object());
    let body = json!({"name": "마당", "members": [bob.id]});
    let (_, group) = call(&server, "POST", "/v1/groups", &ann.token, body).await;
    let members = format!("/v1/conversations/{}/members", group["conversation"].as_str().unwrap());

    let end = async |password: &str| {
        let body = json!({"password": password, "eraseMessages": false});
        let (status, answer) = call(&server, "POST", "/v1/me/deletion", &ann.token, body).await;
        (status, answer["reason"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(end("wrong horse").await, (403, "WRONG_PASSWORD".into()));
    assert_eq!(call(&server, "GET", "/v1/me", &ann.token, Value::Null).await.0, 200, "nothing has happened");
    assert_eq!(end("correct horse").await, (204, String::new()));
    assert_eq!(end("correct horse").await, (401, "BAD_TOKEN".into()));
    assert_eq!(closed(&mut at_ann).await, json!(4503));
    assert_eq!(log_in(&server, "ann", "correct horse").await.1["reason"], "BAD_CREDENTIALS");

    let (status, shown) = call(&server, "GET", &format!("/v1/users/{}", ann.id), &bob.token, Value::Null).await;
    let nothing = [&shown["handle"], &shown["name"], &shown["picture"], &shown["statusMessage"]];
    assert_eq!((status, &shown["deleted"], nothing), (200, &json!(true), [&json!(""); 4]));
    let (_, found) = call(&server, "GET", "/v1/users?handle=ann", &bob.token, Value::Null).await;
    assert_eq!(found["users"], json!([]));
    let device = json!({"id": uuid::Uuid::new_v4().to_string(), "kind": "DEVICE_KIND_WEB"});
    let again = json!({"handle": "ann", "password": "another horse", "device": device});
    let (status, taken) = call(&server, "POST", "/v1/accounts", "", again).await;
    assert_eq!((status, &taken["reason"]), (409, &json!("HANDLE_TAKEN")), "a handle is not given out again");

    // It leaves its groups, by the owner's rule.
    until("bob owns the group alone", async || {
        let (_, answer) = call(&server, "GET", &members, &bob.token, Value::Null).await;
        let members = answer["members"].as_array().unwrap();
        members.len() == 1 && members[0]["role"] == "ROLE_OWNER"
    })
    .await;
    // Nobody adds it, or writes to it first.
    let add = format!("/v1/groups/{}/members", group["conversation"].as_str().unwrap());
    let (_, added) = call(&server, "POST", &add, &bob.token, json!({"users": [ann.id]})).await;
    assert_eq!(added["refused"], json!([{"user": ann.id, "reason": "USER_NOT_FOUND"}]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deleted_account_leaves_is_cleaned_up_by_the_next_server_too() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    let mut groups = Vec::new();
    for n in 0..30 {
        let body = json!({"name": format!("마당 {n}"), "members": [bob.id]});
        let (_, group) = call(&server, "POST", "/v1/groups", &ann.token, body).await;
        groups.push(group["conversation"].as_str().unwrap().to_owned());
    }
    let body = json!({"password": "correct horse"});
    assert_eq!(call(&server, "POST", "/v1/me/deletion", &ann.token, body).await.0, 204);
    // Somewhere in the middle of it, or before.
    server.stop().await;
    let server = start(folder.path()).await;
    for group in &groups {
        let path = format!("/v1/conversations/{group}/members");
        until("bob is there alone", async || {
            let (_, answer) = call(&server, "GET", &path, &bob.token, Value::Null).await;
            answer["members"].as_array().is_some_and(|members| members.len() == 1)
        })
        .await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_said_is_erased_with_their_account_for_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    let ((mut at_ann, _), (mut at_bob, _)) =
        (Socket::connect(&server, &ann, "").await, Socket::connect(&server, &bob, "").await);
    // Who is connected hears of each. He reads all the while: who answers no ping is closed.
    let told = tokio::spawn(async move {
        let mut told = BTreeSet::new();
        while told.len() < 230 {
            let frame = at_bob.next().await;
            if let Some(seq) = frame["event"]["deleted"]["seq"].as_str() {
                told.insert(seq.to_owned());
            }
        }
    });
    // More than one step of a home's, with his own between them.
    for n in 0..230 {
        let ack = at_ann.ask(send(10 + n, &bob, &format!("secret {n}"), ClientId::now())).await["ack"].clone();
        if n % 100 == 0 {
            let his = json!({"user": ann.id, "clientId": ClientId::now().to_string(), "text": "his"});
            assert_eq!(call(&server, "POST", "/v1/messages", &bob.token, his).await.0, 200);
        }
        if n == 229 {
            let path = format!("/v1/conversations/{}", ack["conversation"].as_str().unwrap());
            let body = json!({"password": "correct horse", "eraseMessages": true});
            assert_eq!(call(&server, "POST", "/v1/me/deletion", &ann.token, body).await.0, 204);
            let history = async || {
                let mut all = Vec::new();
                loop {
                    let after = all.len();
                    let page = format!("{path}/messages?after={after}&limit=200");
                    let (_, page) = call(&server, "GET", &page, &bob.token, Value::Null).await;
                    let Some(page) = page["messages"].as_array().filter(|page| !page.is_empty()).cloned() else {
                        return all;
                    };
                    all.extend(page);
                }
            };
            until("all of hers is gone", async || {
                let all = history().await;
                all.len() == 233
                    && all.iter().all(|each| (each["sender"] == ann.id.as_str()) == (each["deleted"] == true))
            })
            .await;
            let all = history().await;
            assert!(all.iter().all(|each| each["text"] == if each["deleted"] == true { "" } else { "his" }));
            let (_, list) = call(&server, "GET", "/v1/conversations", &bob.token, Value::Null).await;
            let last = &list["conversations"][0]["lastMessage"];
            assert_eq!((&last["seq"], &last["deleted"], &last["text"]), (&json!("233"), &json!(true), &json!("")));
        }
    }
    told.await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ones_devices_are_told_when_the_account_changes() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    let ((mut at_ann, _), (mut at_bob, _)) =
        (Socket::connect(&server, &ann, "").await, Socket::connect(&server, &bob, "").await);
    let told = async |socket: &mut Socket| {
        loop {
            let frame = socket.next().await;
            if frame["event"]["account"].is_object() {
                assert_eq!((&frame["event"]["conversation"], &frame["event"]["revision"]), (&json!(""), &json!("0")));
                return frame["event"]["cursor"].as_str().unwrap().to_owned();
            }
        }
    };
    let change = async |method: &str, path: &str, body: Value| {
        let (status, answer) = call(&server, method, path, &ann.token, body).await;
        assert!(status < 300, "{answer}");
    };
    change("PATCH", "/v1/me", json!({"name": "앤"})).await;
    told(&mut at_ann).await;
    change("PUT", &format!("/v1/blocks/{}", bob.id), Value::Null).await;
    told(&mut at_ann).await;
    assert_eq!(log_in(&server, "ann", "correct horse").await.0, 201);
    let cursor = told(&mut at_ann).await;
    // Who was away for a while is told as well.
    drop(at_ann);
    change("PATCH", "/v1/me", json!({"statusMessage": "away"})).await;
    let (mut at_ann, ready) = Socket::connect(&server, &ann, &cursor).await;
    assert_eq!(ready["resume"], "RESUME_RESUMED");
    told(&mut at_ann).await;
    // Nobody else is: what bob gets next is his own.
    let (_, _) = call(&server, "PATCH", "/v1/me", &bob.token, json!({"name": "밥"})).await;
    told(&mut at_bob).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_what_one_said_and_nothing_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob, cho) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await, sign_up(&server, "cho").await);
    let say = async |socket: &mut Socket, id: u64, to: &Person, text: &str| {
        assert!(socket.ask(send(id, to, text, ClientId::now())).await["ack"].is_object());
    };
    let ((mut at_ann, _), (mut at_bob, _)) =
        (Socket::connect(&server, &ann, "").await, Socket::connect(&server, &bob, "").await);
    // More than a page.
    for n in 0..230 {
        say(&mut at_ann, 10 + n, &bob, &format!("mine {n}")).await;
    }
    say(&mut at_bob, 10, &ann, "his").await;
    say(&mut at_bob, 11, &cho, "not hers").await;
    assert_eq!(call(&server, "PUT", &format!("/v1/blocks/{}", cho.id), &ann.token, Value::Null).await.0, 204);
    let (status, head, body) = raw(&server, "GET", "/v1/me/export", &ann.token).await;
    assert_eq!(status, 200);
    assert!(head.contains("chunked") && head.contains("attachment"), "{head}");
    let export: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&export["user"]["handle"], &export["blocks"][0]["handle"]), (&json!("ann"), &json!("cho")));
    assert_eq!(export["sessions"][0]["current"], true);
    let [conversation] = &export["conversations"].as_array().unwrap()[..] else { panic!("{export}") };
    assert_eq!(conversation["conversation"]["peer"]["handle"], "bob");
    let texts: Vec<_> = conversation["messages"].as_array().unwrap().iter().map(|each| each["text"].clone()).collect();
    assert_eq!(texts, (0..230).map(|n| json!(format!("mine {n}"))).collect::<Vec<_>>());
    assert_eq!(raw(&server, "GET", "/v1/me/export", "").await.0, 401);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_ends_with_its_session_and_goes_on_without_a_group_that_one_is_put_out_of() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    let (mut at_ann, _) = Socket::connect(&server, &ann, "").await;
    assert!(at_ann.ask(send(1, &bob, "to him", ClientId::now())).await["ack"].is_object());
    let body = json!({"name": "마당", "members": [ann.id]});
    let (_, group) = call(&server, "POST", "/v1/groups", &bob.token, body).await;
    let group = group["conversation"].as_str().unwrap();
    // More than fits into all buffers between the two.
    let (much, count) = ("m".repeat(60_000), 200);
    for n in 0..count {
        let body = json!({"conversation": group, "clientId": ClientId::now().to_string(), "text": much});
        assert_eq!(call(&server, "POST", "/v1/messages", &ann.token, body).await.0, 200, "{n}");
    }
    let (_, other) = log_in(&server, "ann", "correct horse").await;
    let (token, session) = (other["accessToken"].as_str().unwrap(), other["session"].as_str().unwrap());
    let mut stolen = Begun::get(&server, "/v1/me/export", token).await;
    stolen.until(&much[..100]).await;
    assert_eq!(call(&server, "DELETE", &format!("/v1/sessions/{session}"), &ann.token, Value::Null).await.0, 204);
    until("the session ends", async || call(&server, "GET", "/v1/me", token, Value::Null).await.0 == 401).await;
    assert!(stolen.rest().await.is_none(), "an export goes on after its session");

    let mut export = Begun::get(&server, "/v1/me/export", &ann.token).await;
    export.until(&much[..100]).await;
    // One at a time, so that nobody takes the places of others.
    let again = call_once(server.http, "GET", "/v1/me/export", &ann.token, "", Value::Null).await;
    let (status, refusal) = again.expect("an answer");
    assert_eq!((status, &refusal["reason"]), (429, &json!("OVERLOADED")), "{refusal}");
    assert_eq!(call(&server, "GET", "/v1/me/export", &bob.token, Value::Null).await.0, 200);
    let member = format!("/v1/groups/{group}/members/{}", ann.id);
    assert_eq!(call(&server, "DELETE", &member, &bob.token, Value::Null).await.0, 200);
    let export: Value = serde_json::from_slice(&export.rest().await.expect("it breaks off")).unwrap();
    let [of_group, of_bob] = &export["conversations"].as_array().unwrap()[..] else { panic!("{export}") };
    assert_eq!(of_group["conversation"]["conversation"], group);
    assert!(of_group["messages"].as_array().unwrap().len() < count, "what came after the removal");
    assert_eq!(of_bob["messages"][0]["text"], "to him");
    let another = async || raw(&server, "GET", "/v1/me/export", &ann.token).await.0 == 200;
    until("there is a place for another", another).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_suspends_and_sets_passwords() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let ann = sign_up(&server, "ann").await;
    let (mut socket, _) = Socket::connect(&server, &ann, "").await;
    let channel = Channels::new().get(&format!("http://{}", server.grpc)).unwrap();
    let token = format!("Bearer {}", Tokens::open(folder.path()).unwrap().make("operator"));
    let signed = |mut request: tonic::Request<()>| {
        request.metadata_mut().insert("authorization", token.parse().unwrap());
        Ok(request)
    };
    let accounts = AccountServiceClient::with_interceptor(channel, signed);
    let suspend = async |suspended: bool| {
        let request = SetSuspendedRequest { user: ann.id.clone(), suspended };
        accounts.clone().set_suspended(request).await.unwrap();
    };
    suspend(true).await;
    assert_eq!(closed(&mut socket).await, json!(4503));
    let (status, refused) = log_in(&server, "ann", "correct horse").await;
    assert_eq!((status, &refused["reason"]), (403, &json!("SUSPENDED")));
    let (_, wrong) = log_in(&server, "ann", "wrong horse").await;
    assert_eq!(wrong["reason"], "BAD_CREDENTIALS", "only who has the password learns of it");
    suspend(false).await;
    assert_eq!(log_in(&server, "ann", "correct horse").await.0, 201);

    let set = async |user: &str, password: &str| {
        let request = SetPasswordRequest { user: user.into(), password: password.into() };
        accounts.clone().set_password(request).await.map(drop).map_err(|status| status.code())
    };
    assert_eq!(set(&ann.id, "short").await, Err(tonic::Code::InvalidArgument));
    assert_eq!(set(&uuid::Uuid::new_v4().to_string(), "battery staple").await, Err(tonic::Code::NotFound));
    assert_eq!(set(&ann.id, "battery staple").await, Ok(()));
    assert_eq!(log_in(&server, "ann", "correct horse").await.0, 401);
    assert_eq!(log_in(&server, "ann", "battery staple").await.0, 201);
    let ended = accounts.clone().list_ended_sessions(ListEndedSessionsRequest::default()).await;
    assert_eq!(ended.map(drop).map_err(|status| status.code()), Err(tonic::Code::PermissionDenied), "of Madang's own");
    server.stop().await;
}

/// They are not left to be read until everything is gone over a second time.
#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_said_is_erased_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    let said = json!({"user": bob.id, "clientId": ClientId::now().to_string(), "text": "secret"});
    let (status, ack) = call(&server, "POST", "/v1/messages", &ann.token, said).await;
    assert_eq!(status, 200, "{ack}");
    let body = json!({"password": "correct horse", "eraseMessages": true});
    assert_eq!(call(&server, "POST", "/v1/me/deletion", &ann.token, body).await.0, 204);
    let path = format!("/v1/conversations/{}/messages", ack["conversation"].as_str().unwrap());
    // The second time begins ten seconds after the first.
    madang_tests::until_within(Duration::from_secs(9), "hers is gone", async || {
        let (_, page) = call(&server, "GET", &path, &bob.token, Value::Null).await;
        (page["messages"][0]["deleted"] == true && page["messages"][0]["text"] == "").then_some(())
    })
    .await;
    server.stop().await;
}
