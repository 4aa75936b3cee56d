//! Who waits for what must be fetched first: rooms and client ids hold up all that is asked of their room, a message only
//! those who would change it.

use super::{Fetched, Home, QUEUE, fetch, overloaded};
use crate::{ask::Ask, room::Room};
use madang_mesh::clock::now_micros;
use madang_proto::{id::ConversationId, reason::Refusal};

impl Home {
    /// Holds an ask, and all others of its room, until what is wanted is there; none: it is on its way already.
    pub(super) fn wait(&mut self, ask: Ask, wanted: Option<fetch::Wanted>) {
        if self.waiting_count >= QUEUE {
            return (ask.answer)(Err(overloaded()));
        }
        self.to_fetch.extend(wanted);
        self.waiting_count += 1;
        self.waiting.entry(ask.conversation).or_default().push_back(ask);
    }

    /// Until a message is known, everything that would change it waits: so nothing has changed it when it comes, and it
    /// is as of the room's `revision` or later.
    pub(super) fn wait_for_message(&mut self, ask: Ask, seq: u64, revision: u64) {
        if self.waiting_count >= QUEUE {
            return (ask.answer)(Err(overloaded()));
        }
        self.waiting_count += 1;
        let conversation = ask.conversation;
        let queue = self.loading.entry((conversation, seq)).or_default();
        queue.push(ask);
        if queue.len() == 1 {
            let wanted = vec![fetch::Wanted::Message { conversation, seq, revision }];
            self.fetch_now(wanted);
        }
    }

    pub(super) fn fetch(&mut self) {
        if !self.to_fetch.is_empty() {
            let wanted = std::mem::take(&mut self.to_fetch);
            self.fetch_now(wanted);
        }
    }

    fn fetch_now(&mut self, wanted: Vec<fetch::Wanted>) {
        let written = (self.shard, self.pressure.slowest());
        self.fetches.spawn(fetch::fetch(self.world.sources.clone(), written, wanted));
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
                (conversation, None)
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
                let queue = self.loading.remove(&(conversation, seq)).unwrap_or_default();
                return self.release(queue, refusal.as_ref());
            }
            Fetched::Recalled(recalled) => return self.recalled(recalled),
            Fetched::Failed(conversation, refusal) => (conversation, Some(refusal)),
        };
        self.go_on_with(conversation, refusal.as_ref());
    }

    /// Lets those go on who wait for a room; or refuses them.
    pub(super) fn go_on_with(&mut self, conversation: ConversationId, refusal: Option<&Refusal>) {
        let queue = self.waiting.remove(&conversation).unwrap_or_default();
        self.release(queue, refusal);
    }

    fn release(
        &mut self,
        queue: impl IntoIterator<Item = Ask, IntoIter: DoubleEndedIterator + ExactSizeIterator>,
        refusal: Option<&Refusal>,
    ) {
        let queue = queue.into_iter();
        self.waiting_count -= queue.len();
        for ask in queue.rev() {
            match refusal {
                Some(refusal) => (ask.answer)(Err(refusal.clone())),
                None => self.ready.push_front(ask),
            }
        }
    }
}
