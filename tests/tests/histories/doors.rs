//! The doors, and what they answer about a conversation.

pub use madang_tests::PATIENCE;
use madang_tests::client::{Person, call_once};
use serde_json::Value;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

/// Where the doors are.
pub struct Doors {
    pub api: SocketAddr,
    pub gateways: Vec<SocketAddr>,
    /// How many a group takes.
    pub most: usize,
    /// Whether pictures are kept.
    pub pictures: bool,
}

impl Doors {
    /// Asks, again while that is to be tried again.
    pub async fn ask(&self, person: &Person, method: &str, path: &str, body: Value) -> (u16, Value) {
        let (status, answer, _) = self.insist(person, method, path, body).await;
        (status, answer)
    }

    /// The same; also how often it was asked.
    pub async fn insist(&self, person: &Person, method: &str, path: &str, body: Value) -> (u16, Value, u32) {
        let end = tokio::time::Instant::now() + PATIENCE;
        let mut times = 1;
        // What is made is made once.
        let key = format!("idempotency-key: {}\r\n", uuid::Uuid::new_v4());
        let head = if method == "POST" { key } else { String::new() };
        loop {
            let said = call_once(self.api, method, path, &person.token, &head, body.clone()).await;
            let late = tokio::time::Instant::now() > end;
            if let Some((status, answer)) = said.filter(|(_, answer)| answer["retryable"] != true || late) {
                return (status, answer, times);
            }
            assert!(!late, "no answer: {method} {path}");
            times += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What there is.
    pub async fn get(&self, person: &Person, path: &str) -> Value {
        let (status, answer) = self.ask(person, "GET", path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// What there is, if one may see it.
    pub async fn find(&self, person: &Person, path: &str) -> Option<Value> {
        let (status, answer) = self.ask(person, "GET", path, Value::Null).await;
        assert!(matches!(status, 200 | 404), "{path}: {status} {answer}");
        (status == 200).then_some(answer)
    }
}

pub fn number(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no number: {value}"))
}

pub fn word(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

pub fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

pub fn map(value: &Value) -> BTreeMap<String, String> {
    value.as_object().unwrap().iter().map(|(key, value)| (key.clone(), word(value))).collect()
}

/// A conversation, as it is held or answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Held {
    pub revision: u64,
    pub name: String,
    pub data: BTreeMap<String, String>,
    pub roles: BTreeMap<String, String>,
    pub marks: BTreeMap<String, u64>,
    pub last_seq: u64,
    pub settings: Value,
}

/// What the server answers about a conversation, all of it as of one revision; none: one is not in it.
pub async fn fetch(doors: &Doors, person: &Person, id: &str, at_least: u64) -> Option<Held> {
    loop {
        let path = format!("/v1/conversations/{id}");
        let one = doors.find(person, &format!("{path}?atLeast={at_least}")).await?;
        let Some(members) = doors.find(person, &format!("{path}/members")).await else { continue };
        if one["revision"] != members["revision"] {
            continue;
        }
        let of = |each: &Value| word(&each["profile"]["user"]);
        let all = list(&members["members"]);
        return Some(Held {
            revision: number(&one["revision"]),
            name: word(&one["name"]),
            data: map(&one["data"]),
            roles: all.iter().map(|each| (of(each), word(&each["role"]))).collect(),
            marks: all.iter().map(|each| (of(each), number(&each["readSeq"]))).collect(),
            last_seq: number(&one["lastSeq"]),
            settings: one["settings"].clone(),
        });
    }
}

/// A message, as it is held or answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    pub seq: u64,
    pub revision: u64,
    pub at: u64,
    pub sender: String,
    pub client_id: String,
    pub text: String,
    pub edited_at: u64,
    pub deleted: bool,
    /// How many have put an emoji, and whether one is among them.
    pub reactions: BTreeMap<String, (u64, bool)>,
}

impl Shown {
    pub fn of(message: &Value) -> Self {
        let reaction = |each: &Value| (word(&each["emoji"]), (each["count"].as_u64().unwrap(), each["mine"] == true));
        Self {
            seq: number(&message["seq"]),
            revision: number(&message["revision"]),
            at: number(&message["at"]),
            sender: word(&message["sender"]),
            client_id: word(&message["clientId"]),
            text: word(&message["text"]),
            edited_at: number(&message["editedAt"]),
            deleted: message["deleted"] == true,
            reactions: list(&message["reactions"]).iter().map(reaction).collect(),
        }
    }

    /// An event that is about it happens to it, if it does not know of it yet.
    pub fn heed(&mut self, event: &Value, me: &str) {
        let revision = number(&event["revision"]);
        if revision <= self.revision {
            return;
        }
        self.revision = revision;
        if event["edited"].is_object() {
            (self.text, self.edited_at) = (word(&event["edited"]["text"]), number(&event["at"]));
        } else if event["deleted"].is_object() {
            *self =
                Self { text: String::new(), deleted: true, edited_at: 0, reactions: BTreeMap::new(), ..self.clone() };
        } else {
            let reacted = &event["reacted"];
            let entry = self.reactions.entry(word(&reacted["emoji"])).or_default();
            let mine = if reacted["user"] == me { reacted["removed"] != true } else { entry.1 };
            *entry = (reacted["count"].as_u64().unwrap(), mine);
            self.reactions.retain(|_, (count, _)| *count > 0);
        }
    }
}

/// Which message an event changes; none: it changes none, or one that one may not see.
pub fn changed(event: &Value) -> Option<u64> {
    let body = ["edited", "deleted", "reacted"].into_iter().find(|kind| event[kind].is_object())?;
    Some(number(&event[body]["seq"]))
}
