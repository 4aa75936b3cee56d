//! A device as docs/protocol.md wants it: it keeps what it was sent, and asks for the rest where it is told to.

pub use madang_tests::PATIENCE;
use madang_tests::{
    client::{Person, Socket, call_once},
    until,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

/// What a socket is closed with that answered no ping.
const HEARTBEAT: u16 = 4003;

/// Where the doors are.
pub struct Doors {
    pub api: SocketAddr,
    pub gateways: Vec<SocketAddr>,
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
}

pub fn number(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no number: {value}"))
}

pub fn word(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
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

pub fn map(value: &Value) -> BTreeMap<String, String> {
    value.as_object().unwrap().iter().map(|(key, value)| (key.clone(), word(value))).collect()
}

/// What the server answers about a conversation, all of it as of one revision; none: one is not in it.
pub async fn fetch(doors: &Doors, person: &Person, id: &str, at_least: u64) -> Option<Held> {
    loop {
        let path = format!("/v1/conversations/{id}");
        let (status, one) = doors.ask(person, "GET", &format!("{path}?atLeast={at_least}"), Value::Null).await;
        if status == 404 {
            return None;
        }
        assert_eq!(status, 200, "{one}");
        let (status, members) = doors.ask(person, "GET", &format!("{path}/members"), Value::Null).await;
        if status == 404 || one["revision"] != members["revision"] {
            continue;
        }
        let of = |each: &Value| word(&each["profile"]["user"]);
        let all = members["members"].as_array().unwrap();
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

/// A device of somebody.
pub struct Device {
    person: Person,
    socket: Option<Socket>,
    /// At which it was last.
    gateway: usize,
    cursor: String,
    /// `sync` of its last list; empty: it has none.
    sync: String,
    pub held: BTreeMap<String, Held>,
    /// Of what was sent, what it holds: by conversation and seq.
    pub texts: BTreeMap<(String, u64), String>,
    live: bool,
}

impl Device {
    /// One that has never been connected.
    pub fn new(person: &Person) -> Self {
        let device = uuid::Uuid::new_v4().to_string();
        let person = Person { id: person.id.clone(), token: person.token.clone(), device };
        Self {
            person,
            socket: None,
            gateway: 0,
            cursor: String::new(),
            sync: String::new(),
            held: BTreeMap::new(),
            texts: BTreeMap::new(),
            live: false,
        }
    }

    /// Cut off, between any two frames.
    pub fn cut(&mut self) {
        self.socket = None;
    }

    /// It forgets where it was; what it holds stays.
    pub fn forget(&mut self) {
        self.cursor = String::new();
    }

    /// It loses all it had.
    pub fn wipe(&mut self) {
        *self = Self::new(&self.person);
    }

    pub async fn connect(&mut self, doors: &Doors, gateway: usize) {
        if self.socket.is_some() {
            return;
        }
        let door = doors.gateways[gateway % doors.gateways.len()];
        let (person, cursor) = (&self.person, &self.cursor);
        let (socket, ready) = until("a socket is ready", async || Socket::attempt(door, person, cursor).await).await;
        (self.live, self.gateway) = (false, gateway);
        let resumed = ready["resume"] == "RESUME_RESUMED";
        self.socket = Some(socket);
        if !resumed {
            self.cursor = String::new();
            self.catch_up(doors).await;
        }
    }

    /// The list, or what has changed of it since the last one, and what each of it is now.
    async fn catch_up(&mut self, doors: &Doors) {
        let mut page = if self.sync.is_empty() { String::new() } else { format!("&since={}", self.sync) };
        loop {
            let path = format!("/v1/conversations?limit=2{page}");
            let list = doors.get(&self.person, &path).await;
            for id in list["removed"].as_array().unwrap() {
                self.held.remove(&word(id));
            }
            for each in list["conversations"].as_array().unwrap() {
                self.take(doors, &word(&each["conversation"]), number(&each["revision"])).await;
            }
            self.sync = word(&list["sync"]);
            let next = word(&list["nextPageToken"]);
            if next.is_empty() {
                return;
            }
            page = format!("&pageToken={next}");
        }
    }

    /// What a conversation is now, with what was said in it; kept if it is newer than what is held.
    async fn take(&mut self, doors: &Doors, id: &str, at_least: u64) {
        let Some(held) = fetch(doors, &self.person, id, at_least).await else {
            self.held.remove(id);
            return;
        };
        let since = self.held.get(id).map_or(0, |held| held.revision);
        let mut from = since;
        loop {
            let path = format!("/v1/conversations/{id}/changes?since={from}&limit=3");
            let (status, changes) = doors.ask(&self.person, "GET", &path, Value::Null).await;
            if status == 404 {
                self.held.remove(id);
                return;
            }
            assert_eq!(status, 200, "{changes}");
            for message in changes["messages"].as_array().unwrap() {
                self.texts.insert((id.to_owned(), number(&message["seq"])), word(&message["text"]));
            }
            from = number(&changes["revision"]);
            if changes["more"] != true {
                break;
            }
        }
        match self.held.get_mut(id) {
            // What was told is newer than the answer.
            Some(old) if old.revision > held.revision => {}
            Some(old) if number(&old.settings["updatedAt"]) > number(&held.settings["updatedAt"]) => {
                let mut settings = old.settings.clone();
                settings["hidden"] = json!(settings["hidden"] == true && old.last_seq == held.last_seq);
                *old = Held { settings, ..held };
            }
            _ => drop(self.held.insert(id.to_owned(), held)),
        }
    }

    /// Heeds frames until the conversations are held as of these revisions, and everything that was sent before that.
    pub async fn listen_until(&mut self, doors: &Doors, wanted: &BTreeMap<String, (u64, Value)>) {
        let reached = |held: &BTreeMap<String, Held>| {
            let ids: BTreeSet<_> = held.keys().collect();
            ids == wanted.keys().collect()
                && wanted.iter().all(|(id, (revision, settings))| {
                    held.get(id).is_some_and(|held| held.revision >= *revision && held.settings == *settings)
                })
        };
        let end = tokio::time::Instant::now() + PATIENCE;
        while !(self.live && reached(&self.held)) {
            let frame = tokio::time::timeout_at(end, self.socket.as_mut().unwrap().next_or_end()).await;
            let frame =
                frame.unwrap_or_else(|_| panic!("{} holds {:#?}, wanted {wanted:#?}", self.person.device, self.held));
            self.hear(doors, frame).await;
        }
    }

    /// Heeds so many frames, if they come.
    pub async fn listen(&mut self, doors: &Doors, frames: usize) {
        for _ in 0..frames {
            let Some(socket) = &mut self.socket else { return };
            let next = tokio::time::timeout(Duration::from_millis(2), socket.next_or_end()).await;
            let Ok(frame) = next else { return };
            self.hear(doors, frame).await;
        }
    }

    /// Heeds a frame; none: the socket broke.
    async fn hear(&mut self, doors: &Doors, frame: Option<Value>) {
        let Some(frame) = frame.filter(|frame| frame["close"] != HEARTBEAT) else {
            // Pings are answered only while it listens: on a busy machine that may be too late.
            self.socket = None;
            return self.connect(doors, self.gateway).await;
        };
        assert!(frame["close"].is_null(), "{frame}");
        if frame["live"].is_object() {
            self.live = true;
            self.cursor = word(&frame["live"]["cursor"]);
        } else if frame["resync"].is_object() {
            self.catch_up(doors).await;
            self.cursor = word(&frame["resync"]["cursor"]);
        } else if frame["event"].is_object() {
            let event = frame["event"].clone();
            self.heed(doors, &event).await;
            self.cursor = word(&event["cursor"]);
        }
    }

    async fn heed(&mut self, doors: &Doors, event: &Value) {
        let (id, revision) = (word(&event["conversation"]), number(&event["revision"]));
        if revision == 0 {
            if let Some(held) = self.held.get_mut(&id)
                && number(&event["settings"]["updatedAt"]) > number(&held.settings["updatedAt"])
            {
                held.settings = event["settings"].clone();
                held.settings["hidden"] =
                    json!(event["settings"]["hidden"] == true && number(&event["lastSeq"]) >= held.last_seq);
            }
            return;
        }
        let Some(held) = self.held.get_mut(&id) else {
            let joined = event["joined"]["members"].as_array();
            if joined.is_some_and(|members| members.iter().any(|each| each["user"] == self.person.id.as_str())) {
                self.take(doors, &id, revision).await;
            }
            return;
        };
        if revision <= held.revision {
            return;
        }
        assert_eq!(revision, held.revision + 1, "a jump in {id} at {}", self.person.device);
        apply(held, event, &self.person.id);
        if event["message"].is_object() {
            let message = &event["message"];
            self.texts.insert((id.clone(), number(&message["seq"])), word(&message["text"]));
        }
        if !held.roles.contains_key(&self.person.id) {
            self.held.remove(&id);
        }
    }
}

/// What an event does to what is held.
fn apply(held: &mut Held, event: &Value, me: &str) {
    held.revision = number(&event["revision"]);
    held.last_seq = number(&event["lastSeq"]);
    let mut raise = |user: String, seq: u64| {
        let mark = held.marks.entry(user).or_default();
        *mark = seq.max(*mark);
    };
    if event["message"].is_object() {
        raise(word(&event["message"]["sender"]), held.last_seq);
        held.settings["hidden"] = json!(false);
    } else if let Some(members) = event["joined"]["members"].as_array() {
        for each in members {
            raise(word(&each["user"]), held.last_seq);
            held.roles.insert(word(&each["user"]), word(&each["role"]));
        }
    } else if let Some(users) = event["left"]["users"].as_array() {
        for user in users.iter().map(word) {
            held.roles.remove(&user);
            if user != me {
                held.marks.remove(&user);
            }
        }
    } else if event["role"].is_object() {
        held.roles.insert(word(&event["role"]["user"]), word(&event["role"]["role"]));
    } else if event["changed"].is_object() {
        held.name = word(&event["changed"]["name"]);
        held.data = map(&event["changed"]["data"]);
    } else if let Some(marks) = event["read"]["marks"].as_array() {
        for mark in marks {
            raise(word(&mark["user"]), number(&mark["seq"]));
        }
    } else {
        panic!("an event of no known kind: {event}");
    }
}
