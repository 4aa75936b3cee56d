//! `Idempotency-Key`: what is asked for again is done once, also where something else has happened since; and a key stands
//! for one request of one user.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use futures_util::future::join_all;
use madang_mesh::{
    channel::{Channel, Channels},
    status::from_status,
};
use madang_proto::{
    group::v1::{
        CreateGroupRequest, CreateInviteRequest, DeleteInviteRequest, group_service_client::GroupServiceClient,
    },
    id::ClientId,
    reason::Reason,
};
use madang_solo::{serve::Running, token::Tokens};
use madang_tests::{
    client::{Person, call, call_once, call_with, sign_up},
    start_with, until,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

struct Club {
    server: Running,
    ann: Person,
    bob: Person,
    group: String,
    folder: tempfile::TempDir,
}

impl Club {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = start_with(folder.path(), flags).await;
        let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
        let (status, group) = call(&server, "POST", "/v1/groups", &ann.token, json!({"name": "마당"})).await;
        assert_eq!(status, 201, "{group}");
        let group = group["conversation"].as_str().unwrap().to_owned();
        Self { server, ann, bob, group, folder }
    }

    async fn post(&self, who: &Person, key: &str, path: &str, body: Value) -> (u16, Value) {
        let head = format!("idempotency-key: {key}\r\n");
        call_with(self.server.http, "POST", &path.replace("{g}", &self.group), &who.token, &head, body).await
    }

    /// What an internal service asks.
    fn grpc<T>(&self, message: T) -> tonic::Request<T> {
        let token = Tokens::open(self.folder.path()).unwrap().make("test");
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        request
    }

    fn groups(&self) -> GroupServiceClient<Channel> {
        GroupServiceClient::new(Channels::new().get(&format!("http://{}", self.server.grpc)).unwrap())
    }

    async fn members(&self) -> usize {
        let path = format!("/v1/conversations/{}/members", self.group);
        let (_, answer) = call(&self.server, "GET", &path, &self.ann.token, Value::Null).await;
        answer["members"].as_array().unwrap().len()
    }

    async fn remove_bob(&self) {
        let path = format!("/v1/groups/{}/members/{}", self.group, self.bob.id);
        assert_eq!(call(&self.server, "DELETE", &path, &self.ann.token, Value::Null).await.0, 200);
        assert_eq!(self.members().await, 1);
    }
}

fn reason((status, answer): (u16, Value)) -> (u16, String) {
    (status, answer["reason"].as_str().unwrap_or_default().to_owned())
}

fn reused() -> (u16, String) {
    (409, "KEY_REUSED".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_removed_is_not_brought_back_by_a_retry() {
    let club = Club::new().await;
    let (ann, users) = (&club.ann, json!({"users": [club.bob.id]}));
    let first = club.post(ann, "k", "/v1/groups/{g}/members", users.clone()).await;
    assert_eq!((first.0, club.members().await), (200, 2), "{first:?}");
    club.remove_bob().await;
    assert_eq!(club.post(ann, "k", "/v1/groups/{g}/members", users.clone()).await, first);
    assert_eq!(club.members().await, 1);
    // Another request, another user, another key.
    let other = json!({"users": [club.ann.id]});
    assert_eq!(reason(club.post(ann, "k", "/v1/groups/{g}/members", other).await), reused());
    assert_eq!(reason(club.post(ann, "k", "/v1/groups", json!({"name": "x"})).await), reused());
    assert_eq!(club.post(&club.bob, "k", "/v1/groups", json!({"name": "x"})).await.0, 201);
    assert_eq!(club.post(ann, "l", "/v1/groups/{g}/members", users).await.0, 200);
    assert_eq!(club.members().await, 2);
    club.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_left_does_not_join_again_by_a_retry() {
    let club = Club::new().await;
    let (_, invite) = club.post(&club.ann, "i", "/v1/groups/{g}/invites", json!({})).await;
    let join = format!("/v1/invites/{}", invite["code"].as_str().unwrap());
    let (status, joined) = club.post(&club.bob, "j", &join, Value::Null).await;
    assert_eq!((status, joined["conversation"].as_str()), (200, Some(club.group.as_str())));
    let (status, again) = club.post(&club.bob, "j", &join, Value::Null).await;
    assert_eq!((status, &again["memberCount"]), (200, &json!(2)), "{again}");
    club.remove_bob().await;
    let gone = club.post(&club.bob, "j", &join, Value::Null).await;
    assert_eq!((reason(gone), club.members().await), ((404, "CONVERSATION_NOT_FOUND".into()), 1));
    assert_eq!(club.post(&club.bob, "another", &join, Value::Null).await.0, 200);
    club.server.stop().await;
}

/// What is remembered of a key is as of a room: who is not in it learns nothing by that.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_tells_nothing_of_a_conversation_that_one_is_not_in() {
    let club = Club::new().await;
    let eve = sign_up(&club.server, "eve").await;
    let send = json!({"user": club.bob.id, "clientId": ClientId::now().to_string(), "text": "secret"});
    let (_, ack) = call(&club.server, "POST", "/v1/messages", &club.ann.token, send).await;
    let direct = ack["conversation"].as_str().unwrap().to_owned();
    for foreign in [club.group.clone(), direct, uuid::Uuid::now_v7().to_string()] {
        let add = format!("/v1/groups/{foreign}/members");
        let added = club.post(&eve, "k", &add, json!({"users": []})).await;
        assert_eq!(reason(added), (404, "CONVERSATION_NOT_FOUND".into()), "{foreign}");
        let made = club.post(&eve, &format!("add {foreign} k"), "/v1/groups", json!({"name": "x"})).await;
        let id = made.1["conversation"].as_str().unwrap().parse::<uuid::Uuid>().unwrap();
        assert_eq!((made.0, id.get_version_num()), (201, 7), "{foreign}: {}", made.1);
    }
    // And of one that they are in, none of what is remembered is given as something else.
    let add = club.post(&club.ann, "k", "/v1/groups/{g}/members", json!({"users": [eve.id]})).await;
    assert_eq!(add.0, 200);
    let made = club.post(&club.ann, &format!("add {} k", club.group), "/v1/groups", json!({"name": "x"})).await;
    let id = made.1["conversation"].as_str().unwrap().parse::<uuid::Uuid>().unwrap();
    assert_eq!(id.get_version_num(), 7);
    club.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_made_again_is_as_it_is_now() {
    let club = Club::new().await;
    let made = async || club.post(&club.ann, "g", "/v1/groups", json!({"name": "숲"})).await;
    let (_, group) = made().await;
    assert_eq!((&group["lastSeq"], group["lastMessage"].is_null()), (&json!("0"), true), "{group}");
    let send = json!({"conversation": group["conversation"], "clientId": ClientId::now().to_string(), "text": "first"});
    assert_eq!(call(&club.server, "POST", "/v1/messages", &club.ann.token, send).await.0, 200);
    let (status, again) =
        until("it has the message", async || Some(made().await).filter(|(_, again)| again["lastSeq"] == "1")).await;
    assert_eq!((status, &again["conversation"]), (201, &group["conversation"]));
    assert_eq!(again["lastMessage"]["text"], "first", "{again}");
    let path = format!("/v1/groups/{}", again["conversation"].as_str().unwrap());
    let (status, ended) = call(&club.server, "DELETE", &path, &club.ann.token, Value::Null).await;
    assert!(matches!(status, 200 | 204), "{ended}");
    assert_eq!(reason(made().await), (404, "CONVERSATION_NOT_FOUND".into()));
    club.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_that_was_taken_back_does_not_come_back_by_a_retry() {
    let club = Club::new().await;
    let make = async || club.post(&club.ann, "i", "/v1/groups/{g}/invites", json!({"maxUses": 3})).await;
    let first = make().await;
    assert_eq!(first.0, 201, "{first:?}");
    let code = first.1["code"].as_str().unwrap();
    let taken = format!("/v1/groups/{}/invites/{code}", club.group);
    assert_eq!(call(&club.server, "DELETE", &taken, &club.ann.token, Value::Null).await.0, 204);
    assert_eq!(make().await, first, "what was said first is said again");
    let join = club.post(&club.bob, "j", &format!("/v1/invites/{code}"), Value::Null).await;
    assert_eq!((reason(join), club.members().await), ((404, "INVITE_NOT_FOUND".into()), 1));

    // So it is for services.
    let (user, conversation) = (club.ann.id.clone(), club.group.clone());
    let request = CreateInviteRequest {
        user: user.clone(),
        conversation: conversation.clone(),
        idempotency_key: "k".into(),
        ..Default::default()
    };
    let make = async |request: &CreateInviteRequest| {
        let made = club.groups().create_invite(club.grpc(request.clone())).await;
        made.map(|made| made.into_inner().invite.unwrap()).map_err(|status| from_status(&status).reason)
    };
    let first = make(&request).await.unwrap();
    let gone = DeleteInviteRequest { user, conversation, code: first.code.clone() };
    club.groups().delete_invite(club.grpc(gone)).await.unwrap();
    assert_eq!(make(&request).await, Ok(first.clone()));
    let join = club.post(&club.bob, "l", &format!("/v1/invites/{}", first.code), Value::Null).await;
    assert_eq!(join.0, 404);
    assert_eq!(make(&CreateInviteRequest { max_uses: 7, ..request }).await, Err(Reason::KeyReused));
    club.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_told_again_to_who_could_make_no_other() {
    let club = Club::with(&["--max-conversations", "2"]).await;
    let body = json!({"name": "two", "members": [club.bob.id]});
    assert_eq!(club.post(&club.bob, "b", "/v1/groups", json!({"name": "one"})).await.0, 201);
    let first = club.post(&club.ann, "g", "/v1/groups", body.clone()).await;
    assert_eq!((first.0, &first.1["memberCount"]), (201, &json!(2)));
    // Both are in as many as one may be by now, and neither was refused.
    assert_eq!(club.post(&club.ann, "g", "/v1/groups", body.clone()).await, first);
    let other = club.post(&club.ann, "h", "/v1/groups", body).await;
    assert_eq!(reason(other), (409, "TOO_MANY_CONVERSATIONS".into()));
    club.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_service_stands_for_one_group() {
    let club = Club::new().await;
    let request = |name: &str| CreateGroupRequest {
        user: club.ann.id.clone(),
        name: name.into(),
        idempotency_key: "k".into(),
        ..Default::default()
    };
    let make = async |request: CreateGroupRequest| {
        let made = club.groups().create_group(club.grpc(request)).await;
        made.map(|made| made.into_inner().conversation.unwrap()).map_err(|status| from_status(&status).reason)
    };
    // A failure uses no key up.
    let wrong = CreateGroupRequest { data: [("k".to_owned(), "v".repeat(5000))].into(), ..request("x") };
    assert_eq!(make(wrong).await.unwrap_err(), Reason::TooLarge);
    let first = make(request("x")).await.unwrap();
    assert_eq!(make(request("x")).await.unwrap().conversation, first.conversation);
    assert_eq!(make(request("y")).await.unwrap_err(), Reason::KeyReused);
    let members = CreateGroupRequest { members: vec![club.bob.id.clone()], ..request("x") };
    assert_eq!(make(members).await.unwrap_err(), Reason::KeyReused);
    club.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_post_takes_a_key_and_a_failure_uses_none_up() {
    let club = Club::new().await;
    let ann = &club.ann;
    let (first, again) = (
        club.post(ann, "g", "/v1/groups", json!({"name": "x"})).await,
        club.post(ann, "g", "/v1/groups", json!({"name": "x"})).await,
    );
    assert_eq!((first.0, &first.1["conversation"]), (201, &again.1["conversation"]));
    assert_eq!(reason(club.post(ann, "g", "/v1/groups", json!({"name": "y"})).await), reused());

    let say = |text: &str, id: &ClientId| json!({"conversation": club.group, "clientId": id.to_string(), "text": text});
    let id = ClientId::now();
    let said = club.post(ann, "m", "/v1/messages", say("a", &id)).await;
    let again = club.post(ann, "m", "/v1/messages", say("a", &id)).await;
    assert_eq!((said.0, &said.1["seq"], &again.1["duplicate"]), (200, &again.1["seq"], &json!(true)));
    assert_eq!(reason(club.post(ann, "m", "/v1/messages", say("b", &ClientId::now())).await), reused());

    let wrong = json!({"users": ["bob"]});
    assert_eq!(club.post(ann, "f", "/v1/groups/{g}/members", wrong).await.0, 400);
    assert_eq!(club.post(ann, "f", "/v1/groups/{g}/members", json!({"users": [club.bob.id]})).await.0, 200);
    for path in ["/v1/messages", "/v1/groups", "/v1/groups/{g}/members", "/v1/groups/{g}/invites", "/v1/me/deletion"] {
        let long = club.post(ann, &"k".repeat(256), path, json!({})).await;
        assert_eq!(reason(long), (400, "INVALID_FIELD".into()), "{path}");
        let nobody = Person { id: String::new(), token: "x".into(), device: String::new() };
        assert_eq!(club.post(&nobody, "k", path, json!({})).await.0, 401, "{path}");
    }
    // What changes nothing does not need it.
    assert_eq!(club.post(ann, "m", "/v1/changes", json!({"since": []})).await.0, 200);
    assert_eq!(club.post(ann, "d", "/v1/me/deletion", json!({"password": "wrong horse"})).await.0, 403);
    assert_eq!(club.post(ann, "d", "/v1/me/deletion", json!({"password": "correct horse"})).await.0, 204);
    club.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_at_once_one_is_done() {
    let club = Club::new().await;
    let body = || json!({"users": [club.bob.id]});
    let all = join_all((0..8).map(|_| club.post(&club.ann, "k", "/v1/groups/{g}/members", body()))).await;
    assert!(all.iter().all(|each| each.0 == 200 && *each == all[0]), "{all:?}");
    assert_eq!(club.post(&club.ann, "k", "/v1/groups/{g}/members", body()).await, all[0]);
    club.server.stop().await;
}

/// Who breaks off and asks again finds it done soon: nobody is at it any more, and it is not done a second time.
#[tokio::test(flavor = "multi_thread")]
async fn what_its_asker_broke_off_is_done_once() {
    let club = Club::new().await;
    let add = async |key: &str| {
        let users = json!({"users": [club.bob.id]});
        club.post(&club.ann, key, "/v1/groups/{g}/members", users).await
    };
    for n in 0..24 {
        let key = format!("k{n}");
        let _ = tokio::time::timeout(Duration::from_micros(400 * n), add(&key)).await;
        let begun = Instant::now();
        let first = add(&key).await;
        // A key that nobody is at any more stands for nothing after 30 s.
        assert!(begun.elapsed() < Duration::from_secs(25), "after {n}: {first:?}");
        assert_eq!(first.0, 200, "{first:?}");
        club.remove_bob().await;
        assert_eq!((add(&key).await, club.members().await), (first, 1), "after {n}");
    }
    club.server.stop().await;
}

impl Club {
    /// Something that happens to a service's database.
    fn database(&self, name: &str, statements: &str) {
        let connection = rusqlite::Connection::open(self.folder.path().join(format!("{name}.db"))).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection.execute_batch(statements).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_of_a_request_is_told_and_kept_later_where_it_can_not_be_kept_at_once() {
    let club = Club::new().await;
    let path = format!("/v1/groups/{}/members", club.group);
    let add = async || {
        let users = json!({"users": [club.bob.id]});
        call_once(club.server.http, "POST", &path, &club.ann.token, "idempotency-key: k\r\n", users).await.unwrap()
    };
    club.database("accounts", "CREATE TRIGGER full BEFORE UPDATE ON request BEGIN SELECT RAISE(ABORT, 'full'); END;");
    let first = add().await;
    assert_eq!((first.0, club.members().await), (200, 2), "{first:?}");
    assert_eq!(reason(add().await), (503, "UNAVAILABLE".into()), "it is not known yet to who asks again");
    club.remove_bob().await;
    club.database("accounts", "DROP TRIGGER full");
    let again = until("it is kept", async || Some(add().await).filter(|answer| answer.0 != 503)).await;
    assert_eq!((again, club.members().await), (first, 1));
    club.server.stop().await;
}

/// As where an api dies behind what it did, or before.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_knows_of_is_not_done_again() {
    let club = Club::new().await;
    let died = || club.database("accounts", "UPDATE request SET answer = x'', busy_until = 1");
    let (ann, users) = (&club.ann, json!({"users": [club.bob.id]}));
    let add = async |key: &str| club.post(ann, key, "/v1/groups/{g}/members", users.clone()).await;
    let (_, invite) = club.post(ann, "i", "/v1/groups/{g}/invites", json!({})).await;
    let join = format!("/v1/invites/{}", invite["code"].as_str().unwrap());
    assert_eq!(add("k").await.0, 200);
    assert_eq!(club.post(&club.bob, "j", &join, Value::Null).await.0, 200);
    died();
    assert_eq!((add("k").await.0, club.members().await), (200, 2), "they are still in it");
    club.remove_bob().await;
    died();
    let (status, again) = add("k").await;
    assert_eq!((status, &again["refused"], club.members().await), (200, &json!([]), 1));
    assert_eq!(add("k").await, (status, again), "and is known from then on");
    let gone = club.post(&club.bob, "j", &join, Value::Null).await;
    assert_eq!((reason(gone), club.members().await), ((404, "CONVERSATION_NOT_FOUND".into()), 1));
    assert_eq!((add("another").await.0, club.members().await), (200, 2));
    // So it is with a group.
    let make = async || club.post(ann, "g", "/v1/groups", json!({"name": "x"})).await;
    let first = make().await;
    died();
    assert_eq!((make().await, first.0), (first.clone(), 201));
    assert_eq!(make().await, first, "and is known from then on");
    club.server.stop().await;
}

/// A fault behind what was done is told as a fault, and the same may be asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_by_a_fault_is_not_done_again() {
    let club = Club::new().await;
    let (_, invite) = club.post(&club.ann, "i", "/v1/groups/{g}/invites", json!({})).await;
    let path = format!("/v1/invites/{}", invite["code"].as_str().unwrap());
    let join = async |key: &str| {
        let head = format!("idempotency-key: {key}\r\n");
        call_once(club.server.http, "POST", &path, &club.bob.token, &head, Value::Null).await.unwrap()
    };
    // The group is shown with its members' profiles.
    club.database("accounts", "ALTER TABLE account RENAME TO away");
    assert_eq!(reason(join("j").await), (503, "UNAVAILABLE".into()));
    club.database("accounts", "ALTER TABLE away RENAME TO account");
    assert_eq!(club.members().await, 2, "it was done");
    club.remove_bob().await;
    assert_eq!((reason(join("j").await), club.members().await), ((404, "CONVERSATION_NOT_FOUND".into()), 1));
    assert_eq!((join("another").await.0, club.members().await), (200, 2));
    club.server.stop().await;
}
