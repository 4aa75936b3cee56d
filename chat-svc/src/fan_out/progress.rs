//! How far the fan-out has come: published, and given to it, by (source, destination).

use super::Delivery;
use madang_mesh::{log::Position, shard::Shard};
use madang_proto::log::v1::FanOutPosition;
use std::collections::{HashMap, HashSet};
use tokio::time::Instant;

/// How far it has come.
#[derive(Default)]
pub(super) struct Progress {
    published: HashMap<(Shard, Shard), Position>,
    /// What was published last, as the destination knows it, and when.
    sent: HashMap<(Shard, Shard), (Position, Option<Instant>)>,
    given: HashMap<(Shard, Shard), Position>,
    newest: HashMap<Shard, Position>,
    /// The sources whose home is here: of these it is known how far they have come.
    pub serving: HashSet<Shard>,
}

impl Progress {
    /// A home goes on where the one before it had come to; nobody is told yet how far that is.
    pub fn resume(&mut self, shard: Shard, reached: &[FanOutPosition], marker: Position) {
        self.newest.insert(shard, marker);
        for each in reached {
            let published = self.published.entry((shard, each.shard)).or_default();
            *published = each.position.max(*published);
            let (sent, _) = self.sent.entry((shard, each.shard)).or_default();
            *sent = each.sent.max(*sent);
        }
    }

    /// A commit is given to the fan-out; what a home before this one has published of it is taken out.
    pub fn committed(&mut self, shard: Shard, position: Position, parcels: &mut HashMap<Shard, Vec<Delivery>>) {
        let newest = self.newest.entry(shard).or_default();
        *newest = position.max(*newest);
        parcels.retain(|destination, _| {
            self.published.get(&(shard, *destination)).is_none_or(|published| *published < position)
        });
        for destination in parcels.keys() {
            self.given.insert((shard, *destination), position);
        }
    }

    /// The destination's inbox has taken it.
    pub fn published(&mut self, source: Shard, destination: Shard, position: Position) {
        let published = self.published.entry((source, destination)).or_default();
        *published = position.max(*published);
        let (sent, at) = self.sent.entry((source, destination)).or_default();
        (*sent, *at) = (position.max(*sent), Some(Instant::now()));
    }

    /// The newest that the destination's inbox has taken.
    pub fn sent(&self, source: Shard, destination: Shard) -> Position {
        self.sent.get(&(source, destination)).map_or(0, |(sent, _)| *sent)
    }

    /// What has moved since, for one destination, of the sources whose home is here.
    pub fn moved(&self, destination: Shard, since: Option<Instant>) -> Vec<(Shard, Position)> {
        let moved = |at: Option<Instant>| since.is_none_or(|since| at.is_some_and(|at| at >= since));
        let of = |source: &Shard| {
            let (sent, at) = self.sent.get(&(*source, destination)).copied().unwrap_or_default();
            moved(at).then_some((*source, sent))
        };
        let mut all: Vec<_> = self.serving.iter().filter_map(of).collect();
        all.sort_unstable();
        all
    }

    /// Up to where everything of a source that concerns the destination is published.
    pub fn reached(&self, source: Shard, destination: Shard) -> Position {
        let key = (source, destination);
        let published = self.published.get(&key).copied().unwrap_or(0);
        // With nothing on its way, all that was committed is behind.
        if self.given.get(&key).copied().unwrap_or(0) <= published {
            self.newest.get(&source).copied().unwrap_or(0)
        } else {
            published
        }
    }
}
