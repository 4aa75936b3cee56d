//! The conversation list: pages of bounded size that miss nothing while things move, what it says of activity, and the
//! same of one conversation by itself.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use futures_util::future::join_all;
use madang_proto::id::ClientId;
use madang_solo::serve::Running;
use madang_tests::{
    client::{Person, call, call_once, sign_up},
    start,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

async fn get(server: &Running, person: &Person, path: &str) -> Value {
    let (status, answer) = call(server, "GET", path, &person.token, Value::Null).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn group(server: &Running, owner: &Person, body: Value) -> String {
    let (status, answer) = call(server, "POST", "/v1/groups", &owner.token, body).await;
    assert_eq!(status, 201, "{answer}");
    answer["conversation"].as_str().unwrap().to_owned()
}

async fn say(server: &Running, person: &Person, conversation: &str, more: Value) -> Value {
    let mut body = json!({"conversation": conversation, "clientId": ClientId::new().to_string()});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (status, ack) = call(server, "POST", "/v1/messages", &person.token, body).await;
    assert_eq!(status, 200, "{ack}");
    ack
}

fn ids(list: &Value) -> Vec<String> {
    let each = |one: &Value| one["conversation"].as_str().unwrap().to_owned();
    list["conversations"].as_array().unwrap().iter().map(each).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_ends_at_a_mebibyte() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    let url = format!("https://example.org/{}", "x".repeat(1400));
    let attachments: Vec<Value> = (0..10).map(|_| json!({"url": url, "mediaType": "image/png"})).collect();
    let mut all = BTreeSet::new();
    for n in 0..80 {
        let body = json!({"name": format!("g{n}"), "members": [bob.id], "data": {"k": "x".repeat(4095)}});
        let id = group(&server, &ann, body).await;
        let ack = say(&server, &ann, &id, json!({"text": "한".repeat(2000), "attachments": attachments})).await;
        let shown = format!("/v1/conversations/{id}?atLeast={}", ack["revision"].as_str().unwrap());
        get(&server, &bob, &shown).await;
        all.insert(id);
    }
    let (mut found, mut page, mut pages) = (BTreeSet::new(), String::new(), 0);
    loop {
        let list = get(&server, &bob, &format!("/v1/conversations?limit=200{page}")).await;
        assert!(list.to_string().len() < (1 << 20) + 4096, "{}", list.to_string().len());
        for each in list["conversations"].as_array().unwrap() {
            assert_eq!(
                each["lastMessage"]["text"].as_str().unwrap(),
                "한".repeat(341),
                "cut at 1 KiB, between characters"
            );
        }
        found.extend(ids(&list));
        pages += 1;
        let next = list["nextPageToken"].as_str().unwrap();
        if next.is_empty() {
            break;
        }
        page = format!("&pageToken={next}");
    }
    assert_eq!(found, all);
    assert!(pages > 2, "80 of 19 KiB are more than a page: {pages}");
}

#[tokio::test(flavor = "multi_thread")]
async fn activity_is_that_of_the_last_message_in_both_answers() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    let (older, newer) = (
        group(&server, &ann, json!({"name": "older", "members": [bob.id]})).await,
        group(&server, &ann, json!({"name": "newer", "members": [bob.id]})).await,
    );
    let both = async |id: &str, revision: &Value| {
        let path = format!("/v1/conversations/{id}?atLeast={}", revision.as_str().unwrap());
        let one = get(&server, &bob, &path).await;
        let list = get(&server, &bob, "/v1/conversations").await;
        let listed = list["conversations"].as_array().unwrap().iter().find(|each| each["conversation"] == id).unwrap();
        assert_eq!(one["activityAt"], listed["activityAt"]);
        assert_eq!((&one["lastMessage"], &one["unread"]), (&listed["lastMessage"], &listed["unread"]));
        one["activityAt"].clone()
    };
    let members = get(&server, &bob, &format!("/v1/conversations/{older}/members")).await;
    assert_eq!(
        both(&older, &json!("1")).await,
        members["members"][1]["joinedAt"],
        "of joining, if there is no message"
    );
    assert_eq!(ids(&get(&server, &bob, "/v1/conversations").await), [newer.clone(), older.clone()]);
    let ack = say(&server, &ann, &older, json!({"text": "hi"})).await;
    assert_eq!(both(&older, &ack["revision"]).await, ack["at"]);
    assert_eq!(ids(&get(&server, &bob, "/v1/conversations").await), [older.clone(), newer]);
    // What is no message is no activity.
    let path = format!("/v1/groups/{older}");
    let (_, renamed) = call(&server, "PATCH", &path, &ann.token, json!({"name": "renamed"})).await;
    assert_eq!(both(&older, &renamed["revision"]).await, ack["at"]);
}

/// However many services wait for it one behind the other, or ask each other again.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_come_is_waited_for_two_seconds_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    let id = group(&server, &ann, json!({"name": "g", "members": [bob.id]})).await;
    let waited = async |rest: &str| {
        let path = format!("/v1/conversations/{id}{rest}atLeast=999");
        let begun = Instant::now();
        let answer = call_once(server.http, "GET", &path, &ann.token, "", Value::Null).await;
        let (status, answer) = answer.unwrap();
        assert_eq!((status, &answer["reason"]), (503, &json!("LAGGING")), "{rest}: {answer}");
        begun.elapsed()
    };
    let all = join_all(["?", "/members?", "/messages?", "/changes?since=0&"].map(waited)).await;
    let (least, most) = (Duration::from_millis(1900), Duration::from_millis(3500));
    assert!(all.iter().all(|each| (least..most).contains(each)), "{all:?}");
    server.stop().await;
}
