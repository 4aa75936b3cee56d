//! Who waits for what must be fetched first: for a room, all that is asked of it; for a message, those who would change it;
//! for what somebody had set when they joined, who changes that; for older client ids, who sends something that old, and what
//! they ask behind it. So a late retry is in nobody else's way.

use super::{Fetched, Home, QUEUE, QUEUE_BYTES, fetch, moving, overloaded};
use crate::{
    ask::{Ask, What},
    room::Room,
};
use futures_util::FutureExt as _;
use madang_mesh::clock::now_micros;
use madang_proto::{
    id::{ConversationId, UserId},
    reason::Refusal,
};
use std::{
    collections::{HashMap, VecDeque},
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::AtomicUsize},
};
use tokio::sync::Semaphore;

/// Of how many rooms a home reads older client ids at once: as many as there are since then, of each.
const IDS_AT_ONCE: usize = 4;

/// An ask that waits for older client ids.
struct Held {
    ask: Ask,
    /// Since when it wants to know them all, in µs; none: it is behind another of its actor.
    since_micros: Option<i64>,
}

/// What waits.
pub(super) struct Waits {
    /// Of rooms that are being fetched, in order.
    rooms: HashMap<ConversationId, VecDeque<Ask>>,
    /// Of rooms whose older client ids are, in order.
    ids: HashMap<ConversationId, VecDeque<Held>>,
    /// Of messages that are.
    messages: HashMap<(ConversationId, u64), Vec<Ask>>,
    /// Of members whose settings are, in order.
    pub settings: HashMap<(ConversationId, UserId), Vec<Ask>>,
    /// How many wait, all in all.
    count: usize,
    /// How many bytes those take, and those that go on since what they waited for is there.
    bytes: Arc<AtomicUsize>,
    reading_ids: Arc<Semaphore>,
}

impl Waits {
    /// For nothing yet.
    pub fn new() -> Self {
        let (rooms, ids, messages, settings) = (HashMap::new(), HashMap::new(), HashMap::new(), HashMap::new());
        let reading_ids = Arc::new(Semaphore::new(IDS_AT_ONCE));
        Self { rooms, ids, messages, settings, count: 0, bytes: Arc::default(), reading_ids }
    }

    /// Whether a room has to stay, since what comes for it goes on from how it is.
    pub fn needs(&self, conversation: &ConversationId) -> bool {
        let waits = self.settings.keys().any(|(room, _)| room == conversation);
        waits || self.rooms.contains_key(conversation) || self.ids.contains_key(conversation)
    }

    /// Whether anybody waits for a room's client ids; of one actor, if it is given.
    pub fn for_ids(&self, conversation: &ConversationId, actor: Option<UserId>) -> bool {
        let queue = self.ids.get(conversation);
        queue.is_some_and(|queue| actor.is_none() || queue.iter().any(|held| held.ask.actor == actor))
    }

    /// Takes all of them out.
    pub fn drain(&mut self) -> impl Iterator<Item = Ask> {
        self.count = 0;
        let ids = std::mem::take(&mut self.ids).into_values().flatten().map(|held| held.ask);
        let rooms = std::mem::take(&mut self.rooms).into_values().flatten();
        let messages = std::mem::take(&mut self.messages).into_values().flatten();
        rooms.chain(ids).chain(messages).chain(std::mem::take(&mut self.settings).into_values().flatten())
    }

    /// There is room for one more, or it is told that there is none.
    pub fn take(&mut self, mut ask: Ask) -> Option<Ask> {
        if self.count >= QUEUE || !ask.claim.take(&self.bytes, QUEUE_BYTES) {
            (ask.answer)(Err(overloaded()));
            return None;
        }
        self.count += 1;
        Some(ask)
    }
}

impl Home {
    /// Holds an ask behind what waits already, if it has to be: gives it back if not.
    pub(super) fn wait_behind(&mut self, ask: Ask) -> Option<Ask> {
        let conversation = ask.conversation;
        // One's own come in order, first of all. Marks only grow, and that somebody is writing is of now.
        let is_ordered = ask.actor.is_some() && matches!(ask.what, What::Request(..));
        if is_ordered && self.waits.for_ids(&conversation, ask.actor) {
            self.hold(ask, None);
            return None;
        }
        if let Some(actor) = ask.actor
            && is_ordered
            && self.waits.settings.contains_key(&(conversation, actor))
        {
            self.wait_for_settings(ask, actor, None);
            return None;
        }
        if self.waits.rooms.contains_key(&conversation) {
            self.wait(ask, None);
            return None;
        }
        Some(ask)
    }

    /// Holds an ask, and all others of its room, until what is wanted is there; none: it is on its way already.
    pub(super) fn wait(&mut self, ask: Ask, wanted: Option<fetch::Wanted>) {
        let Some(ask) = self.waits.take(ask) else { return };
        self.to_fetch.extend(wanted);
        self.waits.rooms.entry(ask.conversation).or_default().push_back(ask);
    }

    /// Holds an ask until its room's client ids since then are known; none: it is behind another. False: there is no room.
    fn hold(&mut self, ask: Ask, since_micros: Option<i64>) -> bool {
        let Some(ask) = self.waits.take(ask) else { return false };
        self.waits.ids.entry(ask.conversation).or_default().push_back(Held { ask, since_micros });
        true
    }

    /// Holds an ask, and what its actor asks behind it, until its room's client ids are known; `fetch`: from the store.
    pub(super) fn wait_for_ids(&mut self, ask: Ask, (since_micros, revision): (i64, u64), fetch: bool) {
        let conversation = ask.conversation;
        // What is on its way may be enough: it is asked again otherwise.
        let fetch = fetch && !self.waits.for_ids(&conversation, None);
        if self.hold(ask, Some(since_micros)) && fetch {
            let (sources, places) = (self.world.sources.clone(), self.waits.reading_ids.clone());
            let of = (conversation, since_micros, revision);
            let instead = Fetched::NoIds { conversation, since_micros, refusal: moving() };
            self.bring(vec![instead], async move { vec![fetch::ids(&*sources, &places, of).await] });
        }
    }

    /// Until a message is known, everything that would change it waits: so nothing has changed it when it comes, and it
    /// is as of the room's `revision` or later.
    pub(super) fn wait_for_message(&mut self, ask: Ask, seq: u64, revision: u64) {
        let Some(ask) = self.waits.take(ask) else { return };
        let conversation = ask.conversation;
        let queue = self.waits.messages.entry((conversation, seq)).or_default();
        queue.push(ask);
        if queue.len() == 1 {
            let wanted = vec![fetch::Wanted::Message { conversation, seq, revision }];
            self.fetch_now(wanted);
        }
    }

    pub(super) fn fetch(&mut self) {
        // One does not wait for the other: rooms and settings are of another service than blocks, and settings may be waited for.
        let is_room = |wanted: &fetch::Wanted| matches!(wanted, fetch::Wanted::Room { .. });
        let is_set = |wanted: &fetch::Wanted| matches!(wanted, fetch::Wanted::Settings { .. });
        let (rooms, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.to_fetch).into_iter().partition(is_room);
        let (settings, blocks): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_set);
        for wanted in [rooms, settings, blocks].into_iter().filter(|wanted| !wanted.is_empty()) {
            self.fetch_now(wanted);
        }
    }

    fn fetch_now(&mut self, wanted: Vec<fetch::Wanted>) {
        let written = (self.shard, self.pressure.slowest());
        let instead = wanted.iter().map(fetch::Wanted::failed).collect();
        self.bring(instead, fetch::fetch(self.world.sources.clone(), written, wanted));
    }

    /// Fetches something; `instead` comes if that panics: what one room has in a database ends neither its home nor the
    /// process, and nobody waits for what does not come.
    pub(super) fn bring(&mut self, instead: Vec<Fetched>, work: impl Future<Output = Vec<Fetched>> + Send + 'static) {
        let shard = self.shard;
        self.fetches.spawn(async move {
            AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
                tracing::error!(shard, ?instead, "fetching has panicked: who waits for it is refused");
                instead
            })
        });
    }

    pub(super) fn fetched(&mut self, fetched: Fetched) {
        let (conversation, refusal) = match fetched {
            Fetched::Room(conversation, row, blocks) => {
                if !self.rooms.contains_key(&conversation) {
                    self.keep(conversation, Room { blocks, ..Room::loaded(&row, self.horizon_ms) });
                }
                (conversation, None)
            }
            Fetched::Absent(conversation, absent) => {
                self.absent.insert(conversation, absent);
                (conversation, None)
            }
            Fetched::Blocks(conversation, blocks) => {
                self.found_blocks(&conversation, blocks);
                (conversation, None)
            }
            Fetched::Ids { conversation, since_micros, uses } => {
                if let Some(room) = self.rooms.get_mut(&conversation) {
                    room.seen.extend_back(since_micros, uses);
                }
                self.weigh(&conversation);
                return self.go_on_with_ids(conversation, None);
            }
            Fetched::NoIds { conversation, since_micros, refusal } => {
                return self.go_on_with_ids(conversation, Some((since_micros, &refusal)));
            }
            Fetched::Message { conversation, seq, facts } => {
                let refusal = match facts {
                    Ok(facts) => {
                        if let Some(room) = self.rooms.get_mut(&conversation) {
                            room.recent.note(seq, facts, now_micros() / 1000);
                        }
                        self.weigh(&conversation);
                        None
                    }
                    Err(refusal) => Some(refusal),
                };
                let queue = self.waits.messages.remove(&(conversation, seq)).unwrap_or_default();
                return self.release(queue, refusal.as_ref());
            }
            Fetched::Settings { conversation, user, revision, found } => {
                return self.found_settings((conversation, user), revision, found);
            }
            Fetched::Recalled(recalled) => return self.recalled(recalled),
            Fetched::Failed(conversation, refusal) => (conversation, Some(refusal)),
        };
        self.go_on_with(conversation, refusal.as_ref());
    }

    /// Lets those go on who wait for a room's client ids. Where they can't be had since a time: refuses all of them for now;
    /// or for good those who want to know them all since then.
    pub(super) fn go_on_with_ids(&mut self, conversation: ConversationId, failed: Option<(i64, &Refusal)>) {
        let queue = self.waits.ids.remove(&conversation).unwrap_or_default();
        self.waits.count -= queue.len();
        for Held { ask, since_micros } in queue.into_iter().rev() {
            let concerns = |since: i64| since_micros.is_some_and(|wanted| wanted <= since);
            match failed.filter(|(since, refusal)| refusal.reason.retryable() || concerns(*since)) {
                Some((_, refusal)) => (ask.answer)(Err(refusal.clone())),
                None => self.ready.push_front(ask),
            }
        }
    }

    /// Lets those go on who wait for a room; or refuses them.
    fn go_on_with(&mut self, conversation: ConversationId, refusal: Option<&Refusal>) {
        let queue = self.waits.rooms.remove(&conversation).unwrap_or_default();
        self.release(queue, refusal);
    }

    pub(super) fn release(
        &mut self,
        queue: impl IntoIterator<Item = Ask, IntoIter: DoubleEndedIterator + ExactSizeIterator>,
        refusal: Option<&Refusal>,
    ) {
        let queue = queue.into_iter();
        self.waits.count -= queue.len();
        for ask in queue.rev() {
            match refusal {
                Some(refusal) => (ask.answer)(Err(refusal.clone())),
                None => self.ready.push_front(ask),
            }
        }
    }
}
