//! Edits, deletions and reactions of a true run, and ways to doctor what became of them.

use super::{
    Doctor,
    script::{Model, Note, Run},
};
use crate::history::{Kind, Room};
use madang_proto::client::v1::{
    Ack, Delete, Deleted, Edit, Edited, Event, Message, React, Reacted, Reaction, client_frame, event::Body,
};
use std::collections::HashSet;
use uuid::Uuid;

/// By room, message and emoji: who has put it there.
pub type Reactors = HashSet<(usize, u64, String, usize)>;

/// Which message an event changes.
pub fn about(event: &Event) -> Option<u64> {
    match &event.body {
        Some(Body::Edited(body)) => Some(body.seq),
        Some(Body::Deleted(body)) => Some(body.seq),
        Some(Body::Reacted(body)) => Some(body.seq),
        _ => None,
    }
}

impl Model {
    /// The event with which a message was sent.
    pub fn base(&self, room: usize, seq: u64) -> u64 {
        let sent = |event: &&Event| matches!(&event.body, Some(Body::Message(message)) if message.seq == seq);
        self.run.truth[room].iter().find(sent).map_or(0, |event| event.revision)
    }

    /// The newest message of somebody who is there, or of anybody, that is not taken back.
    fn newest(&self, room: usize, user: usize, own: bool) -> Option<(String, u64)> {
        let name = &self.run.users[user];
        let joined = |event: &&Event| matches!(&event.body, Some(Body::Joined(joined)) if joined.members.iter().any(|each| each.user == *name));
        let joined = self.run.truth[room].iter().rfind(joined).map_or(0, |event| event.revision);
        let there = &self.run.rooms[room];
        let may = |message: &&Message| {
            let mine = if own { message.sender == *name } else { self.base(room, message.seq) > joined };
            !message.deleted && mine
        };
        let newest = there.messages.iter().rfind(may).filter(|_| self.inside[room][user]);
        newest.map(|message| (there.conversation.clone(), message.seq))
    }

    /// Asks for a change, has it made, and is told so, once more if the number of the change is odd.
    fn amend(&mut self, room: usize, user: usize, frame: client_frame::Body, body: Option<Body>, answered: bool) {
        let (at, user) = (self.now(), self.run.users[user].clone());
        self.run.notes.push(Note::Amending { at, user: user.clone(), frame: frame.clone() });
        let Some(body) = body else { return };
        let event = self.append(room, body);
        let seq = about(&event).unwrap();
        let message = &mut self.run.rooms[room].messages[seq as usize - 1];
        message.revision = event.revision;
        match event.body.as_ref() {
            Some(Body::Edited(edited)) => (message.text, message.edited_at) = (edited.text.clone(), event.at),
            Some(Body::Deleted(_)) => {
                (message.text, message.deleted) = (String::new(), true);
                message.reactions.clear();
            }
            Some(Body::Reacted(reacted)) => {
                message.reactions.retain(|each| each.emoji != reacted.emoji);
                if reacted.count > 0 {
                    let (emoji, count) = (reacted.emoji.clone(), reacted.count);
                    message.reactions.push(Reaction { emoji, count, mine: false });
                }
            }
            _ => {}
        }
        let ack =
            Ack { conversation: event.conversation, seq, revision: event.revision, at: event.at, ..Ack::default() };
        for duplicate in [false, true].into_iter().take(if answered { 1 + self.ids as usize % 2 } else { 0 }) {
            let (at, user, frame) = (self.now(), user.clone(), frame.clone());
            let ack = Ack { duplicate, ..ack.clone() };
            self.run.notes.push(Note::Amended { at, user, frame, ack });
        }
    }

    pub fn edit(&mut self, room: usize, user: usize, answered: bool, made: bool) {
        let Some((conversation, seq)) = self.newest(room, user, true) else { return };
        self.ids += 1;
        let text = format!("{} 다시", self.ids);
        let client_id = Uuid::from_u128(self.ids).to_string();
        let frame = Edit { conversation, seq, client_id, text: text.clone(), ..Edit::default() };
        let body = Body::Edited(Edited { seq, text, r#type: "text".into(), ..Edited::default() });
        self.amend(room, user, client_frame::Body::Edit(frame), made.then_some(body), answered);
    }

    pub fn delete(&mut self, room: usize, user: usize) {
        let Some((conversation, seq)) = self.newest(room, user, true) else { return };
        self.ids += 1;
        self.reactors.retain(|(of, message, ..)| (*of, *message) != (room, seq));
        let frame = Delete { conversation, seq, client_id: Uuid::from_u128(self.ids).to_string() };
        let body = Body::Deleted(Deleted { seq, by: self.run.users[user].clone() });
        self.amend(room, user, client_frame::Body::Delete(frame), Some(body), true);
    }

    pub fn react(&mut self, room: usize, user: usize) {
        let Some((conversation, seq)) = self.newest(room, user, false) else { return };
        self.ids += 1;
        let emoji = ["👍", "❤"][user % 2].to_owned();
        let key = (room, seq, emoji.clone(), user);
        let removed = !self.reactors.insert(key.clone()) && self.reactors.remove(&key);
        let count = self.reactors.iter().filter(|each| (each.0, each.1, &each.2) == (room, seq, &emoji)).count() as u32;
        let client_id = Uuid::from_u128(self.ids).to_string();
        let frame = React { conversation, seq, emoji: emoji.clone(), remove: removed, client_id };
        let body = Body::Reacted(Reacted { seq, user: self.run.users[user].clone(), emoji, removed, count });
        self.amend(room, user, client_frame::Body::React(frame), Some(body), true);
    }
}

/// The changes of one sort that are still to be seen in a history: room, place in it, and the event.
fn kept(run: &Run, of: impl Fn(&Body) -> bool) -> Vec<(usize, usize, Event)> {
    let mut all = Vec::new();
    for room in 0..2 {
        for event in run.truth[room].iter().filter(|event| event.body.as_ref().is_some_and(&of)) {
            let Some(seq) = about(event) else { continue };
            let Some(place) = run.rooms[room].messages.iter().position(|message| message.seq == seq) else { continue };
            if run.rooms[room].messages[place].revision == event.revision {
                all.push((room, place, event.clone()));
            }
        }
    }
    all
}

fn any(run: &Run, pick: usize, of: impl Fn(&Body) -> bool) -> Option<(usize, usize, Event)> {
    let all = kept(run, of);
    all.get(pick % all.len().max(1)).cloned()
}

fn changes(body: &Body) -> bool {
    matches!(body, Body::Edited(_) | Body::Deleted(_) | Body::Reacted(_))
}

/// What was said before an event edited it.
fn before(run: &Run, room: usize, event: &Event) -> String {
    let texts = run.truth[room].iter().filter(|other| other.revision < event.revision).filter_map(|other| {
        match (&other.body, about(event)) {
            (Some(Body::Message(message)), Some(seq)) if message.seq == seq => {
                Some((other.revision, message.text.clone()))
            }
            (Some(Body::Edited(edited)), Some(seq)) if edited.seq == seq => Some((other.revision, edited.text.clone())),
            _ => None,
        }
    });
    texts.max_by_key(|(revision, _)| *revision).unwrap().1
}

/// The notes of a change's asking, and of its answers.
fn answers(run: &mut Run, event: &Event, mut act: impl FnMut(&mut Note)) {
    let made = |note: &Note| matches!(note, Note::Amended { ack, .. } if (&ack.conversation, ack.revision) == (&event.conversation, event.revision));
    run.notes.iter_mut().filter(|note| made(note)).for_each(&mut act);
}

/// Whether a change was answered, first as one that is new.
fn answered(run: &Run, event: &Event) -> bool {
    let of = |note: &Note| matches!(note, Note::Amended { ack, .. } if (&ack.conversation, ack.revision) == (&event.conversation, event.revision));
    run.notes.iter().any(of)
}

/// Some page that a device read, and that has messages.
fn page(run: &mut Run, pick: usize, of: impl Fn(&Room, Option<u64>) -> bool) -> Option<&mut Room> {
    let mut pages: Vec<_> = run
        .notes
        .iter_mut()
        .filter_map(|note| match note {
            Note::Fetched { page, since, .. } if of(page, *since) => Some(page),
            _ => None,
        })
        .collect();
    let count = pages.len().max(1);
    (!pages.is_empty()).then(|| pages.swap_remove(pick % count))
}

pub const DOCTORS: [(&str, Kind, Doctor); 15] = [
    ("an edit does not hold", Kind::Undone, |run, pick| {
        let Some((room, place, event)) = any(run, pick, |body| matches!(body, Body::Edited(_))) else { return false };
        run.rooms[room].messages[place].text = before(run, room, &event);
        true
    }),
    ("a deletion does not hold", Kind::Undone, |run, pick| {
        let Some((room, place, event)) = any(run, pick, |body| matches!(body, Body::Deleted(_))) else { return false };
        let text = before(run, room, &event);
        let message = &mut run.rooms[room].messages[place];
        (message.deleted, message.text) = (false, text);
        true
    }),
    ("what was taken back is still readable", Kind::Leaked, |run, pick| {
        let Some((room, place, event)) = any(run, pick, |body| matches!(body, Body::Deleted(_))) else { return false };
        run.rooms[room].messages[place].text = before(run, room, &event);
        true
    }),
    ("a reaction does not hold", Kind::Undone, |run, pick| {
        let put = |body: &Body| matches!(body, Body::Reacted(reacted) if !reacted.removed);
        let Some((room, place, event)) = any(run, pick, put) else { return false };
        let Some(Body::Reacted(reacted)) = event.body else { return false };
        run.rooms[room].messages[place].reactions.retain(|each| each.emoji != reacted.emoji);
        true
    }),
    ("a reaction is there that nobody put", Kind::Altered, |run, pick| {
        let Some((room, place, _)) = any(run, pick, |body| matches!(body, Body::Edited(_))) else { return false };
        let emoji = "🎉".into();
        run.rooms[room].messages[place].reactions.push(Reaction { emoji, count: 1, mine: false });
        true
    }),
    ("a change that was acknowledged is not there", Kind::Undone, |run, pick| {
        let Some((room, place, _)) = any(run, pick, changes) else { return false };
        run.rooms[room].messages[place].revision -= 1;
        true
    }),
    ("nobody asked for a change", Kind::Leaked, |run, pick| {
        let Some((_, _, event)) = any(run, pick, |body| matches!(body, Body::Edited(_) | Body::Deleted(_))) else {
            return false;
        };
        let seq = about(&event);
        run.notes.retain(|note| match note {
            Note::Amending { frame, .. } | Note::Amended { frame, .. } => {
                let of = match frame {
                    client_frame::Body::Edit(edit) => (&edit.conversation, edit.seq),
                    client_frame::Body::Delete(delete) => (&delete.conversation, delete.seq),
                    _ => return true,
                };
                of.0 != &event.conversation || Some(of.1) != seq
            }
            _ => true,
        });
        true
    }),
    ("a retried edit is made twice", Kind::Doubled, |run, pick| {
        let Some((room, _, mut event)) = any(run, pick, |body| matches!(body, Body::Edited(_))) else { return false };
        event.revision = run.rooms[room].revision + 1;
        run.rooms[room].revision += 1;
        run.notes.push(Note::Saw { at: u64::MAX, device: 0, event });
        true
    }),
    ("somebody else's edit is accepted", Kind::Intruded, |run, pick| {
        let Some((_, _, event)) = any(run, pick, |body| matches!(body, Body::Edited(_))) else { return false };
        let stranger = run.users[4].clone();
        let mut frames = Vec::new();
        answers(run, &event, |note| {
            if let Note::Amended { user, frame, .. } = note {
                *user = stranger.clone();
                frames.push(frame.clone());
            }
        });
        for note in &mut run.notes {
            if let Note::Amending { user, frame, .. } = note
                && frames.contains(frame)
            {
                *user = stranger.clone();
            }
        }
        !frames.is_empty()
    }),
    ("an ack of a change has another's revision", Kind::Reused, |run, pick| {
        let Some((room, _, event)) = any(run, pick, changes) else { return false };
        let other = run.truth[room].iter().find(|other| matches!(other.body, Some(Body::Joined(_))));
        let revision = other.unwrap().revision;
        let there = answered(run, &event);
        answers(run, &event, |note| {
            if let Note::Amended { ack, .. } = note {
                ack.revision = revision;
            }
        });
        there
    }),
    ("one device is told of another edit", Kind::Altered, |run, pick| {
        let Some((_, _, event)) = any(run, pick, |body| matches!(body, Body::Edited(_))) else { return false };
        let saw = run.notes.iter_mut().find_map(|note| match note {
            Note::Saw { event: of, .. } if (&of.conversation, of.revision) == (&event.conversation, event.revision) => {
                Some(of)
            }
            _ => None,
        });
        let Some(Body::Edited(edited)) = saw.and_then(|saw| saw.body.as_mut()) else { return false };
        edited.text.push('!');
        true
    }),
    ("who may not see a message is told of its edit", Kind::Leaked, |run, pick| {
        let truth = run.truth.clone();
        let blind: Vec<_> = run
            .notes
            .iter_mut()
            .filter_map(|note| match note {
                Note::Saw { event, .. } if event.body.is_none() => Some(event),
                _ => None,
            })
            .collect();
        let count = blind.len().max(1);
        let Some(event) = blind.into_iter().nth(pick % count) else { return false };
        event.body = truth[1][event.revision as usize - 1].body.clone();
        true
    }),
    ("changes leave something out", Kind::Gaps, |run, pick| {
        let Some(page) = page(run, pick, |page, since| since.is_some() && !page.messages.is_empty()) else {
            return false;
        };
        let count = page.messages.len();
        page.messages.remove(pick % count);
        true
    }),
    ("a page has a message as it was before", Kind::Undone, |run, pick| {
        let Some((room, _, event)) = any(run, pick, |body| matches!(body, Body::Edited(_))) else { return false };
        let (seq, text) = (about(&event), before(run, room, &event));
        let mut page = run.rooms[room].clone();
        if page.messages.iter().any(|message| message.edited_at > 0 && Some(message.seq) != seq) && pick % 2 == 0 {
            page.messages.retain(|message| Some(message.seq) >= seq);
            page.notices.clear();
        }
        let message = page.messages.iter_mut().find(|message| Some(message.seq) == seq);
        let Some(message) = message else { return false };
        (message.text, message.revision) = (text, event.revision - 1);
        let (has_before, has_after) = (page.messages[0].seq > 1, false);
        run.notes.push(Note::Fetched { device: 0, asked: u64::MAX, page, has_before, has_after, since: None });
        true
    }),
    ("one's own emoji is not shown as such", Kind::Undone, |run, pick| {
        let mine = |page: &Room, _| page.messages.iter().any(|message| message.reactions.iter().any(|each| each.mine));
        let Some(page) = page(run, pick, mine) else { return false };
        page.messages.iter_mut().flat_map(|message| &mut message.reactions).for_each(|each| each.mine = false);
        true
    }),
];
