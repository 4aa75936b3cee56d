//! How many people have not read each message: the same number at every device, by what it was told, as by `members`; also
//! after a restart, which loses no mark that was taken. Sending and joining move one's own mark and tell nobody.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_proto::id::ClientId;
use madang_solo::serve::Running;
use madang_tests::{
    client::{Person, Socket, call, sign_up},
    start, until,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

/// What a device makes of events: up to where everybody has read.
struct Device {
    socket: Socket,
    marks: BTreeMap<String, u64>,
    last_seq: u64,
    reads: usize,
}

impl Device {
    async fn new(server: &Running, person: &Person) -> Self {
        let person =
            Person { id: person.id.clone(), token: person.token.clone(), device: uuid::Uuid::new_v4().to_string() };
        let (socket, _) = Socket::connect(server, &person, "").await;
        Self { socket, marks: BTreeMap::new(), last_seq: 0, reads: 0 }
    }

    /// Heeds events until one of this revision.
    async fn until(&mut self, revision: u64) {
        loop {
            let frame = self.socket.next().await;
            let event = &frame["event"];
            if !event.is_object() {
                continue;
            }
            self.last_seq = number(&event["lastSeq"]);
            let mut raise = |user: &Value, seq: u64| {
                let mark = self.marks.entry(user.as_str().unwrap().to_owned()).or_default();
                *mark = seq.max(*mark);
            };
            if event["message"].is_object() {
                raise(&event["message"]["sender"], self.last_seq);
            }
            for joined in event["joined"]["members"].as_array().into_iter().flatten() {
                raise(&joined["user"], self.last_seq);
            }
            for mark in event["read"]["marks"].as_array().into_iter().flatten() {
                raise(&mark["user"], number(&mark["seq"]));
            }
            for user in event["left"]["users"].as_array().into_iter().flatten() {
                self.marks.remove(user.as_str().unwrap());
            }
            self.reads += usize::from(event["read"].is_object());
            if number(&event["revision"]) >= revision {
                return;
            }
        }
    }

    fn unread(&self) -> Vec<usize> {
        unread(&self.marks, self.last_seq)
    }
}

/// Of each message, how many have not read it.
fn unread(marks: &BTreeMap<String, u64>, last_seq: u64) -> Vec<usize> {
    (1..=last_seq).map(|seq| marks.values().filter(|mark| **mark < seq).count()).collect()
}

struct Group {
    server: Running,
    people: Vec<Person>,
    id: String,
}

impl Group {
    async fn say(&self, who: usize) -> u64 {
        let body = json!({"conversation": self.id, "clientId": ClientId::new().to_string(), "text": "x"});
        let (status, ack) = call(&self.server, "POST", "/v1/messages", &self.people[who].token, body).await;
        assert_eq!(status, 200, "{ack}");
        number(&ack["revision"])
    }

    async fn read(&self, who: usize, seq: u64) {
        let path = format!("/v1/conversations/{}/read", self.id);
        let (status, ack) =
            call(&self.server, "PUT", &path, &self.people[who].token, json!({"seq": seq.to_string()})).await;
        assert_eq!(status, 200, "{ack}");
    }

    /// By `members`, once it has all these marks: the numbers, and as of which revision.
    async fn unread(&self, whose: usize, wanted: &[u64]) -> (Vec<usize>, u64) {
        until("members have these marks", async || {
            let path = format!("/v1/conversations/{}/members", self.id);
            let (status, answer) = call(&self.server, "GET", &path, &self.people[whose].token, Value::Null).await;
            assert_eq!(status, 200, "{answer}");
            let of = |each: &Value| (each["profile"]["user"].as_str().unwrap().to_owned(), number(&each["readSeq"]));
            let marks: BTreeMap<String, u64> = answer["members"].as_array().unwrap().iter().map(of).collect();
            let has = self.people.iter().zip(wanted).all(|(person, seq)| marks.get(&person.id) == Some(seq));
            let last = *wanted.iter().max().unwrap();
            has.then(|| (unread(&marks, last), number(&answer["revision"])))
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_the_same_numbers_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut people = Vec::new();
    for handle in ["ann", "bob", "cho", "dan"] {
        people.push(sign_up(&server, handle).await);
    }
    let body = json!({"name": "x", "members": [people[1].id, people[2].id], "history": "HISTORY_ALL"});
    let (_, made) = call(&server, "POST", "/v1/groups", &people[0].token, body).await;
    let mut group = Group { server, people, id: made["conversation"].as_str().unwrap().to_owned() };
    let mut devices = Vec::new();
    for who in [0, 0, 1, 2] {
        devices.push(Device::new(&group.server, &group.people[who]).await);
    }
    for who in [0, 1, 0, 0] {
        group.say(who).await;
    }
    group.read(1, 3).await;
    // Who comes has read what was before.
    let path = format!("/v1/groups/{}/members", group.id);
    let users = json!({"users": [group.people[3].id]});
    let (_, joined) = call(&group.server, "POST", &path, &group.people[0].token, users).await;
    for device in &mut devices {
        device.until(number(&joined["revision"])).await;
    }
    let told: usize = devices.iter().map(|device| device.reads).sum();
    assert!(told <= devices.len(), "neither sending nor joining is told as reading");
    group.say(0).await;
    group.read(2, 2).await;
    let (numbers, revision) = group.unread(0, &[5, 3, 2, 4]).await;
    assert_eq!(numbers, [0, 0, 1, 2, 3]);
    for (who, device) in devices.iter_mut().enumerate() {
        device.until(revision).await;
        assert_eq!(device.unread(), numbers, "device {who}");
    }
    for who in 0..4 {
        assert_eq!(group.unread(who, &[5, 3, 2, 4]).await.0, numbers);
    }

    // A mark that was just taken outlives the server.
    group.read(3, 5).await;
    group.server.stop().await;
    group.server = start(folder.path()).await;
    let (numbers, revision) = group.unread(1, &[5, 3, 2, 5]).await;
    assert_eq!(numbers, [0, 0, 1, 2, 2]);
    let said = group.say(1).await;
    assert_eq!(said, revision + 1, "the restart itself tells nothing");
    let (numbers, _) = group.unread(1, &[5, 6, 2, 5]).await;
    assert_eq!(numbers, [0, 0, 1, 1, 1, 3]);
    // Who goes is counted no more.
    let leave = format!("/v1/groups/{}/members/{}", group.id, group.people[2].id);
    assert_eq!(call(&group.server, "DELETE", &leave, &group.people[2].token, Value::Null).await.0, 200);
    group.people.remove(2);
    assert_eq!(group.unread(1, &[5, 6, 5]).await.0, [0, 0, 0, 0, 0, 2]);
}
