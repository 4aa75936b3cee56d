//! One's own settings of a conversation: in force when they are answered, told to one's other devices alone, found again
//! in the list by whoever was away; and what they do to the badge, to history and to the read mark.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_proto::id::ClientId;
use madang_solo::serve::Running;
use madang_tests::{
    client::{Person, Socket, call, group_of_three, sign_up},
    start,
};
use serde_json::{Value, json};

struct Pair {
    server: Running,
    ann: Person,
    bob: Person,
    conversation: String,
    folder: tempfile::TempDir,
}

impl Pair {
    /// Ann has written so often to bob.
    async fn new(messages: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = start(folder.path()).await;
        let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
        let mut pair = Self { server, ann, bob, conversation: String::new(), folder };
        for n in 1..=messages {
            pair.write(&format!("m{n}")).await;
        }
        pair
    }

    async fn write(&mut self, text: &str) -> u64 {
        let body = json!({"user": self.bob.id, "clientId": ClientId::new().to_string(), "text": text});
        let (status, ack) = call(&self.server, "POST", "/v1/messages", &self.ann.token, body).await;
        assert_eq!(status, 200, "{ack}");
        self.conversation = ack["conversation"].as_str().unwrap().into();
        number(&ack["revision"])
    }

    async fn set(&self, whose: &Person, body: Value) -> (u16, Value) {
        let path = format!("/v1/conversations/{}/settings", self.conversation);
        call(&self.server, "PATCH", &path, &whose.token, body).await
    }

    async fn get(&self, whose: &Person, path: &str) -> Value {
        let path = path.replace("{c}", &format!("/v1/conversations/{}", self.conversation));
        let (status, answer) = call(&self.server, "GET", &path, &whose.token, Value::Null).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Bob's conversation, once it is as of a revision.
    async fn seen(&self, revision: u64) -> Value {
        self.get(&self.bob, &format!("{{c}}?atLeast={revision}")).await
    }
}

fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

async fn event(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let frame = socket.next().await;
        assert!(frame["close"].is_null(), "{frame}");
        if frame["event"][kind].is_object() {
            return frame["event"].clone();
        }
    }
}

fn other_device(person: &Person) -> Person {
    Person { id: person.id.clone(), token: person.token.clone(), device: uuid::Uuid::new_v4().to_string() }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_told_to_ones_own_devices_alone() {
    let mut pair = Pair::new(2).await;
    let (mut first, _) = Socket::connect(&pair.server, &pair.bob, "").await;
    let (mut second, _) = Socket::connect(&pair.server, &other_device(&pair.bob), "").await;
    let (mut hers, _) = Socket::connect(&pair.server, &pair.ann, "").await;
    let (status, fresh) = pair.set(&pair.bob, json!({})).await;
    let none = json!({
        "mutedUntil": "0", "notify": "NOTIFY_ALL", "pinnedAt": "0", "hidden": false, "clearedSeq": "0", "data": {},
        "updatedAt": "0",
    });
    assert_eq!((status, &fresh), (200, &none), "nothing was set");
    let body = json!({"mutedUntil": "9000000000000", "pinnedAt": 5, "notify": "NOTIFY_MENTIONS", "data": {"a": "1", "b": "2"}});
    let (status, set) = pair.set(&pair.bob, body).await;
    assert_eq!(status, 200, "{set}");
    assert_eq!(
        (&set["mutedUntil"], &set["pinnedAt"], &set["notify"]),
        (&json!("9000000000000"), &json!("5"), &json!("NOTIFY_MENTIONS"))
    );
    for socket in [&mut first, &mut second] {
        let told = event(socket, "settings").await;
        assert_eq!(
            (&told["settings"], &told["revision"], &told["conversation"]),
            (&set, &json!("0"), &json!(pair.conversation))
        );
        assert!(!told["cursor"].as_str().unwrap().is_empty());
    }
    // A merge patch: what is left out stays, null is as at first.
    let (_, changed) = pair.set(&pair.bob, json!({"mutedUntil": null, "data": {"a": null, "c": "3"}})).await;
    assert_eq!((&changed["mutedUntil"], &changed["data"]), (&json!("0"), &json!({"b": "2", "c": "3"})));
    assert_eq!(changed["pinnedAt"], "5");
    assert!(number(&changed["updatedAt"]) > number(&set["updatedAt"]));
    assert_eq!(event(&mut first, "settings").await["settings"], changed);
    let (_, same) = pair.set(&pair.bob, json!({"pinnedAt": "5"})).await;
    assert_eq!(same, changed, "nothing changed");
    assert_eq!(pair.set(&pair.bob, json!({"data": null, "notify": null})).await.1["data"], json!({}));
    assert_eq!(event(&mut first, "settings").await["settings"]["notify"], "NOTIFY_ALL", "the same twice was told once");
    // Ann was told nothing of it, and of what comes after it she is.
    let revision = pair.write("m3").await;
    loop {
        let frame = hers.next().await;
        assert!(!frame["event"]["settings"].is_object(), "{frame}");
        if number(&frame["event"].get("revision").cloned().unwrap_or(json!("0"))) == revision {
            break;
        }
    }
    assert_eq!(pair.get(&pair.ann, "{c}").await["settings"], none);
    assert_eq!(pair.seen(0).await["settings"]["pinnedAt"], "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_refused_and_strangers_find_nothing() {
    let pair = Pair::new(1).await;
    let eve = sign_up(&pair.server, "eve").await;
    assert_eq!(pair.set(&eve, json!({"hidden": true})).await.0, 404);
    for wrong in [
        json!({"mutedUntil": -1}),
        json!({"pinnedAt": "x"}),
        json!({"hidden": "yes"}),
        json!({"clearedSeq": -1}),
        json!({"data": {"a": 1}}),
        json!({"data": {"a": "x\u{0}"}}),
    ] {
        let (status, answer) = pair.set(&pair.bob, wrong.clone()).await;
        assert_eq!((status, &answer["code"]), (400, &json!("INVALID_ARGUMENT")), "{wrong}");
    }
    // A word that is not known (yet) is ignored.
    let (status, answer) = pair.set(&pair.bob, json!({"notify": "NOTIFY_LOUD", "pinnedAt": 7})).await;
    assert_eq!((status, &answer["notify"], &answer["pinnedAt"]), (200, &json!("NOTIFY_ALL"), &json!("7")));
    // 4 KiB, with what is there.
    assert_eq!(pair.set(&pair.bob, json!({"data": {"k": "x".repeat(4095)}})).await.0, 200);
    let (status, answer) = pair.set(&pair.bob, json!({"data": {"l": ""}})).await;
    assert_eq!((status, &answer["reason"]), (400, &json!("TOO_LARGE")));
    assert_eq!(pair.set(&pair.bob, json!({"data": {"l": "", "k": null}})).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn muted_conversations_do_not_count_for_the_badge() {
    let pair = Pair::new(3).await;
    pair.seen(4).await;
    let badge = async || pair.get(&pair.bob, "/v1/conversations").await["badge"].clone();
    assert_eq!(badge().await, "3");
    pair.set(&pair.bob, json!({"mutedUntil": "9000000000000"})).await;
    assert_eq!(badge().await, "0");
    assert_eq!(pair.seen(0).await["unread"], "3", "unread it is all the same");
    pair.set(&pair.bob, json!({"mutedUntil": "1"})).await;
    assert_eq!(badge().await, "3", "muted till then");
}

#[tokio::test(flavor = "multi_thread")]
async fn hiding_and_clearing_read_and_others_see_it() {
    let mut pair = Pair::new(5).await;
    let (mut hers, _) = Socket::connect(&pair.server, &pair.ann, "").await;
    pair.seen(6).await;
    let (_, cleared) = pair.set(&pair.bob, json!({"clearedSeq": "3"})).await;
    assert_eq!((&cleared["clearedSeq"], &cleared["hidden"]), (&json!("3"), &json!(false)));
    let seen = pair.seen(0).await;
    assert_eq!((&seen["readSeq"], &seen["unread"]), (&json!("3"), &json!("2")), "at once");
    let marks = event(&mut hers, "read").await["read"]["marks"].clone();
    assert_eq!(marks, json!([{"user": pair.bob.id, "seq": "3"}]));
    let history = pair.get(&pair.bob, "{c}/messages").await;
    let texts = |answer: &Value| -> Vec<String> {
        answer["messages"].as_array().unwrap().iter().map(|each| each["text"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((texts(&history), &history["hasBefore"]), (vec!["m4".to_owned(), "m5".into()], &json!(false)));
    assert_eq!(texts(&pair.get(&pair.bob, "{c}/changes?since=0").await), ["m4", "m5"]);
    assert_eq!(texts(&pair.get(&pair.ann, "{c}/messages").await).len(), 5, "for oneself");
    // It never goes back, and nothing is beyond the last message.
    assert_eq!(pair.set(&pair.bob, json!({"clearedSeq": 1})).await.1["clearedSeq"], "3");
    assert_eq!(pair.set(&pair.bob, json!({"clearedSeq": "99"})).await.1["clearedSeq"], "5");
    let seen = pair.seen(0).await;
    assert_eq!((&seen["lastMessage"], &seen["unread"]), (&Value::Null, &json!("0")));
    assert_eq!(event(&mut hers, "read").await["read"]["marks"][0]["seq"], "5");

    let revision = pair.write("m6").await;
    let seen = pair.seen(revision).await;
    assert_eq!((&seen["lastMessage"]["text"], &seen["unread"]), (&json!("m6"), &json!("1")));
    let (_, hidden) = pair.set(&pair.bob, json!({"hidden": true})).await;
    assert_eq!(hidden["hidden"], true);
    assert_eq!(event(&mut hers, "read").await["read"]["marks"], json!([{"user": pair.bob.id, "seq": "6"}]));
    assert_eq!((&pair.seen(0).await["settings"]["hidden"], &pair.seen(0).await["unread"]), (&json!(true), &json!("0")));
    let revision = pair.write("m7").await;
    let seen = pair.seen(revision).await;
    assert_eq!((&seen["settings"]["hidden"], &seen["unread"]), (&json!(false), &json!("1")), "till a message");
    assert_eq!(
        pair.set(&pair.bob, json!({"hidden": false})).await.1["updatedAt"],
        hidden["updatedAt"],
        "it is shown already"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_finds_settings_in_the_list_also_after_a_restart() {
    let mut pair = Pair::new(2).await;
    let (mut away, ready) = Socket::connect(&pair.server, &other_device(&pair.bob), "").await;
    pair.seen(3).await;
    let cursor = ready["cursor"].as_str().unwrap().to_owned();
    let list = pair.get(&pair.bob, "/v1/conversations").await;
    let since = format!("/v1/conversations?since={}", list["sync"].as_str().unwrap());
    let hers = pair.get(&pair.ann, "/v1/conversations").await["sync"].as_str().unwrap().to_owned();
    let hers = format!("/v1/conversations?since={hers}");
    away.send(json!({"id": 9, "ping": {}})).await;
    away.answer(9).await;
    drop(away);
    assert_eq!(pair.get(&pair.bob, &since).await["conversations"], json!([]));
    let (_, set) = pair.set(&pair.bob, json!({"pinnedAt": "77", "data": {"k": "v"}})).await;
    // By its cursor it is told; by the list it finds it.
    let (mut back, _) = Socket::connect(&pair.server, &other_device(&pair.bob), &cursor).await;
    assert_eq!(event(&mut back, "settings").await["settings"], set);
    let changed = pair.get(&pair.bob, &since).await;
    assert_eq!(changed["conversations"].as_array().unwrap().len(), 1);
    assert_eq!(changed["conversations"][0]["settings"], set);
    assert_eq!(pair.get(&pair.ann, &hers).await["conversations"], json!([]), "hers has not changed");

    pair.server.stop().await;
    pair.server = start(pair.folder.path()).await;
    assert_eq!(pair.seen(0).await["settings"], set);
    // The home knows them after it, so that a change is of what there is.
    let (_, changed) = pair.set(&pair.bob, json!({"data": {"l": "w"}})).await;
    assert_eq!((&changed["pinnedAt"], &changed["data"]), (&json!("77"), &json!({"k": "v", "l": "w"})));
    assert!(number(&changed["updatedAt"]) > number(&set["updatedAt"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_changes_at_once_none_is_lost() {
    let pair = Pair::new(1).await;
    let changes = (0..20).map(|n| {
        let key = format!("k{n}");
        let pair = &pair;
        async move { pair.set(&pair.bob, json!({"data": {key: "v"}})).await.0 }
    });
    let answers = futures_util::future::join_all(changes).await;
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    assert_eq!(pair.seen(0).await["settings"]["data"].as_object().unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_and_comes_back_finds_them_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (people, group) = group_of_three(&server, json!({})).await;
    let (ann, bob) = (&people[0], &people[1]);
    let path = format!("/v1/conversations/{group}/settings");
    let set = async |body| call(&server, "PATCH", &path, &bob.token, body).await;
    assert_eq!(set(json!({"notify": "NOTIFY_NONE", "data": {"colour": "green"}})).await.0, 200);
    let members = format!("/v1/groups/{group}/members");
    let left = call(&server, "DELETE", &format!("{members}/{}", bob.id), &bob.token, Value::Null).await;
    assert_eq!((left.0, set(json!({"pinnedAt": 5})).await.0), (200, 404));
    let back = call(&server, "POST", &members, &ann.token, json!({"users": [bob.id]})).await;
    assert_eq!(back.0, 200);
    let (status, settings) = set(json!({"pinnedAt": 5})).await;
    let shown = [&settings["notify"], &settings["pinnedAt"], &settings["data"]["colour"]];
    assert_eq!((status, shown), (200, [&json!("NOTIFY_NONE"), &json!("5"), &json!("green")]), "{settings}");
}
