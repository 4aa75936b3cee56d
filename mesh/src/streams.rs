//! Streams in NATS: making them, and how those that are there were made, beside how they are asked for now. Nothing
//! changes a stream by itself: whoever asks for more replicas, or for other servers, must hear that they do not have them.

pub mod follow;

use crate::{
    registry::Unavailable,
    shard::{LAYOUT, Shard},
};
use async_nats::jetstream::{
    ErrorCode,
    context::{CreateStreamError, CreateStreamErrorKind},
    stream::{Info, StorageType},
};
use futures_util::TryStreamExt;
use std::{collections::BTreeMap, time::Duration};

/// JetStream on a connection, and how a stream is made there.
pub use async_nats::jetstream::{Context, new as on, stream::Config};

/// How long an answer of JetStream is waited for. What was asked of a leader that died meanwhile nobody answers: asked
/// again, the next one does.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Why a stream was not made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refused {
    /// What it reserves is not to be had. Waiting does not help.
    #[error("{0}")]
    NoRoom(String),
    /// NATS does not answer, or refuses for another reason.
    #[error("{0}")]
    Other(String),
}

/// Makes a stream that is not there. Never an update: a changed stream may lose what it holds.
pub async fn make(context: &Context, config: Config) -> Result<(), Refused> {
    context.get_or_create_stream(&config).await.map(drop).map_err(|error| refused(&config, &error))
}

/// Why NATS has not made this stream, and what to do if it has no room for it.
pub fn refused(config: &Config, error: &CreateStreamError) -> Refused {
    match error.kind() {
        CreateStreamErrorKind::JetStream(why) if no_room(why.error_code(), &why.to_string()) => {
            let (limit, of) = limit(config.storage);
            let (name, bytes) = (&config.name, mebibytes(config.max_bytes));
            Refused::NoRoom(format!(
                "NATS has no room for {name}: each server with a copy of it sets {bytes} of {of} aside for it, and too little of \
                 {limit} is left. Raise {limit} in the configuration of the servers (docs/operations.md, \"What NATS sets \
                 aside\"). NATS says: {why}"
            ))
        }
        _ => Refused::Other(error.to_string()),
    }
}

/// The setting of nats-server that bounds a kind of streams, and what that is of.
fn limit(storage: StorageType) -> (&'static str, &'static str) {
    match storage {
        StorageType::File => ("max_file_store", "disk"),
        StorageType::Memory => ("max_memory_store", "memory"),
    }
}

/// Whether NATS means that there is too little of something.
fn no_room(code: ErrorCode, text: &str) -> bool {
    let too_little = [
        ErrorCode::STORAGE_RESOURCES_EXCEEDED,
        ErrorCode::MEMORY_RESOURCES_EXCEEDED,
        ErrorCode::INSUFFICIENT_RESOURCES,
        ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
    ];
    // A cluster looks for servers that have room; it may also lack some with the right tags.
    too_little.contains(&code) || (code == ErrorCode::CLUSTER_NO_PEERS && text.contains("insufficient"))
}

/// A number of bytes, rounded up, to be read.
fn mebibytes(bytes: i64) -> String {
    match (bytes + (1 << 20) - 1) >> 20 {
        mebibytes if mebibytes % 1024 == 0 => format!("{} GiB", mebibytes >> 10),
        mebibytes => format!("{mebibytes} MiB"),
    }
}

/// What streams need together of the servers, for who reads that there is no room for one.
#[must_use]
pub fn needed(wanted: &[Config], replicas: usize) -> String {
    let sum = |storage| {
        let bytes = wanted.iter().filter(|config| config.storage == storage).map(|config| config.max_bytes).sum();
        format!("{} of {} ({})", mebibytes(bytes), limit(storage).1, limit(storage).0)
    };
    let (files, memory) = (sum(StorageType::File), sum(StorageType::Memory));
    match replicas {
        0 | 1 => format!("{files} and {memory}"),
        _ => format!("{files} and {memory} on each of {replicas} servers, or that {replicas} times over more servers"),
    }
}

/// What is there, as of one moment.
pub struct There(Vec<Info>);

impl There {
    /// Asks for all of them.
    pub async fn ask(context: &Context) -> Result<Self, Unavailable> {
        context.streams().try_collect().await.map(Self).map_err(|error| Unavailable(error.to_string()))
    }

    /// Whether there is one of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|info| info.config.name == name)
    }

    fn logs(&self) -> impl Iterator<Item = (Shard, &Info)> {
        let shard = |info: &Info| info.config.name.strip_prefix(&format!("LOG_{LAYOUT}_"))?.parse().ok();
        self.0.iter().filter_map(move |info| Some((shard(info)?, info)))
    }

    /// The shards that have a log, whatever number of shards is configured.
    #[must_use]
    pub fn shards(&self) -> Vec<Shard> {
        self.logs().map(|(shard, _)| shard).collect()
    }

    /// Whether anything was ever written to a log.
    #[must_use]
    pub fn written(&self) -> bool {
        self.logs().any(|(_, info)| info.state.last_sequence > 0)
    }

    /// What differs, a line each with what to do; nothing, where all is as asked, or not made yet. A stream that may take
    /// more than is asked for is fine.
    #[must_use]
    pub fn differing(&self, wanted: &[Config], replicas: usize, tags: &[String]) -> Vec<String> {
        said(self.0.iter().map(|info| &info.config), wanted, replicas, tags)
    }
}

/// Whether a stream of a cluster has no leader now: what is said of it then may be as of long ago.
#[must_use]
pub fn is_leaderless(info: &Info) -> bool {
    info.cluster.as_ref().is_some_and(|cluster| cluster.leader.as_deref().unwrap_or_default().is_empty())
}

/// Deletes those of them that nothing was ever written to, the last first; false: some are left.
pub async fn delete_unused(context: &Context, names: &[&str]) -> bool {
    let mut all = true;
    for name in names.iter().rev() {
        let unused = match context.get_stream(name).await {
            Ok(stream) => {
                let info = stream.cached_info();
                info.state.last_sequence == 0 && !is_leaderless(info)
            }
            Err(_) => false,
        };
        all &= unused && context.delete_stream(name).await.is_ok();
    }
    all
}

/// What is said of those that are not as asked: once for all that differ alike.
fn said<'a>(
    there: impl IntoIterator<Item = &'a Config>,
    wanted: &[Config],
    replicas: usize,
    tags: &[String],
) -> Vec<String> {
    let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for config in there {
        let wanted = wanted.iter().find(|wanted| wanted.name == config.name);
        for difference in
            differences(config, replicas, tags).into_iter().chain(wanted.and_then(|all| smaller(config, all)))
        {
            alike.entry(difference).or_default().push(&config.name);
        }
    }
    let said = alike.into_iter().map(|(difference, mut names)| {
        names.sort_unstable();
        match names.as_slice() {
            [first, _, ..] => format!("{first} and {} more: {difference}", names.len() - 1),
            _ => format!("{}: {difference}", names.join("")),
        }
    });
    said.collect()
}

/// Whether it may take less than is asked for.
fn smaller(config: &Config, wanted: &Config) -> Option<String> {
    let (has, asked) = (config.max_bytes, wanted.max_bytes);
    let flag = match wanted.storage {
        StorageType::File => "--log-bytes",
        StorageType::Memory => "--inbox-bytes",
    };
    (0..asked).contains(&has).then(|| {
        format!("{has} of the {asked} bytes that are asked for: `nats stream edit NAME --max-bytes {asked}`, or {flag} {has}")
    })
}

/// How one is not as asked. Only the log is placed; strangers' streams are theirs.
fn differences(config: &Config, replicas: usize, tags: &[String]) -> Vec<String> {
    let log = config.name.starts_with(&format!("LOG_{LAYOUT}_"));
    if !log && config.name != "KV_madang" && !config.name.starts_with(&format!("INBOX_{LAYOUT}_")) {
        return Vec::new();
    }
    let mut found = Vec::new();
    if config.num_replicas != replicas {
        let has = config.num_replicas;
        found.push(format!(
            "{has} of the {replicas} replicas that are asked for: `nats stream edit NAME --replicas {replicas}`, or --nats-replicas {has}"
        ));
    }
    let sorted = |tags: &[String]| {
        let mut tags = tags.to_vec();
        tags.sort_unstable();
        tags
    };
    let placed = sorted(config.placement.as_ref().map_or(&[], |placement| &placement.tags));
    if log && placed != sorted(tags) {
        found.push(format!(
            "placed by [{}], not by the tags that are asked for, [{}]: `nats stream edit NAME --tag TAG`, or --nats-tags",
            placed.join(","),
            sorted(tags).join(",")
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_nats::jetstream::stream::Placement;

    fn stream(name: String, num_replicas: usize, tags: &[&str]) -> Config {
        let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
        let placement = (!tags.is_empty()).then_some(Placement { cluster: None, tags });
        Config { name, num_replicas, placement, ..Config::default() }
    }

    #[test]
    fn no_room_is_told_from_all_else_and_what_is_needed_is_added_up() {
        assert!(
            no_room(ErrorCode::STORAGE_RESOURCES_EXCEEDED, "") && no_room(ErrorCode::MEMORY_RESOURCES_EXCEEDED, "")
        );
        let nowhere = |text| no_room(ErrorCode::CLUSTER_NO_PEERS, text);
        assert!(nowhere("no suitable peers for placement, insufficient storage"));
        assert!(!nowhere("no suitable peers for placement, tags not matched ['a']"));
        let of = |storage, max_bytes| Config { storage, max_bytes, ..Config::default() };
        let wanted =
            [of(StorageType::File, 2 << 30), of(StorageType::Memory, 256 << 20), of(StorageType::File, 2 << 30)];
        assert_eq!(needed(&wanted, 1), "4 GiB of disk (max_file_store) and 256 MiB of memory (max_memory_store)");
        assert!(needed(&wanted, 3).ends_with("on each of 3 servers, or that 3 times over more servers"));
    }

    #[test]
    fn only_what_is_not_as_asked_is_said_and_once_for_all_alike() {
        let log = |shard: u32, replicas, tags: &[&str]| stream(format!("LOG_{LAYOUT}_{shard:02}"), replicas, tags);
        let there = [
            log(0, 3, &["a", "b"]),
            log(1, 1, &["b", "a"]),
            log(2, 1, &["a"]),
            stream("KV_madang".into(), 1, &[]),
            stream(format!("INBOX_{LAYOUT}_00"), 3, &[]),
            stream("ORDERS".into(), 1, &["else"]),
        ];
        let tags = ["a".to_owned(), "b".to_owned()];
        let said = said(&there, &[], 3, &tags);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("KV_madang and 2 more: 1 of the 3 replicas"), "{said:?}");
        let placed = format!("LOG_{LAYOUT}_02: placed by [a], not by the tags that are asked for, [a,b]");
        assert!(said[1].starts_with(&placed), "{said:?}");
        assert_eq!(super::said(&there[..1], &[], 3, &tags), [""; 0]);
        let of = |max_bytes| Config { max_bytes, ..there[0].clone() };
        let sizes = |has, asked| super::said(&[of(has)], &[of(asked)], 3, &tags);
        let said = sizes(1 << 20, 2 << 20);
        assert!(
            said[0].contains("1048576 of the 2097152 bytes") && said[0].contains("--log-bytes 1048576"),
            "{said:?}"
        );
        assert_eq!((sizes(2 << 20, 1 << 20), sizes(-1, 1 << 20)), (vec![], vec![]), "more will do");
    }
}
