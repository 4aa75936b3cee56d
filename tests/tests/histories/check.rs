//! What must hold when all is quiet: the model, what the server answers, and what devices hold are the same.

use super::{
    device::Device,
    doors::{Held, PATIENCE, Shown, fetch, list, map, number, word},
    model::{Op, Room, Said, plain},
    play::History,
    record::Outcome,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A list, as somebody has it.
#[derive(Debug, Clone, Default)]
pub struct List {
    pub all: BTreeMap<String, Value>,
    badge: u64,
    sync: String,
}

impl List {
    /// Users as ids alone: a conversation does not change by what they are called.
    fn without_profiles(mut self) -> BTreeMap<String, Value> {
        for one in self.all.values_mut() {
            one["peer"] = one["peer"]["user"].take();
            for user in one["firstMembers"].as_array_mut().into_iter().flatten() {
                *user = user["user"].take();
            }
        }
        self.all
    }
}

/// What somebody sees of each of their conversations.
pub type Seen = BTreeMap<String, (Held, Vec<Shown>)>;

/// What somebody's devices are to hold.
#[derive(Default)]
pub struct Wanted {
    pub seen: Seen,
    pub blocks: BTreeSet<String>,
    /// Their own profile.
    pub me: Value,
}

/// What the model makes of a conversation, and what nobody knows of it.
struct Made {
    room: Room,
    /// The first, where nothing is sure.
    unsure: bool,
    unknown: Vec<(String, Op)>,
}

impl Made {
    /// Whether something that nobody knows of may have changed a message.
    fn may_have(&self, seq: u64, what: impl Fn(&str, &Op) -> bool) -> bool {
        self.unknown.iter().any(|(by, op)| op.changes() == Some(seq) && what(by, op))
    }

    fn unknown_says(&self) -> usize {
        self.unknown.iter().filter(|(_, op)| matches!(op, Op::Say { .. })).count()
    }

    /// Whether a message that is shown to somebody is one that this can have come to.
    fn allows(&self, shown: &Shown, whose: &str) -> bool {
        let Shown { seq, client_id, text, .. } = shown;
        let Some(Said { text: said, deleted, revision, reactions, .. }) = self.room.said.get(seq) else {
            // Nobody was told of it.
            return self
                .unknown
                .iter()
                .any(|(by, op)| matches!(op, Op::Say { client_id: id, .. } if id == client_id) && *by == shown.sender);
        };
        let taken_back = self.may_have(*seq, |_, op| matches!(op, Op::Delete { .. }));
        let edited = |by: &str, op: &Op| by == shown.sender && matches!(op, Op::Edit { text: to, .. } if to == text);
        let reacted = self.may_have(*seq, |_, op| matches!(op, Op::React { .. }));
        let with: BTreeMap<_, _> = reactions
            .values()
            .map(|(emoji, users)| (emoji.clone(), (users.len() as u64, users.contains(whose))))
            .collect();
        let sure = !self.may_have(*seq, |_, _| true);
        let same_emoji = shown.reactions.keys().map(|emoji| plain(emoji)).collect::<BTreeSet<_>>().len();
        *client_id == self.room.said[seq].client_id
            && shown.sender == self.room.said[seq].sender
            && (shown.deleted == *deleted || (shown.deleted && taken_back))
            && (shown.deleted || text == said || self.may_have(*seq, edited))
            && (!shown.deleted || (text.is_empty() && shown.reactions.is_empty()))
            && (shown.deleted || shown.reactions == with || reacted)
            && same_emoji == shown.reactions.len()
            && (if sure { shown.revision == *revision } else { shown.revision >= *revision })
    }
}

impl History<'_> {
    /// Everything of somebody's list, page by page; with an earlier list, that with what has changed since.
    pub async fn list(&self, who: usize, earlier: Option<&List>) -> List {
        let mut all = earlier.cloned().unwrap_or_default();
        let mut page = earlier.map_or(String::new(), |earlier| format!("&since={}", earlier.sync));
        let mut first = true;
        loop {
            let answer = self.doors.get(&self.people[who], &format!("/v1/conversations?limit=2{page}")).await;
            if first {
                all.badge = number(&answer["badge"]);
                for id in list(&answer["removed"]) {
                    all.all.remove(&word(id));
                }
            }
            first = false;
            for each in list(&answer["conversations"]) {
                all.all.insert(word(&each["conversation"]), each.clone());
            }
            all.sync = word(&answer["sync"]);
            let next = word(&answer["nextPageToken"]);
            if next.is_empty() {
                return all;
            }
            page = format!("&pageToken={next}");
        }
    }

    /// Waits until what everybody has read is known to everybody: then nothing moves any more.
    async fn quiet(&self) {
        let end = tokio::time::Instant::now() + PATIENCE;
        for who in self.present() {
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

    /// How far somebody has read, as far as that is known: by coming, by what they said, and what they read.
    fn check_mark(&self, id: &str, user: &str, made: &Made, mark: u64) {
        let done = self.done();
        let whose = (id.to_owned(), user.to_owned());
        let read = done.marks.get(&whose).copied().unwrap_or(0).max(made.room.members[user].mark);
        let moved = done
            .settings
            .get(&whose)
            .into_iter()
            .flatten()
            .any(|(_, patch)| patch["hidden"] == true || patch["clearedSeq"].is_string());
        let unknown = made.unknown.iter().any(|(by, op)| by == user && matches!(op, Op::Say { .. } | Op::Read { .. }));
        let others = made.unknown_says() > 0;
        assert!(
            mark >= read && (mark == read || moved || unknown || others),
            "{user} has read {mark} of {id}, not {read}"
        );
    }

    /// What the model makes of all conversations.
    fn made(&self) -> BTreeMap<String, Made> {
        let record = &self.done().record;
        let made = |id: String| {
            let room = record.now(&id);
            let unknown = record.asked.iter().filter(|each| each.room == id && each.outcome == Outcome::Unknown);
            let unknown = unknown.map(|each| (each.by.clone(), each.op.clone())).collect();
            let unsure = record.unsure.contains(&id);
            (id, Made { room, unsure, unknown })
        };
        record.rooms().into_iter().map(made).collect()
    }

    /// Somebody's list against the model, and what it says of unread numbers.
    async fn check_list(&self, who: usize, rooms: &BTreeMap<String, Made>) -> Seen {
        let user = &self.people[who].id;
        let List { all: list, badge, .. } = self.list(who, None).await;
        let (mut unread, mut seen) = (0, Seen::new());
        for (id, conversation) in &list {
            let held = fetch(self.doors, &self.people[who], id, 0).await.unwrap();
            assert_eq!(number(&conversation["unread"]), held.last_seq - number(&conversation["readSeq"]));
            if conversation["settings"]["mutedUntil"] == "0" {
                unread += number(&conversation["unread"]);
            }
            let made = rooms.get(id).unwrap_or_else(|| panic!("nobody made {id}"));
            let (said, unknown) = (made.room.said.len() as u64, made.unknown_says() as u64);
            assert!((said..=said + unknown).contains(&held.last_seq), "{id}: {held:?} after {said} and {unknown}");
            seen.insert(id.clone(), (held.clone(), Vec::new()));
            if !made.unsure {
                let Room { name, data, .. } = &made.room;
                self.check_settings(id, user, &held.settings);
                assert_eq!((held.roles, held.name, held.data), (made.room.roles(), name.clone(), data.clone()));
                if unknown == 0 {
                    let (first, member) = (number(&conversation["firstSeq"]), &made.room.members[user]);
                    assert_eq!(first, member.first, "{user} sees {id} from there");
                }
                self.check_mark(id, user, made, number(&conversation["readSeq"]));
            }
        }
        assert_eq!(badge, unread, "the badge of {user}");
        for (id, made) in rooms.iter().filter(|(_, made)| !made.unsure) {
            assert_eq!(made.room.members.contains_key(user), list.contains_key(id), "{user} in {id}");
        }
        for (id, made) in rooms {
            let shown = self.check_pages(who, id, list.get(id), |shown| made.allows(shown, user)).await;
            seen.entry(id.clone()).and_modify(|(_, messages)| *messages = shown);
        }
        seen
    }

    /// What a device holds is what its user sees.
    fn check_device(device: &Device, seen: &Seen) {
        for (id, seq) in &device.unheld {
            let cleared = seen.get(id).map_or(u64::MAX, |(held, _)| number(&held.settings["clearedSeq"]));
            assert!(*seq <= cleared, "a device was told of message {seq} of {id}, which it did not hold");
        }
        for (id, held) in &device.held {
            let (there, shown) = &seen[id];
            assert_eq!(held, there, "{id}");
            let first = shown.first().map_or(u64::MAX, |shown| shown.seq);
            let holds = device.messages.range((id.clone(), first)..).take_while(|((of, _), _)| of == id);
            assert_eq!(holds.map(|(_, message)| message.clone()).collect::<Vec<_>>(), *shown, "the messages of {id}");
        }
    }

    async fn check_invites(&self) {
        let invites = self.done().invites.clone();
        for (code, group, most) in invites {
            for who in self.present() {
                let path = format!("/v1/groups/{group}/invites");
                let (status, all) = self.doors.ask(&self.people[who], "GET", &path, Value::Null).await;
                let all = if status == 200 { list(&all["invites"]) } else { &[] };
                for invite in all.iter().filter(|each| each["code"] == code.as_str()) {
                    assert!(invite["uses"].as_u64().unwrap() <= most, "{invite}");
                }
            }
        }
    }

    /// Whom somebody blocks.
    async fn check_blocks(&self, who: usize) -> BTreeSet<String> {
        let answer = self.doors.get(&self.people[who], "/v1/blocks").await;
        let blocks: BTreeSet<_> = list(&answer["users"]).iter().map(|user| word(&user["user"])).collect();
        let people: Vec<_> = self.people.iter().map(|person| person.id.clone()).collect();
        let (may, may_not) = self.done().record.blocks_now(&self.people[who].id, &people);
        let fair = |user: &String| if blocks.contains(user) { may.contains(user) } else { may_not.contains(user) };
        assert!(people.iter().all(fair), "{who} blocks {blocks:?}, not {may:?}");
        blocks
    }

    /// That everybody was told of the same events, and of those that were answered.
    fn check_events(&self, devices: &[(usize, Device)]) {
        let mut told: BTreeMap<(String, u64), Value> = BTreeMap::new();
        for event in devices.iter().flat_map(|(_, device)| &device.events) {
            let place = (word(&event["conversation"]), number(&event["revision"]));
            let mut event = event.clone();
            let kinds = ["message", "edited", "deleted", "reacted", "read", "joined", "left", "role", "changed"];
            // What is to oneself alone, and what one may not see.
            if place.1 == 0 || kinds.iter().all(|kind| event[kind].is_null()) {
                continue;
            }
            event["cursor"] = Value::Null;
            let before = told.entry(place).or_insert_with(|| event.clone());
            assert_eq!(*before, event, "one event, told in two ways");
        }
        for asked in &self.done().record.asked {
            let Outcome::Done { revision, seq, again: false } = asked.outcome else { continue };
            let Some(event) = told.get(&(asked.room.clone(), revision)) else { continue };
            let seq = seq.to_string();
            let fair = match &asked.op {
                Op::Say { client_id, text, .. } => {
                    let said = &event["message"];
                    said["clientId"] == client_id.as_str() && said["text"] == text.as_str() && said["seq"] == seq
                }
                Op::Edit { text, .. } => event["edited"]["seq"] == seq && event["edited"]["text"] == text.as_str(),
                Op::Delete { .. } => event["deleted"] == json!({"seq": seq, "by": asked.by}),
                Op::React { remove, .. } => {
                    let reacted = &event["reacted"];
                    reacted["seq"] == seq && reacted["user"] == asked.by.as_str() && reacted["removed"] == *remove
                }
                _ => true,
            };
            assert!(fair, "{asked:?} was told as {event}");
        }
    }

    /// Everything, with lists of earlier.
    pub async fn check(&self, lists: &[(usize, List)], mut devices: Vec<(usize, Device)>) {
        self.ended().await;
        self.quiet().await;
        self.done().record.judge(self.doors.most);
        let (rooms, mut wanted) = (self.made(), BTreeMap::new());
        for who in self.present() {
            let (seen, blocks) = (self.check_list(who, &rooms).await, self.check_blocks(who).await);
            let me = self.doors.get(&self.people[who], "/v1/me").await;
            wanted.insert(who, Wanted { seen, blocks, me });
        }
        self.check_profiles(&wanted).await;
        self.check_invites().await;
        for (who, earlier) in lists.iter().filter(|(who, _)| wanted.contains_key(who)) {
            let (since, now) = (self.list(*who, Some(earlier)).await, self.list(*who, None).await);
            assert_eq!(since.badge, now.badge, "since {}", earlier.sync);
            assert_eq!(since.without_profiles(), now.without_profiles(), "since {}", earlier.sync);
        }
        for (who, device) in &mut devices {
            device.connect(self.doors, *who).await;
            device.listen_until(self.doors, &wanted[who]).await;
            Self::check_device(device, &wanted[who].seen);
        }
        self.check_events(&devices);
        self.check_who_is_there(&mut devices, &wanted).await;
        self.check_told();
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
