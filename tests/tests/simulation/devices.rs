//! The devices of users: each keeps what a client keeps (a cursor, and of each conversation the revision as of which
//! all that it holds is true), and does at every resume, snapshot and resync what the protocol tells it to.

use super::{
    check,
    clock::{self, MS, between, chance},
    databases::{self, Listed},
    journal,
    net::{self, Port},
    operations::{self, Wish},
    processes::{self, CLIENTS, Chat},
};
use futures_util::{Stream, StreamExt, future};
use madang_chat::connection::TrunkHandle;
use madang_proto::{
    chat::v1::{Downstream, Open, downstream::Item},
    client::v1::{Device as Kind, Event, Resume, ServerFrame, event, server_frame},
    id::{ConversationId, UserId},
};
use prost::Message as _;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// What a device holds of a conversation.
#[derive(Debug, Clone, Copy)]
struct Held {
    joined: u64,
    revision: u64,
    left: bool,
}

/// A device.
struct Device {
    user: UserId,
    /// What it has saved.
    cursor: String,
    /// What it will save once it has its list.
    newest: String,
    rooms: BTreeMap<ConversationId, Held>,
    /// As of when one's own settings are that it holds.
    settings: BTreeMap<ConversationId, i64>,
    /// It must read its list: what it holds may have gaps until then.
    catching_up: bool,
    /// Of conversations of which something was seen ahead of what it holds: how far.
    ahead: BTreeMap<ConversationId, u64>,
    live: bool,
}

thread_local! {
    static DEVICES: RefCell<Vec<Device>> = RefCell::default();
    static STOPPING: Cell<bool> = const { Cell::new(false) };
    static CALM: Cell<bool> = const { Cell::new(false) };
}

fn with<T>(device: usize, act: impl FnOnce(&mut Device) -> T) -> T {
    DEVICES.with_borrow_mut(|devices| act(&mut devices[device]))
}

/// Nobody begins anything any more, and all stay connected.
pub fn stop() {
    STOPPING.set(true);
}

/// Nobody says anything, or all do as they like.
pub fn set_calm(calm: bool) {
    CALM.set(calm);
}

/// A new device of a user comes to life.
pub fn start(user: UserId, users: Vec<UserId>) {
    let number = DEVICES.with_borrow_mut(|devices| {
        devices.push(Device {
            user,
            cursor: String::new(),
            newest: String::new(),
            rooms: BTreeMap::new(),
            settings: BTreeMap::new(),
            catching_up: true,
            ahead: BTreeMap::new(),
            live: false,
        });
        devices.len() - 1
    });
    journal::device(number, user);
    processes::spawn(live(number, user));
    processes::spawn(act(number, user, users));
}

/// What keeps devices from holding just what the log says; none: nothing does.
pub fn unsettled() -> Option<String> {
    DEVICES.with_borrow(|devices| devices.iter().enumerate().find_map(|(number, device)| device.unsettled(number)))
}

impl Device {
    fn unsettled(&self, number: usize) -> Option<String> {
        let user = self.user;
        if !self.live || self.catching_up {
            let why = if self.live { "has not caught up" } else { "has no connection" };
            return Some(format!("device {number} of {user} {why}"));
        }
        check::rooms().into_iter().find_map(|id| {
            let (present, revision) = check::room(id, |room| (room.present(user), room.revision()))?;
            let (set, owed) = check::room(id, |room| (room.settings_at(user), room.owed()))?;
            let has = self.settings.get(&id).copied().unwrap_or(0);
            if present && has != set {
                return Some(format!("device {number} of {user} holds settings of {id} of {has}; they are of {set}"));
            }
            if let Some(owed) = owed {
                return Some(format!("{owed} has hidden {id}, and nobody was told that they have read it"));
            }
            let held = self.rooms.get(&id);
            let settled = match held {
                Some(held) if present => !held.left && held.revision == revision,
                Some(held) => held.left,
                None => !present,
            };
            (!settled).then(|| {
                let is = if present { format!("is in {id}@{revision}") } else { format!("is not in {id} any more") };
                format!("device {number} of {user}, who {is}, holds {held:?}")
            })
        })
    }

    fn take(&mut self, number: usize, event: &Event) {
        if !check::delivered(self.user, number, event) {
            return;
        }
        check::trace(|| format!("device {number} got {}@{}", &event.conversation[28..], event.revision));
        if let (Some(event::Body::Settings(set)), Ok(id)) = (&event.body, event.conversation.parse()) {
            let has = self.settings.entry(id).or_default();
            *has = set.updated_at.max(*has);
            self.newest.clone_from(&event.cursor);
            if !self.catching_up {
                self.cursor.clone_from(&self.newest);
            }
            return;
        }
        journal::saw(number, event);
        self.newest.clone_from(&event.cursor);
        let Ok(id) = event.conversation.parse::<ConversationId>() else { return };
        let own = self.user.to_string();
        let joins =
            matches!(&event.body, Some(event::Body::Joined(all)) if all.members.iter().any(|each| each.user == own));
        let leaves = matches!(&event.body, Some(event::Body::Left(all)) if all.users.contains(&own));
        let revision = event.revision;
        let held = self.rooms.get(&id).copied();
        let now = match held {
            Some(held) if revision <= held.revision => {
                check::count("repeated events");
                Some(held)
            }
            Some(held) if !held.left && revision == held.revision + 1 => Some(Held { revision, left: leaves, ..held }),
            Some(Held { left: true, .. }) | None if joins => Some(Held { joined: revision, revision, left: false }),
            _ => None,
        };
        if let Some(now) = now {
            self.rooms.insert(id, now);
        } else if self.catching_up {
            let ahead = self.ahead.entry(id).or_default();
            *ahead = revision.max(*ahead);
        } else {
            check::wrong(format!("device {number} of {own} was sent {id}@{revision} and holds {held:?}: a gap"));
        }
        if !self.catching_up {
            self.cursor.clone_from(&self.newest);
        }
    }

    /// Takes a list with all that has changed; whether that is all there was to catch up with.
    fn caught_up(&mut self, list: &[Listed]) -> bool {
        for each in list {
            let Listed { conversation, joined, left, revision, settings_at } = *each;
            let has = self.settings.entry(conversation).or_default();
            *has = settings_at.max(*has);
            let held = self.rooms.get_mut(&conversation);
            match held {
                Some(held) if left > 0 => {
                    if held.revision < left {
                        (held.revision, held.left) = (left, true);
                    }
                }
                // Events of what was left lately may still come.
                None if left > 0 => drop(self.rooms.insert(conversation, Held { joined, revision: left, left: true })),
                Some(held) if held.joined >= joined => held.revision = held.revision.max(revision),
                _ => drop(self.rooms.insert(conversation, Held { joined, revision, left: false })),
            }
        }
        let rooms = &self.rooms;
        self.ahead.retain(|id, ahead| rooms.get(id).is_none_or(|held| held.revision < *ahead));
        if self.ahead.is_empty() {
            self.catching_up = false;
            self.cursor.clone_from(&self.newest);
        }
        !self.catching_up
    }
}

/// Reads the list until it is shown, and waits for history to have what is in it.
async fn read_list(number: usize, user: UserId, done: mpsc::Sender<(u64, Vec<Listed>)>, generation: u64) {
    loop {
        let asked = clock::now();
        if let Some(list) = databases::list(CLIENTS, user).await {
            let mut complete = true;
            for each in list.iter().filter(|each| each.left == 0) {
                complete &= databases::changes(CLIENTS, each.conversation, each.revision).await;
            }
            if complete {
                list.iter().filter(|each| each.left == 0).for_each(|each| journal::fetched(number, user, asked, each));
                let _ = done.send((generation, list)).await;
                return;
            }
        }
        net::pause(between(100 * MS, 800 * MS)).await;
        if done.is_closed() {
            return;
        }
    }
}

/// Connects again and again.
async fn live(number: usize, user: UserId) {
    net::pause(between(0, 3000 * MS)).await;
    loop {
        if let Some(chat) = processes::home_of(user.bytes())
            && let Some((trunk, items)) = open(number, user, &chat).await
        {
            serve(number, user, chat.id, items).await;
            with(number, |device| device.live = false);
            if let (Some(chat), Some(there)) = (processes::find(chat.id), net::way(chat.id, Port::Clients)) {
                net::after(there, move || chat.within(|runtime| drop(runtime.spawn(async move { trunk.end().await }))));
            }
        }
        let away = match clock::below(10) {
            _ if STOPPING.get() => 50 * MS,
            0 => between(1000 * MS, 30_000 * MS),
            1..=3 => between(100 * MS, 3000 * MS),
            _ => between(MS, 200 * MS),
        };
        net::pause(away).await;
        if chance(10) && !STOPPING.get() {
            check::count("devices that forgot everything");
            with(number, |device| {
                device.rooms.clear();
                device.settings.clear();
                device.cursor.clear();
                device.newest.clear();
            });
            journal::device(number, user);
        }
    }
}

async fn open(
    number: usize,
    user: UserId,
    chat: &Chat,
) -> Option<(TrunkHandle, impl Stream<Item = Vec<Downstream>> + Unpin + use<>)> {
    let (id, there) = (chat.id, net::way(chat.id, Port::Clients)?);
    let (sender, receiver) = oneshot::channel();
    let open = Open {
        user: user.to_string(),
        session: String::new(),
        device: Some(Kind { id: number.to_string(), ..Kind::default() }),
        resume: with(number, |device| device.cursor.clone()),
        ..Open::default()
    };
    net::after(there, move || {
        let Some(chat) = processes::find(id) else { return };
        let (trunk, responses) = chat.connections.trunk();
        // It ends with an error.
        let items = responses.filter_map(|response| future::ready(response.ok().map(|response| response.items)));
        let opening = trunk.clone();
        chat.within(|runtime| drop(runtime.spawn(async move { opening.open(1, open).await })));
        drop(sender.send((trunk, items)));
    });
    tokio::time::timeout(Duration::from_secs(5), receiver).await.ok()?.ok()
}

/// Takes what comes, until the connection ends.
async fn serve(number: usize, user: UserId, chat: usize, mut items: impl Stream<Item = Vec<Downstream>> + Unpin) {
    let stays = if chance(300) { between(50 * MS, 4000 * MS) } else { between(1000 * MS, 40_000 * MS) };
    let end = clock::now() + stays;
    let (done, mut lists) = mpsc::channel::<(u64, Vec<Listed>)>(4);
    let mut generation = 0;
    loop {
        if !processes::is_there(chat) && chance(600) || (clock::now() > end && !STOPPING.get()) {
            return;
        }
        if net::is_cut(chat, Port::Clients) {
            net::pause(between(100 * MS, 500 * MS)).await;
            if chance(100) {
                return;
            }
            continue;
        }
        let next = tokio::select! {
            biased;
            Some((of, list)) = lists.recv() => {
                if of == generation && !with(number, |device| device.caught_up(&list)) {
                    processes::spawn_here(read_list(number, user, done.clone(), generation));
                }
                continue;
            }
            next = tokio::time::timeout(Duration::from_millis(500), items.next()) => match next {
                Ok(next) => next,
                Err(_) => continue,
            },
        };
        let Some(items) = next else { return };
        if chance(100) {
            net::pause(between(MS, 20 * MS)).await;
        }
        for Downstream { item, .. } in items {
            // A socket may break between any two events, also of one publish.
            if chance(10) && !STOPPING.get() {
                return;
            }
            let again = match item {
                Some(Item::Opened(opened)) => began(number, opened.resume(), opened.cursor),
                Some(Item::Frame(frame)) => frame_came(number, frame),
                Some(Item::Closed(_)) | None => return,
            };
            if again {
                generation += 1;
                processes::spawn_here(read_list(number, user, done.clone(), generation));
            }
        }
    }
}

/// The connection has begun; whether the list must be read.
fn began(number: usize, resume: Resume, cursor: String) -> bool {
    check::count(match resume {
        Resume::New => "new",
        Resume::Resumed => "resumed",
        _ => "snapshots",
    });
    check::trace(|| format!("device {number}: {resume:?}"));
    with(number, |device| {
        device.live = true;
        device.newest = cursor;
        device.ahead.clear();
        // One that resumes from before a snapshot that it has not finished is back where it was.
        if device.catching_up || resume != Resume::Resumed {
            journal::resynced(number);
        }
        device.catching_up = resume != Resume::Resumed;
        device.catching_up
    })
}

fn frame_came(number: usize, frame: bytes::Bytes) -> bool {
    let Ok(frame) = ServerFrame::decode(frame) else {
        check::wrong(format!("device {number} got a frame that it can't read"));
        return false;
    };
    with(number, |device| match frame.body {
        Some(server_frame::Body::Event(event)) => {
            device.take(number, &event);
            false
        }
        Some(server_frame::Body::Live(live)) => {
            device.newest = live.cursor;
            if !device.catching_up {
                device.cursor.clone_from(&device.newest);
            }
            false
        }
        Some(server_frame::Body::Resync(resync)) => {
            check::count("resyncs");
            check::trace(|| format!("device {number}: resync"));
            device.newest = resync.cursor;
            device.catching_up = true;
            journal::resynced(number);
            true
        }
        _ => false,
    })
}

/// Does what users do, now and then.
async fn act(number: usize, user: UserId, users: Vec<UserId>) {
    let busy = *clock::pick(&[300, 1500, 4000]);
    while !STOPPING.get() {
        net::pause(between(5 * MS, busy * 2 * MS)).await;
        if CALM.get() {
            continue;
        }
        let groups: Vec<_> =
            with(number, |device| device.rooms.iter().filter(|(_, held)| !held.left).map(|(id, _)| *id).collect());
        let other = *clock::pick(&users);
        let wish = match clock::below(100) {
            0..=9 => Wish::say(ConversationId::direct(user, other), Some(other)),
            10..=14 if check::rooms().len() < 6 => {
                let members = users.iter().filter(|_| chance(600)).copied().collect();
                Wish::Create(ConversationId::new(), members)
            }
            _ if groups.is_empty() => continue,
            15..=21 => Wish::Add(*clock::pick(&groups), other),
            22..=27 => Wish::Remove(*clock::pick(&groups), other),
            28..=45 => {
                let id = *clock::pick(&groups);
                Wish::Read(id, check::room(id, |room| room.last_seq).unwrap_or(0))
            }
            46..=48 => Wish::say(*clock::pick(&check::rooms()), None),
            49..=54 => {
                let until = i64::try_from(clock::below(1000)).unwrap_or(0);
                Wish::Set(*clock::pick(&groups), until, chance(300))
            }
            55..=66 => match Wish::amend(user, *clock::pick(&check::rooms())) {
                Some(wish) => wish,
                None => continue,
            },
            _ => Wish::say(*clock::pick(&groups), None),
        };
        if operations::open() > 12 {
            continue;
        }
        processes::spawn_here(async move {
            match wish {
                Wish::Say { .. } | Wish::Amend(..) => operations::say(user, wish).await,
                other => drop(operations::operate(user, other).await),
            }
        });
    }
}
