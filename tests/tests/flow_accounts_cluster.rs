//! Accounts in a cluster on the real backends: blocks hold while homes come and go, and a session that ends is closed at
//! every gateway.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_client::{Format, Http, http, socket};
use madang_loadgen::people::{self, Person};
use madang_proto::{client::v1::Hello, id::ClientId};
use madang_tests::{PATIENCE, cluster::Cluster, until};
use serde_json::{Value, json};
use std::time::Duration;

async fn persons(http: &Http, count: usize) -> Vec<Person> {
    people::sign_up(http, "accounts", count, 4, &indicatif::ProgressBar::hidden()).await.unwrap()
}

/// Tries again while the homes are being moved.
async fn call(http: &Http, who: &Person, method: &str, path: &str, body: Option<Value>) -> Result<Value, http::Error> {
    loop {
        match http.call(method, path, Some(&who.tokens.access_token), body.clone(), None).await {
            Err(error) if error.retryable() => tokio::time::sleep(Duration::from_millis(50)).await,
            other => return other,
        }
    }
}

/// Says something to somebody; the reason why not.
async fn say(http: &Http, from: &Person, to: &Person) -> String {
    let body = json!({"user": to.tokens.user, "clientId": ClientId::now().to_string(), "text": "안녕"});
    let said = call(http, from, "POST", "/v1/messages", Some(body)).await;
    said.err().map(|error| error.reason().to_owned()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_holds_whoever_is_home() {
    let mut cluster = Cluster::start(3, 1).await;
    let http = Http::new(&cluster.api).unwrap();
    let people = persons(&http, 8).await;
    let (one, others) = people.split_first().unwrap();
    let block = async |method: &str, other: &Person| {
        call(&http, one, method, &format!("/v1/blocks/{}", other.tokens.user), None).await.unwrap();
    };
    let all = async |expected: &str| {
        for other in others {
            assert_eq!(
                (say(&http, one, other).await.as_str(), say(&http, other, one).await.as_str()),
                (expected, expected)
            );
        }
    };
    all("").await;
    for other in others {
        block("PUT", other).await;
        assert_eq!(say(&http, other, one).await, "BLOCKED");
    }
    // A home dies, another is restarted: their rooms are at others then.
    cluster.chats.pop().unwrap().kill();
    all("BLOCKED").await;
    let restarted = cluster.chats.pop().unwrap().restart().await;
    cluster.chats.push(restarted);
    all("BLOCKED").await;
    for other in others {
        block("DELETE", other).await;
        assert_eq!(say(&http, one, other).await, "");
    }
    all("").await;
    cluster.stop().await;
}

/// The code that a socket is closed with.
async fn close_code(socket: &mut socket::Socket) -> u16 {
    let closed = async {
        let mut frames = Vec::new();
        loop {
            match socket.receive(&mut frames).await {
                Ok(()) => {}
                Err(socket::Error::Closed { code, .. }) => return code,
                Err(other) => panic!("{other}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_session_is_closed_at_every_gateway() {
    let cluster = Cluster::start(1, 2).await;
    let http = Http::new(&cluster.api).unwrap();
    let people = persons(&http, 1).await;
    let person = &people[0];
    let mut sockets = Vec::new();
    // The same session's token, shown by two devices at two gateways.
    for gateway in &cluster.gateways {
        let connect = async || {
            let mut socket = socket::Socket::connect(gateway, None, Format::Protobuf).await.ok()?;
            let mut device = person.device.clone();
            device.id = uuid::Uuid::new_v4().to_string();
            let hello = Hello { token: person.tokens.access_token.clone(), device: Some(device), ..Hello::default() };
            socket.hello(hello, &mut Vec::new()).await.ok().map(|_| socket)
        };
        sockets.push(until("a socket is ready", connect).await);
    }
    call(&http, person, "DELETE", "/v1/sessions/current", None).await.unwrap();
    for socket in &mut sockets {
        assert_eq!(close_code(socket).await, 4503);
    }
    let refused =
        until("the api has heard of it, too", async || call(&http, person, "GET", "/v1/me", None).await.err());
    assert_eq!(refused.await.reason(), "BAD_TOKEN");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_account_leaves_its_groups() {
    let cluster = Cluster::start(2, 1).await;
    let http = Http::new(&cluster.api).unwrap();
    let people = persons(&http, 3).await;
    let mut groups = Vec::new();
    for n in 0..5 {
        let members = [&people[1].tokens.user, &people[2].tokens.user];
        let body = json!({"name": format!("마당 {n}"), "members": members});
        let group = call(&http, &people[0], "POST", "/v1/groups", Some(body)).await.unwrap();
        groups.push(group["conversation"].as_str().unwrap().to_owned());
    }
    assert_eq!(say(&http, &people[0], &people[1]).await, "");
    let said = json!({"conversation": groups[0], "clientId": ClientId::now().to_string(), "text": "a secret"});
    call(&http, &people[0], "POST", "/v1/messages", Some(said)).await.unwrap();
    let body = json!({"password": people::password(&people[0].handle), "eraseMessages": true});
    call(&http, &people[0], "POST", "/v1/me/deletion", Some(body)).await.unwrap();
    let all_left = async {
        for group in &groups {
            let path = format!("/v1/conversations/{group}/members");
            loop {
                let answer = call(&http, &people[1], "GET", &path, None).await.unwrap();
                let members = answer["members"].as_array().unwrap();
                if members.len() == 2 && members.iter().any(|member| member["role"] == "ROLE_OWNER") {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, all_left).await.unwrap();
    let all_erased = async {
        let list = call(&http, &people[1], "GET", "/v1/conversations", None).await.unwrap();
        for each in list["conversations"].as_array().unwrap() {
            let path = format!("/v1/conversations/{}/messages", each["conversation"].as_str().unwrap());
            loop {
                let page = call(&http, &people[1], "GET", &path, None).await.unwrap();
                let messages = page["messages"].as_array().unwrap();
                if messages.iter().all(|message| message["deleted"] == true && message["text"] == "") {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, all_erased).await.unwrap();
    cluster.stop().await;
}
