//! One history: what happens in it, and what must hold when all is quiet.

use super::{
    device::{Device, Doors, PATIENCE, fetch, map, number, word},
    model::{ADMIN, MEMBER, OWNER, Op, Room},
};
use futures_util::future::join_all;
use madang_proto::id::ClientId;
use madang_tests::client::{Person, sign_up_at};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

const PEOPLE: usize = 4;
const ROUNDS: usize = 12;

/// What has been acknowledged.
#[derive(Default)]
struct Done {
    ops: BTreeMap<String, Vec<(u64, Op)>>,
    /// By conversation and user: when, and what was set.
    settings: BTreeMap<(String, String), Vec<(u64, Value)>>,
    /// Up to where somebody has read, as they were answered.
    marks: BTreeMap<(String, String), u64>,
    /// Codes, with their group and how many may use them.
    invites: Vec<(String, String, u64)>,
    /// Groups of which it is not known when something was done, or how often: they are not compared with the model.
    unsure: Vec<String>,
}

/// A list, as somebody has it.
#[derive(Debug, Clone, Default)]
struct List {
    all: BTreeMap<String, Value>,
    badge: u64,
    sync: String,
}

struct History<'a> {
    doors: &'a Doors,
    people: Vec<Person>,
    done: Mutex<Done>,
}

/// What somebody is about to do.
#[derive(Debug, Clone)]
struct Plan {
    who: usize,
    whom: usize,
    what: u32,
    pick: usize,
    number: u64,
    text: String,
}

impl History<'_> {
    fn done(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap()
    }

    fn note(&self, id: &str, revision: u64, op: Op) {
        self.done().ops.entry(id.to_owned()).or_default().push((revision, op));
    }

    fn some_conversation(&self, pick: usize) -> Option<String> {
        let done = self.done();
        let ids: Vec<_> = done.ops.keys().collect();
        (!ids.is_empty()).then(|| ids[pick % ids.len()].clone())
    }

    async fn ask(&self, who: usize, method: &str, path: &str, body: Value) -> Option<Value> {
        let (status, answer, times) = self.doors.insist(&self.people[who], method, path, body).await;
        assert!(status < 500, "{method} {path}: {status} {answer}");
        // What is to be tried again may have been done nevertheless, or be done later yet, also after what others do.
        if times > 1 && method != "GET" {
            let mut done = self.done();
            let named = path.split('/').nth(3).unwrap_or_default();
            let invite = done.invites.iter().find(|(code, ..)| code == named);
            let of = invite.map_or_else(|| named.to_owned(), |(_, group, _)| group.clone());
            done.unsure.push(of);
        }
        (status < 300).then_some(answer)
    }

    async fn act(&self, plan: Plan) {
        let Plan { who, whom, what, pick, number: n, text } = plan;
        let (me, other) = (self.people[who].id.clone(), self.people[whom].id.clone());
        if what < 6 {
            return self.make(who, whom, n, text).await;
        }
        let Some(id) = self.some_conversation(pick) else { return self.make(who, whom, n, text).await };
        let (group, conversation) = (format!("/v1/groups/{id}"), format!("/v1/conversations/{id}"));
        match what {
            6..35 => self.say(who, json!({"conversation": id}), text).await,
            35..45 => {
                let body = json!({"seq": n.to_string()});
                if let Some(ack) = self.ask(who, "PUT", &format!("{conversation}/read"), body).await {
                    let mut done = self.done();
                    let mark = done.marks.entry((id, me)).or_default();
                    *mark = number(&ack["seq"]).max(*mark);
                }
            }
            45..55 => {
                let users = vec![other, self.people[(whom + 1) % PEOPLE].id.clone()];
                let added = self.ask(who, "POST", &format!("{group}/members"), json!({ "users": users })).await;
                if let Some(answer) = added {
                    self.note(&id, number(&answer["revision"]), Op::Add(users));
                }
            }
            55..64 => {
                if let Some(answer) = self.ask(who, "DELETE", &format!("{group}/members/{other}"), Value::Null).await {
                    self.note(&id, number(&answer["revision"]), Op::Remove(other));
                }
            }
            64..70 => {
                let role = [OWNER, ADMIN, MEMBER][n as usize % 3].to_owned();
                let path = format!("{group}/members/{other}/role");
                if let Some(answer) = self.ask(who, "PUT", &path, json!({ "role": role })).await {
                    self.note(&id, number(&answer["revision"]), Op::Role { by: me, user: other, role });
                }
            }
            70..75 => self.change(who, &id, n, text).await,
            75..86 => self.set(who, &id, n, &text).await,
            86..97 => self.invites(who, &id, n).await,
            _ => {
                if self.ask(who, "DELETE", &group, Value::Null).await.is_some() {
                    // Nothing comes after it.
                    self.note(&id, u64::MAX, Op::End);
                }
            }
        }
    }

    /// A first message to somebody, or a group.
    async fn make(&self, who: usize, whom: usize, n: u64, text: String) {
        if n.is_multiple_of(3) {
            return self.say(who, json!({"user": self.people[whom].id}), text).await;
        }
        let members: Vec<_> =
            (0..n as usize % PEOPLE).map(|k| self.people[(who + 1 + k) % PEOPLE].id.clone()).collect();
        let history = if n.is_multiple_of(2) { "HISTORY_ALL" } else { "HISTORY_SINCE_JOINED" };
        let body = json!({"name": text, "members": members, "history": history});
        if let Some(answer) = self.ask(who, "POST", "/v1/groups", body).await {
            let op = Op::Create { owner: self.people[who].id.clone(), members, name: text };
            self.note(&word(&answer["conversation"]), 1, op);
        }
    }

    async fn say(&self, who: usize, to: Value, text: String) {
        let mut body = json!({"clientId": ClientId::new().to_string(), "text": text});
        body.as_object_mut().unwrap().extend(to.as_object().unwrap().clone());
        let Some(ack) = self.ask(who, "POST", "/v1/messages", body.clone()).await else { return };
        let (id, seq) = (word(&ack["conversation"]), number(&ack["seq"]));
        if let Some(user) = to["user"].as_str() {
            let mut users = vec![self.people[who].id.clone(), user.to_owned()];
            users.dedup();
            self.note(&id, 1, Op::Direct { users });
        }
        self.note(&id, number(&ack["revision"]), Op::Say { seq, text });
        if seq.is_multiple_of(4)
            && let Some(again) = self.ask(who, "POST", "/v1/messages", body).await
        {
            assert_eq!((&again["seq"], &again["duplicate"]), (&ack["seq"], &json!(true)));
        }
    }

    async fn change(&self, who: usize, id: &str, n: u64, text: String) {
        let name = n.is_multiple_of(2).then_some(text.clone());
        let data: BTreeMap<_, _> = [(format!("k{}", n % 3), (!n.is_multiple_of(5)).then_some(text))].into();
        let mut body = json!({ "data": data });
        if let Some(name) = &name {
            body["name"] = json!(name);
        }
        if let Some(answer) = self.ask(who, "PATCH", &format!("/v1/groups/{id}"), body).await {
            // It is answered as of a later revision, perhaps: the name that it shows may be another's already.
            let revision =
                self.revision_of(who, id, "changed", |body| body["by"] == self.people[who].id.as_str()).await;
            match revision {
                Some(revision) if self.shows(&answer, &name, &data) => {
                    self.note(id, revision, Op::Change { name, data })
                }
                _ => self.done().unsure.push(id.to_owned()),
            }
        }
    }

    fn shows(&self, answer: &Value, name: &Option<String>, data: &BTreeMap<String, Option<String>>) -> bool {
        let shown = map(&answer["data"]);
        name.as_ref().is_none_or(|name| answer["name"] == name.as_str())
            && data.iter().all(|(key, value)| shown.get(key) == value.as_ref())
    }

    /// The revision of the newest notice of a kind that is somebody's.
    async fn revision_of(&self, who: usize, id: &str, kind: &str, whose: impl Fn(&Value) -> bool) -> Option<u64> {
        let changes =
            self.ask(who, "GET", &format!("/v1/conversations/{id}/changes?since=0&limit=200"), Value::Null).await?;
        let notices = changes["notices"].as_array().unwrap();
        let found = notices.iter().rev().find(|notice| notice[kind].is_object() && whose(&notice[kind]))?;
        Some(number(&found["revision"]))
    }

    async fn set(&self, who: usize, id: &str, n: u64, text: &str) {
        let patch = match n % 6 {
            0 => json!({"mutedUntil": if n.is_multiple_of(4) { json!("9000000000000") } else { Value::Null }}),
            1 => json!({"pinnedAt": n.to_string(), "notify": "NOTIFY_MENTIONS"}),
            2 => json!({"data": {format!("k{}", n % 2): if n.is_multiple_of(4) { Value::Null } else { json!(text) }}}),
            3 => json!({ "hidden": n.is_multiple_of(2) }),
            4 => json!({ "clearedSeq": n.to_string() }),
            _ => json!({"notify": null, "data": null}),
        };
        let answer = self.ask(who, "PATCH", &format!("/v1/conversations/{id}/settings"), patch.clone()).await;
        if let Some(answer) = answer {
            let whose = (id.to_owned(), self.people[who].id.clone());
            self.done().settings.entry(whose).or_default().push((number(&answer["updatedAt"]), patch));
        }
    }

    async fn invites(&self, who: usize, id: &str, n: u64) {
        let known = {
            let done = self.done();
            (!done.invites.is_empty()).then(|| done.invites[n as usize % done.invites.len()].clone())
        };
        match known {
            Some((code, group, _)) if !n.is_multiple_of(4) => {
                if self.ask(who, "POST", &format!("/v1/invites/{code}"), Value::Null).await.is_none() {
                    return;
                }
                let me = self.people[who].id.clone();
                let joining = |joined: &Value| {
                    joined["members"].as_array().unwrap().iter().any(|each| each["user"] == me.as_str())
                };
                match self.revision_of(who, &group, "joined", joining).await {
                    Some(revision) => self.note(&group, revision, Op::Add(vec![me.clone()])),
                    // Removed again meanwhile.
                    None => self.done().unsure.push(group),
                }
            }
            _ => {
                let most = n % 3 + 1;
                let path = format!("/v1/groups/{id}/invites");
                if let Some(made) = self.ask(who, "POST", &path, json!({ "maxUses": most })).await {
                    self.done().invites.push((word(&made["code"]), id.to_owned(), most));
                }
            }
        }
    }

    /// Everything of somebody's list, page by page; with an earlier list, that with what has changed since.
    async fn list(&self, who: usize, earlier: Option<&List>) -> List {
        let mut list = earlier.cloned().unwrap_or_default();
        let mut page = earlier.map_or(String::new(), |earlier| format!("&since={}", earlier.sync));
        let mut first = true;
        loop {
            let answer = self.doors.get(&self.people[who], &format!("/v1/conversations?limit=2{page}")).await;
            if first {
                list.badge = number(&answer["badge"]);
                for id in answer["removed"].as_array().unwrap() {
                    list.all.remove(&word(id));
                }
            }
            first = false;
            for each in answer["conversations"].as_array().unwrap() {
                list.all.insert(word(&each["conversation"]), each.clone());
            }
            list.sync = word(&answer["sync"]);
            let next = word(&answer["nextPageToken"]);
            if next.is_empty() {
                return list;
            }
            page = format!("&pageToken={next}");
        }
    }

    /// Waits until what everybody has read is known to everybody: then nothing moves any more.
    async fn quiet(&self) {
        let end = tokio::time::Instant::now() + PATIENCE;
        for who in 0..PEOPLE {
            loop {
                let mut told = true;
                for (id, conversation) in self.list(who, None).await.all {
                    if let Some(held) = fetch(self.doors, &self.people[who], &id, 0).await {
                        let me = self.people[who].id.clone();
                        let mark = held.marks.get(&me).copied().unwrap_or(0);
                        let taken = self.done().marks.get(&(id, me)).copied().unwrap_or(0);
                        told &= mark == number(&conversation["readSeq"]) && mark >= taken;
                    }
                }
                if told {
                    break;
                }
                assert!(tokio::time::Instant::now() < end, "read marks are never told");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// The settings are what the patches come to, in their order; those of one millisecond in any.
    fn check_settings(&self, id: &str, user: &str, settings: &Value) {
        let mut patches = self.done().settings.get(&(id.to_owned(), user.to_owned())).cloned().unwrap_or_default();
        patches.sort_by_key(|(at, _)| *at);
        let shown = ["mutedUntil", "notify", "pinnedAt"].map(|field| settings[field].clone());
        let found = (shown, map(&settings["data"]));
        let agrees = orders(&patches).any(|order| patched(order) == found);
        assert!(agrees, "{id} for {user}: {settings} after {patches:?}");
    }

    /// Somebody's list against the model, and what it says of unread numbers.
    async fn check(&self, who: usize) -> BTreeMap<String, (u64, Value)> {
        let user = &self.people[who].id;
        let List { all: list, badge, .. } = self.list(who, None).await;
        let (rooms, unsure) = {
            let done = self.done();
            let rooms: BTreeMap<_, _> =
                done.ops.iter().map(|(id, ops)| (id.clone(), Room::after(ops.clone()))).collect();
            (rooms, done.unsure.clone())
        };
        let mut unread = 0;
        for (id, conversation) in &list {
            let held = fetch(self.doors, &self.people[who], id, 0).await.unwrap();
            assert_eq!(number(&conversation["unread"]), held.last_seq - number(&conversation["readSeq"]));
            if conversation["settings"]["mutedUntil"] == "0" {
                unread += number(&conversation["unread"]);
            }
            let room = rooms.get(id).unwrap_or_else(|| panic!("nobody made {id}"));
            assert_eq!(held.last_seq, room.texts.len() as u64);
            if !unsure.contains(id) {
                self.check_settings(id, user, &held.settings);
                assert_eq!((held.roles, held.name, held.data), (room.roles(), room.name.clone(), room.data.clone()));
            }
        }
        assert_eq!(badge, unread, "the badge of {user}");
        for (id, room) in rooms.iter().filter(|(id, _)| !unsure.contains(id)) {
            assert_eq!(room.members.contains_key(user), list.contains_key(id), "{user} in {id}");
        }
        list.into_iter().map(|(id, each)| (id, (number(&each["revision"]), each["settings"].clone()))).collect()
    }

    async fn check_device(&self, who: usize, device: &Device) {
        for (id, held) in &device.held {
            let there = fetch(self.doors, &self.people[who], id, 0).await.unwrap();
            assert_eq!(*held, there, "{id}");
            let path = format!("/v1/conversations/{id}/messages?limit=200");
            for message in self.doors.get(&self.people[who], &path).await["messages"].as_array().unwrap() {
                let place = (id.clone(), number(&message["seq"]));
                assert_eq!(device.texts.get(&place), Some(&word(&message["text"])), "{place:?}");
                let said = &self.done().ops[id];
                let said = said.iter().any(|(_, op)| matches!(op, Op::Say { seq, text } if *seq == place.1 && message["text"] == text.as_str()));
                assert!(said, "{message} was never acknowledged");
            }
        }
    }

    async fn check_invites(&self) {
        let invites = self.done().invites.clone();
        for (code, group, most) in invites {
            let joined = async |who: usize| {
                let all = self.ask(who, "GET", &format!("/v1/groups/{group}/invites"), Value::Null).await?;
                let all = all["invites"].as_array().unwrap().clone();
                all.into_iter().find(|each| each["code"] == code.as_str())
            };
            for who in 0..PEOPLE {
                if let Some(invite) = joined(who).await {
                    assert!(invite["uses"].as_u64().unwrap() <= most, "{invite}");
                }
            }
        }
    }
}

/// Plays the history of a seed.
pub async fn history(doors: &Doors, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let run = uuid::Uuid::new_v4().simple().to_string();
    let names = (0..PEOPLE).map(|n| format!("h{seed}_{n}_{}", &run[..8]));
    let mut people = Vec::new();
    for name in names {
        people.push(sign_up_at(doors.api, &name).await);
    }
    let mut devices: Vec<(usize, Device)> = [0, 0, 1, 2, 3].map(|who| (who, Device::new(&people[who]))).into();
    let history = History { doors, people, done: Mutex::default() };
    // Lists of earlier, each to be brought up to date at the end.
    let mut lists: Vec<(usize, List)> = Vec::new();
    for round in 0..ROUNDS {
        let plan = |n: usize, random: &mut StdRng| Plan {
            who: random.random_range(0..PEOPLE),
            whom: random.random_range(0..PEOPLE),
            what: random.random_range(0..100),
            pick: random.random_range(0..100),
            number: random.random_range(0..12),
            text: format!("{seed}.{round}.{n}"),
        };
        let plans: Vec<Plan> = (0..random.random_range(1..4)).map(|n| plan(n, &mut random)).collect();
        join_all(plans.into_iter().map(|plan| history.act(plan))).await;
        if random.random_ratio(1, 4) {
            let who = random.random_range(0..PEOPLE);
            lists.push((who, history.list(who, None).await));
        }
        let count = devices.len();
        let (_, device) = &mut devices[random.random_range(0..count)];
        match random.random_range(0..8) {
            0..=3 => device.connect(doors, random.random_range(0..8)).await,
            4 | 5 => device.cut(),
            6 => {
                device.cut();
                device.forget();
            }
            _ => device.wipe(),
        }
        for (_, device) in &mut devices {
            device.listen(doors, 20).await;
        }
    }
    history.quiet().await;
    let mut wanted = Vec::new();
    for who in 0..PEOPLE {
        wanted.push(history.check(who).await);
    }
    history.check_invites().await;
    for (who, earlier) in &lists {
        let (since, now) = (history.list(*who, Some(earlier)).await, history.list(*who, None).await);
        assert_eq!((since.all, since.badge), (now.all, now.badge), "since {}", earlier.sync);
    }
    for (who, device) in &mut devices {
        device.connect(doors, *who).await;
        device.listen_until(doors, &wanted[*who]).await;
        history.check_device(*who, device).await;
    }
}

/// The orders in which patches may have come: as they are, and with two of the same millisecond the other way round.
fn orders(patches: &[(u64, Value)]) -> impl Iterator<Item = Vec<&Value>> {
    let tied = (1..patches.len()).filter(|at| patches[at - 1].0 == patches[*at].0).collect::<Vec<_>>();
    assert!(tied.len() < 12, "so many at once: {patches:?}");
    (0..1_u32 << tied.len()).map(move |choice| {
        let mut order: Vec<_> = patches.iter().map(|(_, patch)| patch).collect();
        for (bit, at) in tied.iter().enumerate() {
            if choice & (1 << bit) != 0 {
                order.swap(at - 1, *at);
            }
        }
        order
    })
}

/// What one has set after patches: what is told and when, and the app's own data.
fn patched(patches: Vec<&Value>) -> ([Value; 3], BTreeMap<String, String>) {
    let (mut shown, mut data) = ([json!("0"), json!("NOTIFY_ALL"), json!("0")], BTreeMap::new());
    for (field, value) in patches.into_iter().flat_map(|patch| patch.as_object().unwrap()) {
        match (field.as_str(), value) {
            ("mutedUntil", value) => shown[0] = json!(value.as_str().unwrap_or("0")),
            ("notify", value) => shown[1] = json!(value.as_str().unwrap_or("NOTIFY_ALL")),
            ("pinnedAt", value) => shown[2] = value.clone(),
            ("data", Value::Null) => data.clear(),
            ("data", Value::Object(keys)) => {
                for (key, value) in keys {
                    match value.as_str() {
                        Some(value) => drop(data.insert(key.clone(), value.to_owned())),
                        None => drop(data.remove(key)),
                    }
                }
            }
            _ => {}
        }
    }
    (shown, data)
}
