//! A device as docs/protocol.md wants it: it keeps what it was sent, asks for the rest where it is told to, and sends again
//! what is not answered.

use super::{
    check::Wanted,
    doors::{Doors, Held, PATIENCE, Shown, changed, fetch, list, map, number, word},
};
use futures_util::SinkExt;
use madang_tests::{
    client::{Person, Socket},
    until,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
    time::Duration,
};
use tokio_tungstenite::tungstenite::Message;

/// What a socket is closed with that answered no ping.
const HEARTBEAT: u16 = 4003;

/// What was asked for over a socket.
#[derive(Debug, Clone)]
pub struct Sent {
    pub frame: Value,
    /// Where it is in the record.
    pub place: usize,
    /// How often it was sent.
    pub times: u32,
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
    /// Of what was said, what it holds: by conversation and seq.
    pub messages: BTreeMap<(String, u64), Shown>,
    pub blocks: BTreeSet<String>,
    /// Its user's own profile.
    pub me: Value,
    live: bool,
    asked: u64,
    /// What is not answered yet, by the number of its frame.
    waiting: BTreeMap<u64, Sent>,
    /// What was not answered before a socket went.
    lost: Vec<Sent>,
    /// What was answered, and what.
    pub answers: Vec<(Sent, Value)>,
    /// Messages that it was told of, and did not hold: only what its user has cleared.
    pub unheld: Vec<(String, u64)>,
    /// Events, as they came.
    pub events: Vec<Value>,
    /// The place in the record of the first watch over this socket.
    watch: Option<usize>,
    /// Who it was told is writing, or there; this with the place of its watch.
    pub told: Vec<(Option<usize>, Value)>,
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
            messages: BTreeMap::new(),
            blocks: BTreeSet::new(),
            me: Value::Null,
            live: false,
            asked: 1,
            waiting: BTreeMap::new(),
            lost: Vec::new(),
            answers: Vec::new(),
            unheld: Vec::new(),
            events: Vec::new(),
            watch: None,
            told: Vec::new(),
        }
    }

    /// Whose it is.
    pub fn user(&self) -> &str {
        &self.person.id
    }

    pub fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    /// Cut off, between any two frames.
    pub fn cut(&mut self) {
        (self.socket, self.watch) = (None, None);
        self.lost.extend(take(&mut self.waiting).into_values());
    }

    /// It forgets where it was; what it holds stays.
    pub fn forget(&mut self) {
        self.cursor = String::new();
    }

    /// It loses all it had, also what it was to ask for again.
    pub fn wipe(&mut self) {
        let (answers, events, told) = (take(&mut self.answers), take(&mut self.events), take(&mut self.told));
        *self = Self { answers, events, told, ..Self::new(&self.person) };
    }

    /// It never asks again for what is not answered, but for what is kept.
    pub fn give_up(&mut self, mut keep: impl FnMut() -> bool) {
        self.lost.retain(|_| keep());
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

    /// Asks for something, and does not wait for an answer.
    pub async fn ask(&mut self, sent: Sent) {
        self.asked += 1;
        let (mut frame, id) = (sent.frame.clone(), self.asked);
        frame["id"] = json!(id);
        if frame["watch"].is_object() {
            self.watch.get_or_insert(sent.place);
        }
        self.waiting.insert(id, Sent { times: sent.times + 1, ..sent });
        let Some(socket) = &mut self.socket else { return self.cut() };
        if socket.stream.send(Message::Text(frame.to_string().into())).await.is_err() {
            self.cut();
        }
    }

    /// Says something that is not answered.
    pub async fn say(&mut self, frame: Value) {
        let Some(socket) = &mut self.socket else { return };
        if socket.stream.send(Message::Text(frame.to_string().into())).await.is_err() {
            self.cut();
        }
    }

    /// Asks again for all that was not answered.
    pub async fn ask_again(&mut self) {
        for sent in take(&mut self.lost) {
            self.ask(sent).await;
        }
    }

    /// Heeds frames until all it has asked for is answered.
    pub async fn settle(&mut self, doors: &Doors) {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            self.ask_again().await;
            if self.waiting.is_empty() && self.lost.is_empty() {
                return;
            }
            if self.socket.is_none() {
                self.connect(doors, self.gateway).await;
                continue;
            }
            self.hear_until(doors, end, "all that was asked is answered").await;
        }
    }

    /// The list, or what has changed of it since the last one, and what each of it is now.
    async fn catch_up(&mut self, doors: &Doors) {
        self.look_at_account(doors).await;
        let mut page = if self.sync.is_empty() { String::new() } else { format!("&since={}", self.sync) };
        loop {
            let path = format!("/v1/conversations?limit=2{page}");
            let answer = doors.get(&self.person, &path).await;
            for id in list(&answer["removed"]) {
                self.leave(&word(id));
            }
            for each in list(&answer["conversations"]) {
                self.take(doors, &word(&each["conversation"]), number(&each["revision"])).await;
            }
            self.sync = word(&answer["sync"]);
            let next = word(&answer["nextPageToken"]);
            if next.is_empty() {
                return;
            }
            page = format!("&pageToken={next}");
        }
    }

    async fn look_at_account(&mut self, doors: &Doors) {
        self.me = doors.get(&self.person, "/v1/me").await;
        let blocks = doors.get(&self.person, "/v1/blocks").await;
        self.blocks = list(&blocks["users"]).iter().map(|user| word(&user["user"])).collect();
    }

    fn leave(&mut self, id: &str) {
        self.held.remove(id);
        self.messages.retain(|(of, _), _| of != id);
    }

    /// What a conversation is now, with what was said in it; kept if it is newer than what is held.
    async fn take(&mut self, doors: &Doors, id: &str, at_least: u64) {
        let Some(held) = fetch(doors, &self.person, id, at_least).await else { return self.leave(id) };
        let mut from = self.held.get(id).map_or(0, |held| held.revision);
        loop {
            let path = format!("/v1/conversations/{id}/changes?since={from}&limit=3");
            let Some(changes) = doors.find(&self.person, &path).await else { return self.leave(id) };
            for message in list(&changes["messages"]).iter().map(Shown::of) {
                self.keep(id, message);
            }
            from = number(&changes["revision"]);
            if changes["more"] != true && from >= held.revision {
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

    /// A message, if none is held that is newer.
    fn keep(&mut self, id: &str, message: Shown) {
        let place = (id.to_owned(), message.seq);
        if self.messages.get(&place).is_none_or(|held| held.revision < message.revision) {
            self.messages.insert(place, message);
        }
    }

    /// Heeds frames until the conversations are held as of what is seen of them, one's profile and whom one blocks are known,
    /// and everything has come that was sent before that.
    pub async fn listen_until(&mut self, doors: &Doors, wanted: &Wanted) {
        let Wanted { seen, blocks, me } = wanted;
        let reached = |held: &BTreeMap<String, Held>| {
            let same = |(id, held): (&String, &Held)| {
                let there = seen.get(id).map(|(there, _)| there);
                there.is_some_and(|there| held.revision >= there.revision && held.settings == there.settings)
            };
            held.len() == seen.len() && held.iter().all(same)
        };
        let end = tokio::time::Instant::now() + PATIENCE;
        let what = format!("{} holds {seen:#?}, is {me} and blocks {blocks:?}", self.person.device);
        while !(self.live && reached(&self.held) && self.blocks == *blocks && self.me == *me) {
            self.hear_until(doors, end, &what).await;
        }
    }

    /// Heeds a frame, which comes before that.
    pub async fn hear_until(&mut self, doors: &Doors, end: tokio::time::Instant, what: &str) {
        let Some(socket) = &mut self.socket else { return self.connect(doors, self.gateway).await };
        let Ok(frame) = tokio::time::timeout_at(end, socket.next_or_end()).await else {
            panic!(
                "not in time: {what}; it holds {:#?}, is {}, blocks {:?}, waits for {:?}",
                self.held, self.me, self.blocks, self.waiting
            )
        };
        self.hear(doors, frame).await;
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
            self.cut();
            self.connect(doors, self.gateway).await;
            return self.ask_again().await;
        };
        assert!(frame["close"].is_null(), "{frame}");
        if let Some(sent) = frame["id"].as_u64().and_then(|id| self.waiting.remove(&id)) {
            self.answered(sent, frame).await;
        } else if frame["interrupted"].is_object() {
            self.lost.extend(take(&mut self.waiting).into_values());
            self.ask_again().await;
        } else if frame["live"].is_object() {
            self.live = true;
            self.cursor = word(&frame["live"]["cursor"]);
        } else if frame["resync"].is_object() {
            self.catch_up(doors).await;
            self.cursor = word(&frame["resync"]["cursor"]);
        } else if frame["event"].is_object() {
            let event = frame["event"].clone();
            self.heed(doors, &event).await;
            self.cursor = word(&event["cursor"]);
            self.events.push(event);
        } else if frame["typing"].is_object() || frame["presence"].is_object() {
            self.told.push((self.watch, frame));
        }
    }

    async fn answered(&mut self, sent: Sent, answer: Value) {
        if answer["error"]["retryable"] == true {
            tokio::time::sleep(Duration::from_millis(20)).await;
            return self.ask(sent).await;
        }
        self.answers.push((sent, answer));
    }

    async fn heed(&mut self, doors: &Doors, event: &Value) {
        if event["account"].is_object() {
            return self.look_at_account(doors).await;
        }
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
                self.leave(&id);
                self.take(doors, &id, revision).await;
            }
            return;
        };
        if revision <= held.revision {
            return;
        }
        assert_eq!(revision, held.revision + 1, "a jump in {id} at {}", self.person.device);
        apply(held, event, &self.person.id);
        let gone = !held.roles.contains_key(&self.person.id);
        if event["message"].is_object() {
            self.keep(&id, Shown::of(&event["message"]));
        } else if let Some(seq) = changed(event) {
            match self.messages.get_mut(&(id.clone(), seq)) {
                Some(message) => message.heed(event, &self.person.id),
                None => self.unheld.push((id.clone(), seq)),
            }
        }
        if gone {
            self.leave(&id);
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
    }
    // All else happens to a message, or to one that one may not see, and has no body then.
}
