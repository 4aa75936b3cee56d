//! One history: what happens in it.

use super::{
    check::List,
    device::Device,
    doors::{Doors, list, map, number, word},
    ends::Gone,
    model::{ADMIN, MEMBER, NOT_IN, OWNER, Op},
    people::{Profiles, Told},
    record::{Counts, Outcome, Record},
};
use futures_util::future::join_all;
use madang_proto::id::{ClientId, ConversationId};
use madang_tests::client::{Person, sign_up_at};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

pub const PEOPLE: usize = 4;
const ROUNDS: usize = 12;

/// What has been acknowledged besides.
#[derive(Default)]
pub struct Done {
    pub record: Record,
    /// By conversation and user: when, and what was set.
    pub settings: BTreeMap<(String, String), Vec<(u64, Value)>>,
    /// Up to where somebody has read, as they were answered.
    pub marks: BTreeMap<(String, String), u64>,
    /// Codes, with their group and how many may use them.
    pub invites: Vec<(String, String, u64)>,
    pub profiles: Profiles,
    /// When somebody first said that they write, by conversation and user.
    pub writing: BTreeMap<(String, String), usize>,
    /// Who devices were told is writing or there.
    pub told: Vec<Told>,
    pub gone: Option<Gone>,
}

pub struct History<'a> {
    pub doors: &'a Doors,
    pub people: Vec<Person>,
    pub done: Mutex<Done>,
}

/// What somebody is about to do.
#[derive(Debug, Clone)]
pub struct Plan {
    pub who: usize,
    whom: usize,
    pub what: u32,
    pub pick: usize,
    pub number: u64,
    pub text: String,
}

impl Plan {
    fn new(random: &mut StdRng, text: String) -> Self {
        Self {
            who: random.random_range(0..PEOPLE),
            whom: random.random_range(0..PEOPLE),
            what: random.random_range(0..112),
            pick: random.random_range(0..100),
            number: random.random_range(0..12),
            text,
        }
    }
}

impl History<'_> {
    pub fn done(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap()
    }

    pub fn begin(&self, who: usize, room: &str, op: Op) -> usize {
        self.done().record.begin(&self.people[who].id, room, op)
    }

    pub fn end(&self, place: usize, revision: u64, seq: u64, again: bool) {
        self.done().record.end(place, Outcome::Done { revision, seq, again });
    }

    fn unsure(&self, room: &str) {
        self.done().record.unsure.insert(room.to_owned());
    }

    fn is_in(&self, who: usize, room: &str) -> bool {
        self.done().record.now(room).members.contains_key(&self.people[who].id)
    }

    /// Mostly one that somebody is in.
    pub fn some_conversation(&self, who: usize, pick: usize) -> Option<String> {
        let (record, me) = (&self.done().record, &self.people[who].id);
        let all = record.rooms();
        let of = |room: &&String| record.now(room).members.contains_key(me);
        let mut rooms: Vec<_> = all.iter().filter(of).cloned().collect();
        if pick.is_multiple_of(5) || rooms.is_empty() {
            rooms = all;
        }
        (!rooms.is_empty()).then(|| rooms[pick % rooms.len()].clone())
    }

    /// Asks, of a conversation; nothing: that was refused, for the reason that the record then has.
    async fn ask(
        &self,
        who: usize,
        place: Option<usize>,
        room: &str,
        (method, path, body): (&str, &str, Value),
    ) -> Option<Value> {
        let (status, answer, times) = self.doors.insist(&self.people[who], method, path, body).await;
        assert!(status < 500, "{method} {path}: {status} {answer}");
        // What is to be tried again may have been done nevertheless, or be done later yet, also after what others do;
        // but what has a client id is done once.
        let said = path == "/v1/messages";
        if times > 1 && method != "GET" && !said {
            self.unsure(room);
        }
        if status < 300 {
            return Some(answer);
        }
        if let Some(place) = place.filter(|_| times == 1 || !said) {
            self.done().record.end(place, Outcome::Refused(word(&answer["reason"])));
        }
        None
    }

    async fn act(&self, plan: Plan) {
        let Plan { who, whom, what, pick, number: n, text } = plan;
        let who = if self.is_gone(who) { (who + 1) % PEOPLE } else { who };
        let other = self.people[whom].id.clone();
        if what < 6 {
            return self.make(who, whom, n, text).await;
        }
        let Some(id) = self.some_conversation(who, pick) else { return self.make(who, whom, n, text).await };
        let group = format!("/v1/groups/{id}");
        match what {
            6..28 => self.say(who, None, id, text).await,
            28..36 => self.read(who, &id, n).await,
            36..48 => {
                let users = vec![other, self.people[(whom + 1) % PEOPLE].id.clone()];
                self.add(who, &id, users).await;
            }
            48..58 => {
                let path = format!("{group}/members/{other}");
                let place = self.begin(who, &id, Op::Remove(other));
                if let Some(answer) = self.ask(who, Some(place), &id, ("DELETE", &path, Value::Null)).await {
                    self.end(place, number(&answer["revision"]), 0, false);
                }
            }
            58..64 => {
                let role = [OWNER, ADMIN, MEMBER][n as usize % 3].to_owned();
                let (path, body) = (format!("{group}/members/{other}/role"), json!({ "role": role }));
                let place = self.begin(who, &id, Op::Role { user: other, role });
                if let Some(answer) = self.ask(who, Some(place), &id, ("PUT", &path, body)).await {
                    self.end(place, number(&answer["revision"]), 0, false);
                }
            }
            64..69 => self.change(who, &id, n, text).await,
            69..79 => self.set(who, &id, n, &text).await,
            79..89 => self.invites(who, &id, n).await,
            89..98 => self.block(who, whom, n, text).await,
            98..101 => {
                let path = format!("/v1/conversations/{id}/messages?limit=3");
                let place = self.begin(who, &id, Op::Look);
                if self.ask(who, Some(place), &id, ("GET", &path, Value::Null)).await.is_some() {
                    self.end(place, 0, 0, false);
                }
            }
            101..109 => self.profile(who, n, text).await,
            _ => {
                let place = self.begin(who, &id, Op::End);
                if self.ask(who, Some(place), &id, ("DELETE", &group, Value::Null)).await.is_some() {
                    // Nothing comes after it.
                    self.end(place, u64::MAX, 0, false);
                }
            }
        }
    }

    /// A first message to somebody, or a group.
    async fn make(&self, who: usize, whom: usize, n: u64, text: String) {
        if n.is_multiple_of(3) {
            return self.first(who, whom, text).await;
        }
        let members: Vec<_> =
            (0..n as usize % PEOPLE).map(|k| self.people[(who + 1 + k) % PEOPLE].id.clone()).collect();
        let open = n.is_multiple_of(2);
        let history = if open { "HISTORY_ALL" } else { "HISTORY_SINCE_JOINED" };
        let body = json!({"name": text, "members": members, "history": history});
        // Whoever is blocked is not in it.
        let place = self.begin(who, "", Op::Create { members: members.clone(), name: text.clone(), open });
        let Some(answer) = self.ask(who, Some(place), "", ("POST", "/v1/groups", body)).await else { return };
        let id = word(&answer["conversation"]);
        self.done().record.asked[place].room.clone_from(&id);
        self.end(place, 1, 0, false);
        let came = self.came(who, place, &id, members, &answer);
        self.done().record.asked[place].op = Op::Create { members: came, name: text.clone(), open };
        if n % 4 == 1 {
            // Something is said among the two that whoever comes next does not see.
            self.say(who, None, id.clone(), text).await;
            self.add(who, &id, vec![self.people[(who + 2) % PEOPLE].id.clone()]).await;
        }
    }

    async fn first(&self, who: usize, whom: usize, text: String) {
        let [me, other] = [who, whom].map(|person| self.people[person].id.clone());
        let id = ConversationId::direct(me.parse().unwrap(), other.parse().unwrap()).to_string();
        self.say(who, Some(other), id, text).await;
    }

    async fn add(&self, who: usize, id: &str, users: Vec<String>) {
        let place = self.begin(who, id, Op::Add(users.clone()));
        let (path, body) = (format!("/v1/groups/{id}/members"), json!({ "users": users }));
        if let Some(answer) = self.ask(who, Some(place), id, ("POST", &path, body)).await {
            self.end(place, number(&answer["revision"]), 0, false);
            let came = self.came(who, place, id, users, &answer);
            self.done().record.asked[place].op = Op::Add(came);
        } else if self.done().record.asked[place].outcome == Outcome::Refused("GROUP_FULL".to_owned()) {
            // Whom a block keeps out does not count; one who may have been blocked may have counted.
            let (from, to) = self.done().record.when(place);
            let (me, mut done) = (&self.people[who].id, self.done());
            let may =
                |user: &String| user == me || (!done.record.is_gone(user) && done.record.blocks(me, user, from, to).1);
            let came = users.into_iter().filter(may).collect();
            done.record.asked[place].op = Op::Add(came);
        }
    }

    /// Those of some who were brought in, of whom a block keeps others out; how many is not sure where one began meanwhile.
    fn came(&self, who: usize, place: usize, id: &str, users: Vec<String>, answer: &Value) -> Vec<String> {
        let (me, mut done) = (&self.people[who].id, self.done());
        let (from, to) = done.record.when(place);
        let refused = |user: &String| list(&answer["refused"]).iter().any(|each| each["user"] == user.as_str());
        for user in users.iter().filter(|user| *user != me) {
            if done.record.is_gone(user) {
                assert!(refused(user), "{me} brings {user} to {id}, who is no more there: {answer}");
                continue;
            }
            let (may, may_not) = done.record.blocks(me, user, from, to);
            let said = refused(user);
            assert!(if said { may } else { may_not }, "{me} brings {user} to {id}: {answer}\n{:#?}", done.record);
            if may && may_not {
                done.record.unsure.insert(id.to_owned());
            }
        }
        users.into_iter().filter(|user| !refused(user)).collect()
    }

    async fn say(&self, who: usize, to: Option<String>, id: String, text: String) {
        let client_id = ClientId::now().to_string();
        let mut body = json!({"clientId": client_id, "text": text});
        match &to {
            Some(user) => body["user"] = json!(user),
            None => body["conversation"] = json!(id),
        }
        let place = self.begin(who, &id, Op::Say { client_id, text, to: to.clone() });
        let send = ("POST", "/v1/messages", body.clone());
        let Some(ack) = self.ask(who, Some(place), &id, send).await else { return };
        assert_eq!(ack["conversation"], id.as_str());
        let (revision, seq) = (number(&ack["revision"]), number(&ack["seq"]));
        if let Some(other) = to {
            let mut done = self.done();
            let begun = done.record.begin(&self.people[who].id, &id, Op::Direct { other });
            done.record.end(begun, Outcome::Done { revision: 1, seq: 0, again: true });
        }
        self.end(place, revision, seq, ack["duplicate"] == true);
        if seq.is_multiple_of(4)
            && let Some(again) = self.ask(who, None, &id, ("POST", "/v1/messages", body)).await
        {
            assert_eq!((&again["seq"], &again["duplicate"]), (&ack["seq"], &json!(true)));
        }
    }

    async fn read(&self, who: usize, id: &str, seq: u64) {
        let (path, body) = (format!("/v1/conversations/{id}/read"), json!({"seq": seq.to_string()}));
        let place = self.begin(who, id, Op::Read { seq });
        if let Some(ack) = self.ask(who, Some(place), id, ("PUT", &path, body)).await {
            self.end(place, 0, 0, false);
            self.mark(who, id, number(&ack["seq"]));
        }
    }

    pub fn mark(&self, who: usize, id: &str, seq: u64) {
        let mut done = self.done();
        let mark = done.marks.entry((id.to_owned(), self.people[who].id.clone())).or_default();
        *mark = seq.max(*mark);
    }

    async fn change(&self, who: usize, id: &str, n: u64, text: String) {
        let name = n.is_multiple_of(2).then_some(text.clone());
        let data: BTreeMap<_, _> = [(format!("k{}", n % 3), (!n.is_multiple_of(5)).then_some(text))].into();
        let mut body = json!({ "data": data });
        if let Some(name) = &name {
            body["name"] = json!(name);
        }
        let was_in = self.is_in(who, id);
        let place = self.begin(who, id, Op::Change { name: name.clone(), data: data.clone() });
        let path = format!("/v1/groups/{id}");
        if let Some(answer) = self.ask(who, Some(place), id, ("PATCH", &path, body)).await {
            // It is answered as of a later revision, perhaps: the name that it shows may be another's already.
            let mine = |body: &Value| body["by"] == self.people[who].id.as_str();
            match self.revision_of(who, id, "changed", mine).await {
                Some(revision) if shows(&answer, &name, &data) => self.end(place, revision, 0, false),
                _ => self.unsure(id),
            }
        } else if was_in && self.done().record.asked[place].outcome == Outcome::Refused(NOT_IN.to_owned()) {
            // Whoever is put out meanwhile is not told whether it was before that.
            self.unsure(id);
        }
    }

    /// The revision of the newest notice of a kind that is somebody's.
    async fn revision_of(&self, who: usize, id: &str, kind: &str, whose: impl Fn(&Value) -> bool) -> Option<u64> {
        let path = format!("/v1/conversations/{id}/changes?since=0&limit=200");
        let changes = self.doors.find(&self.people[who], &path).await?;
        let found = list(&changes["notices"]).iter().rev().find(|it| it[kind].is_object() && whose(&it[kind]))?;
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
        let (path, place) = (format!("/v1/conversations/{id}/settings"), self.begin(who, id, Op::Set));
        let clear = patch["clearedSeq"].is_string().then(|| self.done().record.clear(&self.people[who].id, id, n));
        if let Some(answer) = self.ask(who, Some(place), id, ("PATCH", &path, patch.clone())).await {
            self.end(place, 0, 0, false);
            if let Some(clear) = clear {
                self.done().record.cleared(clear, number(&answer["clearedSeq"]));
            }
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
            Some((code, group, most)) if !n.is_multiple_of(4) => {
                let (path, place) = (format!("/v1/invites/{code}"), self.begin(who, &group, Op::Join { code, most }));
                if self.ask(who, Some(place), &group, ("POST", &path, Value::Null)).await.is_none() {
                    if self.done().record.asked[place].outcome == Outcome::Refused(NOT_IN.to_owned()) {
                        // Put out again before they were answered.
                        self.unsure(&group);
                    }
                    return;
                }
                let me = self.people[who].id.as_str();
                let joining = |joined: &Value| list(&joined["members"]).iter().any(|each| each["user"] == me);
                match self.revision_of(who, &group, "joined", joining).await {
                    Some(revision) => self.end(place, revision, 0, false),
                    // Removed again meanwhile.
                    None => self.unsure(&group),
                }
            }
            _ => {
                let most = n % 3 + 1;
                let path = format!("/v1/groups/{id}/invites");
                if let Some(made) = self.ask(who, None, "", ("POST", &path, json!({ "maxUses": most }))).await {
                    self.done().invites.push((word(&made["code"]), id.to_owned(), most));
                }
            }
        }
    }

    /// Somebody is blocked, or no more; now and then they write at once.
    async fn block(&self, who: usize, whom: usize, n: u64, text: String) {
        // Who is no more there is blocked by nobody, and writes to nobody.
        if who == whom || self.is_gone(whom) {
            return;
        }
        let (me, other, set) = (&self.people[who], &self.people[whom].id, n.is_multiple_of(2));
        let place = self.done().record.block(&me.id, other, set);
        let method = if set { "PUT" } else { "DELETE" };
        let path = format!("/v1/blocks/{other}");
        let (status, answer, times) = self.doors.insist(me, method, &path, Value::Null).await;
        assert_eq!(status, 204, "{method} {path}: {answer}");
        // One that was asked for twice may be done at any time.
        if times == 1 {
            self.done().record.blocked(place);
        }
        if n.is_multiple_of(3) {
            self.first(whom, who, text).await;
        }
    }
}

fn shows(answer: &Value, name: &Option<String>, data: &BTreeMap<String, Option<String>>) -> bool {
    let shown = map(&answer["data"]);
    name.as_ref().is_none_or(|name| answer["name"] == name.as_str())
        && data.iter().all(|(key, value)| shown.get(key) == value.as_ref())
}

/// Plays the history of a seed; what came of what was asked for in it.
pub async fn history(doors: &Doors, seed: u64) -> Counts {
    let mut random = StdRng::seed_from_u64(seed);
    let run = uuid::Uuid::new_v4().simple().to_string();
    let names = (0..PEOPLE).map(|n| format!("h{seed}_{n}_{}", &run[..8]));
    let mut people = Vec::new();
    for name in names {
        people.push(sign_up_at(doors.api, &name).await);
    }
    let mut devices: Vec<(usize, Device)> = [0, 0, 1, 2, 3].map(|who| (who, Device::new(&people[who]))).into();
    let history = History { doors, people, done: Mutex::default() };
    history.profiles().await;
    // In some, somebody's account ends after so many rounds.
    let end = random.random_ratio(1, 5).then(|| (random.random_range(4..ROUNDS), random.random_range(0..PEOPLE)));
    let erase = random.random_ratio(1, 3);
    for (_, device) in &mut devices {
        if random.random_ratio(2, 3) {
            device.connect(doors, random.random_range(0..8)).await;
        }
    }
    // Lists of earlier, each to be brought up to date at the end.
    let mut lists: Vec<(usize, List)> = Vec::new();
    for round in 0..ROUNDS {
        for n in 0..random.random_range(0..4) {
            let (which, plan) =
                (random.random_range(0..devices.len()), Plan::new(&mut random, format!("{seed}.{round}.w{n}")));
            let (who, device) = &mut devices[which];
            if device.is_connected() {
                history.wire(device, Plan { who: *who, ..plan }).await;
            }
        }
        let plans: Vec<_> =
            (0..random.random_range(1..4)).map(|n| Plan::new(&mut random, format!("{seed}.{round}.{n}"))).collect();
        join_all(plans.into_iter().map(|plan| history.act(plan))).await;
        if random.random_ratio(1, 4) {
            let who = random.random_range(0..PEOPLE);
            if !history.is_gone(who) {
                lists.push((who, history.list(who, None).await));
            }
        }
        let count = devices.len();
        let (_, device) = &mut devices[random.random_range(0..count)];
        match random.random_range(0..8) {
            0..=3 => {
                device.connect(doors, random.random_range(0..8)).await;
                if random.random() {
                    device.ask_again().await;
                }
            }
            4 | 5 => device.cut(),
            6 => {
                device.cut();
                device.forget();
            }
            _ => device.wipe(),
        }
        for (who, device) in &mut devices {
            device.listen(doors, 20).await;
            history.note(*who, device);
        }
        if let Some((_, gone)) = end.filter(|(last, _)| *last == round) {
            for (_, device) in devices.iter_mut().filter(|(who, _)| *who == gone) {
                device.connect(doors, gone).await;
                device.settle(doors).await;
                history.note(gone, device);
            }
            devices.retain(|(who, _)| *who != gone);
            history.end_account(gone, erase).await;
        }
    }
    for (who, device) in &mut devices {
        device.give_up(|| random.random_ratio(3, 4));
        device.connect(doors, *who).await;
        device.settle(doors).await;
        history.note(*who, device);
    }
    history.check(&lists, devices).await;
    history.counts()
}
