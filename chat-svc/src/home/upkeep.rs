//! What a home does from time to time: gathers read marks, asks where the readers of the log stand, trims the log.

use super::{Home, LARGE_ROOM, ROOMS, pressure};
use crate::{
    ask::{Ask, Claim, What},
    room::{Request, marks::Pending},
};
use futures_util::FutureExt;
use madang_mesh::clock::now_micros;
use madang_proto::id::{ConversationId, UserId};
use tokio::task::JoinHandle;

impl Home {
    /// Called once in a tick; fails if the log was lost.
    pub(super) fn tick(&mut self) -> Result<(), String> {
        self.ticks += 1;
        if !self.ticks.is_multiple_of(4) {
            return Ok(());
        }
        self.gather_marks(self.ticks.is_multiple_of(20));
        self.forget_recalled();
        self.unchanged.forget_old(now_micros() / 1000);
        let rooms = i64::try_from(self.rooms.len()).unwrap_or(i64::MAX);
        ROOMS.with_label_values(&[&self.shard.to_string()]).set(rooms);
        if self.looking.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(Ok(heard)) = self.looking.take().map(|looked| looked.now_or_never()).unwrap_or_default()
        {
            let fanned_out = self.world.fan_out.lowest(self.shard);
            if let Some(before) = self.pressure.hear(&heard, self.last, fanned_out, self.world.lag_bytes)? {
                let (log, shard) = (self.world.log.clone(), self.shard);
                tokio::spawn(async move {
                    if let Err(error) = log.trim(shard, before).await {
                        tracing::warn!(shard, %error, "the log could not be trimmed; trying again later");
                    }
                });
            }
        }
        if self.looking.is_none() {
            let (registry, shard) = (self.world.registry.clone(), self.shard);
            self.looking = Some(tokio::spawn(async move { pressure::ask(&*registry, shard).await }));
        }
        Ok(())
    }

    /// The marks of a room that wait.
    pub(super) fn marks_of(&self, conversation: &ConversationId) -> Vec<(UserId, Pending)> {
        let room = self.rooms.get(conversation);
        room.into_iter().flat_map(|room| &room.pending_marks).map(|(user, pending)| (*user, *pending)).collect()
    }

    /// Makes requests of the read marks that wait: those of large rooms only every few seconds.
    pub(super) fn gather_marks(&mut self, large_too: bool) {
        let Self { rooms, unread_marks, ready, .. } = self;
        unread_marks.retain(|conversation| {
            let Some(room) = rooms.get(conversation) else { return false };
            let large = room.state.members.present().len() > LARGE_ROOM;
            if !room.pending_marks.is_empty() && (!large || large_too) {
                // Which they are is looked at when it is their turn: until then some may be told of otherwise.
                let what = What::Request(Request::Marks(Vec::new()), 0);
                ready.push_back(Ask {
                    conversation: *conversation,
                    actor: None,
                    what,
                    claim: Claim::default(),
                    trace: None,
                    answer: Box::new(|_| ()),
                });
            }
            !room.pending_marks.is_empty()
        });
    }
}
