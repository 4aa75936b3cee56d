//! Edits, deletions and reactions: who may, what changes nothing, and that replaying gives what numbering gave.

use super::*;
use crate::room::amend::MOST_EMOJI;
use madang_proto::log::v1::{EmojiCount, MemberSettings};
use std::collections::BTreeSet;

/// A room with what is known of its messages, as its home has them.
#[derive(Default)]
struct Stage {
    state: Option<State>,
    facts: HashMap<u64, Arc<Facts>>,
    events: Vec<Numbered>,
}

impl Stage {
    fn group(members: &[u8]) -> Self {
        Self::of(members, History::SinceJoined)
    }

    fn of(members: &[u8], history: History) -> Self {
        let mut stage = Self::default();
        let Request::Create(created) = create(members) else { unreachable!() };
        stage.ask(members[0], Request::Create(log::Created { history: history.into(), ..created })).unwrap();
        stage
    }

    /// What somebody had set before they came is known.
    fn settle(&mut self, who: u8, former: MemberSettings) {
        let state = self.state.as_mut().unwrap();
        let joined = state.lacks_settings(&user(who)).unwrap();
        state.settle(&user(who), joined, &former);
    }

    fn ask(&mut self, actor: u8, request: Request) -> Result<Option<(u64, i64)>, Reason> {
        let needed = needs(self.state.as_ref(), Some(user(actor)), &request).to_vec();
        let known = needed.iter().map(|seq| (*seq, self.facts[seq].clone())).collect();
        let now = self.events.len() as i64;
        let verdict = number(&mut self.state, conversation(), Some(user(actor)), request, &known, now, LIMITS);
        match verdict.map_err(|refusal| refusal.reason)? {
            Verdict::Events(events) => {
                for each in &events {
                    if let Some(seq) = facts::message_of(&each.event) {
                        let before = self.facts.get(&seq).map(|facts| &**facts);
                        self.facts.insert(seq, Arc::new(facts::after(before, &each.event).unwrap()));
                    }
                }
                self.events.extend(events);
                Ok(None)
            }
            Verdict::Unchanged(revision, at) => Ok(Some((revision, at))),
            Verdict::Nothing => Ok(Some((0, 0))),
        }
    }

    fn amend(&mut self, actor: u8, seq: u64, how: How) -> Result<Option<(u64, i64)>, Reason> {
        self.ask(actor, Request::Amend(Amendment { seq, client_id: ClientId::now(), hash: 7, how }))
    }

    fn last(&self) -> &Numbered {
        self.events.last().unwrap()
    }
}

fn content(text: &str) -> Content {
    Content { text: text.into(), ..Content::default() }
}

fn said(text: &str) -> Request {
    let content = content(text);
    let hash = crate::content::hash("send", &content);
    Request::Send { first_to: None, client_id: ClientId::now(), hash, content }
}

fn edit(text: &str) -> How {
    let content = content(text);
    let hash = crate::content::hash("send", &content);
    How::Edit(content, hash)
}

fn react(emoji: &str) -> How {
    How::React { emoji: emoji.into(), removed: false }
}

fn unreact(emoji: &str) -> How {
    How::React { emoji: emoji.into(), removed: true }
}

#[test]
fn its_sender_edits_a_message_and_the_same_again_changes_nothing() {
    let mut stage = Stage::group(&[1, 2]);
    stage.ask(2, said("one")).unwrap();
    assert_eq!(stage.amend(1, 1, edit("mine")), Err(Reason::NotSender), "not even the owner");
    assert_eq!(stage.amend(2, 2, edit("x")), Err(Reason::MessageNotFound));
    assert_eq!(stage.amend(2, 0, edit("x")), Err(Reason::MessageNotFound));
    assert_eq!(stage.amend(3, 1, edit("x")), Err(Reason::ConversationNotFound));
    let at = stage.last().event.at_micros;
    assert_eq!(stage.amend(2, 1, edit("one")), Ok(Some((2, at))), "it says that already");
    assert_eq!(stage.amend(2, 1, edit("two")), Ok(None));
    assert!(matches!(&stage.last().event.body, Some(Body::Edited(it)) if it.content.as_ref().unwrap().text == "two"));
    assert_eq!((stage.last().event.revision, stage.last().event.last_seq), (3, 1), "no new message");
    let at = stage.last().event.at_micros;
    assert_eq!(stage.amend(2, 1, edit("two")), Ok(Some((3, at))));
    assert_eq!(stage.amend(2, 1, edit("one")), Ok(None), "back is a change");
    let answered = How::Edit(Content { reply_to: 2, ..content("x") }, 5);
    assert_eq!(stage.amend(2, 1, answered), Err(Reason::MessageNotFound), "it answers what is not there");
}

#[test]
fn its_sender_and_admins_delete_a_message_once_and_nothing_of_it_is_left() {
    let mut stage = Stage::group(&[1, 2, 3]);
    for _ in 0..3 {
        stage.ask(2, said("one")).unwrap();
    }
    stage.amend(3, 1, react("👍")).unwrap();
    assert_eq!(stage.amend(3, 1, How::Delete), Err(Reason::RoleRequired));
    assert_eq!(stage.amend(2, 1, How::Delete), Ok(None));
    assert!(stage.facts[&1].reactions.is_empty());
    let (revision, at) = (stage.last().event.revision, stage.last().event.at_micros);
    assert_eq!(stage.amend(1, 1, How::Delete), Ok(Some((revision, at))), "it is deleted");
    assert_eq!(stage.amend(2, 1, edit("two")), Err(Reason::MessageDeleted));
    assert_eq!(stage.amend(3, 1, react("👍")), Err(Reason::MessageDeleted));
    assert_eq!(stage.amend(3, 1, unreact("👍")), Err(Reason::MessageDeleted));
    assert_eq!(stage.amend(1, 2, How::Delete), Ok(None), "the owner");
    stage.ask(1, Request::SetRole(user(3), Role::Admin)).unwrap();
    assert_eq!(stage.amend(3, 3, How::Delete), Ok(None), "an admin");
    let mut direct = Stage::default();
    let first = Request::Send { first_to: Some(user(2)), client_id: ClientId::now(), hash: 1, content: content("hi") };
    direct.ask(1, first).unwrap();
    assert_eq!(direct.amend(2, 1, How::Delete), Err(Reason::RoleRequired), "a direct room has no admins");
    assert_eq!(direct.amend(1, 1, How::Delete), Ok(None));
}

#[test]
fn a_message_takes_twenty_emoji_and_no_twenty_first() {
    let mut stage = Stage::group(&[1, 2]);
    stage.ask(2, said("one")).unwrap();
    for n in 0..MOST_EMOJI {
        assert_eq!(stage.amend(1, 1, react(&format!("e{n}"))), Ok(None));
    }
    assert_eq!(stage.amend(1, 1, react("one more")), Err(Reason::TooManyReactions));
    assert_eq!(stage.amend(2, 1, react("e3")), Ok(None), "one that is there");
    assert!(matches!(&stage.last().event.body, Some(Body::Reacted(it)) if it.count == 2 && it.began == 6));
    assert_eq!(stage.amend(1, 1, unreact("e0")), Ok(None));
    assert!(matches!(&stage.last().event.body, Some(Body::Reacted(it)) if it.count == 0 && it.now.len() == 19));
    assert_eq!(stage.amend(1, 1, react("one more")), Ok(None));
    assert!(matches!(&stage.last().event.body, Some(Body::Reacted(it)) if it.now[19].emoji == "one more"));
}

#[test]
fn emoji_that_differ_in_a_variation_selector_are_one_shown_as_first_sent() {
    let mut stage = Stage::group(&[1, 2]);
    stage.ask(2, said("one")).unwrap();
    let since = |said: Result<Option<(u64, i64)>, Reason>| said.unwrap().map(|(revision, _)| revision);
    assert_eq!(since(stage.amend(1, 1, unreact("❤"))), Some(2), "it is not there");
    stage.amend(1, 1, react("❤")).unwrap();
    stage.amend(2, 1, react("❤\u{fe0f}")).unwrap();
    let shown = EmojiCount { emoji: "❤".into(), count: 2 };
    assert!(matches!(&stage.last().event.body, Some(Body::Reacted(it)) if it.emoji == "❤" && it.now == [shown]));
    assert_eq!(since(stage.amend(1, 1, react("❤\u{fe0f}"))), Some(4), "it is there");
    assert_eq!(stage.amend(1, 1, unreact("❤\u{fe0f}")), Ok(None));
    assert_eq!(since(stage.amend(1, 1, unreact("❤"))), Some(5), "it is gone");
}

#[test]
fn who_joined_later_may_not_change_what_was_before_and_hears_of_it_without_its_body() {
    let mut stage = Stage::group(&[1, 2]);
    stage.ask(2, said("before")).unwrap();
    stage.ask(1, Request::Add(vec![user(3)])).unwrap();
    stage.ask(2, said("after")).unwrap();
    assert_eq!(stage.amend(3, 1, react("👍")), Err(Reason::MessageNotFound));
    stage.ask(1, Request::SetRole(user(3), Role::Admin)).unwrap();
    assert_eq!(stage.amend(3, 1, How::Delete), Err(Reason::MessageNotFound));
    stage.amend(2, 1, edit("more")).unwrap();
    assert_eq!((&*stage.last().recipients, &*stage.last().blind), (&[user(1), user(2)][..], &[user(3)][..]));
    stage.amend(3, 2, react("👍")).unwrap();
    assert!(stage.last().blind.is_empty() && stage.last().recipients.len() == 3);
    // The same from the log.
    let mut room = Room::begun(nothing(&stage.events[0].event));
    assert!(stage.events.iter().all(|each| room.replay(&each.event)));
    let hidden = |user: &UserId| room.state.hidden_upto(user, room.state.members.get(user).unwrap().joined_seq);
    let edited = stage.events.iter().find(|each| !each.blind.is_empty()).unwrap();
    let (_, blind) = split_blind(room.state.members.present(), &edited.event, hidden);
    assert_eq!(&*blind, &[user(3)]);
}

#[test]
fn what_somebody_has_cleared_is_gone_for_them_alone() {
    let mut stage = Stage::default();
    let first = Request::Send { first_to: Some(user(2)), client_id: ClientId::now(), hash: 1, content: content("1") };
    stage.ask(1, first).unwrap();
    for text in ["2", "3", "4"] {
        stage.ask(2, said(text)).unwrap();
    }
    let clear = ChangeSettings { cleared_seq: Some(3), ..ChangeSettings::default() };
    stage.ask(1, Request::Settings(clear)).unwrap();
    for seq in 1..=3 {
        assert_eq!(stage.amend(1, seq, react("👍")), Err(Reason::MessageNotFound), "{seq}");
    }
    assert_eq!(stage.amend(1, 1, edit("x")), Err(Reason::MessageNotFound), "also what was one's own");
    assert_eq!(stage.amend(1, 4, react("👍")), Ok(None));
    assert_eq!(stage.amend(2, 2, edit("more")), Ok(None));
    assert_eq!((&*stage.last().recipients, &*stage.last().blind), (&[user(2)][..], &[user(1)][..]));
    assert_eq!(stage.amend(2, 4, edit("more")), Ok(None));
    assert_eq!((stage.last().recipients.len(), stage.last().blind.len()), (2, 0));
}

#[test]
fn what_was_cleared_stays_so_for_who_comes_back() {
    let mut stage = Stage::of(&[1, 2], History::All);
    for text in ["1", "2"] {
        stage.ask(1, said(text)).unwrap();
    }
    stage.ask(2, Request::Remove(user(2))).unwrap();
    stage.ask(1, Request::Add(vec![user(2)])).unwrap();
    stage.settle(2, MemberSettings { cleared_seq: 1, ..MemberSettings::default() });
    assert_eq!(stage.amend(2, 1, react("👍")), Err(Reason::MessageNotFound));
    assert_eq!(stage.amend(2, 2, react("👍")), Ok(None));
    assert_eq!(stage.amend(1, 1, edit("more")), Ok(None));
    assert_eq!(&*stage.last().blind, &[user(2)]);
    // What they had set before they came another time says nothing of now.
    let state = stage.state.as_mut().unwrap();
    let joined = state.members.get(&user(2)).unwrap().joined_revision;
    for (joined, cleared_seq) in [(joined, 0), (joined - 1, 2)] {
        state.settle(&user(2), joined, &MemberSettings { cleared_seq, ..MemberSettings::default() });
        assert_eq!(state.hidden_upto(&user(2), 0), 1);
    }
}

#[test]
fn who_answers_a_message_sees_it() {
    let answer = |seq| {
        let content = Content { reply_to: seq, ..content("yes") };
        Request::Send { first_to: None, client_id: ClientId::now(), hash: seq, content }
    };
    let mut stage = Stage::group(&[1, 2]);
    stage.ask(2, said("1")).unwrap();
    stage.ask(1, Request::Add(vec![user(3)])).unwrap();
    assert_eq!(stage.ask(3, answer(1)), Err(Reason::MessageNotFound), "it was before they came");
    assert_eq!(stage.ask(3, answer(2)), Err(Reason::MessageNotFound), "there is none");
    stage.ask(2, said("2")).unwrap();
    assert_eq!(stage.ask(3, answer(2)), Ok(None));
    assert_eq!(stage.ask(1, answer(1)), Ok(None));
    let changed = |seq| How::Edit(Content { reply_to: seq, ..content("no") }, 5);
    assert_eq!(stage.amend(3, 3, changed(1)), Err(Reason::MessageNotFound));
    let clear = ChangeSettings { cleared_seq: Some(2), ..ChangeSettings::default() };
    assert_eq!(
        stage.ask(3, Request::Settings(clear.clone())),
        Err(Reason::Internal),
        "it is not known what they had set before"
    );
    stage.settle(3, MemberSettings::default());
    stage.ask(3, Request::Settings(clear)).unwrap();
    assert_eq!(stage.ask(3, answer(2)), Err(Reason::MessageNotFound), "they have cleared it");
    assert_eq!(stage.amend(3, 3, changed(2)), Ok(None), "what answers it already goes on to");
}

#[test]
fn erasing_takes_back_what_somebody_sent_also_once_they_are_gone() {
    let mut stage = Stage::group(&[1, 2]);
    for sender in [1, 2, 2] {
        stage.ask(sender, said("one")).unwrap();
    }
    stage.ask(2, Request::Remove(user(2))).unwrap();
    stage.ask(2, Request::Erase(vec![1, 2, 3])).unwrap();
    let deleted: Vec<_> = (1..=3).filter(|seq| stage.facts[seq].deleted).collect();
    assert_eq!(deleted, [2, 3]);
    let events = stage.events.len();
    stage.ask(2, Request::Erase(vec![2, 3])).unwrap();
    assert_eq!(stage.events.len(), events);
}

/// What a message should be: text, deleted, and for each emoji (without its variation selector) who.
type Plain = (String, bool, BTreeMap<char, BTreeSet<u8>>);

proptest! {
    /// Whatever is asked: what is known of each message is what was acknowledged, and the log alone gives the same.
    #[test]
    fn messages_are_what_was_acknowledged(asks in proptest::collection::vec((1u8..5, 0u8..9, 0u64..6, 0usize..3), 1..120)) {
        let mut stage = Stage::group(&[1, 2, 3]);
        let mut model: BTreeMap<u64, (u8, Plain)> = BTreeMap::new();
        for (actor, what, seq, which) in asks {
            let text = ["a", "b", "c"][which];
            let emoji = ["👍", "❤", "❤\u{fe0f}"][which];
            let key = emoji.chars().next().unwrap();
            let outcome = match what {
                0..=2 => stage.ask(actor, said(text)),
                3 | 4 => stage.amend(actor, seq, edit(text)),
                5 => stage.amend(actor, seq, How::Delete),
                6 | 7 => stage.amend(actor, seq, react(emoji)),
                _ => stage.amend(actor, seq, unreact(emoji)),
            };
            if outcome.is_err() {
                continue;
            }
            if what < 3 {
                model.insert(model.len() as u64 + 1, (actor, (text.into(), false, BTreeMap::new())));
                continue;
            }
            let (_, plain) = model.get_mut(&seq).unwrap();
            match what {
                3 | 4 => plain.0 = text.into(),
                5 => *plain = (String::new(), true, BTreeMap::new()),
                6 | 7 => { plain.2.entry(key).or_default().insert(actor); }
                _ => { plain.2.entry(key).or_default().remove(&actor); }
            }
        }
        let mut room = Room::begun(nothing(&stage.events[0].event));
        prop_assert!(stage.events.iter().all(|each| room.replay(&each.event)));
        for (seq, (sender, (text, deleted, reactions))) in model {
            let facts = &stage.facts[&seq];
            prop_assert_eq!(room.recent.get(seq), Some(facts));
            let hash = crate::content::hash("send", &content(&text));
            prop_assert_eq!((facts.sender, facts.deleted), (user(sender), deleted));
            prop_assert_eq!(facts.content, if deleted { 0 } else { hash });
            let is: BTreeMap<_, _> = facts.reactions.iter().map(|each| {
                (each.emoji.chars().next().unwrap(), each.users.iter().map(|user| user.bytes()[0]).collect())
            }).collect();
            let should: BTreeMap<char, BTreeSet<u8>> = reactions.into_iter().filter(|(_, users)| !users.is_empty()).collect();
            prop_assert_eq!(is, should);
        }
    }
}
