//! What every store must do with messages that are edited, deleted and reacted to: after any history, however often parts
//! of it come again, it says what a plain model says.

#![allow(clippy::expect_used)] // checks for tests: a panic is how they tell

use crate::messages::{Change, Entry, Messages, Since, emoji_key};
use madang_proto::{
    client::v1::{Content, Message, Reaction},
    id::{ClientId, ConversationId, UserId},
    store::v1::ClientIdUse,
};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

const BEGIN: i64 = 1_700_000_000_000_000;
const EMOJI: [&str; 4] = ["👍", "❤\u{fe0f}", "❤", "한글"];

/// A plain generator: the same seed gives the same history.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// The emoji on a message, in order: as first sent, when, and who put each there.
type Reactions = Vec<(String, u64, BTreeSet<Vec<u8>>)>;

/// What a conversation should have.
#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
    messages: BTreeMap<u64, Message>,
    reactions: BTreeMap<u64, Reactions>,
    uses: Vec<ClientIdUse>,
}

fn people() -> Vec<Vec<u8>> {
    (1..=4_u8).map(|n| vec![n; 16]).collect()
}

impl Model {
    fn used(&mut self, dice: &mut Dice, seq: u64) -> ClientIdUse {
        let revision = self.entries.len() as u64 + 1;
        let sender = people()[usize::try_from(dice.below(4)).unwrap_or_default()].clone();
        let at_micros = BEGIN + i64::try_from(revision).unwrap_or_default() * 1000;
        let client_id = Uuid::from_u128((7 << 76) | u128::from(revision)).as_bytes().to_vec();
        let used = ClientIdUse { sender, client_id, request_hash: revision, seq, revision, at_micros };
        self.uses.push(used.clone());
        used
    }

    fn send(&mut self, conversation: ConversationId, dice: &mut Dice) {
        let used = self.used(dice, self.messages.len() as u64 + 1);
        let message = Message {
            seq: used.seq,
            revision: used.revision,
            at: used.at_micros / 1000,
            sender: UserId::from_slice(&used.sender).map(|id| id.to_string()).unwrap_or_default(),
            client_id: ClientId::from_slice(&used.client_id).map(|id| id.to_string()).unwrap_or_default(),
            text: format!("first {}", used.seq),
            r#type: "text".into(),
            ..Default::default()
        };
        self.messages.insert(used.seq, message.clone());
        self.entries.push(Entry::Message { conversation, message: Box::new(message), used });
    }

    fn change(&mut self, conversation: ConversationId, dice: &mut Dice) {
        let last_seq = self.messages.len() as u64;
        // Mostly one of the newest.
        let far = if dice.below(3) == 0 { last_seq } else { 9 };
        let seq = last_seq - dice.below(last_seq.min(far));
        if self.messages[&seq].deleted {
            return self.send(conversation, dice);
        }
        let used = self.used(dice, seq);
        let reactions = self.reactions.entry(seq).or_default();
        let message = self.messages.entry(seq).or_default();
        message.revision = used.revision;
        let change = match dice.below(8) {
            0 => {
                *message = Message { text: String::new(), r#type: String::new(), edited_at: 0, ..message.clone() };
                (message.deleted, message.reactions) = (true, Vec::new());
                reactions.clear();
                Change::Deleted
            }
            1 | 2 => {
                message.text = format!("edited {}", used.revision);
                message.edited_at = used.at_micros / 1000;
                let content = Content { text: message.text.clone(), r#type: "text".into(), ..Default::default() };
                Change::Edited(Box::new(content))
            }
            _ => {
                let emoji = EMOJI[usize::try_from(dice.below(4)).unwrap_or_default()];
                let key = emoji_key(emoji);
                let place = reactions.iter().position(|(each, ..)| emoji_key(each) == key);
                let place = place.unwrap_or_else(|| {
                    reactions.push((emoji.to_owned(), used.revision, BTreeSet::new()));
                    reactions.len() - 1
                });
                let (_, began, users) = &mut reactions[place];
                let (began, removed) = (*began, !users.insert(used.sender.clone()));
                if removed {
                    users.remove(&used.sender);
                }
                reactions.retain(|(_, _, users)| !users.is_empty());
                let now = reactions.iter().map(|(emoji, _, users)| Reaction {
                    emoji: emoji.clone(),
                    count: u32::try_from(users.len()).unwrap_or_default(),
                    mine: false,
                });
                message.reactions = now.collect();
                Change::Reacted { key, user: used.sender.clone(), removed, began, now: message.reactions.clone() }
            }
        };
        self.entries.push(Entry::Change { conversation, last_seq, used, change });
    }
}

/// Checks a store; panics where it does not do what it should.
///
/// # Panics
/// That is how it tells.
pub async fn check(store: &dyn Messages) {
    for seed in [0x9e37_79b9_7f4a_7c15, 0xdead_beef_1234_5678, 42] {
        history(store, seed).await;
    }
}

async fn history(store: &dyn Messages, seed: u64) {
    let failed = "the store does what it is asked";
    let (conversation, shard) = (ConversationId::from(Uuid::now_v7()), 9);
    let (mut dice, mut model) = (Dice(seed), Model::default());
    for _ in 0..700 {
        if model.messages.is_empty() || dice.below(3) == 0 {
            model.send(conversation, &mut dice);
        } else {
            model.change(conversation, &mut dice);
        }
    }
    // In pieces, of which some come again from earlier on, as after a restart.
    let (mut at, mut position) = (0, store.cursor(shard).await.expect(failed));
    while at < model.entries.len() {
        let end = (at + 1 + usize::try_from(dice.below(60)).unwrap_or_default()).min(model.entries.len());
        position += 1;
        store.apply(shard, model.entries[at..end].to_vec(), position).await.expect(failed);
        let back = if dice.below(3) == 0 { usize::try_from(dice.below(90)).unwrap_or_default() } else { 0 };
        at = if end == model.entries.len() { end } else { end.saturating_sub(back) };
    }
    store.apply(shard, model.entries[200..500].to_vec(), position).await.expect(failed);
    store.apply(shard, model.entries[500..].to_vec(), position).await.expect(failed);

    let all: Vec<Message> = model.messages.values().cloned().collect();
    let page = store.page(conversation, 1, u64::MAX, 1000, true).await.expect(failed);
    for (is, should) in page.iter().zip(&all) {
        assert_eq!(is, should, "seed {seed}");
    }
    assert_eq!(page.len(), all.len());
    let wanted = all.iter().map(|message| (conversation, message.seq)).collect();
    let found = store.messages(wanted).await.expect(failed);
    assert!(found.iter().map(|(_, message)| message).eq(&all), "seed {seed}");
    reactions(store, conversation, &model).await;
    changes(store, conversation, &model).await;

    let mut uses = store.uses(conversation, BEGIN, 100_000).await.expect(failed);
    uses.sort_by_key(|used| used.revision);
    assert_eq!(uses, model.uses, "seed {seed}");
    let since = BEGIN + 400_000;
    let mut uses = store.uses(conversation, since, 100_000).await.expect(failed);
    uses.sort_by_key(|used| used.revision);
    assert_eq!(uses, model.uses[399..], "seed {seed}");
    assert_eq!(store.uses(conversation, since, 17).await.expect(failed).len(), 17);
}

async fn reactions(store: &dyn Messages, conversation: ConversationId, model: &Model) {
    let failed = "the store does what it is asked";
    for (seq, message) in &model.messages {
        let loaded = store.load(conversation, *seq).await.expect(failed).expect("it is there");
        assert_eq!(&loaded.message, message);
        let at = BEGIN + i64::try_from(message.revision).unwrap_or_default() * 1000;
        assert_eq!(loaded.changed_micros, at, "when {seq} was last changed");
        let is: BTreeMap<_, _> = loaded
            .reactors
            .into_iter()
            .map(|(key, (began, users))| {
                (key, (began, users.chunks_exact(16).map(<[u8]>::to_vec).collect::<BTreeSet<_>>()))
            })
            .collect();
        let all = model.reactions.get(seq).into_iter().flatten();
        let should: BTreeMap<_, _> =
            all.map(|(emoji, began, users)| (emoji_key(emoji), (*began, users.clone()))).collect();
        assert_eq!(is, should, "who reacted to {seq}");
    }
    assert!(store.load(conversation, model.messages.len() as u64 + 1).await.expect(failed).is_none());
    for user in people() {
        let seqs = model.messages.keys().copied().collect();
        let is = store.reacted(conversation, user.clone(), seqs).await.expect(failed);
        let of = |(seq, all): (&u64, &Reactions)| {
            let own = all.iter().filter(|(_, _, users)| users.contains(&user));
            own.map(|(emoji, ..)| (*seq, emoji_key(emoji))).collect::<Vec<_>>()
        };
        assert_eq!(is, model.reactions.iter().flat_map(of).collect());
    }
}

async fn changes(store: &dyn Messages, conversation: ConversationId, model: &Model) {
    let failed = "the store does what it is asked";
    let last = model.entries.len() as u64;
    for (first_seq, limit) in [(1, 3), (1, 50), (1, 1000), (60, 20)] {
        for from in [0, 1, 63, 64, 65, 300, last - 40, last - 1, last] {
            // Page by page.
            let (mut revision, mut is) = (from, Vec::new());
            while revision < last {
                let since =
                    Since { revision, until: last, first_seq, last_seq: u64::MAX >> 1, limit, oldest_micros: 0 };
                let found = store.changes(conversation, since).await.expect(failed).expect("it is not too old");
                assert!(found.messages.len() <= limit && found.revision > revision, "it goes on");
                assert!(found.messages.iter().all(|each| each.revision <= found.revision));
                revision = found.revision;
                is.extend(found.messages);
            }
            let all = model.messages.values().filter(|each| each.revision > from && each.seq >= first_seq);
            let mut should: Vec<_> = all.cloned().collect();
            should.sort_by_key(|message| message.revision);
            assert_eq!(is, should, "changes after {from}, {limit} at once");
        }
    }
    // Those that were changed again after what is asked for are not among those, and told as they are.
    let all = model.messages.values().filter(|each| each.deleted || !each.reactions.is_empty());
    let changed = all.max_by_key(|each| each.revision).expect("something was changed");
    let until = changed.revision - 1;
    let again = model.messages.range(..=changed.seq).map(|(_, each)| each.clone());
    let mut again: Vec<_> = again.filter(|each| each.revision > until).collect();
    again.sort_unstable_by_key(|each| std::cmp::Reverse(each.revision));
    for (last_seq, again) in [(changed.seq, again), (0, Vec::new())] {
        let since = Since { revision: 0, until, first_seq: 1, last_seq, limit: 10_000, oldest_micros: 0 };
        let found = store.changes(conversation, since).await.expect(failed).expect("it is not too old");
        assert!(found.messages.iter().all(|each| each.seq != changed.seq));
        assert_eq!(found.again, again, "of messages up to {last_seq}, after {until}");
    }
}
