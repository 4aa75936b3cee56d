//! The streams in NATS: a log and an inbox for each shard. All of them, or, where NATS has no room and nothing was there
//! before, none: so that fewer shards, or smaller logs, may be asked for next.

use super::{NATS, again};
use anyhow::{Context as _, bail, ensure};
use madang_mesh::{
    process::SHARDS,
    registry::{Registry as _, jetstream::JetStreamRegistry},
    streams::{self, Config, Context, Refused, There},
};
use tokio::time::Instant;

/// What there should be.
pub struct Streams<'a> {
    pub end: Instant,
    pub context: Context,
    pub registry: &'a JetStreamRegistry,
    /// What was there before.
    pub before: There,
    pub wanted: &'a [Config],
    pub shards: u32,
    pub replicas: usize,
    pub tags: &'a [String],
}

impl Streams<'_> {
    /// Makes what is missing, once it is clear that what is there is as asked.
    pub async fn make(&self) -> anyhow::Result<()> {
        let first = lay_out(self.registry, &self.before.shards(), self.shards).await?;
        self.check(&self.before)?;
        for (made, config) in self.wanted.iter().enumerate() {
            let make = async || match streams::make(&self.context, config.clone()).await {
                Err(Refused::NoRoom(why)) => Ok(Err(why)),
                other => other.map(Ok),
            };
            if let Err(why) = again(self.end, &config.name, make).await? {
                return self.no_room(&why, &self.wanted[..made], first).await;
            }
        }
        // Another one that runs just now may have asked for something else, or found no room.
        let there = again(self.end, NATS, async || There::ask(&self.context).await).await?;
        self.check(&there)?;
        let missing = self.wanted.iter().find(|config| !there.has(&config.name));
        ensure!(missing.is_none(), "another migration has deleted what this one has made: run it again");
        lay_out(self.registry, &self.before.shards(), self.shards).await.map(drop)
    }

    /// Whether what is there was made as it is asked for.
    fn check(&self, there: &There) -> anyhow::Result<()> {
        let otherwise = there.differing(self.wanted, self.replicas, self.tags);
        ensure!(
            otherwise.is_empty(),
            "what is in NATS was made otherwise, and stays as it is until somebody changes it:\n- {}",
            otherwise.join("\n- ")
        );
        Ok(())
    }

    /// Says what is needed; leaves nothing of a first attempt.
    async fn no_room(&self, why: &str, made: &[Config], first: bool) -> anyhow::Result<()> {
        let new = made.iter().map(|config| config.name.as_str()).filter(|name| !self.before.has(name));
        let fewer = if !first {
            ""
        } else if streams::delete_unused(&self.context, &new.collect::<Vec<_>>()).await {
            self.registry.delete(SHARDS).await?;
            " Or ask for less: fewer --shards (for good: docs/operations.md, \"Tuning\"), or smaller logs by --log-bytes. What was \
             made just now is deleted again."
        } else {
            " What was made just now could not all be deleted: `nats stream ls`."
        };
        let (shards, needed) = (self.shards, streams::needed(self.wanted, self.replicas));
        bail!("{why}\nThe logs and inboxes of {shards} shards need {needed}, free or their own already.{fewer}")
    }
}

/// Remembers for how many shards the data is laid out, and refuses any other number. Gives whether this is the first time.
async fn lay_out(registry: &JetStreamRegistry, there: &[u32], shards: u32) -> anyhow::Result<bool> {
    let before = match registry.get(SHARDS).await?.and_then(|item| item.value) {
        Some(value) => Some(String::from_utf8_lossy(&value).parse::<usize>().context("layout.shards is no number")?),
        None if there.is_empty() => None,
        // Laid out before this number was kept.
        None => Some(there.len()),
    };
    let most = there.iter().max().map_or(0, |last| *last as usize + 1).max(before.unwrap_or(0));
    if before.is_some() {
        ensure!(
            most == shards as usize,
            "the data in NATS is laid out for {most} shards, not for {shards}: set --shards {most}; docs/operations.md says \
             how to move to another number"
        );
    }
    registry.compare_and_set(SHARDS, shards.to_string().into(), 0).await?;
    Ok(before.is_none())
}
