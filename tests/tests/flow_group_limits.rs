//! The limits of groups, each at the limit and one past it, and to whom an owner's place falls.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use futures_util::{StreamExt, stream};
use madang_solo::serve::Running;
use madang_tests::{
    client::{Person, Socket, call, sign_up},
    start,
};
use serde_json::{Value, json};

async fn people(server: &Running, count: usize) -> Vec<Person> {
    let one = |n: usize| async move { sign_up(server, &format!("user_{n}")).await };
    stream::iter(0..count).map(one).buffered(16).collect().await
}

async fn make(server: &Running, owner: &Person, body: Value) -> (u16, Value) {
    call(server, "POST", "/v1/groups", &owner.token, body).await
}

fn reason((status, answer): (u16, Value)) -> (u16, String) {
    (status, answer["reason"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_data() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let ann = sign_up(&server, "ann").await;
    let name = |name: &str| json!({ "name": name });
    // 50 code points, after trimming and in NFC.
    let (status, group) = make(&server, &ann, name(&format!("  {}  ", "마".repeat(50)))).await;
    assert_eq!((status, &group["name"]), (201, &json!("마".repeat(50))));
    let decomposed = "\u{1112}\u{1161}\u{11ab}".repeat(50);
    assert_eq!(make(&server, &ann, name(&decomposed)).await.1["name"], "한".repeat(50));
    let path = format!("/v1/groups/{}", group["conversation"].as_str().unwrap());
    for wrong in ["마".repeat(51), String::new(), " \u{3000} ".into(), "a\u{0}b".into(), "a\nb".into()] {
        assert_eq!(reason(make(&server, &ann, name(&wrong)).await), (400, "INVALID_FIELD".into()), "{wrong:?}");
        let patched = call(&server, "PATCH", &path, &ann.token, name(&wrong)).await;
        assert_eq!(reason(patched), (400, "INVALID_FIELD".into()), "{wrong:?}");
    }
    // 4 KiB, keys and values together, in UTF-8.
    let data = |size: usize| json!({"name": "x", "data": {"한": "y".repeat(size - 3)}});
    assert_eq!(make(&server, &ann, data(4096)).await.0, 201);
    assert_eq!(reason(make(&server, &ann, data(4097)).await), (400, "TOO_LARGE".into()));
    assert_eq!(call(&server, "PATCH", &path, &ann.token, data(4096)).await.0, 200);
    assert_eq!(reason(call(&server, "PATCH", &path, &ann.token, data(4097)).await), (400, "TOO_LARGE".into()));
    let more = json!({"data": {"z": ""}});
    assert_eq!(reason(call(&server, "PATCH", &path, &ann.token, more).await), (400, "TOO_LARGE".into()));
    assert_eq!(call(&server, "PATCH", &path, &ann.token, json!({"data": null})).await.0, 200);
    for body in [json!({"name": "x", "data": {"a": "b\u{0}"}}), json!({"name": "x", "data": {"a": 1}})] {
        assert_eq!(reason(make(&server, &ann, body.clone()).await), (400, "INVALID_FIELD".into()));
        assert_eq!(reason(call(&server, "PATCH", &path, &ann.token, body).await), (400, "INVALID_FIELD".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_members() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let people = people(&server, 202).await;
    let ids: Vec<&str> = people.iter().map(|person| person.id.as_str()).collect();
    let group = |members: &[&str]| json!({"name": "all", "members": members});
    assert_eq!(reason(make(&server, &people[0], group(&ids[1..201])).await), (409, "GROUP_FULL".into()), "201 of them");
    let (status, full) = make(&server, &people[0], group(&ids[1..200])).await;
    assert_eq!((status, &full["memberCount"]), (201, &json!(200)));
    let path = format!("/v1/groups/{}", full["conversation"].as_str().unwrap());
    let add = async |users: &[&str]| {
        call(&server, "POST", &format!("{path}/members"), &people[1].token, json!({ "users": users })).await
    };
    assert_eq!(reason(add(&ids[200..201]).await), (409, "GROUP_FULL".into()));
    assert_eq!(add(&ids[..200]).await.0, 200, "those who are in it are no more");
    let (_, invite) = call(&server, "POST", &format!("{path}/invites"), &people[0].token, json!({})).await;
    let join = format!("/v1/invites/{}", invite["code"].as_str().unwrap());
    let joined = call(&server, "POST", &join, &people[200].token, Value::Null).await;
    assert_eq!(reason(joined), (409, "GROUP_FULL".into()), "by an invite neither");
    let leave = format!("{path}/members/{}", ids[5]);
    assert_eq!(call(&server, "DELETE", &leave, &people[5].token, Value::Null).await.0, 200);
    assert_eq!(reason(add(&ids[200..202]).await), (409, "GROUP_FULL".into()), "two for one place");
    assert_eq!(add(&ids[201..202]).await.0, 200);
    let joined = call(&server, "POST", &join, &people[200].token, Value::Null).await;
    assert_eq!(reason(joined), (409, "GROUP_FULL".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owners_place_falls_to_whom_it_should() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let people = people(&server, 5).await;
    let (_, group) = make(&server, &people[0], json!({"name": "x"})).await;
    let conversation = group["conversation"].as_str().unwrap().to_owned();
    let path = format!("/v1/groups/{conversation}");
    let by = |who: usize| people[who].token.as_str();
    // One after the other, the later ones serving longer than the admin.
    for member in &people[1..5] {
        let users = json!({"users": [member.id]});
        assert_eq!(call(&server, "POST", &format!("{path}/members"), by(0), users).await.0, 200);
    }
    let role = json!({"role": "ROLE_ADMIN"});
    let rank = format!("{path}/members/{}/role", people[3].id);
    assert_eq!(call(&server, "PUT", &rank, by(0), role).await.0, 200);
    let (mut socket, _) = Socket::connect(&server, &people[4], "").await;
    // The longest-serving admin; then, without one, the longest-serving member; and so on.
    for (goes, heir) in [(0, 3), (3, 1), (1, 2), (2, 4)] {
        let leave = format!("{path}/members/{}", people[goes].id);
        let (status, answer) = call(&server, "DELETE", &leave, by(goes), Value::Null).await;
        assert_eq!(status, 200, "{answer}");
        loop {
            let frame = socket.next().await;
            if frame["event"]["role"]["role"] == "ROLE_OWNER" {
                assert_eq!(frame["event"]["role"]["user"], people[heir].id.as_str());
                assert_eq!(frame["event"]["revision"], answer["revision"], "it is in force when the leaving is");
                break;
            }
        }
    }
    // The last one ends it.
    let (_, invite) = call(&server, "POST", &format!("{path}/invites"), by(4), json!({})).await;
    let leave = format!("{path}/members/{}", people[4].id);
    assert_eq!(call(&server, "DELETE", &leave, by(4), Value::Null).await.0, 200);
    let gone = call(&server, "GET", &format!("/v1/conversations/{conversation}"), by(4), Value::Null).await;
    assert_eq!(reason(gone), (404, "CONVERSATION_NOT_FOUND".into()));
    let join = format!("/v1/invites/{}", invite["code"].as_str().unwrap());
    assert_eq!(reason(call(&server, "POST", &join, by(0), Value::Null).await), (404, "INVITE_NOT_FOUND".into()));
}
