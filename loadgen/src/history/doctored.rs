//! Histories that are true have no faults, however messy; doctored ones have the fault that was put into them.

mod amended;
mod script;

use super::*;
use madang_proto::client::v1::{Ack, Event, event::Body};
use proptest::prelude::*;
use script::{Action, Note, Run, play};

/// A run with everything in it: users 0 to 3, each with two devices, of whom 0 to 2 begin in both conversations.
fn messy() -> Run {
    use Action::*;
    let mut actions = Vec::new();
    for room in [0, 1] {
        for user in [0, 1, 2] {
            actions.extend([Send(room, user), Retried(room, user), Deliver(user), Kept(room, user)]);
            actions.extend([Edit(room, user), React(room, 0), React(room, user), Send(room, user), Edit(room, user)]);
        }
        actions.extend([React(room, 1), React(room, 2), React(room, 1), Delete(room, 2), Uncertain(room, 1)]);
        actions.extend([Marks(room), Unknown(room, 1), Refused(room, 2), Deliver(0), Repeat(0), Join(room, 3)]);
        actions.extend([Edit(room, 1), Edit(room, 0)]);
        actions.extend([Send(room, 3), Deliver(6), Deliver(7), Leave(room, 2), Send(room, 0), Outsider(room, 2)]);
        actions.extend([Snapshot(1), Send(room, 1), Join(room, 2), Send(room, 2), Leave(room, 3), Send(room, 0)]);
        actions.extend([Snapshot(6), Marks(room), Send(room, 1), Repeat(1), Deliver(1)]);
        actions.extend([Send(room, 2), React(room, 0), Snapshot(5), Edit(room, 1), Send(room, 1), Delete(room, 0)]);
    }
    play(&actions)
}

/// Where a message was acknowledged, and not only once sent.
fn acked(run: &Run) -> Vec<usize> {
    let acked = |(_, note): &(usize, &Note)| matches!(note, Note::Acked { .. });
    run.notes.iter().enumerate().filter(acked).map(|(place, _)| place).collect()
}

fn ack(run: &Run, place: usize) -> Ack {
    match &run.notes[place] {
        Note::Acked { ack, .. } => ack.clone(),
        other => panic!("{other:?}"),
    }
}

/// The room and the place in its history of what an ack is about.
fn written(run: &Run, ack: &Ack) -> (usize, usize) {
    let room = run.rooms.iter().position(|room| room.conversation == ack.conversation).unwrap();
    (room, run.rooms[room].messages.iter().position(|message| message.seq == ack.seq).unwrap())
}

/// A refusal for good in place of an ack.
fn refuse(note: &mut Note) {
    if let Note::Acked { sender, client_id, ack, .. } = note {
        let (conversation, sender, client_id) = (ack.conversation.clone(), sender.clone(), client_id.clone());
        *note = Note::Refused { conversation, sender, client_id };
    }
}

/// Ways to doctor a run. `pick` chooses where; false: there is nothing of the kind in this run.
type Doctor = fn(&mut Run, usize) -> bool;

fn doctors() -> impl Iterator<Item = (&'static str, Kind, Doctor)> {
    DOCTORS.into_iter().chain(amended::DOCTORS)
}

const DOCTORS: [(&str, Kind, Doctor); 18] = [
    ("an acknowledged message is not there", Kind::Lost, |run, pick| {
        let acked = acked(run);
        let Some(place) = acked.get(pick % acked.len().max(1)) else { return false };
        let (room, message) = written(run, &ack(run, *place));
        run.rooms[room].messages.remove(message);
        true
    }),
    ("a message is there twice", Kind::Doubled, |run, pick| {
        let room = &mut run.rooms[pick % 2];
        let Some(mut again) = room.messages.get(pick % room.messages.len().max(1)).cloned() else { return false };
        (again.seq, again.revision) = (room.messages.len() as u64 + 1, room.revision + 1);
        room.revision += 1;
        room.messages.push(again);
        true
    }),
    ("two messages stand in each other's place", Kind::Misordered, |run, pick| {
        let acked = acked(run);
        let Some(place) = acked.get(pick % acked.len().max(1)) else { return false };
        let (room, message) = written(run, &ack(run, *place));
        let messages = &mut run.rooms[room].messages;
        let other = (message + 1) % messages.len();
        if message == other {
            return false;
        }
        let (one, two) = (messages[message].clone(), messages[other].clone());
        for (place, from) in [(message, two), (other, one)] {
            let into = &mut messages[place];
            (into.client_id, into.sender, into.text) = (from.client_id, from.sender, from.text);
        }
        true
    }),
    ("a number is left out", Kind::Gaps, |run, pick| {
        let room = &mut run.rooms[pick % 2];
        let Some(last) = room.messages.last_mut() else { return false };
        last.seq += 1;
        true
    }),
    ("two events have one revision", Kind::Reused, |run, pick| {
        let room = &mut run.rooms[pick % 2];
        if room.messages.len() < 2 {
            return false;
        }
        let place = 1 + pick % (room.messages.len() - 1);
        room.messages[place].revision = room.messages[place - 1].revision;
        true
    }),
    ("a stranger is sent an event", Kind::Leaked, |run, pick| {
        let Some(event) = run.truth[pick % 2].last().cloned() else { return false };
        run.notes.push(Note::Saw { at: u64::MAX, device: 8, event });
        true
    }),
    ("who has left is sent an event", Kind::Leaked, |run, pick| {
        let room = pick % 2;
        let left = |event: &Event| match &event.body {
            Some(Body::Left(left)) => Some((event.revision, left.users[0].clone())),
            _ => None,
        };
        let Some((revision, user)) = run.truth[room].iter().find_map(left) else { return false };
        let Some(event) = run.truth[room].get(revision as usize).cloned() else { return false };
        if matches!(&event.body, Some(Body::Joined(joined)) if joined.members[0].user == user) {
            return false;
        }
        let device = 2 * run.user(&user);
        run.notes.push(Note::Saw { at: u64::MAX, device, event });
        true
    }),
    ("who is no member is heard", Kind::Intruded, |run, pick| {
        let acked = acked(run);
        let Some(place) = acked.get(pick % acked.len().max(1)) else { return false };
        let ack = ack(run, *place);
        let (room, message) = written(run, &ack);
        let client_id = run.rooms[room].messages[message].client_id.clone();
        let stranger = run.users[4].clone();
        run.rooms[room].messages[message].sender = stranger.clone();
        run.each_of(&client_id, |note| match note {
            Note::Invoked { sender, .. } | Note::Acked { sender, .. } => *sender = stranger.clone(),
            Note::Saw { event: Event { body: Some(Body::Message(message)), .. }, .. } => {
                message.sender = stranger.clone();
            }
            _ => {}
        });
        true
    }),
    ("one device is told of another event", Kind::Reused, |run, pick| {
        run.seen(pick, |event| {
            if let Some(Body::Message(message)) = &mut event.body {
                message.client_id = uuid::Uuid::now_v7().to_string();
            }
        })
    }),
    ("one device reads another text", Kind::Altered, |run, pick| {
        run.seen(pick, |event| {
            if let Some(Body::Message(message)) = &mut event.body {
                message.text.push('!');
            }
        })
    }),
    ("history has another text", Kind::Altered, |run, pick| {
        let room = &mut run.rooms[pick % 2];
        let count = room.messages.len().max(1);
        let Some(message) = room.messages.get_mut(pick % count) else { return false };
        message.text.pop().is_some()
    }),
    ("a retry is given another number", Kind::Doubled, |run, pick| {
        let acked = acked(run);
        let Some(place) = acked.get(pick % acked.len().max(1)) else { return false };
        let mut note = run.notes[*place].clone();
        if let Note::Acked { ack, .. } = &mut note {
            (ack.seq, ack.revision) = (ack.seq + 1, ack.revision + 1);
        }
        run.notes.push(note);
        true
    }),
    ("what was sent later comes earlier", Kind::Misordered, |run, pick| {
        let acked = acked(run);
        let Some(place) = acked.get(pick % acked.len().max(1)) else { return false };
        let (conversation, seq) = (ack(run, *place).conversation, ack(run, *place).seq);
        let Note::Acked { client_id, .. } = run.notes[*place].clone() else { return false };
        let later =
            |note: &&Note| matches!(note, Note::Acked { ack, .. } if ack.conversation == conversation && ack.seq > seq);
        let Some(Note::Acked { at: later, .. }) = run.notes.iter().rfind(later).cloned() else { return false };
        run.each_of(&client_id, |note| match note {
            Note::Invoked { at, .. } => *at = later + 1,
            Note::Acked { at, .. } | Note::Saw { at, .. } => *at = (*at).max(later + 2),
            _ => {}
        });
        true
    }),
    ("what was refused is there", Kind::RefusedKept, |run, pick| {
        let acked = acked(run);
        let Some(place) = acked.get(pick % acked.len().max(1)) else { return false };
        let Note::Acked { client_id, .. } = run.notes[*place].clone() else { return false };
        run.each_of(&client_id, refuse);
        // As often as it can have been sent.
        let again = run.notes[*place].clone();
        run.notes.extend([again.clone(), again]);
        true
    }),
    ("a device is never sent the last event", Kind::Missed, |run, pick| {
        let device = (pick % 2) as u32;
        let last = run.truth[pick % 2].last().cloned();
        let Some(Event { conversation, revision, .. }) = last else { return false };
        let before = run.notes.len();
        run.notes.retain(|note| match note {
            Note::Saw { device: of, event, .. } => {
                (*of, &event.conversation, event.revision) != (device, &conversation, revision)
            }
            Note::Fetched { device: of, page, .. } => *of != device || page.conversation != conversation,
            _ => true,
        });
        before != run.notes.len()
    }),
    ("a removal that was acknowledged is not there", Kind::Lost, |run, pick| {
        let room = &run.rooms[pick % 2];
        let Some(Note::Changed { answered, .. }) = run.notes.iter().find(|note| matches!(note, Note::Changed { .. }))
        else {
            return false;
        };
        let (asked, answered, user) = (*answered, u64::MAX, run.users[0].clone());
        let (conversation, revision) = (room.conversation.clone(), room.revision);
        run.notes.push(Note::Changed { asked, answered, conversation, user, inside: false, revision });
        true
    }),
    ("who was removed reads history", Kind::Leaked, |run, pick| {
        let room = run.rooms[pick % 2].clone();
        let last = |user: &String| {
            let of = run.notes.iter().rev().find_map(|note| match note {
                Note::Changed { conversation, user: of, inside, .. } if of == user => {
                    (*conversation == room.conversation).then_some(*inside)
                }
                _ => None,
            });
            of == Some(false)
        };
        let Some(user) = run.users.iter().position(last) else { return false };
        // Of nothing but what they may have read before.
        let mut page = room.clone();
        page.messages.clear();
        page.notices.clear();
        let device = 2 * user as u32;
        let (has_before, has_after) = (false, false);
        run.notes.push(Note::Fetched { device, asked: u64::MAX, page, has_before, has_after, since: None });
        true
    }),
    ("a stranger reads history", Kind::Leaked, |run, pick| {
        let page = run.rooms[pick % 2].clone();
        let (has_before, has_after) = (false, false);
        run.notes.push(Note::Fetched { device: 8, asked: u64::MAX, page, has_before, has_after, since: None });
        true
    }),
];

#[test]
fn a_true_history_has_no_faults() {
    let verdict = messy().judge();
    assert!(verdict.good(), "{verdict}");
    let counts = verdict.counts;
    let all = [
        counts.acked,
        counts.amended,
        counts.acked_again,
        counts.refused,
        counts.unknown,
        counts.unknown_kept,
        counts.delivered,
    ];
    assert!(all.iter().all(|count| *count > 0), "{counts:?}");
    let more = [counts.repeated, counts.resyncs, counts.pages, counts.memberships];
    assert!(more.iter().all(|count| *count > 0), "{counts:?}");
}

#[test]
fn every_doctored_history_is_caught() {
    for (what, kind, doctor) in doctors() {
        let mut tried = 0;
        for pick in 0..40 {
            let mut run = messy();
            if doctor(&mut run, pick) {
                tried += 1;
                let verdict = run.judge();
                assert!(verdict.faults.of(kind) > 0, "{what} ({pick}): {verdict}");
                assert!(verdict.examples.iter().any(|example| example.starts_with(kind.word())), "{verdict}");
            }
        }
        assert!(tried > 0, "{what}");
    }
}

#[test]
fn a_device_that_fetches_nothing_after_a_snapshot_misses_what_it_was_away_for() {
    let mut run = messy();
    run.notes.retain(|note| !matches!(note, Note::Fetched { .. }));
    assert!(run.judge().faults.missed > 0);
    // And what it fetches excuses no gap of which it was not told.
    let mut run = messy();
    run.notes.retain(|note| !matches!(note, Note::Resynced { .. }));
    let faults = run.judge().faults;
    assert!(faults.gaps > 0 && faults.missed > 0, "{faults}");
}

#[test]
fn a_refusal_after_an_attempt_of_unknown_outcome_proves_nothing() {
    let mut run = messy();
    let Note::Acked { client_id, .. } = run.notes[acked(&run)[0]].clone() else { panic!() };
    let again = run.notes.iter().find(|note| matches!(note, Note::Invoked { send, .. } if send.client_id == client_id));
    let again = again.unwrap().clone();
    run.each_of(&client_id, refuse);
    let place =
        run.notes.iter().position(|note| matches!(note, Note::Refused { client_id: id, .. } if *id == client_id));
    run.notes.insert(place.unwrap(), again);
    let verdict = run.judge();
    assert!(verdict.good(), "{verdict}");
}

proptest! {
    #[test]
    fn any_true_history_has_none_and_any_doctored_one_has(
        actions in prop::collection::vec(script::action(), 1..80),
        doctor in 0..doctors().count(),
        pick in 0usize..1000,
    ) {
        let mut run = play(&actions);
        let verdict = run.judge();
        prop_assert!(verdict.good(), "{}", verdict);
        prop_assert_eq!(verdict.counts.delivered, run.delivered());
        let (what, kind, doctor) = doctors().nth(doctor).unwrap();
        if doctor(&mut run, pick) {
            let verdict = run.judge();
            prop_assert!(verdict.faults.of(kind) > 0, "{}: {}", what, verdict);
        }
    }
}
