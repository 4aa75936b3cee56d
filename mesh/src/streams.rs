//! How the streams in NATS that are there were made, beside how they are asked for now. Nothing changes a stream by itself:
//! whoever asks for more replicas, or for other servers, must hear that they do not have them.

use crate::{registry::Unavailable, shard::LAYOUT};
use async_nats::jetstream::{self, stream::Config};
use futures_util::TryStreamExt;
use std::collections::BTreeMap;

/// What differs, a line each with what to do; nothing, where all is as asked, or not made yet.
pub async fn differing(
    client: &async_nats::Client,
    replicas: usize,
    tags: &[String],
) -> Result<Vec<String>, Unavailable> {
    let there = jetstream::new(client.clone()).streams().map_ok(|stream| stream.config);
    let there: Vec<Config> = there.try_collect().await.map_err(|error| Unavailable(error.to_string()))?;
    Ok(said(&there, replicas, tags))
}

/// What is said of those that are not as asked: once for all that differ alike.
fn said(there: &[Config], replicas: usize, tags: &[String]) -> Vec<String> {
    let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for config in there {
        for difference in differences(config, replicas, tags) {
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
        let said = said(&there, 3, &tags);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("KV_madang and 2 more: 1 of the 3 replicas"), "{said:?}");
        let placed = format!("LOG_{LAYOUT}_02: placed by [a], not by the tags that are asked for, [a,b]");
        assert!(said[1].starts_with(&placed), "{said:?}");
        assert_eq!(super::said(&there[..1], 3, &tags), [""; 0]);
    }
}
