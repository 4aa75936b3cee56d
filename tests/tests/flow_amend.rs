//! Edits, deletions and reactions, as clients meet them: who may, what the others are told, what history and lists show.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_proto::id::ClientId;
use madang_solo::serve::Running;
use madang_tests::{
    client::{Person, Socket, call, sign_up},
    start,
};
use serde_json::{Value, json};

struct Stage {
    server: Running,
    ann: Person,
    bob: Person,
    group: String,
    at_ann: Socket,
    at_bob: Socket,
    asked: u64,
    folder: tempfile::TempDir,
}

impl Stage {
    /// A group of ann, who owns it, and bob, with what bob said.
    async fn new(texts: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = start(folder.path()).await;
        let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
        let body = json!({"name": "마당", "members": [bob.id]});
        let (status, group) = call(&server, "POST", "/v1/groups", &ann.token, body).await;
        assert_eq!(status, 201, "{group}");
        let group = group["conversation"].as_str().unwrap().to_owned();
        let (at_ann, _) = Socket::connect(&server, &ann, "").await;
        let (at_bob, _) = Socket::connect(&server, &bob, "").await;
        let mut stage = Self { server, ann, bob, group, at_ann, at_bob, asked: 1, folder };
        for text in texts {
            stage.bob("send", json!({"text": text})).await;
        }
        stage
    }

    async fn ask(&mut self, ann: bool, kind: &str, mut fields: Value) -> Value {
        self.asked += 1;
        fields["conversation"] = self.group.as_str().into();
        if fields["clientId"].is_null() {
            fields["clientId"] = ClientId::now().to_string().into();
        }
        let socket = if ann { &mut self.at_ann } else { &mut self.at_bob };
        let mut frame = json!({"id": self.asked});
        frame[kind] = fields;
        socket.send(frame).await;
        let answer = socket.answer(self.asked).await;
        if answer["ack"].is_object() { answer["ack"].clone() } else { answer["error"]["reason"].clone() }
    }

    async fn ann(&mut self, kind: &str, fields: Value) -> Value {
        self.ask(true, kind, fields).await
    }

    async fn bob(&mut self, kind: &str, fields: Value) -> Value {
        self.ask(false, kind, fields).await
    }

    /// Over a new socket.
    async fn bob_later(&mut self, kind: &str, fields: Value) -> Value {
        (self.at_bob, _) = Socket::connect(&self.server, &self.bob, "").await;
        self.bob(kind, fields).await
    }

    async fn history(&self, who: &Person, at_least: &Value) -> Vec<Value> {
        let at_least = at_least.as_str().unwrap();
        let path = format!("/v1/conversations/{}/messages?atLeast={at_least}", self.group);
        let (status, page) = call(&self.server, "GET", &path, &who.token, Value::Null).await;
        assert_eq!(status, 200, "{page}");
        page["messages"].as_array().unwrap().clone()
    }
}

/// The next event of a kind.
async fn event(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let frame = socket.next().await;
        if frame["event"][kind].is_object() {
            return frame["event"].clone();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_seen_by_all_and_everywhere() {
    let mut stage = Stage::new(&["one"]).await;
    let edit = json!({"seq": "1", "text": "둘", "clientId": ClientId::now().to_string()});
    let ack = stage.bob("edit", edit.clone()).await;
    assert_eq!((&ack["seq"], &ack["revision"], &ack["duplicate"]), (&json!("1"), &json!("3"), &json!(false)));
    let again = stage.bob("edit", edit).await;
    assert_eq!((&again["revision"], &again["at"], &again["duplicate"]), (&ack["revision"], &ack["at"], &json!(true)));
    let same = stage.bob("edit", json!({"seq": "1", "text": "둘"})).await;
    assert_eq!((&same["seq"], &same["revision"], &same["duplicate"]), (&json!("1"), &json!("3"), &json!(true)));
    assert_eq!(stage.bob("edit", json!({"seq": "2", "text": "x"})).await, "MESSAGE_NOT_FOUND");
    assert_eq!(stage.bob("edit", json!({"seq": "1", "text": ""})).await, "INVALID_FIELD");
    let edited = event(&mut stage.at_ann, "edited").await;
    assert_eq!((&edited["revision"], &edited["lastSeq"]), (&json!("3"), &json!("1")));
    assert_eq!((&edited["edited"]["seq"], &edited["edited"]["text"]), (&json!("1"), &json!("둘")));
    assert_eq!(stage.ann("edit", json!({"seq": "1", "text": "x"})).await, "NOT_SENDER");
    let history = stage.history(&stage.ann, &ack["revision"]).await;
    let message = &history[0];
    assert_eq!((&message["text"], &message["revision"]), (&json!("둘"), &json!("3")));
    assert_eq!((&message["editedAt"], &message["sender"]), (&ack["at"], &json!(stage.bob.id)));
    let path = format!("/v1/conversations/{}/changes?since=2", stage.group);
    let (_, changes) = call(&stage.server, "GET", &path, &stage.ann.token, Value::Null).await;
    assert_eq!((&changes["messages"][0]["text"], &changes["revision"]), (&json!("둘"), &json!("3")));
    let (_, list) = call(&stage.server, "GET", "/v1/conversations", &stage.ann.token, Value::Null).await;
    let listed = &list["conversations"][0];
    assert_eq!((&listed["lastMessage"]["text"], &listed["revision"]), (&json!("둘"), &json!("3")));
    stage.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_message_has_nothing_left_to_see() {
    let mut stage = Stage::new(&["비밀 one", "two", "three"]).await;
    stage.ann("react", json!({"seq": "1", "emoji": "👍"})).await;
    assert_eq!(stage.bob("send", json!({"text": "four"})).await["seq"], "4");
    assert_eq!(stage.bob("delete", json!({"seq": "1"})).await["revision"], "7");
    let deleted = event(&mut stage.at_ann, "deleted").await;
    assert_eq!(deleted["deleted"], json!({"seq": "1", "by": stage.bob.id}));
    let again = stage.ann("delete", json!({"seq": "1"})).await;
    assert_eq!((&again["seq"], &again["revision"], &again["duplicate"]), (&json!("1"), &json!("7"), &json!(true)));
    assert_eq!(stage.bob("edit", json!({"seq": "1", "text": "x"})).await, "MESSAGE_DELETED");
    assert_eq!(stage.ann("react", json!({"seq": "1", "emoji": "👍"})).await, "MESSAGE_DELETED");
    assert_eq!(stage.ann("delete", json!({"seq": "4"})).await["revision"], "8", "an admin may");
    stage.ann("send", json!({"text": "mine"})).await;
    assert_eq!(stage.bob("delete", json!({"seq": "5"})).await, "ROLE_REQUIRED");
    let history = stage.history(&stage.bob, &json!("9")).await;
    let one = &history[0];
    assert_eq!((&one["deleted"], &one["text"], &one["reactions"]), (&json!(true), &json!(""), &json!([])));
    assert_eq!((&one["sender"], &one["revision"]), (&json!(stage.bob.id), &json!("7")));
    assert_eq!(history[3]["deleted"], true);
    // Nothing of its text is in the file either, once SQLite.s write-ahead log has gone round.
    stage.server.stop().await;
    let found = std::fs::read(stage.folder.path().join("messages.db")).unwrap();
    assert!(!found.windows(6).any(|part| part == "비밀".as_bytes()), "the text is still in messages.db");
}

#[tokio::test(flavor = "multi_thread")]
async fn reactions_are_counted_and_their_limits_hold() {
    let mut stage = Stage::new(&["one"]).await;
    assert_eq!(stage.ann("react", json!({"seq": "1", "emoji": "❤"})).await["revision"], "3");
    let ack = stage.bob("react", json!({"seq": "1", "emoji": "❤\u{fe0f}"})).await;
    assert_eq!((&ack["seq"], &ack["revision"]), (&json!("1"), &json!("4")));
    event(&mut stage.at_ann, "reacted").await;
    let reacted = event(&mut stage.at_ann, "reacted").await["reacted"].clone();
    assert_eq!(reacted, json!({"seq": "1", "user": stage.bob.id, "emoji": "❤", "removed": false, "count": 2}));
    let gone = stage.ann("react", json!({"seq": "1", "emoji": "❤", "remove": true})).await;
    assert_eq!(gone["duplicate"], false);
    let again = stage.ann("react", json!({"seq": "1", "emoji": "❤", "remove": true})).await;
    assert_eq!((&again["revision"], &again["duplicate"]), (&gone["revision"], &json!(true)));
    for n in 1..20 {
        assert_eq!(stage.ann("react", json!({"seq": "1", "emoji": format!("e{n}")})).await["duplicate"], false);
    }
    assert_eq!(stage.ann("react", json!({"seq": "1", "emoji": "21st"})).await, "TOO_MANY_REACTIONS");
    assert_eq!(stage.ann("react", json!({"seq": "1", "emoji": "가".repeat(22)})).await, "TOO_LARGE");
    assert_eq!(stage.ann("react", json!({"seq": "1", "emoji": "\u{fe0f}"})).await, "INVALID_FIELD");
    stage.ann("react", json!({"seq": "1", "emoji": "e1", "remove": true})).await;
    let longest = stage.ann("react", json!({"seq": "1", "emoji": "a".repeat(64)})).await;
    let reused = json!({"seq": "1", "emoji": "e2", "clientId": ClientId::now().to_string()});
    assert_eq!(stage.bob("react", reused.clone()).await["duplicate"], false);
    let mut other = reused;
    other["emoji"] = "e3".into();
    assert_eq!(stage.bob("react", other).await, "CLIENT_ID_REUSED");
    let next = (longest["revision"].as_str().unwrap().parse::<u64>().unwrap() + 1).to_string();
    let mine = |message: &Value| -> Vec<(String, u64, bool)> {
        let of = |each: &Value| {
            let count = each["count"].as_u64().unwrap();
            (each["emoji"].as_str().unwrap().to_owned(), count, each["mine"].as_bool().unwrap())
        };
        message["reactions"].as_array().unwrap().iter().map(of).collect()
    };
    let (ann, bob) = (
        mine(&stage.history(&stage.ann, &json!(next)).await[0]),
        mine(&stage.history(&stage.bob, &json!(next)).await[0]),
    );
    assert_eq!((ann.len(), bob.len()), (20, 20));
    assert_eq!(
        (&ann[0], &bob[0]),
        (&("❤".into(), 1, false), &("❤".into(), 1, true)),
        "in the order in which they came"
    );
    assert_eq!((&ann[1], &bob[1]), (&("e2".into(), 2, true), &("e2".into(), 2, true)));
    assert_eq!((&ann[19].0, ann[19].2, bob[19].2), (&"a".repeat(64), true, false));
    stage.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joined_later_counts_changes_of_what_they_may_not_see() {
    let mut stage = Stage::new(&["before"]).await;
    let cho = sign_up(&stage.server, "cho").await;
    let (mut at_cho, _) = Socket::connect(&stage.server, &cho, "").await;
    let path = format!("/v1/groups/{}/members", stage.group);
    let (status, answer) = call(&stage.server, "POST", &path, &stage.ann.token, json!({"users": [cho.id]})).await;
    assert_eq!(status, 200, "{answer}");
    let joined = event(&mut at_cho, "joined").await["revision"].as_str().unwrap().parse::<u64>().unwrap();
    stage.bob("edit", json!({"seq": "1", "text": "still before"})).await;
    stage.bob("send", json!({"text": "after"})).await;
    let next = at_cho.next().await["event"].clone();
    assert_eq!(next["revision"], (joined + 1).to_string());
    let bodies = ["message", "edited", "deleted", "reacted", "read", "joined", "left", "role", "changed"];
    assert!(bodies.iter().all(|body| next[body].is_null()), "it comes without its body: {next}");
    assert_eq!(at_cho.message().await["message"]["text"], "after");
    let react =
        json!({"seq": "1", "emoji": "👍", "conversation": stage.group, "clientId": ClientId::now().to_string()});
    at_cho.send(json!({"id": 9, "react": react})).await;
    assert_eq!(at_cho.answer(9).await["error"]["reason"], "MESSAGE_NOT_FOUND");
    stage.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cleared_is_changed_for_the_others_alone() {
    let mut stage = Stage::new(&["one", "two"]).await;
    let clear = format!("/v1/conversations/{}/settings", stage.group);
    let (status, settings) = call(&stage.server, "PATCH", &clear, &stage.ann.token, json!({"clearedSeq": "1"})).await;
    assert_eq!((status, &settings["clearedSeq"]), (200, &json!("1")));
    event(&mut stage.at_ann, "settings").await;
    let edited = stage.bob("edit", json!({"seq": "1", "text": "still one"})).await;
    loop {
        let next = stage.at_ann.next().await["event"].clone();
        assert!(next["edited"].is_null(), "it comes without its body: {next}");
        if next["revision"] == edited["revision"] {
            break;
        }
    }
    assert_eq!(event(&mut stage.at_bob, "edited").await["edited"]["text"], "still one");
    for kind in ["react", "edit", "delete"] {
        let answer = stage.ann(kind, json!({"seq": "1", "emoji": "👍", "text": "x"})).await;
        assert_eq!(answer, "MESSAGE_NOT_FOUND", "{kind}");
    }
    assert_eq!(stage.ann("send", json!({"text": "to one", "replyTo": "1"})).await, "MESSAGE_NOT_FOUND");
    assert!(stage.ann("react", json!({"seq": "2", "emoji": "👍"})).await["revision"].is_string());
    // The same after a restart, also of what is sent again.
    stage.server.stop().await;
    stage.server = start(stage.folder.path()).await;
    (stage.at_ann, _) = Socket::connect(&stage.server, &stage.ann, "").await;
    let edited = stage.bob_later("edit", json!({"seq": "1", "text": "one still"})).await;
    loop {
        let next = stage.at_ann.next().await["event"].clone();
        assert!(next["edited"]["seq"] != "1", "it comes without its body: {next}");
        if next["revision"] == edited["revision"] {
            break;
        }
    }
    stage.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_was_just_read_is_shown_as_it_is_now_and_to_nobody_who_is_out() {
    let mut stage = Stage::new(&["one"]).await;
    let first = stage.history(&stage.ann, &json!("2")).await;
    assert_eq!((&first[0]["text"], &stage.history(&stage.bob, &json!("2")).await), (&json!("one"), &first));
    let ack = stage.bob("edit", json!({"seq": "1", "text": "둘"})).await;
    for who in [&stage.ann, &stage.bob] {
        assert_eq!(stage.history(who, &ack["revision"]).await[0]["text"], "둘");
    }
    let ack = stage.ann("react", json!({"seq": "1", "emoji": "👍"})).await;
    for (who, mine) in [(&stage.bob, false), (&stage.ann, true), (&stage.bob, false)] {
        let reaction = &stage.history(who, &ack["revision"]).await[0]["reactions"][0];
        assert_eq!((&reaction["count"], &reaction["mine"]), (&json!(1), &json!(mine)), "{}", who.id);
    }
    let ack = stage.bob("delete", json!({"seq": "1"})).await;
    let gone = &stage.history(&stage.ann, &ack["revision"]).await[0];
    assert_eq!((&gone["text"], &gone["deleted"]), (&json!(""), &json!(true)));
    let member = format!("/v1/groups/{}/members/{}", stage.group, stage.bob.id);
    let (status, answer) = call(&stage.server, "DELETE", &member, &stage.ann.token, Value::Null).await;
    assert_eq!(status / 100, 2, "{answer}");
    let path = format!("/v1/conversations/{}/messages", stage.group);
    let (status, answer) = call(&stage.server, "GET", &path, &stage.bob.token, Value::Null).await;
    assert_eq!((status, &answer["reason"]), (404, &json!("CONVERSATION_NOT_FOUND")));
    stage.server.stop().await;
}
