//! Watches: who is told what, and who is not.

use super::*;
use madang_mesh::shard::Home;

const ON: Presence = Presence { online: true, last_seen: 0 };
const OFF: Presence = Presence { online: false, last_seen: 7 };

fn map(process: &str) -> ShardMap {
    let home = Home { process: process.into(), address: format!("http://{process}") };
    ShardMap { count: 1, homes: [(0, home)].into() }
}

fn answer(version: u64, presences: &[(UserId, Presence)]) -> Answer {
    Answer { epoch: 1, version, lost: false, presences: presences.to_vec() }
}

fn told(watches: &mut Watches<u8>, now: Instant) -> Vec<(u8, UserId, Presence)> {
    let told = std::cell::RefCell::new(Vec::new());
    watches.tell(now, |to, user, presence| {
        told.borrow_mut().push((*to, user, presence));
        true
    });
    told.into_inner()
}

/// A watcher who has been told that bob is there, and may not see cho.
fn rig(now: Instant) -> (Watches<u8>, Key, [UserId; 3]) {
    let [ann, bob, cho] = [UserId::new(), UserId::new(), UserId::new()];
    let mut watches = Watches::new(1);
    let key = watches.begin(ann, 1, &[bob, cho].into(), now).unwrap();
    let questions = watches.questions(&map("one"));
    assert_eq!((questions.len(), questions[0].users.len(), questions[0].since), (1, 2, (0, 0)));
    watches.learn("one", answer(5, &[(bob, ON), (cho, ON)]));
    assert!(told(&mut watches, now).is_empty(), "nobody is told before it is known whom they may see");
    assert_eq!(watches.checks(now, 9).len(), 1);
    assert!(watches.checks(now, 9).is_empty(), "it is being checked");
    watches.checked(key, Some(&[bob].into()), now);
    assert_eq!(told(&mut watches, now), [(1, bob, ON)]);
    (watches, key, [ann, bob, cho])
}

#[test]
fn changes_are_told_once_and_strangers_never() {
    let now = Instant::now();
    let (mut watches, key, [_, bob, cho]) = rig(now);
    assert!(told(&mut watches, now).is_empty());
    assert_eq!(
        watches.questions(&map("one"))[0],
        Question { process: "one".into(), address: "http://one".into(), users: vec![], since: (1, 5) }
    );
    watches.learn("one", answer(6, &[(bob, OFF), (cho, OFF)]));
    let later = now + CHECKED;
    assert!(told(&mut watches, later).is_empty(), "the check is too old");
    assert_eq!(watches.checks(later, 9).len(), 1);
    watches.checked(key, Some(&[bob].into()), later);
    assert_eq!(told(&mut watches, later), [(1, bob, OFF)]);
    watches.end(key);
    assert!(watches.is_empty() && watches.shards.is_empty() && watches.entries == 0);
}

#[test]
fn what_became_doubtful_does_not_count() {
    let now = Instant::now();
    let (mut watches, key, [_, bob, _]) = rig(now);
    watches.doubt(key, now);
    watches.learn("one", answer(6, &[(bob, OFF)]));
    assert!(told(&mut watches, now).is_empty());
    assert_eq!(watches.checks(now, 9)[0].since, Some(now), "who answers may be behind what made it doubtful");
    watches.doubt(key, now);
    watches.checked(key, Some(&[bob].into()), now);
    assert!(told(&mut watches, now).is_empty(), "it became doubtful while it was checked");
    assert_eq!(watches.checks(now, 9).len(), 1);
    watches.checked(key, None, now);
    assert!(watches.checks(now, 9).is_empty() && watches.checks(now + FAILED, 9).len() == 1);
    watches.checked(key, Some(&HashSet::new()), now + FAILED);
    assert!(told(&mut watches, now + FAILED).is_empty(), "they share nothing any more");
    watches.learn("one", answer(7, &[(bob, ON)]));
    let later = watches.checks(now + FAILED + CHECKED, 9);
    assert_eq!((later.len(), later[0].since), (1, None), "it has been heeded");
}

#[test]
fn a_new_home_is_asked_for_all_and_an_old_one_is_not_believed() {
    let now = Instant::now();
    let (mut watches, _, [_, bob, cho]) = rig(now);
    assert_eq!(watches.questions(&map("two"))[0].users.len(), 2);
    watches.learn("one", answer(9, &[(bob, OFF)]));
    assert!(told(&mut watches, now).is_empty());
    watches.learn("two", answer(1, &[(bob, ON)]));
    assert!(told(&mut watches, now).is_empty(), "nothing new");
    assert_eq!(watches.questions(&map("two"))[0].users, [cho], "who was not in the answer is asked for again");
    watches.learn("two", Answer { lost: true, ..answer(2, &[]) });
    assert_eq!(watches.questions(&map("two"))[0].users.len(), 2);
}

#[test]
fn what_could_not_be_told_is_told_later_and_there_is_an_end_to_watching() {
    let now = Instant::now();
    let (mut watches, _, [_, bob, _]) = rig(now);
    watches.learn("one", answer(6, &[(bob, OFF)]));
    watches.tell(now, |_, _, _| false);
    assert_eq!(told(&mut watches, now), [(1, bob, OFF)]);
    watches.entries = ENTRIES - 1;
    let two = [UserId::new(), UserId::new()].into();
    assert!(watches.begin(bob, 2, &two, now).is_none());
}
