//! Invites: who may make them, what strangers are shown, and that exactly as many join by one as may, whoever comes when.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use futures_util::future::join_all;
use madang_proto::id::ClientId;
use madang_solo::serve::Running;
use madang_tests::{
    client::{Person, Socket, call, call_once, call_with, sign_up},
    start_with, until,
};
use serde_json::{Value, json};

struct Club {
    server: Running,
    /// The owner, a member, and strangers.
    people: Vec<Person>,
    group: String,
    folder: tempfile::TempDir,
}

impl Club {
    async fn new(strangers: usize, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = start_with(folder.path(), flags).await;
        let mut people = Vec::new();
        for n in 0..strangers + 2 {
            people.push(sign_up(&server, &format!("user_{n}")).await);
        }
        let body = json!({"name": "마당", "members": [people[1].id]});
        let (status, group) = call(&server, "POST", "/v1/groups", &people[0].token, body).await;
        assert_eq!(status, 201, "{group}");
        Self { server, people, group: group["conversation"].as_str().unwrap().to_owned(), folder }
    }

    async fn ask(&self, who: usize, method: &str, path: &str, body: Value) -> (u16, Value) {
        let path = path.replace("{g}", &format!("/v1/groups/{}", self.group));
        call(&self.server, method, &path, &self.people[who].token, body).await
    }

    async fn invite(&self, body: Value) -> String {
        let (status, invite) = self.ask(0, "POST", "{g}/invites", body).await;
        assert_eq!(status, 201, "{invite}");
        invite["code"].as_str().unwrap().to_owned()
    }

    async fn join(&self, who: usize, code: &str) -> (u16, Value) {
        self.ask(who, "POST", &format!("/v1/invites/{code}"), Value::Null).await
    }

    async fn uses(&self) -> Value {
        self.ask(0, "GET", "{g}/invites", Value::Null).await.1["invites"][0]["uses"].clone()
    }

    async fn members(&self) -> usize {
        let path = format!("/v1/conversations/{}/members", self.group);
        self.ask(0, "GET", &path, Value::Null).await.1["members"].as_array().unwrap().len()
    }
}

fn reason((status, answer): (u16, Value)) -> (u16, String) {
    (status, answer["reason"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_make_invites_and_strangers_see_what_for() {
    let club = Club::new(2, &[]).await;
    assert_eq!(reason(club.ask(1, "POST", "{g}/invites", json!({})).await), (403, "ROLE_REQUIRED".into()));
    assert_eq!(reason(club.ask(1, "GET", "{g}/invites", Value::Null).await), (403, "ROLE_REQUIRED".into()));
    assert_eq!(reason(club.ask(2, "POST", "{g}/invites", json!({})).await), (404, "CONVERSATION_NOT_FOUND".into()));
    for wrong in [json!({"expiresAt": 5}), json!({"expiresAt": "x"}), json!({"maxUses": -1}), json!({"maxUses": 1e99})]
    {
        assert_eq!(club.ask(0, "POST", "{g}/invites", wrong.clone()).await.0, 400, "{wrong}");
    }
    let code = club.invite(json!({"maxUses": 3, "expiresAt": "9000000000000"})).await;
    assert!(code.len() >= 22, "{code}");
    let other = club.invite(json!({})).await;
    assert_ne!(code, other);
    let (_, list) = club.ask(0, "GET", "{g}/invites", Value::Null).await;
    let of = |code: &str| list["invites"].as_array().unwrap().iter().find(|each| each["code"] == code).unwrap().clone();
    let (_, page) = club.ask(0, "GET", "{g}/invites?limit=1", Value::Null).await;
    let next = format!("{{g}}/invites?limit=1&pageToken={}", page["nextPageToken"].as_str().unwrap());
    let (_, next) = club.ask(0, "GET", &next, Value::Null).await;
    let pages = [page["invites"].as_array().unwrap().clone(), next["invites"].as_array().unwrap().clone()];
    assert_eq!((json!(pages.concat()), &next["nextPageToken"]), (list["invites"].clone(), &json!("")));
    let owner = &club.people[0].id;
    assert_eq!(of(&code), json!({"code": code, "expiresAt": "9000000000000", "maxUses": 3, "uses": 0, "by": owner}));
    assert_eq!(of(&other), json!({"code": other, "expiresAt": "0", "maxUses": 0, "uses": 0, "by": owner}));

    let (status, look) = club.ask(2, "GET", &format!("/v1/invites/{code}"), Value::Null).await;
    let shown =
        json!({"name": "마당", "picture": "", "memberCount": 2, "expiresAt": "9000000000000", "conversation": ""});
    assert_eq!((status, look), (200, shown));
    assert_eq!(
        reason(club.ask(2, "GET", "/v1/invites/AAAAAAAAAAAAAAAAAAAAAA", Value::Null).await).1,
        "INVITE_NOT_FOUND"
    );
    assert_eq!(reason(club.join(2, "x").await), (404, "INVITE_NOT_FOUND".into()));

    let (mut socket, _) = Socket::connect(&club.server, &club.people[1], "").await;
    let (status, joined) = club.join(2, &code).await;
    assert_eq!((status, &joined["conversation"], &joined["role"]), (200, &json!(club.group), &json!("ROLE_MEMBER")));
    assert_eq!((&joined["memberCount"], &joined["firstMembers"][0]["handle"]), (&json!(3), &json!("user_0")));
    loop {
        let frame = socket.next().await;
        // After what was before.
        if frame["event"]["revision"] == joined["revision"] {
            let members = json!([{"user": club.people[2].id, "role": "ROLE_MEMBER"}]);
            assert_eq!(frame["event"]["joined"]["members"], members);
            break;
        }
    }
    let (status, again) = club.join(2, &code).await;
    assert_eq!((status, &again["revision"]), (200, &joined["revision"]), "who is in it stays");
    let (_, look) = club.ask(2, "GET", &format!("/v1/invites/{code}"), Value::Null).await;
    assert_eq!(look["conversation"], club.group.as_str());

    assert_eq!(reason(club.ask(2, "DELETE", &format!("{{g}}/invites/{code}"), Value::Null).await).1, "ROLE_REQUIRED");
    assert_eq!(club.ask(0, "DELETE", &format!("{{g}}/invites/{code}"), Value::Null).await.0, 204);
    assert_eq!(club.ask(0, "DELETE", &format!("{{g}}/invites/{code}"), Value::Null).await.0, 404);
    assert_eq!(reason(club.join(3, &code).await), (404, "INVITE_NOT_FOUND".into()), "it was taken back");
    assert_eq!(club.ask(0, "DELETE", "{g}", Value::Null).await.0, 204);
    assert_eq!(reason(club.join(3, &other).await), (404, "INVITE_NOT_FOUND".into()), "the group has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_as_many_join_as_may() {
    let mut club = Club::new(20, &[]).await;
    let code = club.invite(json!({"maxUses": 7})).await;
    // Everybody at once, and twice.
    let tries = (2..22).flat_map(|who| [who, who]).map(|who| {
        let (club, code) = (&club, &code);
        async move { (who, reason(club.join(who, code).await)) }
    });
    let answers = join_all(tries).await;
    let mut inside: Vec<_> = answers.iter().filter(|(_, (status, _))| *status == 200).map(|(who, _)| *who).collect();
    inside.dedup();
    assert_eq!(inside.len(), 7, "{answers:?}");
    assert!(answers.iter().all(|(_, (status, reason))| *status == 200 || reason == "INVITE_USED_UP"), "{answers:?}");
    assert_eq!((club.members().await, club.uses().await), (9, json!(7)));
    club.server.stop().await;
    club.server = start_with(club.folder.path(), &[]).await;
    let outside = (2..22).find(|who| !inside.contains(who)).unwrap();
    assert_eq!(reason(club.join(outside, &code).await), (409, "INVITE_USED_UP".into()), "also after a restart");
    let path = format!("/v1/invites/{code}");
    assert_eq!(reason(club.ask(outside, "GET", &path, Value::Null).await), (409, "INVITE_USED_UP".into()));
    // A place is not given back by leaving, and who comes again takes another.
    let leave = format!("{{g}}/members/{}", club.people[inside[0]].id);
    assert_eq!(club.ask(inside[0], "DELETE", &leave, Value::Null).await.0, 200);
    assert_eq!(reason(club.join(inside[0], &code).await), (409, "INVITE_USED_UP".into()));
    assert_eq!(club.members().await, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_by_the_group_takes_no_place() {
    let club = Club::new(3, &["--max-members", "3"]).await;
    let code = club.invite(json!({"maxUses": 2})).await;
    let answers = join_all([2, 3, 4].map(|who| club.join(who, &code))).await;
    let mut reasons: Vec<_> = answers.into_iter().map(reason).collect();
    reasons.sort();
    assert_eq!(reasons[0].0, 200);
    assert!(
        reasons[1..]
            .iter()
            .all(|(status, reason)| *status == 409 && (reason == "GROUP_FULL" || reason == "INVITE_USED_UP"))
    );
    assert_eq!((club.members().await, club.uses().await), (3, json!(1)));
    // There is room again, and a place.
    assert_eq!(club.ask(1, "DELETE", &format!("{{g}}/members/{}", club.people[1].id), Value::Null).await.0, 200);
    assert_eq!(club.join(1, &code).await.0, 200);
    assert_eq!(club.uses().await, json!(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_in_more_conversations_than_one_may_be() {
    let club = Club::new(2, &["--max-conversations", "2"]).await;
    let code = club.invite(json!({})).await;
    let own = |name: &str| json!({"name": name});
    let (status, one) = club.ask(2, "POST", "/v1/groups", own("one")).await;
    assert_eq!(status, 201);
    assert_eq!(club.ask(2, "POST", "/v1/groups", own("two")).await.0, 201, "at the limit");
    assert_eq!(reason(club.ask(2, "POST", "/v1/groups", own("three")).await), (409, "TOO_MANY_CONVERSATIONS".into()));
    assert_eq!(reason(club.join(2, &code).await), (409, "TOO_MANY_CONVERSATIONS".into()));
    let users = json!({"users": [club.people[2].id, club.people[3].id]});
    let (status, added) = club.ask(0, "POST", "{g}/members", users).await;
    let refused = json!([{"user": club.people[2].id, "reason": "TOO_MANY_CONVERSATIONS"}]);
    assert_eq!((status, &added["refused"]), (200, &refused), "the others are taken in");
    let group = json!({"name": "x", "members": [club.people[2].id, club.people[3].id]});
    let (status, made) = club.ask(0, "POST", "/v1/groups", group).await;
    assert_eq!((status, &made["refused"], &made["memberCount"]), (201, &refused, &json!(2)));
    assert_eq!(club.members().await, 3);

    // A first message begins a conversation as well, for both.
    let say = |to: usize| json!({"user": club.people[to].id, "clientId": ClientId::now().to_string(), "text": "안녕"});
    let too_many = (409, "TOO_MANY_CONVERSATIONS".to_owned());
    assert_eq!(reason(club.ask(2, "POST", "/v1/messages", say(1)).await), too_many);
    assert_eq!(reason(club.ask(1, "POST", "/v1/messages", say(2)).await), too_many);
    let leave = format!("/v1/groups/{}/members/{}", one["conversation"].as_str().unwrap(), club.people[2].id);
    assert_eq!(club.ask(2, "DELETE", &leave, Value::Null).await.0, 200);
    assert_eq!(club.ask(2, "POST", "/v1/messages", say(1)).await.0, 200, "there is a place");
    assert_eq!(club.ask(1, "POST", "/v1/messages", say(2)).await.0, 200, "it is there");
    assert_eq!(reason(club.ask(2, "POST", "/v1/messages", say(3)).await), too_many);
}

/// Whatever is asked at once: to make groups, to be brought into others, to come by an invite, to begin to write and be written to.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_into_more_by_asking_at_once() {
    let club = Club::new(2, &["--max-conversations", "4"]).await;
    let code = club.invite(json!({})).await;
    let [who, other] = [2, 3].map(|n: usize| club.people[n].id.clone());
    let say = |to: &str| json!({"user": to, "clientId": ClientId::now().to_string(), "text": "안녕"});
    let asked = [
        (2, "/v1/groups", json!({"name": "one"})),
        (2, "/v1/groups", json!({"name": "two"})),
        (2, "/v1/groups", json!({"name": "three"})),
        (2, "/v1/groups", json!({"name": "four"})),
        (0, "/v1/groups", json!({"name": "five", "members": [who]})),
        (1, "/v1/groups", json!({"name": "six", "members": [who]})),
        (1, "/v1/groups", json!({"name": "seven", "members": [who]})),
        (0, "{g}/members", json!({"users": [who]})),
        (2, &*format!("/v1/invites/{code}"), Value::Null),
        (2, "/v1/messages", say(&other)),
        (2, "/v1/messages", say(&club.people[1].id)),
        (3, "/v1/messages", say(&who)),
        (0, "/v1/messages", say(&who)),
    ];
    let answers = join_all(asked.into_iter().map(|(n, path, body)| club.ask(n, "POST", path, body))).await;
    let count = async || {
        club.ask(2, "GET", "/v1/conversations", Value::Null).await.1["conversations"].as_array().unwrap().len()
    };
    until("what was granted is there", async || (count().await >= 4).then_some(())).await;
    assert_eq!(count().await, 4, "{answers:?}");
    let (_, list) = club.ask(2, "GET", "/v1/conversations", Value::Null).await;
    let group = list["conversations"].as_array().unwrap().iter().find(|each| each["kind"] == "CONVERSATION_KIND_GROUP");
    // What was refused takes no room: once they leave one, there is a place.
    let group = group.unwrap()["conversation"].as_str().unwrap().to_owned();
    assert_eq!(club.ask(2, "DELETE", &format!("/v1/groups/{group}/members/{who}"), Value::Null).await.0, 200);
    assert_eq!(club.ask(2, "POST", "/v1/groups", json!({"name": "eight"})).await.0, 201);
    let too_many = (409, "TOO_MANY_CONVERSATIONS".to_owned());
    assert_eq!(reason(club.ask(2, "POST", "/v1/groups", json!({"name": "nine"})).await), too_many);
    assert_eq!(count().await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_has_so_many_invites_and_codes_are_not_to_be_guessed() {
    let club = Club::new(1, &[]).await;
    let soon = club.invite(json!({"expiresAt": 9_000_000_000_000_u64})).await;
    let mut last = String::new();
    for _ in 1..50 {
        last = club.invite(json!({"maxUses": 1})).await;
    }
    assert_eq!(
        reason(club.ask(0, "POST", "{g}/invites", json!({})).await),
        (409, "TOO_MANY_INVITES".into()),
        "one past"
    );
    assert_eq!(club.join(2, &last).await.0, 200);
    club.invite(json!({})).await;
    let (_, list) = club.ask(0, "GET", "{g}/invites", Value::Null).await;
    let codes: Vec<_> = list["invites"].as_array().unwrap().iter().map(|each| each["code"].as_str().unwrap()).collect();
    assert!(
        codes.len() == 50 && codes.contains(&soon.as_str()) && !codes.contains(&last.as_str()),
        "what is of no use gave way"
    );

    // Thirty at once, and one a second: this machine may take long for all of them.
    let guess = async |n: u32| loop {
        let path = if n.is_multiple_of(2) { "/v1/invites/a" } else { "/v1/invites/b" };
        match call_once(club.server.http, "GET", path, &club.people[1].token, "", Value::Null).await {
            Some((503, _)) | None => {}
            Some(answer) => break reason(answer),
        }
    };
    let answers: Vec<_> = join_all((0..100).map(guess)).await;
    let limited = answers.iter().filter(|(status, reason)| *status == 429 && reason == "RATE_LIMITED").count();
    let missed = answers.iter().filter(|(status, _)| *status == 404).count();
    assert!(missed >= 30 && limited + missed == 100 && limited > 0, "{answers:?}");
    assert_eq!(club.ask(0, "GET", &format!("/v1/invites/{soon}"), Value::Null).await.0, 200, "others are not held up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_one_invite() {
    let club = Club::new(0, &[]).await;
    let make = async |key: &str, body: Value| {
        let (path, head) = (format!("/v1/groups/{}/invites", club.group), format!("idempotency-key: {key}\r\n"));
        call_with(club.server.http, "POST", &path, &club.people[0].token, &head, body).await
    };
    let (first, again) = (make("k", json!({"maxUses": 2})).await, make("k", json!({"maxUses": 2})).await);
    assert_eq!((first.0, &first.1), (201, &again.1));
    assert_eq!(reason(make("k", json!({"maxUses": 3})).await), (409, "KEY_REUSED".into()));
    let other = make("l", json!({"maxUses": 2})).await;
    assert_ne!(other.1["code"], first.1["code"]);
    let (_, list) = club.ask(0, "GET", "{g}/invites", Value::Null).await;
    assert_eq!(list["invites"].as_array().unwrap().len(), 2);
    assert_eq!(make(&"k".repeat(256), json!({})).await.0, 400);
}
