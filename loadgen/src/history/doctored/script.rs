//! Runs that could have happened: a small model of a server and its clients, led by a list of actions, whose journal
//! can be doctored before it is judged.

use super::amended::{self, Reactors};
use crate::history::*;
use madang_proto::client::v1::{
    Ack, Event, Joined, JoinedMember, Left, Message, ReadMarks, Send, client_frame, event::Body,
};
use proptest::prelude::*;
use std::collections::HashSet;
use uuid::Uuid;

/// What happens next. Rooms are 0 and 1 (where members see nothing from before they joined), users 0 to 3, devices
/// 0 to 7; of each user, two.
#[derive(Debug, Clone, Copy)]
pub enum Action {
    Send(usize, usize),
    /// Sent three times, acknowledged twice.
    Retried(usize, usize),
    /// Never answered, and kept.
    Kept(usize, usize),
    /// Never answered, and not kept.
    Unknown(usize, usize),
    /// Refused for good.
    Refused(usize, usize),
    /// Sent by somebody who may be no member.
    Outsider(usize, usize),
    Join(usize, usize),
    Leave(usize, usize),
    /// Somebody edits their newest message.
    Edit(usize, usize),
    /// Somebody takes it back.
    Delete(usize, usize),
    /// Somebody puts an emoji under the newest message, or removes it.
    React(usize, usize),
    /// Somebody asks for an edit, is never answered, and it is made, or not.
    Uncertain(usize, usize),
    /// Read marks move.
    Marks(usize),
    /// A device is sent some of what waits.
    Deliver(usize),
    /// A device is sent again what it had.
    Repeat(usize),
    /// A device loses what waits, is told so, and reads history.
    Snapshot(usize),
}

pub fn action() -> impl Strategy<Value = Action> {
    use Action::*;
    (0..16, 0usize..2, 0usize..4, 0usize..8).prop_map(|(which, room, user, device)| match which {
        0 => Send(room, user),
        1 => Retried(room, user),
        2 => Kept(room, user),
        3 => Unknown(room, user),
        4 => Refused(room, user),
        5 => Outsider(room, user),
        6 => Join(room, user),
        7 => Leave(room, user),
        8 => Marks(room),
        9 => Deliver(device),
        10 => Repeat(device),
        11 => Edit(room, user),
        12 => Delete(room, user),
        13 => React(room, user),
        14 => Uncertain(room, user),
        _ => Snapshot(device),
    })
}

/// A line of a journal.
#[derive(Debug, Clone)]
pub enum Note {
    Invoked { at: u64, conversation: String, sender: String, send: Send },
    Acked { at: u64, sender: String, client_id: String, ack: Ack },
    Refused { conversation: String, sender: String, client_id: String },
    Amending { at: u64, user: String, frame: client_frame::Body },
    Amended { at: u64, user: String, frame: client_frame::Body, ack: Ack },
    Changed { asked: u64, answered: u64, conversation: String, user: String, inside: bool, revision: u64 },
    Resynced { device: u32 },
    Saw { at: u64, device: u32, event: Event },
    Fetched { device: u32, asked: u64, page: Room, has_before: bool, has_after: bool, since: Option<u64> },
}

/// A run: its journal, the histories at its end, and what really happened.
#[derive(Debug, Clone, Default)]
pub struct Run {
    pub users: Vec<String>,
    pub notes: Vec<Note>,
    pub rooms: Vec<Room>,
    pub truth: [Vec<Event>; 2],
}

impl Run {
    pub fn judge(&self) -> Verdict {
        let mut journal = Journal::new();
        let devices: Vec<Device> = (0..10).map(|device| journal.device(&self.users[device / 2])).collect();
        for note in self.notes.clone() {
            match note {
                Note::Invoked { at, conversation, sender, send } => journal.invoked(at, &conversation, &sender, &send),
                Note::Acked { at, sender, client_id, ack } => journal.acked(at, &sender, &client_id, &ack),
                Note::Refused { conversation, sender, client_id } => {
                    journal.refused(&conversation, &sender, &client_id);
                }
                Note::Amending { at, user, frame } => journal.amending(at, &user, &frame),
                Note::Amended { at, user, frame, ack } => journal.amended(at, &user, &frame, &ack),
                Note::Changed { asked, answered, conversation, user, inside, revision } => {
                    let (conversation, user) = (&*conversation, &*user);
                    journal.changed(Membership { asked, answered, conversation, user, inside, revision });
                }
                Note::Resynced { device } => journal.resynced(devices[device as usize]),
                Note::Saw { at, device, event } => journal.saw(at, devices[device as usize], &event),
                Note::Fetched { device, asked, page, has_before, has_after, since } => {
                    let Room { conversation, messages, notices, revision, .. } = &page;
                    let (conversation, revision) = (&**conversation, *revision);
                    let page =
                        Fetched { asked, conversation, messages, notices, revision, has_before, has_after, since };
                    journal.fetched(devices[device as usize], page);
                }
            }
        }
        judge(&journal, &self.rooms)
    }

    pub fn user(&self, user: &str) -> u32 {
        self.users.iter().position(|each| each == user).unwrap() as u32
    }

    /// How many messages devices received, each counted once for each device.
    pub fn delivered(&self) -> u64 {
        let saw = |note: &Note| match note {
            Note::Saw { device, event, .. } if matches!(event.body, Some(Body::Message(_))) => {
                Some((*device, event.conversation.clone(), event.revision))
            }
            _ => None,
        };
        self.notes.iter().filter_map(saw).collect::<HashSet<_>>().len() as u64
    }

    /// Every note about a message.
    pub fn each_of(&mut self, client_id: &str, mut change: impl FnMut(&mut Note)) {
        for note in &mut self.notes {
            let of = match &*note {
                Note::Invoked { send, .. } => &send.client_id,
                Note::Acked { client_id, .. } | Note::Refused { client_id, .. } => client_id,
                Note::Saw { event: Event { body: Some(Body::Message(message)), .. }, .. } => &message.client_id,
                _ => continue,
            };
            if of == client_id {
                change(note);
            }
        }
    }

    /// Some event with a message, as one device saw it.
    pub fn seen(&mut self, pick: usize, change: impl FnOnce(&mut Event)) -> bool {
        let mut all: Vec<&mut Event> = self
            .notes
            .iter_mut()
            .filter_map(|note| match note {
                Note::Saw { event, .. } if matches!(event.body, Some(Body::Message(_))) => Some(event),
                _ => None,
            })
            .collect();
        let count = all.len().max(1);
        all.get_mut(pick % count).map(|event| change(event)).is_some()
    }
}

/// What a device has been sent of a conversation, as places in the truth.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    joined: usize,
    next: usize,
}

pub struct Model {
    pub run: Run,
    clock: u64,
    pub ids: u128,
    pub inside: [[bool; 4]; 2],
    places: [[Place; 8]; 2],
    pub reactors: Reactors,
}

/// Plays a run; at its end every device is given all that is left.
pub fn play(actions: &[Action]) -> Run {
    let users = (0..5).map(|user| Uuid::from_u128(0xa0 + user).to_string()).collect();
    let mut model = Model {
        run: Run { users, ..Run::default() },
        clock: 0,
        ids: 0,
        inside: [[false; 4]; 2],
        places: [[Place::default(); 8]; 2],
        reactors: Reactors::new(),
    };
    for room in 0..2 {
        let conversation = Uuid::from_u128(0xc0 + room as u128).to_string();
        model.run.rooms.push(Room { conversation, all_visible: room == 0, ..Room::default() });
        model.joined(room, &[0, 1, 2]);
    }
    for action in actions {
        model.act(*action);
    }
    for device in 0..8 {
        model.deliver(device, usize::MAX);
    }
    model.run
}

impl Model {
    pub fn now(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub fn append(&mut self, room: usize, body: Body) -> Event {
        let at = self.now() as i64;
        let into = &mut self.run.rooms[room];
        into.revision += 1;
        let mut last_seq = into.messages.len() as u64;
        let mut body = body;
        if let Body::Message(message) = &mut body {
            last_seq += 1;
            (message.seq, message.revision, message.at) = (last_seq, into.revision, at);
            into.messages.push(message.clone());
        }
        let conversation = into.conversation.clone();
        let event = Event { conversation, revision: into.revision, at, last_seq, body: Some(body), ..Event::default() };
        if matches!(event.body, Some(Body::Joined(_) | Body::Left(_))) {
            into.notices.push(event.clone());
        }
        self.run.truth[room].push(event.clone());
        event
    }

    fn joined(&mut self, room: usize, users: &[usize]) -> Event {
        let place = self.run.truth[room].len();
        for user in users {
            self.inside[room][*user] = true;
            for device in [2 * user, 2 * user + 1] {
                self.places[room][device] = Place { joined: place, next: place };
            }
        }
        let members = users.iter().map(|user| JoinedMember { user: self.run.users[*user].clone(), role: 1 }).collect();
        self.append(room, Body::Joined(Joined { members, by: self.run.users[0].clone() }))
    }

    fn act(&mut self, action: Action) {
        use Action::*;
        match action {
            Send(room, user) => self.send(room, user, 1, 1, true),
            Retried(room, user) => self.send(room, user, 3, 2, true),
            Kept(room, user) => self.send(room, user, 2, 0, true),
            Unknown(room, user) => self.send(room, user, 1, 0, false),
            Refused(room, user) => self.refuse(room, user),
            Outsider(room, user) if !self.inside[room][user] => self.refuse(room, user),
            Outsider(..) => {}
            Edit(room, user) => self.edit(room, user, true, true),
            Uncertain(room, user) => self.edit(room, user, false, self.ids.is_multiple_of(2)),
            Delete(room, user) => self.delete(room, user),
            React(room, user) => self.react(room, user),
            Join(room, user) | Leave(room, user) => self.change(room, user, matches!(action, Join(..))),
            Marks(room) => {
                self.append(room, Body::Read(ReadMarks::default()));
            }
            Deliver(device) => self.deliver(device, 3),
            Repeat(device) => self.repeat(device),
            Snapshot(device) => self.snapshot(device),
        }
    }

    fn invoke(&mut self, room: usize, user: usize, id: u128) -> madang_proto::client::v1::Send {
        let (at, sender) = (self.now(), self.run.users[user].clone());
        let conversation = self.run.rooms[room].conversation.clone();
        let client_id = Uuid::from_u128(id).to_string();
        let send = madang_proto::client::v1::Send {
            conversation: conversation.clone(),
            client_id,
            text: format!("{id} 안녕"),
            ..Default::default()
        };
        self.run.notes.push(Note::Invoked { at, conversation, sender, send: send.clone() });
        send
    }

    fn send(&mut self, room: usize, user: usize, attempts: usize, acks: usize, kept: bool) {
        if !self.inside[room][user] {
            return;
        }
        self.ids += 1;
        let sender = self.run.users[user].clone();
        let send = self.invoke(room, user, self.ids);
        let mut numbers = Ack { conversation: send.conversation.clone(), ..Ack::default() };
        if kept {
            let (client_id, text) = (send.client_id.clone(), send.text.clone());
            let message =
                Message { sender: sender.clone(), client_id, text, r#type: "text".into(), ..Default::default() };
            let event = self.append(room, Body::Message(message));
            (numbers.seq, numbers.revision, numbers.at) = (event.last_seq, event.revision, event.at);
        }
        for _ in 1..attempts {
            self.invoke(room, user, self.ids);
        }
        for duplicate in 0..acks {
            let (at, sender, client_id) = (self.now(), sender.clone(), send.client_id.clone());
            let ack = Ack { duplicate: duplicate > 0, ..numbers.clone() };
            self.run.notes.push(Note::Acked { at, sender, client_id, ack });
        }
    }

    fn refuse(&mut self, room: usize, user: usize) {
        self.ids += 1;
        let send = self.invoke(room, user, self.ids);
        let (conversation, sender) = (send.conversation, self.run.users[user].clone());
        self.run.notes.push(Note::Refused { conversation, sender, client_id: send.client_id });
    }

    /// Somebody comes or goes; user 0 stays.
    fn change(&mut self, room: usize, user: usize, inside: bool) {
        if user == 0 || self.inside[room][user] == inside {
            return;
        }
        // A model's device does not know its place among two stays.
        for device in [2 * user, 2 * user + 1] {
            self.deliver(device, usize::MAX);
        }
        let asked = self.now();
        let event = if inside {
            self.joined(room, &[user])
        } else {
            let users = vec![self.run.users[user].clone()];
            let event = self.append(room, Body::Left(Left { users, by: self.run.users[0].clone() }));
            for device in [2 * user, 2 * user + 1] {
                self.deliver(device, usize::MAX);
            }
            self.inside[room][user] = false;
            event
        };
        let (answered, user) = (self.now(), self.run.users[user].clone());
        let (conversation, revision) = (event.conversation, event.revision);
        self.run.notes.push(Note::Changed { asked, answered, conversation, user, inside, revision });
    }

    fn deliver(&mut self, device: usize, most: usize) {
        for room in 0..2 {
            if !self.inside[room][device / 2] {
                continue;
            }
            let from = self.places[room][device].next;
            for place in (from..self.run.truth[room].len()).take(most) {
                let (at, mut event) = (self.now(), self.run.truth[room][place].clone());
                // Who may not see a message is not told what becomes of it.
                let seq = amended::about(&event).filter(|_| !self.run.rooms[room].all_visible);
                if seq.is_some_and(|seq| self.base(room, seq) <= self.places[room][device].joined as u64) {
                    event.body = None;
                }
                self.run.notes.push(Note::Saw { at, device: device as u32, event });
                self.places[room][device].next = place + 1;
            }
        }
    }

    fn repeat(&mut self, device: usize) {
        let device = device as u32;
        // What comes again leads up to what is new, so nothing from before the device was put elsewhere.
        let told = |note: &Note| matches!(note, Note::Resynced { device: of } if *of == device);
        let since = self.run.notes.iter().rposition(told).map_or(0, |place| place + 1);
        let saw = |note: &&Note| matches!(note, Note::Saw { device: of, .. } if *of == device);
        let again: Vec<Note> = self.run.notes[since..].iter().rev().filter(saw).take(4).cloned().collect();
        for mut note in again.into_iter().rev() {
            if let Note::Saw { at, .. } = &mut note {
                *at = self.now();
            }
            self.run.notes.push(note);
        }
    }

    fn snapshot(&mut self, device: usize) {
        self.run.notes.push(Note::Resynced { device: device as u32 });
        let since = [0, 1].map(|room| self.places[room][device].next);
        for room in 0..2 {
            if !self.inside[room][device / 2] {
                continue;
            }
            // It goes on from a little before the newest event, also if it has that.
            let newest = self.run.truth[room].len();
            let place = &mut self.places[room][device];
            place.next = place.joined.max(newest.saturating_sub(3));
            let user = &self.run.users[device / 2];
            let joined = |event: &&Event| matches!(&event.body, Some(Body::Joined(joined)) if joined.members.iter().any(|each| each.user == *user));
            let joined = self.run.truth[room].iter().rev().find(joined).map_or(0, |event| event.revision);
            let mut page = self.run.rooms[room].clone();
            let first = if page.all_visible { 0 } else { joined };
            page.messages.retain(|message| self.base(room, message.seq) >= first);
            page.notices.retain(|notice| notice.revision >= first);
            for message in &mut page.messages {
                for shown in &mut message.reactions {
                    shown.mine = self.reactors.contains(&(room, message.seq, shown.emoji.clone(), device / 2));
                }
            }
            let asked = self.now();
            if device % 4 == 1 {
                // What was sent or changed since it was last told something, as `changes` has it.
                let since = since[room] as u64;
                page.messages.retain(|message| message.revision > since);
                page.messages.sort_by_key(|message| message.revision);
                page.notices.retain(|notice| notice.revision > since);
                let (device, since) = (device as u32, Some(since));
                self.run.notes.push(Note::Fetched { device, asked, page, has_before: false, has_after: false, since });
                continue;
            }
            self.read(room, device, asked, page);
        }
    }

    /// Reads a history in two pages, where it has enough.
    fn read(&mut self, room: usize, device: usize, asked: u64, page: Room) {
        let device = device as u32;
        let half = page.messages.len() / 2;
        let mut older = page.clone();
        let mut newer = page;
        let cut = newer.messages.get(half).map_or(0, |message| self.base(room, message.seq));
        newer.messages.drain(..half);
        older.messages.truncate(half);
        if half > 0 {
            newer.notices.retain(|notice| notice.revision > cut);
            older.notices.retain(|notice| notice.revision < cut);
            let note = Note::Fetched { device, asked, page: older, has_before: false, has_after: true, since: None };
            self.run.notes.push(note);
        }
        let (page, has_before) = (newer, half > 0);
        self.run.notes.push(Note::Fetched { device, asked, page, has_before, has_after: false, since: None });
    }
}
