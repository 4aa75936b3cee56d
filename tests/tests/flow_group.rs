//! A group over HTTP: ranks, what it shows of itself, its end; and what its members' sockets are told.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_solo::serve::Running;
use madang_tests::{
    client::{Person, Socket, call, group_of_three},
    start,
};
use serde_json::{Value, json};

struct Group {
    server: Running,
    people: Vec<Person>,
    path: String,
    _folder: tempfile::TempDir,
}

impl Group {
    /// Of ann, who owns it, bob and cho; dan is somebody else.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = start(folder.path()).await;
        let (people, id) = group_of_three(&server, json!({"a": "1", "b": "2"})).await;
        Self { server, people, path: format!("/v1/groups/{id}"), _folder: folder }
    }

    async fn ask(&self, who: usize, method: &str, more: &str, body: Value) -> (u16, Value) {
        call(&self.server, method, &format!("{}{more}", self.path), &self.people[who].token, body).await
    }

    async fn rank(&self, who: usize, whose: usize, role: &str) -> (u16, Value) {
        let path = format!("/members/{}/role", self.people[whose].id);
        self.ask(who, "PUT", &path, json!({ "role": role })).await
    }

    async fn roles(&self) -> Vec<String> {
        let path = self.path.replace("groups", "conversations") + "/members";
        let (_, answer) = call(&self.server, "GET", &path, &self.people[0].token, Value::Null).await;
        let of = |person: &Person| {
            let all = answer["members"].as_array().unwrap();
            let member = all.iter().find(|member| member["profile"]["user"] == person.id.as_str()).unwrap();
            member["role"].as_str().unwrap().to_owned()
        };
        self.people[..3].iter().map(of).collect()
    }
}

async fn event(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let frame = socket.next().await;
        if frame["event"][kind].is_object() {
            return frame["event"][kind].clone();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_gives_ranks_and_hands_over() {
    let group = Group::new().await;
    let (mut socket, _) = Socket::connect(&group.server, &group.people[2], "").await;
    let reason = |(status, answer): (u16, Value)| (status, answer["reason"].as_str().unwrap_or_default().to_owned());
    assert_eq!(reason(group.rank(1, 2, "ROLE_ADMIN").await), (403, "ROLE_REQUIRED".into()));
    assert_eq!(reason(group.rank(3, 2, "ROLE_ADMIN").await), (404, "CONVERSATION_NOT_FOUND".into()));
    assert_eq!(reason(group.rank(0, 3, "ROLE_ADMIN").await), (404, "USER_NOT_FOUND".into()));
    assert_eq!(group.rank(0, 1, "ROLE_KING").await.0, 400);
    assert_eq!(group.rank(0, 0, "ROLE_MEMBER").await.0, 400, "an owner hands over");
    let (status, answer) = group.rank(0, 1, "ROLE_ADMIN").await;
    assert_eq!((status, &answer["revision"], &answer["refused"]), (200, &json!("2"), &json!([])));
    assert_eq!(
        event(&mut socket, "role").await,
        json!({"user": group.people[1].id, "role": "ROLE_ADMIN", "by": group.people[0].id})
    );
    assert_eq!(group.rank(0, 1, "ROLE_ADMIN").await.1["revision"], "2", "nothing changed");
    assert_eq!(group.rank(0, 2, "ROLE_OWNER").await.0, 200);
    assert_eq!(group.roles().await, ["ROLE_ADMIN", "ROLE_ADMIN", "ROLE_OWNER"]);
    assert_eq!(event(&mut socket, "role").await["role"], "ROLE_OWNER");
    assert_eq!(event(&mut socket, "role").await["user"], group.people[0].id.as_str());
    assert_eq!(group.rank(0, 1, "ROLE_MEMBER").await.0, 403, "who handed over owns it no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_change_what_it_shows() {
    let group = Group::new().await;
    let (mut socket, _) = Socket::connect(&group.server, &group.people[2], "").await;
    assert_eq!(group.ask(2, "PATCH", "", json!({"name": "mine"})).await.0, 403);
    assert_eq!(group.ask(3, "PATCH", "", json!({"name": "mine"})).await.0, 404);
    assert_eq!(group.ask(0, "PATCH", "", json!({"name": "  "})).await.0, 400);
    assert_eq!(
        group.ask(0, "PATCH", "", json!({"data": {"c": "x".repeat(4094)}})).await.0,
        400,
        "4 KiB with what is there"
    );
    let (status, answer) = group.ask(0, "PATCH", "", json!({"name": " 새 마당 ", "data": {"a": null, "c": "3"}})).await;
    assert_eq!((status, &answer["name"], &answer["data"]), (200, &json!("새 마당"), &json!({"b": "2", "c": "3"})));
    let changed = event(&mut socket, "changed").await;
    assert_eq!(
        (&changed["name"], &changed["data"], &changed["by"]),
        (&answer["name"], &answer["data"], &json!(group.people[0].id))
    );
    let revision = answer["revision"].clone();
    assert_eq!(group.ask(0, "PATCH", "", json!({"name": "새 마당"})).await.1["revision"], revision, "nothing changed");
    assert_eq!(group.ask(0, "PATCH", "", json!({"data": null})).await.1["data"], json!({}));
    let seen = group.path.replace("groups", "conversations");
    let (_, seen) = call(&group.server, "GET", &seen, &group.people[1].token, Value::Null).await;
    assert_eq!((&seen["name"], &seen["data"]), (&json!("새 마당"), &json!({})));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_ends_is_left_by_all() {
    let group = Group::new().await;
    let (mut socket, _) = Socket::connect(&group.server, &group.people[2], "").await;
    assert_eq!(group.ask(1, "DELETE", "", Value::Null).await.0, 403);
    assert_eq!(group.ask(0, "DELETE", "", Value::Null).await.0, 204);
    let left = event(&mut socket, "left").await;
    assert_eq!((left["users"].as_array().unwrap().len(), &left["by"]), (3, &json!(group.people[0].id)));
    for who in 0..3 {
        assert_eq!(group.ask(who, "PATCH", "", json!({"name": "x"})).await.0, 404);
        let (_, list) = call(&group.server, "GET", "/v1/conversations", &group.people[who].token, Value::Null).await;
        assert_eq!(list["conversations"], json!([]));
    }
    assert_eq!(group.ask(0, "DELETE", "", Value::Null).await.0, 404);
}
