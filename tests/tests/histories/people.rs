//! What people are besides their conversations: profiles, which their own devices are told of and everybody sees; and who is
//! there and who writes, which may be left out, but never told to who shares no conversation with them, or where there is a block.

use super::{
    check::Wanted,
    device::{Device, Sent},
    doors::{PATIENCE, list, word},
    model::{Op, Room},
    play::History,
    record::{Counts, Times},
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

/// A PNG of one grey pixel.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\x0aIDATx\xdach\0\0\0\x82\0\x81\xdaE\x08;\0\0\0\0IEND\xaeB`\x82";
/// What of a profile changes.
const FIELDS: [&str; 3] = ["name", "statusMessage", "picture"];
/// After how long without an answer it is asked again who is there: that may have been dropped.
const AGAIN: Duration = Duration::from_secs(3);

/// Something of somebody's profile was set.
#[derive(Debug)]
struct Set {
    who: usize,
    field: &'static str,
    value: Value,
    from: usize,
    /// Whoever asked twice may have it done at any time.
    to: usize,
}

/// All that was set.
#[derive(Debug, Default)]
pub struct Profiles(Vec<Set>);

impl Profiles {
    /// Whether something may be what was set last.
    fn may(&self, who: usize, field: &str, value: &Value) -> bool {
        let all = || self.0.iter().filter(|set| set.who == who && set.field == field);
        all().any(|set| set.value == *value && !all().any(|later| later.from > set.to))
    }
}

/// A device was told that somebody is writing in a conversation, or there.
#[derive(Debug)]
pub struct Told {
    whom: String,
    frame: Value,
    /// When that can have been found out.
    from: usize,
    to: usize,
}

impl History<'_> {
    /// What people are at first.
    pub async fn profiles(&self) {
        for (who, person) in self.people.iter().enumerate() {
            let from = self.done().record.tick();
            let me = self.doors.get(person, "/v1/me").await;
            for field in FIELDS {
                self.done().profiles.0.push(Set { who, field, value: me[field].clone(), from, to: from });
            }
        }
    }

    /// Somebody changes what they are called, what they say of themselves, or their picture.
    pub async fn profile(&self, who: usize, n: u64, text: String) {
        let from = self.done().record.tick();
        let (set, times) = match n % 4 {
            3 if self.doors.pictures => {
                let method = if n == 11 { "DELETE" } else { "PUT" };
                (vec![("picture", json!(self.picture(who, method).await))], 1)
            }
            n => {
                let fields = [("name", n != 1), ("statusMessage", n != 0)].into_iter().filter(|(_, of)| *of);
                let set: Vec<_> = fields.map(|(field, _)| (field, json!(text))).collect();
                let body = set.iter().map(|(field, value)| ((*field).to_owned(), value.clone())).collect();
                let (person, body) = (&self.people[who], Value::Object(body));
                let (status, answer, times) = self.doors.insist(person, "PATCH", "/v1/me", body).await;
                assert_eq!(status, 200, "{answer}");
                (set, times)
            }
        };
        let mut done = self.done();
        let to = if times == 1 { done.record.tick() } else { usize::MAX };
        done.profiles.0.extend(set.into_iter().map(|(field, value)| Set { who, field, value, from, to }));
    }

    /// Sets a picture, or takes it away; which one there is then.
    async fn picture(&self, who: usize, method: &str) -> String {
        let (token, body) = (&self.people[who].token, if method == "PUT" { PNG } else { b"" });
        let head = format!(
            "{method} /v1/me/picture HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let (mut stream, mut answer) = (TcpStream::connect(self.doors.api).await.unwrap(), String::new());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        match &head[9..12] {
            "200" => word(&serde_json::from_str::<Value>(body).unwrap()["picture"]),
            "204" => String::new(),
            _ => panic!("{method} of a picture: {answer}"),
        }
    }

    /// Everybody is shown as what they have set last, and in the same way to everybody; who is gone, as nobody.
    pub async fn check_profiles(&self, wanted: &BTreeMap<usize, Wanted>) {
        let ids = self.people.iter().map(|person| person.id.clone()).collect::<Vec<_>>();
        let mut shown: BTreeMap<String, Value> = BTreeMap::new();
        for (who, Wanted { seen, me, .. }) in wanted {
            let person = &self.people[*who];
            let users = self.doors.get(person, &format!("/v1/users?ids={}", ids.join(","))).await;
            let mut users = list(&users["users"]).to_vec();
            assert_eq!(users.len(), ids.len(), "{users:?}");
            // Elsewhere as well: of one conversation all, and of each what a list has.
            if let Some(id) = seen.keys().next() {
                let members = self.doors.get(person, &format!("/v1/conversations/{id}/members")).await;
                users.extend(list(&members["members"]).iter().map(|member| member["profile"].clone()));
            }
            for one in self.list(*who, None).await.all.into_values() {
                users.extend(list(&one["firstMembers"]).iter().cloned());
                users.extend(one["peer"].is_object().then(|| one["peer"].clone()));
            }
            for user in users {
                let before = shown.entry(word(&user["user"])).or_insert_with(|| user.clone());
                assert_eq!(*before, user, "somebody is shown in two ways");
            }
            for field in FIELDS {
                assert_eq!(me[field], shown[&person.id][field], "{field} of {}", person.id);
            }
        }
        for (who, id) in ids.iter().enumerate() {
            let user = &shown[id];
            assert_eq!(user["deleted"], self.is_gone(who), "{user}");
            for field in FIELDS {
                let (value, done) = (&user[field], self.done());
                let fair = if done.record.is_gone(id) { value == "" } else { done.profiles.may(who, field, value) };
                assert!(fair, "{field} of {id} is {value}, after {:?}", done.profiles);
            }
        }
    }

    /// Somebody writes.
    pub async fn write(&self, device: &mut Device, who: usize, room: &str) {
        {
            let (mut done, whose) = (self.done(), (room.to_owned(), self.people[who].id.clone()));
            let now = done.record.tick();
            done.writing.entry(whose).or_insert(now);
        }
        device.say(json!({"id": 0, "typing": {"conversation": room}})).await;
    }

    /// Somebody wants to know who of all is there.
    pub async fn watch(&self, device: &mut Device, who: usize) {
        let users: Vec<_> = self.people.iter().map(|person| person.id.as_str()).collect();
        let place = self.begin(who, "", Op::Watch);
        device.ask(Sent { frame: json!({"watch": { "users": users }}), place, times: 0 }).await;
    }

    /// Who a device was told is writing or there.
    pub fn note_told(&self, device: &mut Device) {
        for (watch, frame) in std::mem::take(&mut device.told) {
            let (mut done, presence) = (self.done(), frame["presence"].is_object());
            let from = if presence {
                let watch = watch.unwrap_or_else(|| panic!("{} watches nobody: {frame}", device.user()));
                done.record.when(watch).0
            } else {
                let typing = &frame["typing"];
                let first = done.writing.get(&(word(&typing["conversation"]), word(&typing["user"])));
                *first.unwrap_or_else(|| panic!("nobody writes so: {frame}"))
            };
            let (whom, to) = (device.user().to_owned(), done.record.tick());
            done.told.push(Told { whom, frame, from, to });
        }
    }

    /// All devices write and watch, now that nothing moves: they are told that those are there whom they may see.
    pub async fn check_who_is_there(&self, devices: &mut [(usize, Device)], wanted: &BTreeMap<usize, Wanted>) {
        for (who, device) in devices.iter_mut() {
            if let Some(room) = wanted[who].seen.keys().nth(*who % wanted[who].seen.len().max(1)) {
                self.write(device, *who, room).await;
            }
        }
        join_all(devices.iter_mut().map(|(who, device)| self.check_one_is_told(*who, device, wanted))).await;
    }

    async fn check_one_is_told(&self, who: usize, device: &mut Device, wanted: &BTreeMap<usize, Wanted>) {
        let rooms: BTreeSet<_> = wanted[&who].seen.keys().collect();
        let me = &self.people[who].id;
        let may_see = |other: &usize| {
            let shared = wanted[other].seen.keys().any(|room| rooms.contains(room));
            let blocks = self.done().record.blocks(me, &self.people[*other].id, usize::MAX - 1, usize::MAX);
            *other == who || (shared && !blocks.0)
        };
        let expected: BTreeSet<_> =
            wanted.keys().filter(|other| may_see(other)).map(|other| self.people[*other].id.clone()).collect();
        let end = Instant::now() + PATIENCE;
        let mut there = BTreeSet::new();
        while !expected.is_subset(&there) {
            assert!(Instant::now() < end, "{me} is told that {there:?} are there, not all of {expected:?}");
            self.watch(device, who).await;
            device.settle(self.doors).await;
            let again = Instant::now() + AGAIN;
            while !expected.is_subset(&there) {
                let heard = device.hear_until(self.doors, end, "who is there is told");
                if tokio::time::timeout_at(again, heard).await.is_err() {
                    break;
                }
                for (_, frame) in &device.told {
                    let user = &frame["presence"]["user"];
                    match frame["presence"]["online"] == true {
                        true => there.insert(word(user)),
                        false => user.as_str().is_some_and(|user| there.remove(user)),
                    };
                }
            }
        }
        // What came with that.
        device.listen(self.doors, 20).await;
        self.note(who, device);
    }

    /// Nobody was told of somebody whom they could not see at any time at which that can have been found out.
    pub fn check_told(&self) {
        let done = self.done();
        let rooms: BTreeMap<_, _> = done
            .record
            .rooms()
            .into_iter()
            .map(|id| {
                let times = done.record.times(&id);
                (id, times)
            })
            .collect();
        for told in &done.told {
            let Told { whom, frame, from, to } = told;
            let other =
                word(if frame["presence"].is_object() { &frame["presence"]["user"] } else { &frame["typing"]["user"] });
            let both = |room: &Room| room.members.contains_key(whom) && room.members.contains_key(&other);
            let together = |(id, times): (&String, &Times)| {
                done.record.unsure.contains(id) || done.record.between(id, times, *from, *to).any(both)
            };
            let shared = match frame["typing"]["conversation"].as_str() {
                Some(room) => rooms.get_key_value(room).is_none_or(together),
                // What nobody was answered may have made one.
                None => done.record.unsure.contains("") || rooms.iter().any(together) || *whom == other,
            };
            let free = *whom == other || done.record.blocks(whom, &other, *from, *to).1;
            assert!(shared && free, "shared: {shared}, free of blocks: {free}: {told:?}\n{:#?}", done.record);
        }
    }

    /// How often what came of what.
    pub fn counts(&self) -> Counts {
        let done = self.done();
        let mut counts = done.record.counts();
        let of = |kind: &str| done.told.iter().filter(|told| told.frame[kind].is_object()).count() as u64;
        for kind in ["presence", "typing"].into_iter().filter(|kind| of(kind) > 0) {
            counts.insert(format!("{kind} that was told"), of(kind));
        }
        counts.insert(
            "profiles that were changed".to_owned(),
            (done.profiles.0.len() - FIELDS.len() * self.people.len()) as u64,
        );
        if done.gone.is_some() {
            counts.insert("accounts that ended".to_owned(), 1);
        }
        counts
    }
}
