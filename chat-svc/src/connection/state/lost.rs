//! What may be missing of an inbox: cursors stand still until it is known, and where it can't be had any more connections
//! are told to look for it themselves.

use super::State;
use crate::connection::reach::LISTED;
use bytes::Bytes;
use madang_mesh::{clock::now_micros, log::Position, shard::Shard};
use madang_proto::{
    chat::v1::{Downstream, downstream::Item},
    client::v1::{Resync, ServerFrame, server_frame},
};
use prost::Message as _;
use tokio::time::Instant;

impl State {
    /// From now on something may be missing before what comes: after the inbox was opened again, or where it shows a gap.
    /// Another home may read only what comes after, and take that for all there is.
    pub(super) fn freeze(&mut self) {
        if (self.reopened || self.reach.has_gap()) && self.frozen.is_none() {
            self.frozen = Some(self.tail.end());
        }
    }

    /// Nothing is missing any more.
    pub(super) fn thaw(&mut self) {
        if (self.reopened || self.frozen.is_some()) && self.caught_up && self.reach.whole() {
            (self.reopened, self.frozen) = (false, None);
        }
    }

    /// What was given up is in the databases: connections are told to look there, and it goes on from there. The same
    /// where cursors stand still for a source that has had no home for so long that lists have what it may have sent.
    pub(super) fn heed_lost(&mut self) {
        let now = Instant::now();
        let stands = self.reopened || self.frozen.is_some();
        let unheard: Vec<_> = self.reach.unheard(now).filter(|_| stands).collect();
        let stored = |shard| self.stored.get(&shard).copied().unwrap_or(0);
        let found = |(shard, position, since): (Shard, Position, Instant)| {
            stored(shard) >= position || since.elapsed() >= LISTED
        };
        if self.reach.lost().next().is_none() && unheard.is_empty() || !self.reach.lost().all(found) {
            return;
        }
        if !unheard.is_empty() {
            tracing::warn!(
                shard = self.shard,
                sources = ?unheard,
                "nobody says whether an inbox lost something of these: clients look for it themselves"
            );
        }
        let lost: Vec<_> = self.reach.lost().map(|(shard, ..)| shard).chain(unheard.iter().copied()).collect();
        self.reach.skip_lost(now);
        self.reach.excuse(&unheard);
        // Where they are told is a place of its own: who has all that came before it may not have been told.
        self.barrier = self.tail.stake(now_micros());
        self.listed.extend(lost.into_iter().map(|shard| (shard, self.barrier)));
        self.thaw();
        self.resync();
    }

    fn resync(&mut self) {
        // Who reads lists now has all that is before.
        let end = self.tail.end();
        self.frozen = self.frozen.map(|_| end);
        let cursor = end.to_string();
        let body = server_frame::Body::Resync(Resync { cursor: cursor.clone() });
        let frame: Bytes = ServerFrame { id: 0, body: Some(body) }.encode_to_vec().into();
        for each in self.users.values().flat_map(|state| &state.connections) {
            let item = Some(Item::Frame(frame.clone()));
            let (connections, cursor) = (vec![each.connection], cursor.clone());
            each.trunk.send(Downstream { connections, item, cursor, ..Downstream::default() });
        }
    }
}
