//! What HTTP and JSON ask of the door for client apps: nulls, merge patches, heads, numbers, and that a refusal names what is
//! wrong.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_mesh::{channel::Channels, status::from_status};
use madang_proto::{
    account::v1::{GetUsersRequest, account_service_client::AccountServiceClient},
    id::ClientId,
};
use madang_solo::{serve::Running, token::Tokens};
use madang_tests::{
    client::{Person, call, sign_up},
    start,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

struct Door {
    server: Running,
    ann: Person,
    group: String,
    folder: tempfile::TempDir,
}

impl Door {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = start(folder.path()).await;
        let ann = sign_up(&server, "ann").await;
        let (status, group) = call(&server, "POST", "/v1/groups", &ann.token, json!({"name": "마당"})).await;
        assert_eq!(status, 201, "{group}");
        let group = group["conversation"].as_str().unwrap().to_owned();
        Self { server, ann, group, folder }
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        call(&self.server, method, &path.replace("{g}", &self.group), &self.ann.token, body).await
    }

    /// What a request of these lines is answered: its head, in lower case, and its body.
    async fn say(&self, lines: &str) -> (String, Value) {
        self.send(&format!("{lines}host: test\r\nconnection: close\r\n\r\n")).await
    }

    async fn send(&self, request: &str) -> (String, Value) {
        let mut stream = TcpStream::connect(self.server.http).await.unwrap();
        // Who is refused early is not listened to until the end.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_lowercase(), serde_json::from_str(body).unwrap_or_default())
    }
}

/// The status, and the field that is named.
fn field((status, answer): (u16, Value)) -> (u16, String) {
    (status, answer["field"].as_str().unwrap_or_default().to_owned())
}

fn wrong(field: &str) -> (u16, String) {
    (400, field.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn null_in_a_body_is_as_if_left_out() {
    let door = Door::open().await;
    let id = || ClientId::now().to_string();
    let device = json!({"id": uuid::Uuid::new_v4(), "kind": "DEVICE_KIND_WEB"});
    let new = json!({"handle": "cho", "password": "correct horse", "name": null, "device": device});
    assert_eq!(door.ask("POST", "/v1/accounts", new).await.0, 201);
    let said = json!({
        "conversation": door.group, "clientId": id(), "text": "안녕", "user": null, "replyTo": null, "mentions": null,
        "attachments": null, "type": null, "data": null,
    });
    assert_eq!(door.ask("POST", "/v1/messages", said).await.0, 200);
    let group = json!({"name": "x", "members": null, "history": null, "data": null});
    let (status, group) = door.ask("POST", "/v1/groups", group).await;
    assert_eq!((status, &group["history"]), (201, &json!("HISTORY_SINCE_JOINED")));
    let (status, invite) =
        door.ask("POST", "/v1/groups/{g}/invites", json!({"expiresAt": null, "maxUses": null})).await;
    assert_eq!((status, &invite["maxUses"]), (201, &json!(0)));
    let hook = json!({"url": "https://hooks.example/1", "secret": "0123456789abcdef"});
    let push = json!({"webhook": hook, "fcm": null, "webPush": null, "apns": null, "locale": null, "preview": null});
    let (status, answer) = door.ask("PUT", &format!("/v1/devices/{}/push", door.ann.device), push).await;
    assert!(status == 204 || answer["reason"] == "NOT_CONFIGURED", "{status} {answer}");

    // What must be there is missing.
    let none = json!({"conversation": door.group, "clientId": null, "text": "x"});
    assert_eq!(field(door.ask("POST", "/v1/messages", none).await), wrong("clientId"));
    assert_eq!(field(door.ask("POST", "/v1/groups", json!({"name": null})).await), wrong("name"));
    for body in [json!({"seq": null}), json!({})] {
        assert_eq!(field(door.ask("PUT", "/v1/conversations/{g}/read", body).await), wrong("seq"));
    }
    let ones = [json!(1), json!("1"), json!(1.0)];
    for seq in &ones {
        assert_eq!(door.ask("PUT", "/v1/conversations/{g}/read", json!({"seq": seq})).await.0, 200);
        let said = json!({"conversation": door.group, "clientId": id(), "text": "네", "replyTo": seq});
        assert_eq!(door.ask("POST", "/v1/messages", said).await.0, 200);
    }
    for seq in ones {
        let settings = json!({"clearedSeq": seq});
        assert_eq!(door.ask("PATCH", "/v1/conversations/{g}/settings", settings).await.0, 200);
    }
    let end = json!({"password": "correct horse", "eraseMessages": null});
    assert_eq!(door.ask("POST", "/v1/me/deletion", end).await.0, 204);
    door.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn null_in_a_patch_clears() {
    let door = Door::open().await;
    let (status, me) = door.ask("PATCH", "/v1/me", json!({"statusMessage": "away"})).await;
    assert_eq!((status, &me["statusMessage"]), (200, &json!("away")));
    assert_eq!(door.ask("PATCH", "/v1/me", json!({"name": "Ann"})).await.1["statusMessage"], "away");
    let (status, me) = door.ask("PATCH", "/v1/me", json!({"statusMessage": null})).await;
    assert_eq!((status, &me["statusMessage"]), (200, &json!("")));
    // A handle and a name there must be.
    for name in ["handle", "name"] {
        assert_eq!(field(door.ask("PATCH", "/v1/me", json!({name: null})).await), wrong(name));
    }
    assert_eq!(field(door.ask("PATCH", "/v1/groups/{g}", json!({"name": null})).await), wrong("name"));
    door.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_the_field() {
    let door = Door::open().await;
    let nobody = json!(["bob"]);
    for (method, path, body, expected) in [
        ("POST", "/v1/accounts", json!({"password": "correct horse", "device": {}}), "handle"),
        (
            "POST",
            "/v1/accounts",
            json!({"handle": "x", "password": "correct horse", "device": {"kind": []}}),
            "device.kind",
        ),
        ("POST", "/v1/messages", json!({"text": 5}), "text"),
        ("POST", "/v1/messages", json!({"mentions": [{"user": "x"}, {"offset": "a"}]}), "mentions[1].offset"),
        ("POST", "/v1/groups", json!({"name": "x", "data": {"a": 1}}), "data.a"),
        ("POST", "/v1/groups", json!({"name": "x", "members": nobody}), "members"),
        ("POST", "/v1/groups/{g}/members", json!({"users": nobody}), "users"),
        ("POST", "/v1/groups/{g}/members", json!({}), "users"),
        ("POST", "/v1/groups/{g}/invites", json!({"maxUses": "x"}), "maxUses"),
        ("POST", "/v1/changes", json!({"since": [{"conversation": "x"}]}), "since[0].revision"),
        ("PUT", "/v1/me/password", json!({"old": "correct horse", "new": "short"}), "new"),
        ("PUT", "/v1/me/password", json!({"new": "correct horse"}), "old"),
        ("GET", "/v1/conversations/{g}/messages?limit=x", Value::Null, "limit"),
        ("GET", "/v1/conversations/{g}/messages?atLeast=-1", Value::Null, "atLeast"),
        ("GET", "/v1/conversations/{g}/messages?limit=1&limit=2", Value::Null, "limit"),
        ("GET", "/v1/conversations?limit=", Value::Null, "limit"),
        ("GET", "/v1/conversations/{g}/changes", Value::Null, "since"),
    ] {
        let answer = door.ask(method, path, body).await;
        assert_eq!(field(answer.clone()), wrong(expected), "{method} {path}: {answer:?}");
    }
    door.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_in_the_query() {
    let door = Door::open().await;
    let say = |text: &str| json!({"conversation": door.group, "clientId": ClientId::now().to_string(), "text": text});
    for text in ["a", "b"] {
        assert_eq!(door.ask("POST", "/v1/messages", say(text)).await.0, 200);
    }
    // Over 200 counts as 200, however much it is.
    for limit in ["201", "4294967296", "99999999999999999999999999"] {
        for path in ["/v1/conversations?", "/v1/blocks?", "/v1/conversations/{g}/messages?atLeast=3&"] {
            let (status, page) = door.ask("GET", &format!("{path}limit={limit}"), Value::Null).await;
            assert_eq!(status, 200, "{path}{limit}: {page}");
        }
    }
    let messages = async |query: &str| {
        let (status, page) = door.ask("GET", &format!("/v1/conversations/{{g}}/messages?{query}"), Value::Null).await;
        (status, page["messages"].as_array().map_or(0, Vec::len), page["field"].as_str().unwrap_or_default().to_owned())
    };
    for bound in ["before", "around"] {
        assert_eq!(messages(&format!("{bound}=0")).await, (400, 0, bound.into()), "there is no such message");
    }
    assert_eq!(messages("before=2").await, (200, 1, String::new()));
    assert_eq!(messages("after=0").await, (200, 2, String::new()), "from the first one on");
    door.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_text_in_a_path_is_told_as_a_problem() {
    let door = Door::open().await;
    for path in ["/v1/users/%ff", "/v1/conversations/%ff/messages", "/v1/invites/%ff", "/v1/pictures/%ff"] {
        let (head, answer) =
            door.say(&format!("GET {path} HTTP/1.1\r\nauthorization: Bearer {}\r\n", door.ann.token)).await;
        assert!(head.starts_with("http/1.1 400") && head.contains("application/problem+json"), "{path}: {head}");
        assert_eq!((&answer["code"], &answer["field"] == ""), (&json!("INVALID_ARGUMENT"), false), "{path}: {answer}");
    }
    door.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_users_id_is_told_so() {
    let door = Door::open().await;
    let (id, strange) = (door.ann.id.as_str(), door.ann.id.to_uppercase());
    for path in ["/v1/users/ann".into(), format!("/v1/users/{strange}"), format!("/v1/users?ids={id},ann")] {
        let (status, answer) = call(&door.server, "GET", &path, &door.ann.token, Value::Null).await;
        assert_eq!((status, &answer["reason"]), (400, &json!("INVALID_FIELD")), "{path}: {answer}");
        assert_eq!(answer["field"], if path.contains("ids=") { "ids" } else { "user" }, "{answer}");
    }
    let nobody = uuid::Uuid::new_v4();
    let (status, _) = call(&door.server, "GET", &format!("/v1/users/{nobody}"), &door.ann.token, Value::Null).await;
    assert_eq!(status, 404);
    let path = format!("/v1/users?ids={id},{nobody},{id},");
    let (status, found) = call(&door.server, "GET", &path, &door.ann.token, Value::Null).await;
    assert_eq!((status, found["users"].as_array().map(Vec::len)), (200, Some(1)), "{found}");
    door.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheme_is_the_same_in_capitals() {
    let door = Door::open().await;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let (head, _) =
            door.say(&format!("GET /v1/me HTTP/1.1\r\nauthorization: {scheme} {}\r\n", door.ann.token)).await;
        assert!(head.starts_with("http/1.1 200"), "{scheme}: {head}");
    }
    for line in
        [String::new(), "authorization: Bearer x\r\n".into(), format!("authorization: Basic {}\r\n", door.ann.token)]
    {
        let (head, answer) = door.say(&format!("GET /v1/me HTTP/1.1\r\n{line}")).await;
        assert!(head.starts_with("http/1.1 401") && head.contains("\r\nwww-authenticate: bearer"), "{head}");
        assert_eq!(answer["reason"], "BAD_TOKEN");
    }
    // At the door for services as well.
    let token = Tokens::open(door.folder.path()).unwrap().make("test");
    let channel = Channels::new().get(&format!("http://{}", door.server.grpc)).unwrap();
    for (scheme, good) in [("bearer", true), ("BEARER", true), ("Basic", false)] {
        let mut request = tonic::Request::new(GetUsersRequest::default());
        request.metadata_mut().insert("authorization", format!("{scheme} {token}").parse().unwrap());
        let answer = AccountServiceClient::new(channel.clone()).get_users(request).await;
        let answer = answer.map_err(|status| from_status(&status));
        assert_eq!(answer.is_ok(), good, "{scheme}: {answer:?}");
    }
    door.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_text_fits_however_it_is_escaped_and_a_larger_body_ends_the_connection() {
    let door = Door::open().await;
    let text = "\u{1}".repeat(65_536);
    let said = json!({"conversation": door.group, "clientId": ClientId::now().to_string(), "text": text});
    assert!(said.to_string().len() > 6 * 65_536);
    let (status, ack) = door.ask("POST", "/v1/messages", said).await;
    assert_eq!(status, 200, "{ack}");
    let (_, page) = door.ask("GET", "/v1/conversations/{g}/messages?atLeast=2", Value::Null).await;
    assert_eq!(page["messages"][0]["text"], text);

    for (method, path, size) in [("POST", "/v1/messages", (512 << 10) + 1), ("PUT", "/v1/me/picture", (5 << 20) + 1)] {
        for key in ["", "idempotency-key: k\r\n"] {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n{key}content-length: {}\r\n\r\n{}",
                door.ann.token,
                size + 100_000,
                " ".repeat(size)
            );
            let (head, answer) = door.send(&request).await;
            assert!(head.starts_with("http/1.1 400") && head.contains("\r\nconnection: close"), "{path}: {head}");
            assert_eq!(answer["reason"], "TOO_LARGE", "{path}");
        }
    }
    door.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_may_send_the_trace_that_they_are_of() {
    let door = Door::open().await;
    let asked =
        "OPTIONS /v1/messages HTTP/1.1\r\norigin: https://app.example\r\naccess-control-request-method: POST\r\n";
    let (head, _) = door.say(&format!("{asked}access-control-request-headers: traceparent\r\n")).await;
    let allowed = head.lines().find_map(|line| line.strip_prefix("access-control-allow-headers: ")).unwrap();
    for name in ["authorization", "content-type", "idempotency-key", "traceparent"] {
        assert!(allowed.split(',').any(|each| each.trim() == name), "{name}: {allowed}");
    }
    door.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_says_what_may_be_left_out_and_what_may_be_over() {
    let door = Door::open().await;
    let (_, document) = door.ask("GET", "/v1/openapi.json", Value::Null).await;
    for path in ["/v1/invites/{code}", "/v1/groups/{c}/invites"] {
        assert!(document["paths"][path]["get"]["responses"]["409"].is_object(), "{path}");
    }
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["Deletion"]["required"], json!([]));
    for (object, name) in [
        ("Send", "replyTo"),
        ("Send", "text"),
        ("SignUp", "name"),
        ("NewGroup", "members"),
        ("NewInvite", "expiresAt"),
        ("PushSubscription", "fcm"),
        ("Deletion", "password"),
        ("Profile", "statusMessage"),
    ] {
        let any = &schemas[object]["properties"][name]["anyOf"];
        assert_eq!(any[1]["type"], "null", "{object}.{name}: {any}");
    }
    assert!(schemas["Message"]["properties"]["text"]["anyOf"].is_null(), "the server never gives null");
    door.server.stop().await;
}
