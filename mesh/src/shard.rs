//! Shards: conversations and users hash onto them, and the number of them is part of the layout (`LOG_1_07`).

use std::{collections::HashMap, hash::Hasher};
use twox_hash::XxHash64;

/// A shard's number.
pub type Shard = u32;

/// The layout's version in stream names; another number of shards is another layout.
pub const LAYOUT: u32 = 1;

/// The shard of 16 bytes of id: XXH64 with seed 0, modulo `count`. Durable: changing it is a new layout.
#[must_use]
pub fn shard_of(id: &[u8; 16], count: u32) -> Shard {
    let mut hasher = XxHash64::with_seed(0);
    hasher.write(id);
    u32::try_from(hasher.finish() % u64::from(count.max(1))).unwrap_or(0)
}

/// A process that is home of shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The process's name, new with every start.
    pub process: String,
    /// Where it serves gRPC: `http://HOST:PORT`, or `inproc://NAME`.
    pub address: String,
}

/// Which process is home of which shard, as far as the holder knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardMap {
    /// How many shards there are.
    pub count: u32,
    /// Those that have a home.
    pub homes: HashMap<Shard, Home>,
}
